"""Work that a manager repeats in the background."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from layer2.errors import Layer2Error

__all__ = ["Repeated"]

LOG: Final = logging.getLogger("layer2.manager")


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
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin the first round, unless it has begun."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), name=f"layer2 {self._name}")

    async def aclose(self) -> None:
        """End the round that is under way."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

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
