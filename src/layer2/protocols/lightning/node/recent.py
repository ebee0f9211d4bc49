"""What the node reported of itself a moment ago, so that frequent calls need no request each."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Final

from layer2.aio.shared_call import SharedCall
from layer2.ports.clock import Clock
from layer2.protocols.lightning.node.state import LndNode, NodeState

__all__ = ["RecentNodeState"]

_LIFE: Final = 5.0
"""Seconds."""


@dataclass(frozen=True, slots=True)
class _Reading:
    state: NodeState
    asked_at: float
    """By this machine's clock."""
    asked_at_in_loop: float
    """By one that nobody sets, but which may stand still while the machine sleeps."""


class RecentNodeState:
    """A state that is fit for use and a few seconds old at most, with the date that the node has by now.

    Args:
        node: whose state.
        clock: this machine's.
    """

    def __init__(self, node: LndNode, clock: Clock) -> None:
        self._node = node
        self._clock = clock
        self._reading: _Reading | None = None
        self._shared = SharedCall(self._read)

    async def get(self) -> NodeState:
        """The state.

        Raises:
            BadAnswer: the node is not synced, or has another time.
            NodeError: it cannot be asked.
        """
        reading = self._reading
        if reading is not None:
            ages = (
                self._clock.now() - reading.asked_at,
                asyncio.get_running_loop().time() - reading.asked_at_in_loop,
            )
            if min(ages) >= 0 and max(ages) <= _LIFE:
                return replace(reading.state, date=reading.state.date + max(ages))
        return (await self._shared.get()).state

    async def aclose(self) -> None:
        """Forget it, and end what is being asked."""
        self._reading = None
        await self._shared.aclose()

    async def _read(self) -> _Reading:
        asked_at, asked_at_in_loop = self._clock.now(), asyncio.get_running_loop().time()
        self._reading = _Reading(await self._node.current_state(), asked_at, asked_at_in_loop)
        return self._reading
