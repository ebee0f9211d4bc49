"""The updates that one subscriber has not taken yet: in order, and up to a limit."""

from __future__ import annotations

import asyncio
import copy
from typing import Final, Generic, TypeVar

from layer2.errors import AsyncRuntimeError, Layer2Error
from layer2.protocols.lightning.lnd.answers import LIGHTNING

__all__ = ["UpdateQueue"]

T = TypeVar("T")

_MAX_WAITING: Final = 10_000
"""Updates that may wait for a subscriber: about 10 MB of invoices."""
_REMEDY: Final = "subscribe again with the cursor of the last update"


class UpdateQueue(Generic[T]):
    """A queue of updates for one subscriber.

    If more than ``limit`` updates wait, later ones are dropped, and the subscriber gets an error after those that were
    kept. So no update is missing without an error.

    Args:
        limit: number of updates that may wait.
    """

    def __init__(self, limit: int = _MAX_WAITING) -> None:
        self._limit = limit
        self._queue: asyncio.Queue[T | Layer2Error] = asyncio.Queue()
        self._has_failed = False

    def put(self, update: T) -> None:
        """Add an update."""
        if self._has_failed:
            return
        if self._queue.qsize() < self._limit:
            self._queue.put_nowait(update)
            return
        problem = f"the subscriber left more than {self._limit} updates waiting"
        self.fail(AsyncRuntimeError(problem, protocol=LIGHTNING, remedy=_REMEDY))

    def fail(self, error: Layer2Error) -> None:
        """End the queue: after the updates that wait, every ``next`` raises this error."""
        if not self._has_failed:
            self._has_failed = True
            self._queue.put_nowait(error)

    async def next(self) -> T:
        """Return the next update.

        Raises:
            AsyncRuntimeError: too many updates were waiting.
            Layer2Error: the error given to ``fail``.
        """
        update = await self._queue.get()
        if isinstance(update, Layer2Error):
            self._queue.put_nowait(update)
            raise copy.copy(update) from update
        return update
