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
        limit: the block takes one of its places; waiting for one counts towards the time.
    """

    def __init__(
        self, operation: str, seconds: float | None, protocol: str, limit: asyncio.Semaphore | None = None
    ) -> None:
        self._operation = operation
        self._seconds = seconds
        self._protocol = protocol
        self._timeout = asyncio.timeout(seconds)
        self._limit = limit

    tx_id: EvmTxId | None = None
    """Set when a transaction is signed: from then on a time-out leaves its outcome unknown."""

    async def __aenter__(self) -> Self:
        await self._timeout.__aenter__()
        if self._limit is not None:
            try:
                await self._limit.acquire()
            except BaseException as error:
                await self._leave(type(error), error, error.__traceback__)
                raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._limit is not None:
            self._limit.release()
        if isinstance(error, Layer2Error):
            error.protocol = error.protocol or self._protocol
            error.operation = error.operation or self._operation
        await self._leave(kind, error, trace)

    async def _leave(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
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
