"""One request for all who ask at about the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

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

    async def get(self) -> T:
        """The answer. Raises what asking raises."""
        loop = asyncio.get_running_loop()
        task = self._task
        if task is None or (self._life and loop.time() > self._until):
            task = self._task = loop.create_task(self._ask())
            self._until = loop.time() + self._life
            task.add_done_callback(self._finished)
            if self._life == 0:
                loop.call_soon(self._forget, task)
        return await asyncio.shield(task)

    async def aclose(self) -> None:
        """End a request that is under way."""
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._task = None

    def _finished(self, task: asyncio.Task[T]) -> None:
        # Looking at the exception also says that somebody knows of it, where all callers were cancelled.
        if task.cancelled() or task.exception() is not None:
            self._forget(task)

    def _forget(self, task: asyncio.Task[T]) -> None:
        if self._task is task:
            self._task = None
