"""Waits for a transaction's status, and its changes, on top of the tracker of payment hashes."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from layer2.errors import AsyncRuntimeError, InvalidRequest
from layer2.model.transactions import LightningPaymentId, TxState
from layer2.protocols.lightning.lnd.answers import LIGHTNING
from layer2.protocols.lightning.statuses import LightningStatus, has_reached, read_payment_id
from layer2.protocols.lightning.tracker import HashTracker

__all__ = ["status_changes", "wait_for_status"]


async def status_changes(tracker: HashTracker, tx_id: LightningPaymentId) -> AsyncGenerator[LightningStatus, None]:
    """Yield the status now and after each change, up to FINAL or FAILED. Errors as ``watch_transaction_async``."""
    last: LightningStatus | None = None
    async with aclosing(tracker.follow(read_payment_id(tx_id))) as statuses:
        async for known in statuses:
            status = known.for_id(tx_id)
            if status != last:
                last = status
                yield status
            if status.state in (TxState.FINAL, TxState.FAILED):
                return


async def wait_for_status(tracker: HashTracker, tx_id: LightningPaymentId, until: TxState) -> LightningStatus:
    """Wait until the status is at least in that state, or FAILED.

    Raises:
        FormatError: it is not the id of a payment.
        InvalidRequest: ``until`` is FAILED or DROPPED.
        NodeError: as ``HashTracker.follow``.
    """
    if until in (TxState.FAILED, TxState.DROPPED):
        raise InvalidRequest(f"a wait until {until.value} is not possible: every wait ends when the payment fails")
    async with aclosing(tracker.follow(read_payment_id(tx_id))) as statuses:
        async for known in statuses:
            status = known.for_id(tx_id)
            if has_reached(status, until):
                return status
    raise AsyncRuntimeError("the updates ended before the payment did", protocol=LIGHTNING)
