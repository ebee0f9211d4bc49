"""Bitcoin blocks for swaps."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

from layer2.local.network import LocalNetworkControl

__all__ = ["BitcoinMiner"]

_LOOK_SECONDS: Final = 0.3
_FINAL_BLOCKS: Final = 3
"""After the block of a transaction; one more than the depth at which the parties of a local network count it as final,
because their reading may be a block behind."""


class BitcoinMiner:
    """Makes the blocks that transactions need, and no others, because deadlines count blocks.

    A transaction that waits is mined soon. While finality is quick, so are the blocks that make it final.
    """

    def __init__(self, control: LocalNetworkControl) -> None:
        self._control = control
        self.is_automatic = True
        """Whether it makes blocks."""
        self._is_quick = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Make blocks until the block of code ends."""
        task = asyncio.create_task(self._run())
        try:
            yield
        finally:
            task.cancel()
            # If the miner failed, so does the test.
            with suppress(asyncio.CancelledError):
                await task

    @asynccontextmanager
    async def quick_finality(self) -> AsyncIterator[None]:
        """While the context is active, mined transactions soon become final."""
        self._is_quick = True
        try:
            yield
        finally:
            self._is_quick = False

    async def _run(self) -> None:
        while True:
            if self.is_automatic and (blocks := await self._blocks_due()):
                await self._control.mine_bitcoin(blocks)
            await asyncio.sleep(_LOOK_SECONDS)

    async def _blocks_due(self) -> int:
        status = (await self._control.status())["bitcoin"]
        final = _FINAL_BLOCKS if self._is_quick else 0
        return 1 + final if status["unconfirmed"] else max(0, final - status["empty_blocks"])
