"""Reading the three heads of a chain: by their names, or by their depth below the newest block."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

from layer2.errors import BadAnswer
from layer2.model.layers import HeadDepths
from layer2.model.transactions import Finality
from layer2.protocols.evm.rpc.node_answers import BlockRef, NodeBlock

__all__ = ["DepthHeads", "HeadSource", "TagHeads"]

_Read: TypeAlias = Callable[[BlockRef], Awaitable[NodeBlock | None]]
_Found: TypeAlias = tuple[list[NodeBlock], list[NodeBlock | None]]


class HeadSource(ABC):
    """Reads heads of a node.

    Args:
        read: asks the node for a block.
        protocol: the layer's name, for errors.
    """

    def __init__(self, read: _Read, protocol: str) -> None:
        self._read = read
        self._protocol = protocol

    @abstractmethod
    async def heads(self, wanted: Sequence[Finality], heights: Sequence[int] = ()) -> _Found:
        """Read some heads, and the canonical blocks at some heights, in one batch, so that one node answers.

        Returns:
            The heads in the order of ``wanted``, and the blocks in the order of ``heights``: None above the newest one.

        Raises:
            BadAnswer: the node has no such head, or its chain changed while it was read (retryable).
        """

    def _bad(self, problem: str) -> BadAnswer:
        return BadAnswer(problem, protocol=self._protocol, operation="heads", retryable=True)


class TagHeads(HeadSource):
    """The heads that a node knows by name: ``latest``, ``safe`` and ``finalized``."""

    async def heads(self, wanted: Sequence[Finality], heights: Sequence[int] = ()) -> _Found:
        """See ``HeadSource.heads``."""
        blocks, found = await asyncio.gather(
            asyncio.gather(*[self._read(height) for height in heights]),
            asyncio.gather(*[self._read(finality) for finality in wanted]),
        )
        heads = [block for block in found if block is not None]
        if len(heads) < len(wanted):
            missing = next(finality.value for finality, block in zip(wanted, found, strict=True) if block is None)
            raise self._bad(f"the node has no {missing} block")
        return heads, blocks


class DepthHeads(HeadSource):
    """The heads of a chain whose nodes know ``latest`` only: a block is safe or finalized by the blocks above it.

    Args:
        read: asks the node for a block.
        protocol: the layer's name, for errors.
        depths: how many blocks are above the two older heads.
    """

    def __init__(self, read: _Read, protocol: str, depths: HeadDepths) -> None:
        super().__init__(read, protocol)
        self._depths = {Finality.LATEST: 0, Finality.SAFE: depths.safe, Finality.FINALIZED: depths.final}
        self._last: list[NodeBlock] = []
        """The three heads of the last read."""

    async def heads(self, wanted: Sequence[Finality], heights: Sequence[int] = ()) -> _Found:
        """See ``HeadSource.heads``.

        The newest block is read before and after the others. If it is the same, they are its ancestors: its hash
        commits to them, and the node had them on its chain meanwhile.
        """
        newest = await self._read(Finality.LATEST)
        if newest is None:
            raise self._bad("the node has no newest block")
        if not heights:
            if all(finality is Finality.LATEST for finality in wanted):
                return [newest for _ in wanted], []
            if self._last and self._last[0].hash == newest.hash:
                return [self._last[list(Finality).index(finality)] for finality in wanted], []
        top = newest.number
        below = [max(0, top - depth) for depth in self._depths.values()]
        before, *blocks, after = await asyncio.gather(*[self._read(height) for height in (top, *below, *heights, top)])
        heads = [block for block in blocks[: len(below)] if block is not None]
        if before is None or after is None or before.hash != after.hash or len(heads) < len(below):
            raise self._bad(f"the chain changed while its heads were read, or the node lost block {top}")
        self._check_one_chain([before, *heads, *[block for block in blocks[len(below) :] if block is not None]])
        self._last = heads
        return [heads[list(Finality).index(finality)] for finality in wanted], blocks[len(below) :]

    def _check_one_chain(self, blocks: Sequence[NodeBlock]) -> None:
        """Check the blocks against each other, as far as they are equal or neighbours.

        Raises:
            BadAnswer: two of them cannot be on one chain.
        """
        hashes: dict[int, bytes] = {}
        for block in blocks:
            if hashes.setdefault(block.number, block.hash) != block.hash:
                raise self._bad(f"the node answered with two blocks {block.number}")
        for block in blocks:
            if hashes.get(block.number - 1, block.header.parent_hash) != block.header.parent_hash:
                raise self._bad(f"block {block.number - 1} of the node is not the parent of its block {block.number}")
