"""What is new about locks: one read of each block serves every swap that waits or sleeps."""

from __future__ import annotations

import asyncio
import copy
import heapq
import itertools
import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, TypeAlias

from layer2.errors import NodeError, NodeUnreachable
from layer2.model.transactions import Finality
from layer2.ports.legs import LegListener
from layer2.protocols.bounded_dict import BoundedDict
from layer2.protocols.compact_map import CompactMap
from layer2.protocols.evm.chain.follower import ChainFollower, ChainStep
from layer2.protocols.evm.chain.heads import Heads, HeadWatcher
from layer2.protocols.evm.chain.logs import LogFilter
from layer2.protocols.evm.locks.events import FoundEvent, LockEvents
from layer2.protocols.evm.rpc.node import EvmNode

__all__ = ["LockNews"]

LOG: Final = logging.getLogger("layer2.evm")
_REMEMBERED_STEPS: Final = 1_000
_REMEMBERED_HASHES: Final = 100_000
_FEWEST_TIMERS: Final = 1_000

_Waiter: TypeAlias = asyncio.Future[None]
_HeadsKey: TypeAlias = tuple[bytes, bytes, bytes]


class LockNews:
    """Follows the contract's events, ends the waits that they concern, and reports them to listeners.

    A payment hash has news when one of its events is added to the chain or removed from it, and again when the block of
    its newest event becomes safe and finalized. So a new block costs nothing for a swap that it does not concern.

    Args:
        node: the party's own node.
        watcher: the node's heads.
        events: searches the contract's events.
        contract: the HTLC contract, 20 bytes.
        on_event: is called with every event that is added.
    """

    def __init__(
        self,
        node: EvmNode,
        watcher: HeadWatcher,
        events: LockEvents,
        contract: bytes,
        on_event: Callable[[FoundEvent], None],
    ) -> None:
        self._node = node
        self._watcher = watcher
        self._events = events
        self._wanted = LogFilter(frozenset({contract}), ())
        self._on_event = on_event
        self._running: asyncio.Task[None] | None = None
        self._numbers = itertools.count(1)
        self._heads: Heads | None = None
        """The heads of the last step; before the first one, those of the observation that started the task."""
        self._steps: BoundedDict[_HeadsKey, int] = BoundedDict(_REMEMBERED_STEPS)
        self._news: BoundedDict[bytes, int] = BoundedDict(_REMEMBERED_HASHES)
        """The last step with news of a payment hash."""
        self._blocks: dict[bytes, int] = {}
        """The block of the newest event of a payment hash, until it is finalized."""
        self._unsettled: dict[Finality, list[tuple[int, bytes]]] = {Finality.SAFE: [], Finality.FINALIZED: []}
        """Heaps of blocks that do not have this finality yet, with the payment hashes of their events."""
        self._waiters: defaultdict[bytes, set[_Waiter]] = defaultdict(set)
        self._listeners: CompactMap[LegListener | tuple[LegListener, ...]] = CompactMap()
        """A tuple only for several, because a hash rarely has more than one."""
        self._timers: dict[Finality, list[tuple[int, int, _Waiter]]] = {Finality.LATEST: [], Finality.FINALIZED: []}
        """Heaps of times that a head has to reach."""

    async def wait(self, payment_hash: bytes, heads: Heads, deadline: int) -> None:
        """Wait until a lock under a hash may differ from an observation, or the chain's clock reaches its deadline.

        Args:
            payment_hash: 32 bytes.
            heads: those of the observation.
            deadline: unix seconds. The newest block that reaches it ends the wait, later the finalized block.

        Raises:
            NodeError: the node did not answer several times in a row, or the client was closed.
        """
        key = _key(heads)
        self._start(key, heads)
        if self._may_have_missed(payment_hash, key, heads):
            # At once, unless the node still shows these heads.
            await self._watcher.moved_from(heads)
            return
        waiter: _Waiter = asyncio.get_running_loop().create_future()
        self._waiters[payment_hash].add(waiter)
        for finality, timers in self._timers.items():
            if heads.at(finality).timestamp < deadline:
                heapq.heappush(timers, (deadline, next(self._numbers), waiter))
                _prune(timers, len(self._waiters))
                break
        try:
            await waiter
        finally:
            self._leave(payment_hash, waiter)

    def follow(self, payment_hash: bytes, heads: Heads, listener: LegListener) -> bool:
        """Report to a listener, until ``unfollow``, that a lock under a hash may differ from an observation.

        No time is reported.

        Args:
            payment_hash: 32 bytes.
            heads: those of the observation.

        Returns:
            False, with nothing to be reported: there may have been news since the observation.
        """
        key = _key(heads)
        self._start(key, heads)
        if self._may_have_missed(payment_hash, key, heads):
            return False
        others = self._listeners_of(payment_hash)
        self._listeners[payment_hash] = (*others, listener) if others else listener
        return True

    def unfollow(self, payment_hash: bytes, listener: LegListener) -> None:
        """End ``follow``. Has no effect for a listener that does not follow the hash."""
        known = self._listeners.get(payment_hash)
        if known is listener:
            self._listeners.pop(payment_hash)
        elif isinstance(known, tuple):
            kept = tuple([each for each in known if each is not listener])
            self._listeners[payment_hash] = kept[0] if len(kept) == 1 else kept

    def settles_at(self, payment_hash: bytes, block: int, heads: Heads) -> None:
        """Note the block of a hash's newest event, whose finality is news."""
        if block > heads.finalized.number and self._blocks.get(payment_hash) != block:
            self._blocks[payment_hash] = block
            for waiting in self._unsettled.values():
                heapq.heappush(waiting, (block, payment_hash))

    async def aclose(self) -> None:
        """End the task. Waiting callers get the error that the client was closed."""
        self._listeners.clear()
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
        self._fail(NodeUnreachable("the client was closed", retryable=False))

    def _start(self, key: _HeadsKey, heads: Heads) -> None:
        if self._running is None:
            # What happened between two runs is not known.
            self._begin_at(key, heads)
            follower = ChainFollower(self._node, self._watcher, heads.latest)
            self._running = asyncio.get_running_loop().create_task(self._run(follower))

    def _begin_at(self, key: _HeadsKey, heads: Heads) -> None:
        self._steps.clear()
        self._heads, self._steps[key] = heads, next(self._numbers)

    def _listeners_of(self, payment_hash: bytes) -> tuple[LegListener, ...]:
        known = self._listeners.get(payment_hash)
        return () if known is None else _several(known)

    def _may_have_missed(self, payment_hash: bytes, key: _HeadsKey, heads: Heads) -> bool:
        step = self._steps.get(key)
        if step is None:
            # Heads that are newer than the last step miss nothing. Others are too old, or have left the chain.
            return self._heads is not None and heads.latest.number <= self._heads.latest.number
        return self._news.get(payment_hash, 0) > step

    def _leave(self, payment_hash: bytes, waiter: _Waiter) -> None:
        waiters = self._waiters[payment_hash]
        waiters.discard(waiter)
        if not waiters:
            del self._waiters[payment_hash]

    async def _run(self, follower: ChainFollower) -> None:
        try:
            while self._waiters or self._listeners:
                try:
                    step = await follower.next()
                except NodeError as error:
                    self._fail(error)
                    if not self._listeners:
                        return
                    follower = await self._continued(follower, error)
                else:
                    await self._step(step)
        except Exception as error:
            # No caller may wait forever because of a fault in this package.
            LOG.exception("the events of locks are no longer followed")
            self._fail(NodeError(f"unexpected {type(error).__name__}"))
            self._report_missed()
        finally:
            self._running = None

    async def _continued(self, follower: ChainFollower, error: NodeError) -> ChainFollower:
        """The follower after an error: the same one, which continues from its last block, if that can be on the chain.

        A sleeping swap needs no turn because its node is down.
        """
        await asyncio.sleep(self._watcher.interval)
        if error.code != "chain" or error.retryable:
            return follower
        try:
            heads = await self._watcher.read()
        except NodeError:
            return follower
        self._begin_at(_key(heads), heads)
        for payment_hash in list(self._waiters):
            self._wake(payment_hash)
        self._report_missed()
        return ChainFollower(self._node, self._watcher, heads.latest)

    async def _step(self, step: ChainStep) -> None:
        number = next(self._numbers)
        added = await self._added(step)
        # After the last wait: an observation of a removed block can have been noted meanwhile.
        removed = self._removed(step)
        if step.removed or added is None:
            # An observation that was made before it, and waits later, returns at once.
            self._steps.clear()
        hashes = removed | (set(self._waiters) if added is None else added)
        for finality, waiting in self._unsettled.items():
            hashes |= self._settled(waiting, finality, step.heads.at(finality).number)
        self._steps[_key(step.heads)] = number
        self._heads = step.heads
        for payment_hash in hashes:
            self._news[payment_hash] = number
            self._wake(payment_hash)
            for listener in self._listeners_of(payment_hash):
                listener.changed()
        if added is None:
            self._report_missed()
        for finality, timers in self._timers.items():
            while timers and timers[0][0] <= step.heads.at(finality).timestamp:
                _end(heapq.heappop(timers)[2])

    def _wake(self, payment_hash: bytes) -> None:
        for waiter in self._waiters.get(payment_hash, ()):
            _end(waiter)

    def _report_missed(self) -> None:
        for known in tuple(self._listeners.values()):
            for listener in _several(known):
                listener.missed()

    def _removed(self, step: ChainStep) -> set[bytes]:
        if not step.added:
            return set()
        # Also blocks from before the follower's start, and blocks that it never returned.
        first = step.added[0].number
        return {payment_hash for payment_hash, block in self._blocks.items() if block >= first}

    async def _added(self, step: ChainStep) -> set[bytes] | None:
        blocks = [block for block in step.added if self._wanted.may_be_in(block)]
        if not blocks:
            return set()
        try:
            search = partial(self._events.between, blocks[0].number, blocks[-1])
            found: Sequence[FoundEvent] = await self._watcher.retrying(search)
        except NodeError as error:
            LOG.warning("the events of blocks %d to %d are unknown: %s", blocks[0].number, blocks[-1].number, error)
            return None
        for each in reversed(found):
            self._on_event(each)
            self.settles_at(each.event.payment_hash, each.found.block_number, step.heads)
        return {each.event.payment_hash for each in found}

    def _settled(self, waiting: list[tuple[int, bytes]], finality: Finality, height: int) -> set[bytes]:
        settled = set()
        while waiting and waiting[0][0] <= height:
            block, payment_hash = heapq.heappop(waiting)
            settled.add(payment_hash)
            if finality is Finality.FINALIZED and self._blocks.get(payment_hash) == block:
                del self._blocks[payment_hash]
        return settled

    def _fail(self, error: NodeError) -> None:
        for waiters in self._waiters.values():
            for waiter in waiters:
                if not waiter.done():
                    # Each waiter gets its own error, because raising adds a traceback to it.
                    waiter.set_exception(copy.copy(error))


def _prune(timers: list[tuple[int, int, _Waiter]], waiting: int) -> None:
    """Remove the timers of waits that have ended, once they are most of the heap."""
    if len(timers) > _FEWEST_TIMERS + 2 * waiting:
        timers[:] = [each for each in timers if not each[2].done()]
        heapq.heapify(timers)


def _several(known: LegListener | tuple[LegListener, ...]) -> tuple[LegListener, ...]:
    return known if isinstance(known, tuple) else (known,)


def _key(heads: Heads) -> _HeadsKey:
    return heads.latest.hash, heads.safe.hash, heads.finalized.hash


def _end(waiter: _Waiter) -> None:
    if not waiter.done():
        waiter.set_result(None)
