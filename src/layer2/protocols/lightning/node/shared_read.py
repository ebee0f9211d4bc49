"""One read of the node that serves all callers which accept its age."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from layer2.protocols.lightning.lnd.failures import closed_error

__all__ = ["SharedRead"]

T = TypeVar("T")

_PATIENCE: Final = 1.0
"""Seconds after which new callers no longer wait for a request, in case its connection died unnoticed."""


@dataclass(eq=False, slots=True)
class _Request:
    task: asyncio.Task[None] | None = None
    asked_at: float = math.inf
    """Infinity until it is sent."""
    callers: int = 0


class SharedRead(Generic[T]):
    """Makes one request for all callers, and keeps its result. Each caller names the oldest result that it accepts.

    A second request starts only if one has had no answer for a second. A cancelled caller does not cancel the request
    for the others. An error is raised for all callers that wait, and the next call makes a new request.

    Args:
        ask: makes the request.
        spacing: minimum seconds between the starts of two requests.
    """

    def __init__(self, ask: Callable[[], Coroutine[object, None, T]], spacing: float = 0.0) -> None:
        self._ask = ask
        self._spacing = spacing
        self._last: tuple[float, T] | None = None
        """When the newest result was asked for, and the result."""
        self._asked_at = -math.inf
        """When the newest request was sent."""
        self._newest: _Request | None = None
        """The request that new callers wait for."""
        self._tasks: set[asyncio.Task[None]] = set()

    async def since(self, moment: float) -> T:
        """Return a result that was asked for at this moment or later.

        Args:
            moment: by the clock of the event loop.

        Raises:
            NodeUnreachable: ``aclose`` ended the request; otherwise as ``ask``.
        """
        while self._last is None or self._last[0] < moment:
            request, task = self._request()
            request.callers += 1
            try:
                await asyncio.wait({task})
            finally:
                request.callers -= 1
                if not request.callers and not task.done():
                    self._leave(request)
                    task.cancel()
            if task.cancelled():
                # The request was cancelled and not the caller, so CancelledError would be wrong.
                raise closed_error()
            task.result()
        return self._last[1]

    @property
    def last(self) -> T | None:
        """The newest result, of any age."""
        return None if self._last is None else self._last[1]

    def forget(self) -> None:
        """Discard the result: the next call makes a request."""
        self._last = None

    async def aclose(self) -> None:
        """Cancel the requests that are under way; their callers get ``NodeUnreachable``."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._newest, self._last, self._asked_at = None, None, -math.inf

    def _request(self) -> tuple[_Request, asyncio.Task[None]]:
        """The request that a new caller waits for."""
        loop = asyncio.get_running_loop()
        request = self._newest
        if request is None or request.task is None or loop.time() - request.asked_at > _PATIENCE:
            request = self._newest = _Request()
            request.task = loop.create_task(self._read(request))
            self._tasks.add(request.task)
            request.task.add_done_callback(self._finished)
        return request, request.task

    async def _read(self, request: _Request) -> None:
        loop = asyncio.get_running_loop()
        try:
            if (left := self._asked_at + self._spacing - loop.time()) > 0:
                await asyncio.sleep(left)
            asked_at = self._asked_at = request.asked_at = loop.time()
            result = await self._ask()
            if self._last is None or self._last[0] <= asked_at:
                self._last = asked_at, result
        finally:
            self._leave(request)

    def _leave(self, request: _Request) -> None:
        if self._newest is request:
            self._newest = None

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            # Reading the exception marks it as retrieved, in case all callers were cancelled.
            task.exception()
