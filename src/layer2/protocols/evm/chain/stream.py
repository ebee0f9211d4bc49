"""One follower of the chain for all who watch it: each has every block once, from wherever it began."""

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

_REMEMBERED_PLACES = 64
_REMEMBERED_POINTS = 20_000
"""As many as ``ChainFollower`` keeps."""


@dataclass(eq=False, slots=True)
class _Place:
    """Where the shared follower stood after a step. All who stand here share the task that reads the next one."""

    step: ChainStep
    tip: NodeBlock
    following: asyncio.Task[_Place] | None = None


class ChainStream:
    """Hands out the chain's steps to any number of iterators, for the requests of one.

    Nothing is read while nobody waits. Who is slow holds up nobody: steps that were not taken yet are kept once for
    all. Who begins in the past goes the way alone until it meets the others.

    Args:
        node: the party's own node.
        watcher: its heads.
        reading: the tasks that read.
    """

    def __init__(self, node: EvmNode, watcher: HeadWatcher, reading: ReadTasks) -> None:
        self._node = node
        self._watcher = watcher
        self._reading = reading
        self._readers = 0
        self._forget()

    async def steps(self, after: NodeBlock | None = None) -> AsyncGenerator[ChainStep, None]:
        """Hand out every step of the chain, without gap or repeat.

        Args:
            after: the block to begin after. None begins with the newest one, as what the first step added.

        Raises:
            NodeError: the node could not be read several times in a row, or the client was closed.
        """
        async with self._reading.used(), aclosing(self._steps(_Way(after), after)) as steps:
            self._readers += 1
            try:
                async for step in steps:
                    yield step
            finally:
                self._readers -= 1
                if self._readers == 0:
                    self._forget()

    async def _steps(self, way: _Way, after: NodeBlock | None) -> AsyncGenerator[ChainStep, None]:
        place = self._places[-1] if self._places else await self._begun()
        if after is None:
            step = ChainStep((), (place.tip,), place.step.heads)
            if (news := way.news(step)) is not None:
                yield news
        else:
            async with aclosing(self._until_met(after)) as steps:
                async for step, met in steps:
                    place = met or place
                    if (news := way.news(step)) is not None:
                        yield news
        while True:
            place = await self._after(place)
            if (news := way.news(place.step)) is not None:
                yield news

    async def _until_met(self, after: NodeBlock) -> AsyncGenerator[tuple[ChainStep, _Place | None], None]:
        """Steps of a follower of one's own; the last is the step of a place of the others, which it met."""
        met = self._place_of((after,))
        follower = ChainFollower(self._node, self._watcher, after)
        reading: asyncio.Task[ChainStep] | None = None
        try:
            while met is None:
                reading = self._reading.start(follower.next)
                step = await self._reading.result(reading)
                met = self._place_of(step.added)
                yield step, None
        finally:
            if reading is not None:
                reading.cancel()
        # The others may be further than where they were met.
        yield met.step, met

    def _forget(self) -> None:
        """Begin anew with the next iterator."""
        self._follower: ChainFollower | None = None
        self._beginning: asyncio.Task[_Place] | None = None
        self._places: deque[_Place] = deque(maxlen=_REMEMBERED_PLACES)

    async def _begun(self) -> _Place:
        """The first place, at the newest block."""
        if self._beginning is None or has_failed(self._beginning):
            self._beginning = self._reading.start(self._begin)
        return await self._reading.result(self._beginning)

    async def _begin(self) -> _Place:
        heads = await self._watcher.read()
        self._follower = ChainFollower(self._node, self._watcher, heads.latest)
        place = _Place(ChainStep((), (heads.latest,), heads), heads.latest)
        self._places.append(place)
        return place

    async def _after(self, place: _Place) -> _Place:
        """The place after that one; it is read for all who ask."""
        if place.following is None or has_failed(place.following):
            place.following = self._reading.start(self._advance)
        return await self._reading.result(place.following)

    async def _advance(self) -> _Place:
        assert self._follower is not None
        step = await self._follower.next()
        place = _Place(step, step.added[-1] if step.added else self._places[-1].tip)
        self._places.append(place)
        return place

    def _place_of(self, blocks: tuple[NodeBlock, ...]) -> _Place | None:
        """The newest place that is at one of these blocks, or whose step went through the last of them."""
        hashes = {block.hash for block in blocks}
        for place in reversed(self._places):
            if place.tip.hash in hashes or any(block.hash == blocks[-1].hash for block in place.step.added if blocks):
                return place
        return None


class _Way:
    """What one iterator was handed out and may have to take back: the blocks above the finalized one.

    Args:
        after: the block that it began after.
    """

    def __init__(self, after: NodeBlock | None) -> None:
        self._points: deque[ChainPoint] = deque(maxlen=_REMEMBERED_POINTS)
        self._hashes: set[bytes] = set()
        self._heads: Heads | None = None
        self._began_after = None if after is None else after.hash
        if after is not None:
            self._put(after)

    def news(self, step: ChainStep) -> ChainStep | None:
        """The step as it is from here, without what was handed out and with what went; None where nothing is new."""
        known = max([place + 1 for place, block in enumerate(step.added) if block.hash in self._hashes], default=0)
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
