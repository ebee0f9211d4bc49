"""One request that several concurrent callers share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Generic, TypeVar

from layer2.errors import NodeUnreachable

__all__ = ["SharedCall"]

T = TypeVar("T")


class SharedCall(Generic[T]):
    """Makes one request for all callers within the same tick, or within ``life`` seconds.

    A cancelled caller does not cancel the request for the others. An error is raised for all callers that wait, and the
    next call makes a new request.

    Args:
        ask: makes the request.
        life: seconds for which a result is reused; with zero every result is newer than its call.
    """

    def __init__(self, ask: Callable[[], Coroutine[object, None, T]], life: float = 0.0) -> None:
        self._ask = ask
        self._life = life
        self._task: asyncio.Task[T] | None = None
        self._until = 0.0
        self._under_way: set[asyncio.Task[T]] = set()

    async def get(self, begun: asyncio.Task[T] | None = None) -> T:
        """The result of the request.

        Args:
            begun: what ``begin`` returned; None calls it now.

        Raises:
            NodeUnreachable: ``aclose`` ended the request; otherwise as ``ask``.
        """
        task = self.begin() if begun is None else begun
        await asyncio.wait({task})
        if task.cancelled():
            # The request was cancelled and not the caller, so CancelledError would be wrong.
            raise NodeUnreachable("the client was closed", retryable=False)
        return task.result()

    def begin(self) -> asyncio.Task[T]:
        """Make or join the request without waiting for it, so that the caller can do something else first."""
        loop = asyncio.get_running_loop()
        task = self._task
        if task is None or (self._life and loop.time() > self._until):
            task = self._task = loop.create_task(self._ask())
            self._until = loop.time() + self._life
            self._under_way.add(task)
            task.add_done_callback(self._finished)
            if self._life == 0:
                loop.call_soon(self._forget, task)
        return task

    async def aclose(self) -> None:
        """Cancel pending requests; their callers get ``NodeUnreachable``."""
        tasks = list(self._under_way)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._task = None

    def _finished(self, task: asyncio.Task[T]) -> None:
        self._under_way.discard(task)
        # Reading the exception also marks it as retrieved, in case all callers were cancelled.
        if task.cancelled() or task.exception() is not None:
            self._forget(task)

    def _forget(self, task: asyncio.Task[T]) -> None:
        if self._task is task:
            self._task = None
