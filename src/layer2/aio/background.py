"""Tasks in the background. A failure of one is logged, and ends nothing else."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Final

from layer2.errors import Layer2Error

__all__ = ["Repeated", "background"]

LOG: Final = logging.getLogger("layer2.aio")


def background(work: Coroutine[object, None, None], name: str) -> Callable[[], Coroutine[object, None, None]]:
    """Start a task whose failure is logged; return the function that ends it.

    Args:
        name: of the task, for logs.
    """

    def ended(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            LOG.error("%s: the background task failed", name, exc_info=error)

    task = asyncio.get_running_loop().create_task(work, name=f"layer2 {name}")
    task.add_done_callback(ended)

    async def end() -> None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    return end


class Repeated:
    """Repeats work until it is closed. An error does not end the repetition.

    Args:
        name: of the work, for logs.
        work: one round.
        pause_seconds: between two rounds.
    """

    def __init__(self, name: str, work: Callable[[], Awaitable[None]], pause_seconds: float) -> None:
        self._name = name
        self._work = work
        self._pause_seconds = pause_seconds
        self._end: Callable[[], Coroutine[object, None, None]] | None = None

    def start(self) -> None:
        """Begin the first round, unless it has begun."""
        if self._end is None:
            self._end = background(self._run(), self._name)

    async def aclose(self) -> None:
        """End the round that is under way."""
        if self._end is not None:
            await self._end()

    async def once(self) -> None:
        """Do one round. Its error is logged."""
        try:
            await self._work()
        except Layer2Error as error:
            LOG.debug("%s: %s", self._name, error)
        except Exception:
            LOG.exception("%s: an internal error; the work is repeated", self._name)

    async def _run(self) -> None:
        while True:
            await self.once()
            await asyncio.sleep(self._pause_seconds)
