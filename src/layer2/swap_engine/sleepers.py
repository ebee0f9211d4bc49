"""Swaps that only wait: a row of memory for each, without a driver and without a task.

A row wakes when a layer reports its leg, at its time at the latest, or when its turn comes to be looked at.
"""

from __future__ import annotations

import asyncio
import heapq
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from layer2.model.transactions import SwapId
from layer2.ports.clock import Clock

__all__ = ["Sleeper", "Sleepers"]

_PLACES: Final = 50
"""Swaps that have a turn at the same time because it is their turn. Others do not wait for a place."""
_PLACE_SECONDS: Final = 2.0
"""A turn that takes longer, such as one at a node that does not answer, no longer keeps its place."""
_LATE_SECONDS: Final = 0.5
"""If the event loop is later than this, the turn takes long because this process is busy, and keeps its place."""
_MISSED_POLLS: Final = 2
"""Polls of an awake swap within which a swap that missed news twice stays awake."""
_LOOK_POLLS: Final = 20
"""Polls of an awake swap between two looks at a sleeping one."""
_LOOK_SECONDS: Final = 0.2
"""Minimum seconds between two looks, over all sleeping swaps."""
_MANY_AWAKE: Final = 1_000
"""With this many swaps awake looks are half as frequent, with twice as many a third, and so on."""
_SET_BACK_SECONDS: Final = 60.0
"""If the machine's clock lost more than this, every time to wake is too late by as much."""
_SHORTEST_SECONDS: Final = 0.01
_FEWEST_TIMES: Final = 1_000
_MOST_AWAKE: Final = 0.1
"""Rows that are no longer asleep and are still in memory, in proportion to those that are."""


@dataclass(eq=False, slots=True)
class Sleeper:
    """One swap that sleeps. It is the ``LegListener`` of its legs."""

    sleepers: Sleepers
    swap_id: SwapId
    payment_hash: bytes
    """Of the legs that are followed. Empty before the first turn after a start: no leg is followed then."""
    wake_at: float
    """Unix seconds; before the first turn, the time that decides on its place in the queue."""

    def __lt__(self, other: Sleeper) -> bool:
        return self.wake_at < other.wake_at

    def changed(self) -> None:
        """Wake the swap."""
        self.sleepers.wake(self)

    def missed(self) -> None:
        """Wake the swap when its turn comes."""
        self.sleepers.missed(self)


class Sleepers:
    """All sleeping swaps of a runner.

    Args:
        clock: the clock of the times to wake.
        poll_seconds: the interval between two turns of an awake swap.
        start: wakes a swap. The row is not among the sleepers by then. The second argument is whether it may fall
            asleep again after one turn that finds nothing.
        awake: the number of swaps that are awake.
    """

    def __init__(
        self,
        clock: Clock,
        poll_seconds: float,
        start: Callable[[Sleeper, bool], None],
        awake: Callable[[], int],
    ) -> None:
        self._clock = clock
        self._poll_seconds = poll_seconds
        self._start = start
        self._awake = awake
        self._asleep: dict[SwapId, Sleeper] = {}
        """In the order of the next look."""
        self._times: list[Sleeper] = []
        """A heap by time to wake. Rows that are no longer asleep stay in it for a while."""
        self._queue: list[Sleeper] = []
        """A heap of those whose turn comes, as ``_times``."""
        self._later: list[Sleeper] = []
        """Those that are queued once the queue is empty. Otherwise the soonest could come again before the others."""
        self._queued: set[SwapId] = set()
        """Of both, without those before their first turn: few of the rows."""
        self._places: dict[SwapId, asyncio.TimerHandle] = {}
        self._missed: dict[SwapId, float] = {}
        """When each last missed news, by the clock of the event loop; the earliest first, and only the last polls."""
        self._restless: set[SwapId] = set()
        """Queued, and not to fall asleep again after one turn that finds nothing."""
        self._look_at = 0.0
        """Time of the next look, by the clock of the event loop."""
        self._timer: asyncio.TimerHandle | None = None
        self._ahead = -math.inf
        """Seconds from the clock of the event loop to the machine's, at the last tick."""

    def __len__(self) -> int:
        return len(self._asleep)

    def get(self, swap_id: SwapId) -> Sleeper | None:
        """The row of a swap, if it sleeps."""
        return self._asleep.get(swap_id)

    def is_queued(self, row: Sleeper) -> bool:
        """Whether it wakes when its turn comes."""
        return not row.payment_hash or row.swap_id in self._queued

    def rows(self) -> Sequence[Sleeper]:
        """Those that sleep."""
        return tuple(self._asleep.values())

    def add(self, row: Sleeper) -> None:
        """Let a swap sleep until its time."""
        self._insert(row)
        if len(self._times) > _FEWEST_TIMES + (1 + _MOST_AWAKE) * len(self._asleep):
            self._times = [each for each in self._times if self._is_asleep(each)]
            heapq.heapify(self._times)
        heapq.heappush(self._times, row)
        if self._timer is None or self._times[0] is row:
            self._arm()

    def load(self, rows: Sequence[Sleeper]) -> None:
        """Add swaps of an earlier process. Each wakes when its turn comes, the one with the soonest time first.

        A time that comes before its turn wakes it at once: turns can take long while a node is down.
        """
        for row in rows:
            self._insert(row)
        self._queue.extend(rows)
        heapq.heapify(self._queue)
        now = self._clock.now()
        self._times.extend([row for row in rows if row.wake_at > now])
        heapq.heapify(self._times)
        self._fill()
        self._arm()

    def wake(self, row: Sleeper, *, is_idle: bool = False) -> None:
        """Wake a swap now. Has no effect if it is awake."""
        if self._is_asleep(row):
            del self._asleep[row.swap_id]
            self._queued.discard(row.swap_id)
            self._restless.discard(row.swap_id)
            self._start(row, is_idle)

    def queue(self, row: Sleeper) -> None:
        """Wake a swap when its turn comes. Its layers and its time can still wake it before."""
        if self._is_asleep(row) and not self.is_queued(row):
            self._queued.add(row.swap_id)
            self._later.append(row)
            self._fill()

    def missed(self, row: Sleeper) -> None:
        """Wake a swap when its turn comes. If it missed news shortly before, it stays awake and waits with its layer.

        A layer that fails as soon as it follows the swap would otherwise wake it without a pause.
        """
        if self.is_queued(row) or not self._is_asleep(row):
            return
        now = asyncio.get_running_loop().time()
        oldest = now - _MISSED_POLLS * self._poll_seconds
        while self._missed and self._missed[first := next(iter(self._missed))] < oldest:
            del self._missed[first]
        if self._missed.pop(row.swap_id, None) is not None:
            self._restless.add(row.swap_id)
        self._missed[row.swap_id] = now
        self.queue(row)

    def turned(self, swap_id: SwapId) -> None:
        """Note that a turn of a swap has ended: the next in the queue can begin."""
        if (timer := self._places.pop(swap_id, None)) is not None:
            timer.cancel()
            self._fill()

    def close(self) -> None:
        """Wake no swap from now on."""
        for timer in (*self._places.values(), *([] if self._timer is None else [self._timer])):
            timer.cancel()
        self._timer = None
        for rows in (self._asleep, self._times, self._queue, self._later):
            rows.clear()
        for each in (self._places, self._queued, self._restless, self._missed):
            each.clear()

    def _insert(self, row: Sleeper) -> None:
        if not self._asleep:
            self._look_at = asyncio.get_running_loop().time() + _LOOK_POLLS * self._poll_seconds
        self._asleep[row.swap_id] = row

    def _is_asleep(self, row: Sleeper) -> bool:
        return self._asleep.get(row.swap_id) is row

    def _fill(self) -> None:
        loop = asyncio.get_running_loop()
        while len(self._places) < _PLACES and (self._queue or self._later):
            if not self._queue:
                self._queue, self._later = self._later, []
                heapq.heapify(self._queue)
            row = heapq.heappop(self._queue)
            if self._is_asleep(row):
                self._hold_place(row.swap_id, loop)
                self.wake(row, is_idle=row.swap_id not in self._restless)

    def _hold_place(self, swap_id: SwapId, loop: asyncio.AbstractEventLoop) -> None:
        until = loop.time() + _PLACE_SECONDS

        def over() -> None:
            if loop.time() - until > _LATE_SECONDS:
                self._hold_place(swap_id, loop)
            else:
                self.turned(swap_id)

        self._places[swap_id] = loop.call_later(_PLACE_SECONDS, over)

    def _arm(self) -> None:
        """Set the timer for the next time to wake or the next look."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._asleep:
            return
        # The machine's clock can be set, and it continues while the machine is suspended; the loop's clock may not.
        seconds = min(self._poll_seconds, self._look_at - asyncio.get_running_loop().time())
        if self._times:
            seconds = min(seconds, self._times[0].wake_at - self._clock.now())
        self._timer = asyncio.get_running_loop().call_later(max(seconds, _SHORTEST_SECONDS), self._tick)

    def _tick(self) -> None:
        self._timer = None
        now = self._clock.now()
        while self._times and (self._times[0].wake_at <= now or not self._is_asleep(self._times[0])):
            row = heapq.heappop(self._times)
            if row.wake_at < now - self._poll_seconds:
                # The machine was suspended, or its clock was set. As after a start, all of them at once would be late.
                self.queue(row)
            else:
                self.wake(row)
        before, self._ahead = self._ahead, now - asyncio.get_running_loop().time()
        if self._ahead < before - _SET_BACK_SECONDS:
            # Each turn sets another time. A chain's clock was not set back.
            for row in self.rows():
                self.queue(row)
        if asyncio.get_running_loop().time() >= self._look_at:
            self._look()
        self._arm()

    def _look(self) -> None:
        """Queue the row that was not looked at for the longest time."""
        all_seconds = _LOOK_POLLS * self._poll_seconds
        seconds = max(_LOOK_SECONDS, all_seconds / max(len(self), 1))
        self._look_at = asyncio.get_running_loop().time() + seconds * (1 + self._awake() / _MANY_AWAKE)
        if not self._asleep:
            return
        swap_id = next(iter(self._asleep))
        row = self._asleep[swap_id] = self._asleep.pop(swap_id)
        self.queue(row)
