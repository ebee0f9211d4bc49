"""One request for all who ask at about the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from layer2.errors import NodeUnreachable

__all__ = ["SharedCall"]

T = TypeVar("T")


class SharedCall(Generic[T]):
    """Asks once for those who ask within the same tick, or within ``life`` seconds.

    A caller that is cancelled leaves the request to the others. A failure goes to all who asked by then, and the
    next caller asks anew.

    Args:
        ask: makes the request.
        life: seconds for which an answer is handed out again; with zero every answer is younger than its call.
    """

    def __init__(self, ask: Callable[[], Coroutine[Any, Any, T]], life: float = 0.0) -> None:
        self._ask = ask
        self._life = life
        self._task: asyncio.Task[T] | None = None
        self._until = 0.0
        self._under_way: set[asyncio.Task[T]] = set()

    async def get(self) -> T:
        """The answer.

        Raises:
            NodeUnreachable: it was closed meanwhile; else what asking raises.
        """
        loop = asyncio.get_running_loop()
        task = self._task
        if task is None or (self._life and loop.time() > self._until):
            task = self._task = loop.create_task(self._ask())
            self._until = loop.time() + self._life
            self._under_way.add(task)
            task.add_done_callback(self._finished)
            if self._life == 0:
                loop.call_soon(self._forget, task)
        await asyncio.wait({task})
        if task.cancelled():
            # Nobody cancelled the caller, who must not look as if.
            raise NodeUnreachable("the client was closed", retryable=False)
        return task.result()

    async def aclose(self) -> None:
        """End the requests that are under way; their callers get the error that the client was closed."""
        tasks = list(self._under_way)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._task = None

    def _finished(self, task: asyncio.Task[T]) -> None:
        self._under_way.discard(task)
        # Reading the exception also marks it as retrieved, where all callers were cancelled.
        if task.cancelled() or task.exception() is not None:
            self._forget(task)

    def _forget(self, task: asyncio.Task[T]) -> None:
        if self._task is task:
            self._task = None
