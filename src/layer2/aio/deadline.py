"""The time limit of one public call."""

from __future__ import annotations

import asyncio
import math
from types import TracebackType
from typing import Self
from weakref import WeakKeyDictionary

from layer2.errors import AsyncTimeout, InvalidRequest, Layer2Error, Outcome

__all__ = ["Deadline"]

_TICKS_PER_SECOND = 64
"""Deadlines in the same tick share a timer of the loop. With ten thousand calls per second, timers would take much of
the time."""

_running: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[int, set[Deadline]]] = WeakKeyDictionary()
"""The running deadlines, by the tick in which they end."""


class Deadline:
    """Ends its ``async with`` block with ``AsyncTimeout`` after some seconds, at most 16 ms late.

    It adds the layer and the operation to errors that leave the block without them.

    Args:
        operation: the public method, for the error.
        seconds: the limit; None is unlimited.
        protocol: the layer's name, for the error.
        limit: the block acquires this semaphore. The wait for it counts towards the limit.
        tx_id: the id of what is sent, if it is known already.
    """

    __slots__ = ("_cancelling", "_expired", "_limit", "_operation", "_protocol", "_seconds", "_task", "_tick", "tx_id")

    def __init__(
        self,
        operation: str,
        seconds: float | None,
        protocol: str,
        limit: asyncio.Semaphore | None = None,
        *,
        tx_id: str | None = None,
    ) -> None:
        self._operation = operation
        self._seconds = seconds
        self._protocol = protocol
        self._limit = limit
        self._task: asyncio.Task[object] | None = None
        self._cancelling = 0
        self._tick: set[Deadline] | None = None
        self._expired = False
        self.tx_id = tx_id
        """Set before a transaction or payment is sent. From then on, a timeout has the outcome UNKNOWN."""

    async def __aenter__(self) -> Self:
        if self._seconds is not None:
            if isinstance(self._seconds, bool) or not isinstance(self._seconds, int | float):
                raise InvalidRequest(f"timeout must be a number of seconds, not {type(self._seconds).__name__}")
            if not self._seconds > 0:
                # With no time, nothing is started.
                raise self._error()
            if self._seconds != math.inf:
                self._begin(self._seconds)
        if self._limit is not None:
            try:
                await self._limit.acquire()
            except BaseException as error:
                self._end(type(error), error)
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
        self._end(kind, error)

    def _begin(self, seconds: float) -> None:
        self._task = task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a deadline needs a task")
        self._cancelling = task.cancelling()
        loop = asyncio.get_running_loop()
        ticks = _running.get(loop)
        if ticks is None:
            ticks = _running[loop] = {}
        number = math.ceil((loop.time() + seconds) * _TICKS_PER_SECOND)
        tick = ticks.get(number)
        if tick is None:
            tick = ticks[number] = set()
            loop.call_at(number / _TICKS_PER_SECOND, _expire, ticks, number)
        tick.add(self)
        self._tick = tick

    def _end(self, kind: type[BaseException] | None, error: BaseException | None) -> None:
        if self._tick is not None:
            self._tick.discard(self)
            self._tick = None
        if not self._expired or self._task is None:
            return
        # As asyncio.timeout does: another cancellation of the task is not swallowed.
        if self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise self._error() from error

    def expire(self) -> None:
        """End the block, because its time has elapsed."""
        if self._task is not None:
            self._expired = True
            self._task.cancel()

    def _error(self) -> AsyncTimeout:
        sent = self.tx_id is not None
        what = f"transaction {self.tx_id} may be under way" if sent else "nothing was sent"
        return AsyncTimeout(
            f"{self._operation} took longer than {self._seconds:g} s; {what}",
            protocol=self._protocol,
            operation=self._operation,
            outcome=Outcome.UNKNOWN if sent else Outcome.NOT_SENT,
            tx_id=self.tx_id,
            remedy="look it up by its id before sending anything again" if sent else None,
        )


def _expire(ticks: dict[int, set[Deadline]], number: int) -> None:
    for deadline in ticks.pop(number):
        deadline.expire()
