"""The time that one public call may take."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

from layer2.errors import AsyncTimeout, Layer2Error, Outcome
from layer2.transactions import EvmTxId

__all__ = ["Deadline"]


class Deadline:
    """Ends what is in its ``async with`` block after some seconds, with ``AsyncTimeout``.

    Errors that leave the block are told the layer and the operation, where they do not say them.

    Args:
        operation: the public method, for the error.
        seconds: None is no limit.
        protocol: the layer's name, for the error.
    """

    def __init__(self, operation: str, seconds: float | None, protocol: str) -> None:
        self._operation = operation
        self._seconds = seconds
        self._protocol = protocol
        self._timeout = asyncio.timeout(seconds)

    tx_id: EvmTxId | None = None
    """Set when a transaction is signed: from then on a time-out leaves its outcome unknown."""

    async def __aenter__(self) -> Self:
        await self._timeout.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, Layer2Error):
            error.protocol = error.protocol or self._protocol
            error.operation = error.operation or self._operation
        try:
            await self._timeout.__aexit__(kind, error, trace)
        except TimeoutError as timeout:
            raise self._error() from timeout

    def _error(self) -> AsyncTimeout:
        sent = self.tx_id is not None
        what = f"transaction {self.tx_id} was signed and may be under way" if sent else "nothing was sent"
        return AsyncTimeout(
            f"{self._operation} took longer than {self._seconds:g} s; {what}",
            protocol=self._protocol,
            operation=self._operation,
            outcome=Outcome.UNKNOWN if sent else Outcome.NOT_SENT,
            tx_id=self.tx_id,
            remedy="look it up by its id before sending anything again" if sent else None,
        )
