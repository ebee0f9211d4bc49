"""Reading the state of a leg's lock from the party's own node."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final, NamedTuple, TypeVar

from layer2.contracts.htlc import (
    CLAIMED,
    LOCKED,
    REFUNDED,
    ClaimedEvent,
    HtlcLock,
    LockedEvent,
    LockStatus,
    RefundedEvent,
    decode_spent,
    decode_status,
    spent_call,
    status_call,
)
from layer2.errors import (
    BadAnswer,
    FormatError,
    FundsRulesError,
    InvalidRequest,
    NodeRefused,
    ProtocolNotImplemented,
)
from layer2.legs.evidence import EvmEvidence, EvmStorageEvidence, write_evidence
from layer2.legs.evm import EvmLeg
from layer2.legs.leg import Htlc
from layer2.legs.timelock_settings import settings_for
from layer2.legs.views import ClockReading, LegState, LegView
from layer2.model.layers import Layer2ProtocolType
from layer2.model.transactions import Finality, Preimage
from layer2.ports.legs import LegListener
from layer2.protocols.bounded_dict import BoundedDict
from layer2.protocols.evm.chain.heads import Heads, HeadWatcher
from layer2.protocols.evm.chain.receipt_evidence import evidence_source
from layer2.protocols.evm.chain.storage_evidence import ProvenStorage
from layer2.protocols.evm.locks.events import FoundEvent, LockEvents
from layer2.protocols.evm.locks.news import LockNews
from layer2.protocols.evm.rpc.chain_format import EthereumFormat
from layer2.protocols.evm.rpc.node import EvmNode, NodeBlock
from layer2.protocols.evm.settings import EvmSettings

__all__ = ["Locks"]

LOG: Final = logging.getLogger("layer2.evm")

T = TypeVar("T")


class _Observation(NamedTuple):
    """The last observation of a lock. At the same heads the next one is the same."""

    heads: Heads
    finality: Finality
    view: LegView


_EVENTS = {LockStatus.LOCKED: LOCKED, LockStatus.CLAIMED: CLAIMED, LockStatus.REFUNDED: REFUNDED}
_NAMES = {LockedEvent: LOCKED, ClaimedEvent: CLAIMED, RefundedEvent: REFUNDED}
_REMEMBERED = 10_000
_PRUNED = "the node does not keep the states of its safe and finalized blocks: use an archive node"


class Locks:
    """Reads locks of the HTLC contract.

    Args:
        node: the party's own node.
        watcher: the node's heads.
        events: searches the contract's events.
        settings: the layer's settings.
        protocol: the layer.
    """

    def __init__(
        self,
        node: EvmNode,
        watcher: HeadWatcher,
        events: LockEvents,
        settings: EvmSettings,
        protocol: Layer2ProtocolType,
    ) -> None:
        self._node = node
        self._watcher = watcher
        self._events = events
        self._chain_id, self._asset = settings.chain_id, settings.asset
        self._head_life = settings.head_life_ms / 1_000
        self._protocol = protocol
        self._final_time = settings_for(settings.network).margins(protocol).final_time
        self._receipts = evidence_source(node, protocol)
        # rskj has no eth_getProof.
        self._storage = ProvenStorage(node, protocol) if isinstance(node.format, EthereumFormat) else None
        self._news = LockNews(node, watcher, events, self._asset.contract, self._note)
        self._observed: dict[bytes, _Observation] = {}
        # A reorganisation does not make the contents of an event secret or wrong.
        self._found: BoundedDict[tuple[bytes, bytes], FoundEvent | None] = BoundedDict(_REMEMBERED)
        self._times: BoundedDict[bytes, int] = BoundedDict(_REMEMBERED)

    def lock(self, htlc: Htlc) -> HtlcLock:
        """The lock that a leg describes.

        Raises:
            FundsRulesError: the leg is of another layer, contract or token than the configuration.
        """
        leg = htlc.leg
        if not isinstance(leg, EvmLeg) or leg.protocol is not self._protocol:
            raise FundsRulesError(f"the leg is not a {self._protocol.value} leg")
        asset = self._asset
        expected = (self._chain_id, asset.contract, asset.token)
        if (leg.chain_id, leg.contract, leg.token) != expected:
            raise FundsRulesError("the leg has another chain, contract or token than the configuration")
        if leg.token_decimals != asset.decimals:
            raise FundsRulesError(f"the leg's token has {leg.token_decimals} decimals, not {asset.decimals}")
        try:
            return leg.lock(htlc.payment_hash, htlc.terms_hash)
        except FormatError as error:
            raise FundsRulesError(error.message) from error

    async def status(self, lock_id: bytes, block: NodeBlock) -> LockStatus:
        """A lock's status in the contract after a block, which is identified by its hash."""
        return await self._state(status_call(lock_id), decode_status, block, LockStatus.NONE)

    async def is_spent(self, payment_hash: bytes, block: NodeBlock) -> bool:
        """Whether a claim had made the preimage public after a block."""
        return await self._state(spent_call(payment_hash), decode_spent, block, False)

    async def observe(self, htlc: Htlc) -> LegView:
        """Read a leg. All states are read by the hashes of the same three heads."""
        lock = self.lock(htlc)
        heads = self._watcher.recent(self._head_life) or await self._watcher.read()
        known = self._observed.get(lock.lock_id)
        if known is None or (known.heads, known.finality) != (heads, htlc.leg.finality):
            was_claimed = known is not None and known.view.state is LegState.COLLECTED
            view = await self._view(lock, htlc.leg.finality, heads, was_claimed=was_claimed)
            known = self._observed[lock.lock_id] = _Observation(heads, htlc.leg.finality, view)
        return known.view

    async def _view(self, lock: HtlcLock, wanted: Finality, heads: Heads, *, was_claimed: bool) -> LegView:
        latest, spent = await self._latest(lock, heads.latest, was_claimed=was_claimed)
        ended = latest in {LockStatus.CLAIMED, LockStatus.REFUNDED}
        asked: LockStatus | None = latest
        finalized: LockStatus | None = latest
        # Until then no older state matters: a lock cannot return to NONE, nor be made after its deadline.
        if ended or heads.finalized.timestamp >= lock.deadline:
            finalized = await self._older_status(lock, heads.finalized)
        if latest is not LockStatus.NONE and heads.at(wanted) is not heads.latest:
            asked = await self._older_status(lock, heads.at(wanted))
        arrived = ended and asked is latest
        # Independent of the terms: a reorganisation may remove a block, and the lock in it, until it is finalized.
        final = arrived and finalized is latest
        over = finalized is LockStatus.REFUNDED or (
            finalized is LockStatus.NONE and heads.finalized.timestamp >= lock.deadline
        )
        event = await self._event_of(lock, latest, heads.latest)
        if event is not None:
            self._news.settles_at(lock.payment_hash, event.found.block_number, heads)
        return LegView(
            state=_state(latest, asked),
            clock=ClockReading(chain_time=heads.latest.timestamp, height=heads.latest.number),
            arrived=arrived,
            final=final,
            over=over,
            preimage=await self._preimage(lock, heads.latest) if spent else None,
            tx_id=None if event is None else "0x" + event.found.tx_hash.hex(),
            final_at=await self._final_at(event, heads.latest) if arrived and not final else None,
            reason=_PRUNED if asked is None or finalized is None else None,
        )

    async def _latest(self, lock: HtlcLock, block: NodeBlock, *, was_claimed: bool) -> tuple[LockStatus, bool]:
        """A lock's status after a block, and whether a claim had made its preimage public.

        Args:
            was_claimed: whether the last observation showed the claim. Usually it is still there, and marks the hash as
                spent: one call is enough then.
        """
        if was_claimed:
            latest = await self.status(lock.lock_id, block)
            return latest, latest is LockStatus.CLAIMED or await self.is_spent(lock.payment_hash, block)
        return await asyncio.gather(self.status(lock.lock_id, block), self.is_spent(lock.payment_hash, block))

    async def check_history(self, lock: HtlcLock) -> None:
        """Check that the node keeps the states that swaps need.

        Raises:
            BadAnswer: the node does not have the state of its finalized block.
        """
        heads = await self._watcher.read()
        if await self._older_status(lock, heads.finalized) is None:
            raise self._retryable(_PRUNED)

    async def changed(self, htlc: Htlc) -> None:
        """Wait until the last observation may be out of date. Return at once if there was none."""
        lock = self.lock(htlc)
        known = self._observed.get(lock.lock_id)
        if known is not None:
            await self._news.wait(lock.payment_hash, known.heads, lock.deadline)

    def follow(self, htlc: Htlc, view: LegView, listener: LegListener) -> float | None:
        """As ``HtlcLayer.follow``. The observation is forgotten: a leg that sleeps costs no memory but its listener.

        Once the chain's clock has reached the deadline, a lock is not followed, and neither is one of which the node
        did not have an older state: no news tells when it has.
        """
        lock = self.lock(htlc)
        known = self._observed.get(lock.lock_id)
        if known is None or known.view is not view or view.reason is not None:
            return None
        if known.heads.latest.timestamp >= lock.deadline:
            return None
        if not self._news.follow(htlc.payment_hash, known.heads, listener):
            return None
        self.forget(lock.lock_id)
        return lock.deadline

    def unfollow(self, payment_hash: bytes, listener: LegListener) -> None:
        """As ``HtlcLayer.unfollow``."""
        self._news.unfollow(payment_hash, listener)

    def was_there(self, lock_id: bytes) -> bool:
        """Whether the last observation of a lock, if it is not forgotten, showed that it was made."""
        known = self._observed.get(lock_id)
        return known is not None and known.view.state is not LegState.NONE

    def forget(self, lock_id: bytes) -> None:
        """Forget the last observation of a lock."""
        self._observed.pop(lock_id, None)

    async def aclose(self) -> None:
        """End every wait."""
        await self._news.aclose()

    def _note(self, found: FoundEvent) -> None:
        event = found.event
        self._found[_NAMES[type(event)], event.lock_id] = found
        if isinstance(event, ClaimedEvent):
            self._found[CLAIMED, event.payment_hash] = found

    async def evidence(self, htlc: Htlc) -> EvmEvidence | None:
        """The receipt of the lock's claim or refund, or else its status in the contract's storage; None if the lock is
        open or does not exist.

        Whoever sends a claim decides how large its receipt is, and a node may no longer have it. The storage cannot be
        made too large, but it does not show the preimage.
        """
        lock = self.lock(htlc)
        heads = await self._watcher.read()
        status = await self.status(lock.lock_id, heads.latest)
        if status not in {LockStatus.CLAIMED, LockStatus.REFUNDED}:
            return None
        try:
            return await self._receipt(lock, status, heads.latest)
        except (BadAnswer, NodeRefused) as error:
            if self._storage is None:
                raise
            LOG.info("%s: the proof of a lock's end is made from the storage: %s", self._protocol.value, error)
            return await self._storage.evidence(lock, _firmest_first(heads))

    async def storage_evidence(self, htlc: Htlc) -> EvmStorageEvidence | None:
        """The lock's status in its contract's storage, once it has ended; None if it is open or does not exist.

        The lock may be of any parties, token and contract, because nothing but the chain is needed.

        Raises:
            ProtocolNotImplemented: the nodes of this layer do not prove storage.
            InvalidRequest: the leg is of another layer or chain.
        """
        leg = htlc.leg
        if not isinstance(leg, EvmLeg) or leg.protocol is not self._protocol or leg.chain_id != self._chain_id:
            raise InvalidRequest(f"the leg is not a lock on {self._protocol.value}, chain {self._chain_id}")
        if self._storage is None:
            raise ProtocolNotImplemented(f"the nodes of {self._protocol.value} have no proofs of storage")
        lock = leg.lock(htlc.payment_hash, htlc.terms_hash)
        return await self._storage.evidence(lock, _firmest_first(await self._watcher.read()))

    async def _receipt(self, lock: HtlcLock, status: LockStatus, head: NodeBlock) -> EvmEvidence:
        # Searched again, because a reorganisation may have moved it to another block.
        event = await self._search(_EVENTS[status], lock, head, lock.lock_id)
        evidence = await self._receipts.evidence(event.found)
        try:
            write_evidence(evidence)
        except FormatError as error:
            raise BadAnswer(
                f"the receipt of the lock's end does not fit into a proof: {error.message}",
                protocol=self._protocol.value,
            ) from error
        return evidence

    async def _older_status(self, lock: HtlcLock, block: NodeBlock) -> LockStatus | None:
        """As ``status``; None if the node no longer has the state.

        Without it, nothing counts as final or over, but acts can still follow the newest block: a claim must not wait
        for an old state.
        """
        try:
            return await self.status(lock.lock_id, block)
        except BadAnswer as error:
            if isinstance(error.__cause__, NodeRefused):
                return None
            raise

    async def _preimage(self, lock: HtlcLock, head: NodeBlock) -> Preimage:
        # Every claim under the hash contains the preimage, including claims of other locks.
        key = (CLAIMED, lock.payment_hash)
        found = self._found.get(key)
        if found is None:
            found = await self._search(CLAIMED, lock, head, None)
            self._found[key] = found
        if not isinstance(found.event, ClaimedEvent) or found.event.preimage.payment_hash != lock.payment_hash:
            raise self._retryable("the node answered with a claim of another payment hash")
        return found.event.preimage

    async def _event_of(self, lock: HtlcLock, status: LockStatus, head: NodeBlock) -> FoundEvent | None:
        """The event of the lock's current status, for display; None if it is older than the searched blocks."""
        if status is LockStatus.NONE:
            return None
        name = _EVENTS[status]
        key = (name, lock.lock_id)
        if key not in self._found:
            found = await self._events.first([name], lock.payment_hash, head, lock_id=lock.lock_id)
            if found is None and not await self._is_older(lock, status, head):
                raise self._missing()
            self._found[key] = found
        return self._found[key]

    async def _final_at(self, event: FoundEvent | None, head: NodeBlock) -> int:
        """Estimate when the end of a lock is finalized, in unix seconds. For an unknown block it counts from now."""
        if event is None:
            return head.timestamp + self._final_time
        block_hash = event.found.block_hash
        if block_hash not in self._times:
            block = await self._node.block(block_hash)
            if block is None:
                # A reorganisation moved the event to another block.
                return head.timestamp + self._final_time
            self._times[block_hash] = block.timestamp
        return self._times[block_hash] + self._final_time

    async def _is_older(self, lock: HtlcLock, status: LockStatus, head: NodeBlock) -> bool:
        """Whether the lock may have had its status before the searched blocks."""
        oldest = self._events.oldest(head)
        if oldest == 0:
            return False
        block = await self._node.block(oldest - 1)
        if block is None:
            raise self._retryable(f"the node does not have block {oldest - 1}")
        return await self._older_status(lock, block) in {status, None}

    async def _search(self, name: bytes, lock: HtlcLock, head: NodeBlock, lock_id: bytes | None) -> FoundEvent:
        """Find an event that exists according to the contract's state, in the whole chain."""
        found = await self._events.first([name], lock.payment_hash, head, lock_id=lock_id, whole_chain=True)
        if found is None:
            raise self._missing()
        return found

    def _missing(self) -> BadAnswer:
        return self._retryable("the contract's state implies an event that the node does not find")

    async def _state(self, call: bytes, decode: Callable[[bytes], T], block: NodeBlock, nothing: T) -> T:
        try:
            answer = await self._node.call(self._asset.contract, call, at=block.hash)
            # An address without code returns nothing: before the contract was deployed, there were no locks.
            return decode(answer) if answer else nothing
        except NodeRefused as error:
            raise self._retryable(
                f"the node does not have the state after block {block.number}: {error.node_message}"
            ) from error
        except FormatError as error:
            raise self._retryable(f"the contract's answer is invalid: {error.message}") from error

    def _retryable(self, problem: str) -> BadAnswer:
        return BadAnswer(problem, protocol=self._protocol.value, operation="observe", retryable=True)


def _firmest_first(heads: Heads) -> list[NodeBlock]:
    """The blocks after which evidence of the storage is looked for: a reorganisation makes that of a newer one useless,
    but a node without an archive only has the states of the newest ones."""
    return list({block.hash: block for block in (heads.finalized, heads.safe, heads.latest)}.values())


def _state(latest: LockStatus, asked: LockStatus | None) -> LegState:
    match latest:
        case LockStatus.NONE:
            return LegState.NONE
        case LockStatus.LOCKED:
            return LegState.FUNDED if asked is LockStatus.LOCKED else LegState.PENDING
        case LockStatus.CLAIMED:
            return LegState.COLLECTED
        case LockStatus.REFUNDED:
            return LegState.RETURNED
