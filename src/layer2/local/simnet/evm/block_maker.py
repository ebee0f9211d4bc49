"""Make the blocks of a chain automatically."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass

from layer2.local.simnet.evm.node import EvmNode

__all__ = ["Automatic", "BlockMaker"]


@dataclass(frozen=True, slots=True)
class Automatic:
    """When blocks are made.

    Args:
        gather_seconds: seconds between the arrival of a transaction and its block, so that others share it; with zero
            the event loop makes the block next, and None makes no blocks for transactions.
        every_seconds: seconds between blocks of the timer; None for no timer.
    """

    gather_seconds: float | None
    every_seconds: float | None


class BlockMaker:
    """Makes blocks on the running event loop, while it is enabled."""

    def __init__(self, node: EvmNode, automatic: Automatic) -> None:
        self._node = node
        self._automatic = automatic
        self._enabled = True
        self._scheduled: asyncio.TimerHandle | None = None
        self._timer: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start the timer, if there is one."""
        if self._automatic.every_seconds is not None:
            self._timer = asyncio.create_task(self._tick(self._automatic.every_seconds))

    async def stop(self) -> None:
        """Make no more blocks."""
        self._unschedule()
        if self._timer is not None:
            self._timer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._timer

    def set_enabled(self, enabled: bool) -> None:
        """Switch automatic blocks on or off; switching on makes one for the transactions that wait."""
        self._enabled = enabled
        if not enabled:
            self._unschedule()
        elif self._node.has_ready():
            self.on_transaction()

    def on_transaction(self) -> None:
        """Schedule a block for the transactions that wait."""
        gather = self._automatic.gather_seconds
        if self._enabled and gather is not None and self._scheduled is None:
            self._scheduled = asyncio.get_running_loop().call_later(gather, self._mine_ready)

    def _mine_ready(self) -> None:
        self._scheduled = None
        while self._node.has_ready():
            height = self._node.mine()
            block = self._node.chain.block_by_number(height)
            if block is None or not block.transactions:
                # The transactions that wait cannot be executed now; another attempt would fail the same way.
                return

    def _unschedule(self) -> None:
        if self._scheduled is not None:
            self._scheduled.cancel()
            self._scheduled = None

    async def _tick(self, seconds: float) -> None:
        while True:
            await asyncio.sleep(seconds)
            if self._enabled:
                self._node.mine()
