"""Waits for changes of the node's height, health and time: one read of the node in each interval serves all waits."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from layer2.errors import BadAnswer, Layer2Error
from layer2.protocols.lightning.node.state import LndNode, NodeState

__all__ = ["NodeMark", "NodeWatch"]


@dataclass(frozen=True, slots=True)
class NodeMark:
    """What a caller knows of the node. A wait ends when the node differs from it."""

    height: int
    is_current: bool
    """Whether the node passed ``NodeState.check_current``."""
    until: float
    """Unix seconds by the node's clock at which the wait ends at the latest; infinity for no limit."""

    def differs(self, state: NodeState) -> bool:
        """Whether the node shows another height or health, or the time has come."""
        return state.height != self.height or state.date >= self.until or _is_current(state) != self.is_current


class NodeWatch:
    """Wakes callers when the node differs from what they know. It reads the node only while there is a caller.

    Callers with the same mark cost one comparison together.

    Args:
        node: is read once in each interval.
        interval: seconds between reads.
    """

    def __init__(self, node: LndNode, interval: float) -> None:
        self._node = node
        self._interval = interval
        self._waiting: dict[NodeMark, set[asyncio.Future[bool]]] = {}
        self._task: asyncio.Task[None] | None = None

    @contextmanager
    def waking(self, waiter: asyncio.Future[bool], mark: NodeMark) -> Iterator[None]:
        """Within the context, set the future to True as soon as the node differs from the mark, or cannot be read."""
        self._waiting.setdefault(mark, set()).add(waiter)
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())
        try:
            yield
        finally:
            if (group := self._waiting.get(mark)) is not None:
                group.discard(waiter)
                if not group:
                    del self._waiting[mark]

    async def aclose(self) -> None:
        """Stop. Callers are woken: the closed node gives them the error."""
        self._wake(list(self._waiting))
        if (task := self._task) is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _run(self) -> None:
        try:
            while self._waiting:
                # The age lets a caller's read serve as this one, so that there is about one read in each interval.
                try:
                    state = await self._node.shared_state(self._interval / 2)
                except Layer2Error:
                    self._wake(list(self._waiting))
                else:
                    self._wake([mark for mark in self._waiting if mark.differs(state)])
                await asyncio.sleep(self._interval)
        finally:
            self._task = None
            self._wake(list(self._waiting))

    def _wake(self, marks: list[NodeMark]) -> None:
        for mark in marks:
            for waiter in self._waiting.pop(mark):
                if not waiter.done():
                    waiter.set_result(True)


def _is_current(state: NodeState) -> bool:
    with suppress(BadAnswer):
        state.check_current()
        return True
    return False
