"""An event loop whose time stands still during work and jumps to the next timer when idle."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
EPOCH = 1_800_000_000
"""The unix seconds of ``VirtualClock`` at the loop's time 0."""


LONGEST = 30 * 86_400.0
"""Virtual seconds after which a story that does not end fails."""


class _JumpingSelector(selectors.DefaultSelector):
    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if not ready:
            if timeout is None:
                raise AssertionError("every task waits for something that will never happen")
            self.now += timeout
            if self.now > LONGEST:
                raise AssertionError("the story does not end: 30 days of virtual time are over")
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now


class VirtualClock:
    """``ports.clock.Clock`` on the running loop's virtual time."""

    def now(self) -> float:
        return EPOCH + asyncio.get_running_loop().time()


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run to the end in virtual time. Threads are not supported: their work would take no time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
