"""Limits how many requests are served at the same time. More are refused at once, with the time of the next try."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from layer2.errors import QuoteRefused

__all__ = ["Admission"]

_LONGEST_WAIT_SECONDS: Final = 0.5
"""A request that waits longer is refused: its taker must not take the wait for silence."""
_FIRST_SECONDS: Final = 0.2
"""The assumed time of a request before the first one was served."""
_WEIGHT: Final = 0.1
"""That of the newest request in the mean time of recent ones."""
_LONGEST_PAUSE_SECONDS: Final = 30.0


class Admission:
    """Serves at most ``most`` requests at the same time; as many can wait for a moment.

    Each refusal names another time, at the pace of the recent requests, so that the refused takers do not all return
    at the same moment.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._places = asyncio.Semaphore(most)
        self._waiting = 0
        self._seconds = _FIRST_SECONDS
        self._next_free_at = 0.0
        """The time of the loop for which the last refusal asked its taker to return."""

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Serve a request while the block runs.

        Raises:
            QuoteRefused: code ``busy``, with ``retry_after``.
        """
        await self._enter()
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            yield
        finally:
            self._places.release()
            self._seconds += _WEIGHT * (loop.time() - began - self._seconds)

    async def _enter(self) -> None:
        if self._places.locked() and self._waiting >= self._most:
            raise self._busy()
        self._waiting += 1
        try:
            async with asyncio.timeout(_LONGEST_WAIT_SECONDS):
                await self._places.acquire()
        except TimeoutError:
            raise self._busy() from None
        finally:
            self._waiting -= 1

    def _busy(self) -> QuoteRefused:
        now = asyncio.get_running_loop().time()
        next_free_at = max(self._next_free_at, now) + self._seconds / self._most
        # Most refused takers do not return, so their turns must not add up.
        self._next_free_at = min(next_free_at, now + _LONGEST_PAUSE_SECONDS)
        refused = QuoteRefused("the provider is busy", code="busy", retryable=True)
        refused.retry_after = float(max(1, math.ceil(self._next_free_at - now)))
        return refused
