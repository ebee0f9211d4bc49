"""The time limit of a public call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext

from layer2.errors import AsyncTimeout, Outcome
from layer2.model.transactions import LightningPaymentId
from layer2.protocols.lightning.lnd.answers import LIGHTNING

__all__ = ["deadline"]


@asynccontextmanager
async def deadline(
    seconds: float | None,
    operation: str,
    limit: asyncio.Semaphore | None,
    tx_id: LightningPaymentId | None = None,
) -> AsyncIterator[Callable[[LightningPaymentId], None]]:
    """Limit the time of a block.

    Args:
        seconds: None for no limit.
        operation: the public method, for the error.
        limit: the block takes one of its places; the wait for it counts towards the time.
        tx_id: the id of what is sent, if it is known already.

    Yields:
        A function to call with the id before anything is sent. From then on a time-out leaves the outcome UNKNOWN.

    Raises:
        AsyncTimeout: the time is over.
    """
    sent = [] if tx_id is None else [tx_id]
    try:
        async with asyncio.timeout(seconds), nullcontext() if limit is None else limit:
            yield sent.append
    except TimeoutError:
        raise AsyncTimeout(
            f"no result of {operation} within {seconds:g} s",
            protocol=LIGHTNING,
            operation=operation,
            outcome=Outcome.UNKNOWN if sent else Outcome.NOT_SENT,
            tx_id=sent[-1] if sent else None,
            remedy="ask for the payment's status by tx_id" if sent else None,
        ) from None
