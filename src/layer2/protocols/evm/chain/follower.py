"""Following a chain block by block: what came, and what went in a reorganisation, without gap or repeat."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass

from layer2.errors import BadAnswer
from layer2.protocols.evm.chain.heads import Heads, HeadWatcher
from layer2.protocols.evm.rpc.node import EvmNode, NodeBlock

__all__ = ["ChainFollower", "ChainPoint", "ChainStep"]

_STEP = 64
"""Most blocks of one step."""
_REMEMBERED = 20_000
"""Points kept of the way, eleven hours at 2 s each: no rollup's head goes back further than its last posted batch."""
_DEEPEST = 1_000
"""Blocks below the first one of the way that are looked through for where a branch began."""
_MOST_TURNS = 5


@dataclass(frozen=True, slots=True)
class ChainPoint:
    """A block that was handed out, by height and hash (32 bytes)."""

    number: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class ChainStep:
    """What happened since the step before it; first ``removed`` went, then ``added`` came.

    Both are empty where the newest block is the same and another head has moved.
    """

    removed: tuple[ChainPoint, ...]
    """Newest first; they were all handed out before."""
    added: tuple[NodeBlock, ...]
    """Oldest first; each is the child of the one before it."""
    heads: Heads
    """The heads as they were read for this step. Above the last block of ``added`` more may be to come."""


class ChainFollower:
    """Walks from the block that it handed out last to the node's newest one, by parent hashes.

    A head that goes back to a block that was handed out is no reorganisation: a node behind a load balancer may lag,
    and a real one shows itself by another block at a height that was handed out. Until then nothing is said.

    Args:
        node: the party's own node.
        watcher: its heads, and when to look again.
        after: the block to begin after; None begins with the newest one, which is then the first of ``added``.
    """

    def __init__(self, node: EvmNode, watcher: HeadWatcher, after: NodeBlock | None = None) -> None:
        self._node = node
        self._watcher = watcher
        self._way: deque[ChainPoint] = deque(maxlen=_REMEMBERED)
        self._heads: Heads | None = None
        if after is not None:
            self._way.append(ChainPoint(after.number, after.hash))

    async def next(self) -> ChainStep:
        """Wait for the chain to move on from what was handed out, and hand out the next step.

        Cancelling it loses nothing: the next call hands out the same step.

        Raises:
            NodeError: the node cannot be read; the next call goes on from the same block.
            BadAnswer: likewise; the node contradicts itself again and again, or the whole way is gone.
        """
        turns = 0
        while True:
            heads = await self._watcher.read()
            if not self._is_news(heads):
                await self._watcher.moved_from(heads)
                continue
            step = await self._step_to(heads)
            if step is not None:
                self._take(step)
                return step
            turns += 1
            if turns == _MOST_TURNS:
                raise BadAnswer("the node's blocks do not follow each other", code="chain", retryable=True)

    def _is_news(self, heads: Heads) -> bool:
        """Whether there is something to hand out."""
        latest = heads.latest
        if not self._way or latest.hash == self._way[-1].hash:
            return heads != self._heads
        if latest.number < self._way[0].number:
            return False
        place = latest.number - self._way[0].number
        return place >= len(self._way) or self._way[place].hash != latest.hash

    async def _step_to(self, heads: Heads) -> ChainStep | None:
        """The next step; None where the chain changed while it was read."""
        latest = heads.latest
        if not self._way:
            return ChainStep((), (latest,), heads)
        if latest.hash == self._way[-1].hash:
            return ChainStep((), (), heads)
        found = await self._fork(latest)
        if found is None:
            return None
        kept, fork = found
        removed = tuple([self._way[place] for place in range(len(self._way) - 1, kept - 1, -1)])
        above = min(latest.number, fork.number + _STEP)
        added = await self._blocks(range(fork.number + 1, min(above + 1, latest.number)))
        if above == latest.number:
            added.append(latest)
        blocks, parent = [], fork.hash
        for block in added:
            if block is None or block.header.parent_hash != parent:
                return None
            blocks.append(block)
            parent = block.hash
        return ChainStep(removed, tuple(blocks), heads)

    async def _fork(self, latest: NodeBlock) -> tuple[int, ChainPoint] | None:
        """How many points of the way are still on the chain, and the block from which it goes on.

        None where the node lacks a block below its own head, as one of several nodes behind one address may.
        """
        way, kept, width = self._way, len(self._way), 1
        if latest.header.parent_hash == way[-1].hash:
            return kept, way[-1]
        kept = min(kept, latest.number - way[0].number + 1)
        while kept > 0:
            first = max(0, kept - width)
            blocks = await self._blocks(range(way[first].number, way[kept - 1].number + 1))
            for place in range(kept - 1, first - 1, -1):
                block = blocks[place - first]
                if block is None:
                    return None
                if block.hash == way[place].hash:
                    return place + 1, way[place]
            kept, width = first, min(2 * width, _STEP)
        return 0, await self._fork_below(way[0])

    async def _fork_below(self, first: ChainPoint) -> ChainPoint:
        """Where the branch began that took even the first block: by its ancestors, which nodes keep by hash."""
        block = await self._node.block(first.hash)
        for _ in range(_DEEPEST):
            if block is None or block.number == 0:
                break
            parent = ChainPoint(block.number - 1, block.header.parent_hash)
            on_chain = await self._node.block(parent.number)
            if on_chain is not None and on_chain.hash == parent.hash:
                return parent
            block = await self._node.block(parent.hash)
        raise BadAnswer(
            "nothing that was seen is on the node's chain any more",
            code="chain",
            remedy="check which chain the node is on, and begin anew",
        )

    async def _blocks(self, numbers: range) -> list[NodeBlock | None]:
        return await asyncio.gather(*[self._node.block(number) for number in numbers])

    def _take(self, step: ChainStep) -> None:
        for _ in step.removed:
            self._way.pop()
        for block in step.added:
            self._way.append(ChainPoint(block.number, block.hash))
        self._heads = step.heads
