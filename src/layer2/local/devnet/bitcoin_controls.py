"""Control of the devnet's Bitcoin chain: blocks, time and reorganisations."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from typing import Final

from layer2.errors import InvalidRequest
from layer2.formats.bitcoin_block import MEDIAN_OF, BitcoinBlock, decode_block, median_time
from layer2.formats.bitcoin_transaction import Transaction, decode_transaction
from layer2.local.devnet.bitcoin import BitcoinNode
from layer2.local.devnet.lightning_pair import LightningPair
from layer2.local.regtest_blocks import made_block, subsidy

__all__ = ["BitcoinControls"]

_MOST_AHEAD: Final = 7_000
"""Seconds; nodes refuse a block that is two hours ahead of their clock."""
_DEEPEST: Final = 100


class BitcoinControls:
    """btcd's own miner makes ordinary blocks. It cannot choose a block's time or parent: such blocks are made here.

    Args:
        node: the chain.
        lightning: the nodes that follow it.
    """

    def __init__(self, node: BitcoinNode, lightning: LightningPair) -> None:
        self._node = node
        self._lightning = lightning

    async def mine(self, blocks: int) -> int:
        """Make blocks of what the mempool contains, and return the height.

        Raises:
            InvalidRequest: the number is less than one.
        """
        if blocks < 1:
            raise InvalidRequest(f"blocks: expected at least 1, not {blocks}")

        async def make() -> int:
            newest = await self._newest(MEDIAN_OF)
            if _median_time(newest) <= time.time():
                return await self._node.generate(blocks)
            # btcd's miner compares lock times with the machine's clock, and leaves out what waited for a later one.
            await self._add(await self._node.mempool(), newest, await self._node.height() + 1, 0)
            return await self._node.generate(blocks - 1) if blocks > 1 else await self._node.height()

        return await self._lightning.change_chain(make)

    async def set_automatic(self, enabled: bool) -> None:
        """Refuse: blocks are made on demand.

        Raises:
            InvalidRequest: always.
        """
        raise InvalidRequest("devnet makes Bitcoin blocks on demand only")

    async def set_finality(self, safe: int | None, finalized: int | None) -> None:
        """Refuse: Bitcoin has no finalized heads.

        Raises:
            InvalidRequest: always.
        """
        raise InvalidRequest("Bitcoin has no safe and finalized heads")

    async def advance_time(self, seconds: int) -> int:
        """Make a block of the mempool, and empty later ones until the median time past is later; return that time.

        Raises:
            InvalidRequest: nodes would refuse the blocks, because they are too far ahead of the machine's clock.
        """

        async def make() -> int:
            until = _median_time(await self._newest(MEDIAN_OF)) + seconds
            if until > time.time() + _MOST_AHEAD:
                raise InvalidRequest(f"a block can be {_MOST_AHEAD} s ahead of the machine's clock at most")
            await self._node.generate(1)
            while _median_time(newest := await self._newest(MEDIAN_OF)) < until:
                await self._add([], newest, await self._node.height() + 1, until)
            return await self._node.height()

        await self._lightning.change_chain(make)
        return _median_time(await self._newest(MEDIAN_OF))

    async def reorganise(self, depth: int, *, keep_transactions: bool, transactions: Sequence[bytes]) -> int:
        """Replace the last blocks by a branch that is one block longer, and return the height.

        Raises:
            InvalidRequest: a real node keeps the transactions; or the depth or a transaction is not valid.
        """
        if not keep_transactions:
            raise InvalidRequest("a real node keeps the transactions of removed blocks; use the simnet to drop them")
        if not 1 <= depth <= _DEEPEST:
            raise InvalidRequest(f"depth: expected 1 to {_DEEPEST}, not {depth}")
        added = [decode_transaction(raw) for raw in transactions]

        async def make() -> int:
            height = await self._node.height()
            branch = (await self._newest(MEDIAN_OF + depth))[:-depth]
            for number in range(height - depth + 1, height + 2):
                is_first = number == height - depth + 1
                branch.append(await self._add(added if is_first else [], branch, number, 0))
            return height + 1

        return await self._lightning.change_chain(make)

    async def _add(
        self, transactions: Sequence[Transaction], parents: Sequence[BitcoinBlock], height: int, least_time: int
    ) -> BitcoinBlock:
        """Make a block above the last of these and give it to the node."""
        block = made_block(
            parents[-1].header.hash,
            height,
            max(least_time, int(time.time()), _median_time(parents) + 1),
            transactions,
            reward=subsidy(height),
            branch=secrets.randbits(32),
        )
        await self._node.submit(block)
        return block

    async def _newest(self, count: int) -> list[BitcoinBlock]:
        """The newest blocks, the last one at the end."""
        height = await self._node.height()
        return [decode_block(await self._node.block(each)) for each in range(max(0, height - count + 1), height + 1)]


def _median_time(blocks: Sequence[BitcoinBlock]) -> int:
    """The median time past of the last block (BIP 113)."""
    return median_time([each.header for each in blocks])
