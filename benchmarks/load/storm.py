"""Callers that cancel some of their calls at a random moment."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

__all__ = ["CHANCE", "CONCURRENCY", "SEED", "Storm"]

CONCURRENCY = 200
CHANCE = 0.14
"""The share of calls chosen for cancellation. Some end before their moment, so about one in ten is cancelled."""
SEED = 20261124

Item = TypeVar("Item")


@dataclass
class Storm(Generic[Item]):
    """Callers that call sequentially and cancel some of their calls.

    Args:
        call: makes one call.
        items: the arguments, used in turn.
        chance: the probability that a call is chosen for cancellation.
        longest_wait: the longest random time before a cancellation, in seconds.
    """

    call: Callable[[Item], Awaitable[object]]
    items: Sequence[Item]
    chance: float
    longest_wait: float
    random: random.Random
    done: int = 0
    cancelled: int = 0
    slowest: float = 0.0
    """Seconds of the slowest call, or of the longest time in which no call finished."""
    last: float = field(default_factory=time.perf_counter)

    async def run(self, seconds: float) -> float:
        """Answered calls per second."""
        before, start = self.done, time.perf_counter()
        self.last = start
        await asyncio.gather(*[self._caller(number, start + seconds) for number in range(CONCURRENCY)])
        return (self.done - before) / (time.perf_counter() - start)

    async def _caller(self, number: int, end: float) -> None:
        loop = asyncio.get_running_loop()
        while (start := time.perf_counter()) < end:
            task = asyncio.ensure_future(self.call(self.items[number % len(self.items)]))
            number += 1
            timer = None
            if self.random.random() < self.chance:
                timer = loop.call_later(self.random.uniform(0, self.longest_wait), task.cancel)
            await asyncio.wait([task])
            if timer is not None:
                timer.cancel()
            now = time.perf_counter()
            self.slowest = max(self.slowest, now - start, now - self.last)
            self.last = now
            if task.cancelled():
                self.cancelled += 1
            else:
                task.result()
                self.done += 1
