"""Hash-locked legs on an EVM layer: the seven verbs over locks in the HTLC contract."""

from __future__ import annotations

from typing import ClassVar

from layer2.errors import BadAnswer, ConfigurationError, FormatError
from layer2.formats.evm_address import parse_address, to_checksum
from layer2.interfaces import Clock, EvmSigner, Json, SendRecords
from layer2.layers import Layer2ProtocolType
from layer2.proofs.evidence import EvmReceiptEvidence
from layer2.protocol_client import HtlcLayer, OfferRequest
from layer2.protocols.evm.chain.heads import HeadWatcher
from layer2.protocols.evm.chain.receipt_evidence import is_canonical
from layer2.protocols.evm.fees.quotes import Fees
from layer2.protocols.evm.locks.acts import LockActs
from layer2.protocols.evm.locks.deployment import check_htlc
from layer2.protocols.evm.locks.events import LockEvents
from layer2.protocols.evm.locks.observation import Locks
from layer2.protocols.evm.rpc.endpoints import open_rpc
from layer2.protocols.evm.rpc.head_notices import HeadNotices
from layer2.protocols.evm.rpc.node import EvmNode, NodeBlock
from layer2.protocols.evm.sending.account import EvmAccount
from layer2.protocols.evm.sending.history import SendHistory
from layer2.protocols.evm.sending.replacements import Replacements
from layer2.protocols.evm.settings import EvmSettings
from layer2.swap_rules.legs import ActStatus, ClockReading, Htlc, LegView, Side, Verb
from layer2.transactions import Finality, Preimage

__all__ = ["EvmHtlcs"]

_MOST_CLOCK_DIFFERENCE = 60
"""Seconds between this machine's clock and the node's."""


class EvmHtlcs(HtlcLayer):
    """Legs in the HTLC contract of one EVM layer, through the party's own node.

    Args:
        settings: node, token and limits.
        signer: the party's key.
        sends: the durable record of single sends.
        clock: this machine's clock, which the node's is compared with.

    Raises:
        ConfigurationError: a setting is wrong.
    """

    protocol_type: ClassVar[Layer2ProtocolType]

    def __init__(self, settings: EvmSettings, signer: EvmSigner, sends: SendRecords, clock: Clock) -> None:
        name = self._name = self.protocol_type.value
        self.settings = settings
        self._clock = clock
        try:
            self._token = parse_address(settings.token)
        except FormatError as error:
            raise ConfigurationError(f"token: {error.message}") from error
        seconds = settings.default_timeout_ms / 1000
        self._rpc = open_rpc(settings, protocol=name)
        self._node = EvmNode(self._rpc, name)
        self._fees = Fees(self._node, settings)
        self._account = EvmAccount(self._node, signer, self._fees, chain_id=settings.chain_id, protocol=name)
        self._notices = None
        if settings.websocket_url is not None:
            self._notices = HeadNotices(
                settings.websocket_url, protocol=name, pool=settings.connection_pool, timeout=seconds
            )
        self._watcher = HeadWatcher(self._node, settings.poll_interval_seconds, self._notices)
        events = LockEvents(self._node, settings)
        self._locks = Locks(self._node, self._watcher, events, settings, self.protocol_type)
        self._history = SendHistory(sends, name)
        self._replacements = Replacements(
            self._account, self._fees, self._node, self._history, cap=settings.max_fee_per_gas, protocol=name
        )
        self._acts = LockActs(
            self._node, self._account, self._fees, self._watcher, self._locks, events, self._replacements, name
        )
        self._contract_checked = False

    async def offer(self, request: OfferRequest) -> str:
        """The claim address: this account's. The lock itself names the hash and the amount."""
        await self._check_contract()
        return to_checksum(self._account.address)

    async def check_can_finish(self, htlc: Htlc, side: Side) -> None:
        """See ``HtlcLayer``. A chain whose time runs ahead is refused here, where a swap begins, and only here:
        an open swap has to be finished on whatever clock the chain has.
        """
        await self._check_contract()
        clock = await self.read_clock()
        ahead = clock.chain_time - self._clock.now()
        if ahead > self.settings.max_tip_ahead:
            raise self._clock_error(f"the newest block is {ahead:.0f} s ahead of this machine's clock")
        await self._acts.check_can_finish(htlc, side)

    async def prepare(self, verb: Verb, htlc: Htlc, preimage: Preimage | None = None) -> Json:
        """See ``HtlcLayer``. An act that is prepared has a nonce: perform it, or the next one fills its place."""
        await self._check_contract()
        return await self._acts.prepare(verb, htlc, preimage)

    async def perform(self, act: Json) -> None:
        """See ``HtlcLayer``."""
        await self._acts.perform(act)

    async def act_status(self, act: Json) -> ActStatus:
        """See ``HtlcLayer``."""
        return await self._acts.status(act)

    async def repriced(self, act: Json, htlc: Htlc) -> Json | None:
        """See ``HtlcLayer``: the same nonce at a higher price, so that at most one of them is ever in a block."""
        return await self._acts.repriced(act, htlc)

    async def observe(self, htlc: Htlc, side: Side, finality: Finality) -> LegView:
        """See ``HtlcLayer``. A ``lock_id`` commits to every detail, so what differs in any is another lock."""
        await self._check_contract()
        view = await self._locks.observe(htlc, finality)
        if view.final or view.over:
            self._acts.free(htlc)
        return view

    async def wait_for_change(self, htlc: Htlc, view: LegView) -> None:
        """See ``HtlcLayer``: any of the three heads has moved since the leg was observed."""
        await self._locks.changed(htlc)

    async def read_clock(self) -> ClockReading:
        """See ``HtlcLayer``: the newest block's time, from a node whose ``Date`` agrees with this machine."""
        block, date = await self._node.dated_block(Finality.LATEST)
        now = self._clock.now()
        if block is None:
            raise self._clock_error("the node has no newest block")
        if date is None:
            raise self._clock_error("the node does not say what time it has (no Date in its answer)")
        if abs(date - now) > _MOST_CLOCK_DIFFERENCE:
            raise self._clock_error(f"the node's clock differs from this machine's by {date - now:+.0f} s")
        if now - block.timestamp > self.settings.max_tip_age:
            raise self._clock_error(f"the node's newest block is {now - block.timestamp:.0f} s old: it is not synced")
        return _reading(block)

    async def evidence(self, htlc: Htlc, side: Side) -> EvmReceiptEvidence | None:
        """See ``HtlcLayer``: the receipt of the claim or of the refund."""
        return await self._locks.evidence(htlc)

    async def confirm_evidence(self, evidence: EvmReceiptEvidence, *, contract: bytes, finality: Finality) -> bool:
        """Whether evidence of the end of a lock in that contract is canonical at the own node at that finality.

        Raises:
            ProofUndecided: its block is not that final yet, or the node's chain does not reach it.
        """
        return await is_canonical(self._node, self._watcher, evidence, contract, finality)

    async def _check_contract(self) -> None:
        if not self._contract_checked:
            await check_htlc(self._node)
            self._contract_checked = True

    def _clock_error(self, problem: str) -> BadAnswer:
        return BadAnswer(problem, code="clock", protocol=self._name, retryable=True)


def _reading(block: NodeBlock) -> ClockReading:
    return ClockReading(chain_time=block.timestamp, height=block.number)
