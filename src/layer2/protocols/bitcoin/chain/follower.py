"""Follows the chain: reads each block once for all watched scripts, and notices reorganisations."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from layer2.aio.shared_call import SharedCall
from layer2.errors import BadAnswer, FormatError
from layer2.formats.bitcoin_block import (
    MEDIAN_OF,
    BitcoinBlock,
    BitcoinHeader,
    decode_block,
    decode_header,
    median_time,
)
from layer2.formats.bitcoin_transaction import OutPoint, Transaction
from layer2.protocols.bitcoin.chain.matching import touched
from layer2.protocols.bitcoin.source.http import BITCOIN
from layer2.protocols.bitcoin.source.port import BlockId, ChainSource, Located

__all__ = ["ChainFollower", "ChainState"]

_DEEPEST: Final = 1_000
"""Blocks; a branch that goes back further is refused."""


@dataclass(frozen=True, slots=True)
class ChainState:
    """The newest block, and the clocks that it shows."""

    tip: BlockId
    time: int
    """The newest block's own time, in unix seconds."""
    median_time: int
    """The median time past (BIP 113), which lock times are compared with."""


@dataclass(slots=True)
class _Block:
    ref: BlockId
    header: BitcoinHeader


class ChainFollower:
    """The chain as one client sees it.

    Args:
        source: the node.
        poll_seconds: the age from which a reading is renewed.
        easiest: the highest target that a header may have. Without a limit, a chain costs its inventor nothing.
    """

    def __init__(self, source: ChainSource, poll_seconds: float, easiest: int) -> None:
        self._source = source
        self._easiest = easiest
        self._recent = SharedCall(self._read, poll_seconds)
        self._fresh = SharedCall(self._read)
        self._lock = asyncio.Lock()
        self._blocks: list[_Block] = []
        # Scripts by the height from which they are followed: those that are not searched yet, and the others.
        self._waiting: dict[bytes, int] = {}
        self._watched: dict[bytes, int] = {}
        self._outpoints: dict[OutPoint, bytes] = {}
        self._confirmed: defaultdict[bytes, list[Located]] = defaultdict(list)
        self._unconfirmed: Sequence[Transaction] = ()

    def watch(self, script: bytes, since: int, outpoint: OutPoint | None = None) -> None:
        """Follow an output script.

        Args:
            since: the height of the first block that may contain a payment to it.
            outpoint: an output to it, which may be older, so that what spends it is found.
        """
        if outpoint is not None and self._outpoints.get(outpoint) != script:
            if script in self._watched:
                since = min(since, self._watched[script])
                self.unwatch(script)
            self._outpoints[outpoint] = script
        if script not in self._watched:
            self._waiting[script] = min(since, self._waiting.get(script, since))

    def unwatch(self, script: bytes) -> None:
        """Follow a script no longer."""
        self._waiting.pop(script, None)
        self._watched.pop(script, None)
        self._confirmed.pop(script, None)
        self._outpoints = {point: each for point, each in self._outpoints.items() if each != script}

    async def read(self) -> ChainState:
        """The state of the chain, at most ``poll_seconds`` old. Several callers share one reading.

        Raises:
            NodeError: the node cannot be read, or what it shows is not a chain.
        """
        return await (self._fresh if self._waiting else self._recent).get()

    async def aclose(self) -> None:
        """End the readings; their callers get ``NodeUnreachable``."""
        await self._recent.aclose()
        await self._fresh.aclose()

    def located(self, script: bytes) -> Sequence[Located]:
        """The transactions that pay to a watched script or spend from it: confirmed ones in the chain's order, then
        those of the mempool, as of the last reading."""
        confirmed = self._confirmed.get(script, [])
        # A batch of payments has thousands of outputs: its hash is calculated once.
        seen = {each.transaction.hash: len(each.transaction.outputs) for each in confirmed}
        known = {OutPoint(tx_hash, at) for tx_hash, outputs in seen.items() for at in range(outputs)}
        touching = [
            each
            for each in self._unconfirmed
            if any(one.script == script for one in each.outputs)
            or any(one.prevout in known or self._outpoints.get(one.prevout) == script for one in each.inputs)
        ]
        return [*confirmed, *(Located(each, None) for each in touching if each.hash not in seen)]

    @property
    def state(self) -> ChainState | None:
        """The state of the chain as of the last reading; None before the first one."""
        return self._state if self._blocks else None

    @property
    def shown(self) -> object:
        """A value that differs if anything that ``state`` or ``located`` returns may differ."""
        return self._blocks[-1].ref.hash if self._blocks else None, frozenset([each.hash for each in self._unconfirmed])

    @property
    def _state(self) -> ChainState:
        newest = self._blocks[-1]
        median = median_time([each.header for each in self._blocks[-MEDIAN_OF:]])
        return ChainState(newest.ref, newest.header.time, median)

    async def _read(self) -> ChainState:
        async with self._lock:
            scripts = {*self._watched, *self._waiting}
            # In this order, a transaction that is mined between the two reads is in both of them and not in neither.
            unconfirmed = await self._source.unconfirmed(scripts, self._outpoints) if scripts else ()
            await self._follow(await self._source.tip())
            self._unconfirmed = unconfirmed
            return self._state

    async def _follow(self, tip: BlockId) -> None:
        await self._start(tip)
        await self._leave_stale_blocks(tip)
        since = min(self._waiting.values(), default=tip.height + 1)
        added, self._waiting = self._waiting, {}
        self._watched |= added
        for script in added:
            # A reading may have noted a part while the script was given up.
            self._confirmed.pop(script, None)
        try:
            for height in range(max(since, 0), min(self._blocks[-1].ref.height, tip.height) + 1):
                block = await self._block(BlockId(height, await self._hash_at(height)))
                self._note(block, height, {script for script, first in added.items() if first <= height})
            while self._blocks[-1].ref.height < tip.height:
                await self._extend()
        except BaseException:
            # Scan these scripts again from their beginning.
            for script in added:
                self.unwatch(script)
            self._waiting = added | self._waiting
            raise

    async def _start(self, tip: BlockId) -> None:
        """Read the headers that the median time needs."""
        if self._blocks:
            return
        first = max(0, tip.height - MEDIAN_OF + 1)
        heights = range(first, tip.height + 1)
        hashes = await asyncio.gather(*map(self._hash_at, heights))
        headers = await asyncio.gather(*map(self._source.header, hashes))
        for height, block_hash, header in zip(heights, hashes, headers, strict=True):
            self._append(_Block(BlockId(height, block_hash), self._header(header, block_hash)))

    async def _leave_stale_blocks(self, tip: BlockId) -> None:
        """Remove the blocks that are no longer in the best chain, with what they contained."""
        for _ in range(_DEEPEST):
            newest = self._blocks[-1].ref
            if await self._source.block_hash(newest.height) == newest.hash:
                return
            if len(self._blocks) <= 1:
                # The branch is older than every block that is known: search for everything again.
                self._waiting |= self._watched
                for state in (self._blocks, self._watched, self._confirmed, self._outpoints):
                    state.clear()
                await self._start(tip)
                return
            self._blocks.pop()
            self._forget_from(newest.height)
        raise BadAnswer(f"the node replaced more than {_DEEPEST} blocks", protocol=BITCOIN)

    def _forget_from(self, height: int) -> None:
        for script, found in self._confirmed.items():
            kept = [each for each in found if each.block is not None and each.block.height < height]
            self._confirmed[script] = kept

    async def _extend(self) -> None:
        height = self._blocks[-1].ref.height + 1
        ref = BlockId(height, await self._hash_at(height))
        if not self._watched:
            self._append(_Block(ref, self._header(await self._source.header(ref.hash), ref.hash)))
            return
        block = await self._block(ref)
        self._append(_Block(ref, block.header))
        self._note(block, height, set(self._watched))

    def _append(self, block: _Block) -> None:
        if self._blocks and block.header.parent != self._blocks[-1].ref.hash:
            raise BadAnswer("the chain changed while it was read", protocol=BITCOIN, retryable=True)
        self._blocks.append(block)
        del self._blocks[: -max(_DEEPEST, MEDIAN_OF)]

    async def _block(self, ref: BlockId) -> BitcoinBlock:
        try:
            block = decode_block(await self._source.block(ref.hash))
        except FormatError as error:
            raise BadAnswer(f"a block cannot be read: {error.message}", protocol=BITCOIN) from error
        self._header(block.header.encode(), ref.hash)
        return block

    def _note(self, block: BitcoinBlock, height: int, scripts: set[bytes]) -> None:
        """Note what touches these scripts."""
        ref = BlockId(height, block.header.hash)
        for transaction, hit in touched(block, scripts, self._outpoints):
            for script in hit & scripts:
                self._confirmed[script].append(Located(transaction, ref))

    async def _hash_at(self, height: int) -> bytes:
        found = await self._source.block_hash(height)
        if found is None:
            raise BadAnswer("the chain changed while it was read", protocol=BITCOIN, retryable=True)
        return found

    def _header(self, data: bytes, block_hash: bytes) -> BitcoinHeader:
        header = decode_header(data)
        if header.hash != block_hash or not header.has_work:
            raise BadAnswer("the node's block header is not the block's, or has no work", protocol=BITCOIN)
        if header.target > self._easiest:
            raise BadAnswer("the node's block has less work than any recent one of the network", protocol=BITCOIN)
        return header
