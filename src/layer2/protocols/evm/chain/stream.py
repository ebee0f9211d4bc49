"""Sharing one follower of the chain between all iterators. Each iterator gets every block once."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

from layer2.protocols.evm.chain.follower import ChainFollower, ChainPoint, ChainStep
from layer2.protocols.evm.chain.heads import Heads, HeadWatcher
from layer2.protocols.evm.chain.read_tasks import ReadTasks, has_failed
from layer2.protocols.evm.rpc.node import EvmNode, NodeBlock

__all__ = ["ChainStream"]

_REMEMBERED_POSITIONS = 64
_REMEMBERED_POINTS = 20_000
"""As many as ``ChainFollower`` remembers."""


@dataclass(eq=False, slots=True)
class _Position:
    """The shared follower's position after a step. All iterators at this position share the read of the next step."""

    step: ChainStep
    tip: NodeBlock
    following: asyncio.Task[_Position] | None = None


class ChainStream:
    """Yields the chain's steps to any number of iterators, with the requests of one.

    Nothing is read while no iterator waits. A slow iterator does not delay the others: pending steps are kept once for
    all. An iterator that starts in the past reads on its own until it reaches the others.

    Args:
        node: the party's own node.
        watcher: the node's heads.
        reading: runs the reads.
    """

    def __init__(self, node: EvmNode, watcher: HeadWatcher, reading: ReadTasks) -> None:
        self._node = node
        self._watcher = watcher
        self._reading = reading
        self._readers = 0
        self._forget()

    async def steps(self, after: NodeBlock | None = None) -> AsyncGenerator[ChainStep, None]:
        """Yield every step of the chain, without gaps or repetitions.

        Args:
            after: the block to start after. None starts with the newest block, which the first step adds.

        Raises:
            NodeError: the node could not be read several times in a row, or the client was closed.
        """
        async with self._reading.used(), aclosing(self._steps(_Yielded(after), after)) as steps:
            self._readers += 1
            try:
                async for step in steps:
                    yield step
            finally:
                self._readers -= 1
                if self._readers == 0:
                    self._forget()

    async def _steps(self, yielded: _Yielded, after: NodeBlock | None) -> AsyncGenerator[ChainStep, None]:
        position = self._positions[-1] if self._positions else await self._begun()
        if after is None:
            step = ChainStep((), (position.tip,), position.step.heads)
            if (news := yielded.news(step)) is not None:
                yield news
        else:
            async with aclosing(self._until_met(after)) as steps:
                async for step, met in steps:
                    position = met or position
                    if (news := yielded.news(step)) is not None:
                        yield news
        while True:
            position = await self._after(position)
            if (news := yielded.news(position.step)) is not None:
                yield news

    async def _until_met(self, after: NodeBlock) -> AsyncGenerator[tuple[ChainStep, _Position | None], None]:
        """Steps of a separate follower until it reaches a position of the shared one, which is the last item."""
        met = self._position_of((after,))
        follower = ChainFollower(self._node, self._watcher, after)
        reading: asyncio.Task[ChainStep] | None = None
        try:
            while met is None:
                reading = self._reading.start(follower.next)
                step = await self._reading.result(reading)
                met = self._position_of(step.added)
                yield step, None
        finally:
            if reading is not None:
                reading.cancel()
        # The shared follower may be further ahead than this position.
        yield met.step, met

    def _forget(self) -> None:
        """Forget all positions. The next iterator starts again."""
        self._follower: ChainFollower | None = None
        self._beginning: asyncio.Task[_Position] | None = None
        self._positions: deque[_Position] = deque(maxlen=_REMEMBERED_POSITIONS)

    async def _begun(self) -> _Position:
        """The first position, at the newest block."""
        if self._beginning is None or has_failed(self._beginning):
            self._beginning = self._reading.start(self._begin)
        return await self._reading.result(self._beginning)

    async def _begin(self) -> _Position:
        heads = await self._watcher.read()
        self._follower = ChainFollower(self._node, self._watcher, heads.latest)
        position = _Position(ChainStep((), (heads.latest,), heads), heads.latest)
        self._positions.append(position)
        return position

    async def _after(self, position: _Position) -> _Position:
        """The position after that one. All iterators share the read."""
        if position.following is None or has_failed(position.following):
            position.following = self._reading.start(self._advance)
        return await self._reading.result(position.following)

    async def _advance(self) -> _Position:
        assert self._follower is not None
        step = await self._follower.next()
        position = _Position(step, step.added[-1] if step.added else self._positions[-1].tip)
        self._positions.append(position)
        return position

    def _position_of(self, blocks: tuple[NodeBlock, ...]) -> _Position | None:
        """The newest position at one of these blocks, or whose step added the last of them."""
        hashes = {block.hash for block in blocks}
        for position in reversed(self._positions):
            if position.tip.hash in hashes or any(
                block.hash == blocks[-1].hash for block in position.step.added if blocks
            ):
                return position
        return None


class _Yielded:
    """The blocks that one iterator has yielded and that a reorganisation may remove.

    Args:
        after: the block that the iterator started after.
    """

    def __init__(self, after: NodeBlock | None) -> None:
        self._points: deque[ChainPoint] = deque(maxlen=_REMEMBERED_POINTS)
        self._hashes: set[bytes] = set()
        self._heads: Heads | None = None
        self._began_after = None if after is None else after.hash
        if after is not None:
            self._put(after)

    def news(self, step: ChainStep) -> ChainStep | None:
        """The step as seen from here: without yielded blocks, and with the removed ones. None if nothing changed."""
        known = max(
            [position + 1 for position, block in enumerate(step.added) if block.hash in self._hashes], default=0
        )
        added = step.added[known:]
        removed: list[ChainPoint] = []
        while added and self._points and self._points[-1].hash != added[0].header.parent_hash:
            point = self._points.pop()
            self._hashes.discard(point.hash)
            if point.hash != self._began_after:
                removed.append(point)
        for block in added:
            self._put(block)
        while len(self._points) > 1 and self._points[0].number < step.heads.finalized.number:
            self._hashes.discard(self._points.popleft().hash)
        if not added and step.heads == self._heads:
            return None
        self._heads = step.heads
        return ChainStep(tuple(removed), added, step.heads)

    def _put(self, block: NodeBlock) -> None:
        if len(self._points) == _REMEMBERED_POINTS:
            self._hashes.discard(self._points[0].hash)
        self._points.append(ChainPoint(block.number, block.hash))
        self._hashes.add(block.hash)
