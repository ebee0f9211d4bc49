"""Reading locks: what one look at the party's own node shows of a leg."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from layer2.contracts.htlc import (
    HTLC_ADDRESS,
    ClaimedEvent,
    HtlcLock,
    LockStatus,
    decode_spent,
    decode_status,
    spent_call,
    status_call,
)
from layer2.errors import BadAnswer, FormatError, FundsRulesError, NodeRefused
from layer2.formats.evm_address import parse_address
from layer2.legs.evidence import EvmReceiptEvidence
from layer2.legs.evm import EvmLeg
from layer2.legs.evm_evidence import lock_of
from layer2.legs.leg import Htlc
from layer2.legs.timelock_settings import settings_for
from layer2.legs.views import ClockReading, LegState, LegView
from layer2.model.layers import Layer2ProtocolType
from layer2.model.transactions import Preimage
from layer2.protocols.evm.chain.heads import Heads, HeadWatcher
from layer2.protocols.evm.chain.receipt_evidence import ProvenReceipts
from layer2.protocols.evm.locks.events import CLAIMED, LOCKED, REFUNDED, FoundEvent, LockEvents
from layer2.protocols.evm.rpc.node import EvmNode, NodeBlock
from layer2.protocols.evm.settings import EvmSettings

__all__ = ["Locks"]

T = TypeVar("T")

_REMEMBERED = 10_000
_PRUNED = "the node does not keep the state after its safe and finalized blocks: it has to be an archive node"


class Locks:
    """Reads locks of the HTLC contract.

    Args:
        node: the party's own node.
        watcher: its heads.
        events: where the contract's events are looked for.
        settings: of the layer.
        protocol: which layer it is.
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
        self._settings = settings
        self._protocol = protocol
        self._final_time = settings_for(settings.network).margins(protocol).final_time
        self._receipts = ProvenReceipts(node, protocol)
        self._observed: dict[bytes, Heads] = {}
        self._found: dict[tuple[bytes, bytes], FoundEvent | None] = {}
        self._times: dict[bytes, int] = {}

    def lock(self, htlc: Htlc) -> HtlcLock:
        """The lock that a leg describes, if it is one of this layer, contract and token.

        Raises:
            FundsRulesError: it is another's, or a token that the configuration does not name.
        """
        leg = htlc.leg
        if not isinstance(leg, EvmLeg) or leg.protocol is not self._protocol:
            raise FundsRulesError(f"the leg is not one of {self._protocol.value}")
        expected = (self._settings.chain_id, HTLC_ADDRESS, parse_address(self._settings.token))
        if (leg.chain_id, leg.contract, leg.token) != expected:
            raise FundsRulesError("the leg names another chain, contract or token than the configuration")
        if leg.token_decimals != self._settings.token_decimals:
            raise FundsRulesError(f"the leg gives the token {leg.token_decimals} decimals")
        try:
            return lock_of(leg, htlc.payment_hash, htlc.terms_hash)
        except FormatError as error:
            raise FundsRulesError(error.message) from error

    async def status(self, lock: HtlcLock, block: NodeBlock) -> LockStatus:
        """What the contract knew of the lock after a block. The block is named by its hash."""
        return await self.status_of(lock.lock_id, block)

    async def status_of(self, lock_id: bytes, block: NodeBlock) -> LockStatus:
        """The same by the lock's id."""
        answer = await self._call(status_call(lock_id), block)
        # Nothing at all comes from an address without code: before the contract was deployed there was no lock.
        return LockStatus.NONE if not answer else self._decoded(decode_status, answer)

    async def is_spent(self, payment_hash: bytes, block: NodeBlock) -> bool:
        """Whether the preimage was public at the contract after a block."""
        answer = await self._call(spent_call(payment_hash), block)
        return bool(answer) and self._decoded(decode_spent, answer)

    async def observe(self, htlc: Htlc) -> LegView:
        """One read of a leg: everything is asked for by the hashes of the same three heads."""
        lock = self.lock(htlc)
        heads = await self._watcher.read()
        asked_block = heads.at(htlc.leg.finality)
        # On another chain there is no such lock either, and nothing would be owed: so the chain is asked for each time.
        latest, asked, finalized, spent, _ = await asyncio.gather(
            self.status(lock, heads.latest),
            self._older_status(lock, asked_block),
            self._older_status(lock, heads.finalized),
            self.is_spent(lock.payment_hash, heads.latest),
            self._node.expect_chain(lock.chain_id),
        )
        ended = latest in {LockStatus.CLAIMED, LockStatus.REFUNDED}
        arrived = ended and asked is latest
        # Whatever the terms ask: a block that is not finalized may go again, and the lock with it.
        final = arrived and finalized is latest
        over = finalized is LockStatus.REFUNDED or (
            finalized is LockStatus.NONE and heads.finalized.timestamp >= lock.deadline
        )
        self._observed[lock.lock_id] = heads
        event = await self._event_of(lock, latest, heads.latest)
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

    async def check_history(self, lock: HtlcLock) -> None:
        """Check that the node keeps the states that decide over a swap.

        Raises:
            BadAnswer: it does not know the state after its finalized block.
        """
        heads = await self._watcher.read()
        if await self._older_status(lock, heads.finalized) is None:
            raise self._moved(_PRUNED)

    async def changed(self, htlc: Htlc) -> None:
        """Return when the chain moved since the lock was observed last; at once where it never was."""
        heads = self._observed.pop(self.lock(htlc).lock_id, None)
        if heads is not None:
            await self._watcher.moved_from(heads)

    async def evidence(self, htlc: Htlc) -> EvmReceiptEvidence | None:
        """The receipt of how the lock ended, None where it has not ended or never was."""
        lock = self.lock(htlc)
        heads = await self._watcher.read()
        status = await self.status(lock, heads.latest)
        if status not in {LockStatus.CLAIMED, LockStatus.REFUNDED}:
            return None
        name = CLAIMED if status is LockStatus.CLAIMED else REFUNDED
        # Searched anew: a reorganisation may have moved it to another block since it was seen.
        event = await self._search(name, lock, heads.latest, lock.lock_id)
        return await self._receipts.evidence(event.found)

    async def _older_status(self, lock: HtlcLock, block: NodeBlock) -> LockStatus | None:
        """As ``status``; None where the node does not have the state any more.

        Then nothing is final and nothing over as far as it knows, but what the newest block shows can be acted on:
        a claim must not wait for an old state.
        """
        try:
            return await self.status(lock, block)
        except BadAnswer as error:
            if isinstance(error.__cause__, NodeRefused):
                return None
            raise

    async def _preimage(self, lock: HtlcLock, head: NodeBlock) -> Preimage:
        # Any claim under the hash shows it, also one of another lock.
        key = (CLAIMED, lock.payment_hash)
        found = self._found.get(key)
        if found is None:
            found = await self._search(CLAIMED, lock, head, None)
            self._remember(key, found)
        if not isinstance(found.event, ClaimedEvent) or found.event.preimage.payment_hash != lock.payment_hash:
            raise self._moved("the node answered with the claim of another payment hash")
        return found.event.preimage

    async def _event_of(self, lock: HtlcLock, status: LockStatus, head: NodeBlock) -> FoundEvent | None:
        """The event that made the lock what it is, for show; None where it is before the blocks searched."""
        match status:
            case LockStatus.NONE:
                return None
            case LockStatus.LOCKED:
                name = LOCKED
            case LockStatus.CLAIMED:
                name = CLAIMED
            case LockStatus.REFUNDED:
                name = REFUNDED
        key = (name, lock.lock_id)
        if key not in self._found:
            found = await self._events.first([name], lock.payment_hash, head, lock_id=lock.lock_id)
            if found is None and not await self._is_older(lock, status, head):
                raise self._missing()
            self._remember(key, found)
        return self._found[key]

    async def _final_at(self, event: FoundEvent | None, head: NodeBlock) -> int:
        """When the end of a lock is finalized, in unix seconds: an estimate, and counted from now where it is old."""
        if event is None:
            return head.timestamp + self._final_time
        block_hash = event.found.block_hash
        if block_hash not in self._times:
            block = await self._node.block(block_hash)
            if block is None:
                # It went in a reorganisation, and the event is in another block by now.
                return head.timestamp + self._final_time
            self._times[block_hash] = block.timestamp
            if len(self._times) > _REMEMBERED:
                del self._times[next(iter(self._times))]
        return self._times[block_hash] + self._final_time

    async def _is_older(self, lock: HtlcLock, status: LockStatus, head: NodeBlock) -> bool:
        """Whether the lock was what it is before the blocks in which events are looked for, as far as can be known."""
        oldest = self._events.oldest(head)
        if oldest == 0:
            return False
        block = await self._node.block(oldest - 1)
        if block is None:
            raise self._moved(f"the node does not have block {oldest - 1}")
        return await self._older_status(lock, block) in {status, None}

    def _remember(self, key: tuple[bytes, bytes], found: FoundEvent | None) -> None:
        """What an event shows stays true or known, wherever the chain moves."""
        self._found[key] = found
        if len(self._found) > _REMEMBERED:
            del self._found[next(iter(self._found))]

    async def _search(self, name: bytes, lock: HtlcLock, head: NodeBlock, lock_id: bytes | None) -> FoundEvent:
        """An event that must exist by the contract's state, however old: not finding it is the node's fault."""
        found = await self._events.first([name], lock.payment_hash, head, lock_id=lock_id, whole_chain=True)
        if found is None:
            raise self._missing()
        return found

    def _missing(self) -> BadAnswer:
        return self._moved("the contract's state says that there is an event, and the node does not find it")

    async def _call(self, data: bytes, block: NodeBlock) -> bytes:
        try:
            return await self._node.call(HTLC_ADDRESS, data, at=block.hash)
        except NodeRefused as error:
            raise self._moved(f"the state after block {block.number} is not to be had: {error.node_message}") from error

    def _decoded(self, decode: Callable[[bytes], T], answer: bytes) -> T:
        try:
            return decode(answer)
        except FormatError as error:
            raise self._moved(f"the contract's answer cannot be read: {error.message}") from error

    def _moved(self, problem: str) -> BadAnswer:
        return BadAnswer(problem, protocol=self._protocol.value, operation="observe", retryable=True)


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
