"""Following a chain block by block: added and removed blocks, without gaps or repetitions."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from functools import partial

from layer2.errors import BadAnswer
from layer2.protocols.evm.chain.heads import Heads, HeadWatcher
from layer2.protocols.evm.rpc.node import EvmNode, NodeBlock

__all__ = ["ChainFollower", "ChainPoint", "ChainStep"]

_STEP = 64
"""The most blocks in one step."""
_REMEMBERED = 20_000
"""Blocks that are remembered: eleven hours at 2 s per block. No reorganisation of a rollup goes below its last posted
batch; on Rootstock, they are more than a week."""
_DEEPEST = 1_000
"""Blocks below the first remembered one that are searched for the start of a branch."""
_MOST_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class ChainPoint:
    """A block of an earlier step, by height and hash (32 bytes)."""

    number: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class ChainStep:
    """The changes since the previous step: first the chain lost ``removed``, then it gained ``added``.

    Both are empty if only the safe or the finalized head has moved.
    """

    removed: tuple[ChainPoint, ...]
    """Newest first. All of them were in ``added`` of earlier steps."""
    added: tuple[NodeBlock, ...]
    """Oldest first. Each block is the child of the previous one."""
    heads: Heads
    """The heads at the time of this step. Later steps add the blocks between the last of ``added`` and the head."""


class ChainFollower:
    """Walks from the last returned block to the node's newest one, by parent hashes.

    A newest block that is an already returned one is not a reorganisation: a node behind a load balancer may lag. A
    reorganisation shows as another block at a returned height.

    Args:
        node: the party's own node.
        watcher: the node's heads.
        after: the block to start after; None starts with the newest block, which is then the first of ``added``.
    """

    def __init__(self, node: EvmNode, watcher: HeadWatcher, after: NodeBlock | None = None) -> None:
        self._node = node
        self._watcher = watcher
        self._returned: deque[ChainPoint] = deque(maxlen=_REMEMBERED)
        self._heads: Heads | None = None
        """The heads of the last step."""
        if after is not None:
            self._returned.append(ChainPoint(after.number, after.hash))

    async def next(self) -> ChainStep:
        """Wait until the chain changes, and return the next step. Followers at the same block share their requests.

        After a cancellation or an error, the next call continues from the same block.

        Raises:
            NodeError: the node did not answer several times in a row, or the client was closed.
            BadAnswer: the node contradicts itself repeatedly, or none of the returned blocks is on its chain.
        """
        recent = self._watcher.recent(self._watcher.interval) if self._returned else None
        for _ in range(_MOST_ATTEMPTS):
            heads = recent
            if heads is None:
                heads = await self._watcher.retrying(self._watcher.read)
            while not self._is_news(heads):
                heads = await self._watcher.moved_from(heads)
            step = await self._watcher.retrying(partial(self._step_to, heads))
            if step is not None:
                self._take(step)
                return step
            recent = None
        raise BadAnswer("the node's blocks do not follow each other", code="chain", retryable=True)

    def _is_news(self, heads: Heads) -> bool:
        """Whether there is a step to return."""
        latest = heads.latest
        if not self._returned or latest.hash == self._returned[-1].hash:
            return heads != self._heads
        if latest.number < self._returned[0].number:
            return False
        index = latest.number - self._returned[0].number
        return index >= len(self._returned) or self._returned[index].hash != latest.hash

    async def _step_to(self, heads: Heads) -> ChainStep | None:
        """The next step; None if the chain changed while it was read."""
        latest = heads.latest
        if not self._returned:
            return ChainStep((), (latest,), heads)
        if latest.hash == self._returned[-1].hash:
            return ChainStep((), (), heads)
        found = await self._fork(latest)
        if found is None:
            return None
        kept, fork = found
        removed = tuple([self._returned[index] for index in range(len(self._returned) - 1, kept - 1, -1)])
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
        """The number of returned blocks that are still on the chain, and the block that the new ones follow.

        None if the node lacks a block below its head, which happens if several nodes share one address.
        """
        returned, kept, width = self._returned, len(self._returned), 1
        if latest.header.parent_hash == returned[-1].hash:
            return kept, returned[-1]
        kept = min(kept, latest.number - returned[0].number + 1)
        while kept > 0:
            first = max(0, kept - width)
            blocks = await self._blocks(range(returned[first].number, returned[kept - 1].number + 1))
            for index in range(kept - 1, first - 1, -1):
                block = blocks[index - first]
                if block is None:
                    return None
                if block.hash == returned[index].hash:
                    return index + 1, returned[index]
            kept, width = first, min(2 * width, _STEP)
        return 0, await self._fork_below(returned[0])

    async def _fork_below(self, first: ChainPoint) -> ChainPoint:
        """The start of a branch that replaced even the first returned block. Nodes keep its ancestors by hash."""
        block = await self._node.block(first.hash)
        for _ in range(_DEEPEST):
            if block is None or block.number == 0:
                break
            parent = ChainPoint(block.number - 1, block.header.parent_hash)
            on_chain = await self._watcher.block(parent.number)
            if on_chain is not None and on_chain.hash == parent.hash:
                return parent
            block = await self._node.block(parent.hash)
        raise BadAnswer(
            "none of the earlier blocks is on the node's chain",
            code="chain",
            remedy="check which chain the node serves, and start again",
        )

    async def _blocks(self, numbers: range) -> list[NodeBlock | None]:
        return await asyncio.gather(*[self._watcher.block(number) for number in numbers])

    def _take(self, step: ChainStep) -> None:
        for _ in step.removed:
            self._returned.pop()
        for block in step.added:
            self._returned.append(ChainPoint(block.number, block.hash))
        # No reorganisation goes below a finalized block.
        while len(self._returned) > 1 and self._returned[0].number < step.heads.finalized.number:
            self._returned.popleft()
        self._heads = step.heads
