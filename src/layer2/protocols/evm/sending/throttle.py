"""Spreading CPU work over several turns of the event loop."""

from __future__ import annotations

import asyncio
from collections import deque

__all__ = ["LoopThrottle"]


class LoopThrottle:
    """Lets a limited number of callers proceed in each turn of the event loop, in the order of their calls.

    Of a thousand concurrent callers, the first then reach the disk and the node while the others still compute.

    Args:
        width: callers that proceed in one turn.
    """

    def __init__(self, width: int) -> None:
        self._width = width
        self._left = width
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._is_counting = False

    async def turn(self) -> None:
        """Return at once, or in a later turn of the loop. If it is cancelled, the next caller proceeds instead."""
        loop = asyncio.get_running_loop()
        if not self._is_counting:
            self._is_counting = True
            loop.call_soon(self._next_turn)
        if self._left and not self._waiting:
            self._left -= 1
            return
        place: asyncio.Future[None] = loop.create_future()
        self._waiting.append(place)
        await place

    def _next_turn(self) -> None:
        self._left = self._width
        while self._left and self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                self._left -= 1
                place.set_result(None)
        self._is_counting = bool(self._waiting)
        if self._is_counting:
            asyncio.get_running_loop().call_soon(self._next_turn)
