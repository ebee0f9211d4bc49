"""Hash-locked legs on an EVM layer: acts and observations of locks in the HTLC contract."""

from __future__ import annotations

from typing import Final

from layer2.contracts.htlc import CLAIM_GAS, HTLC_ADDRESS, LOCK_GAS_ERC20, REFUND_GAS, LockedEvent
from layer2.errors import BadAnswer
from layer2.formats.evm_address import to_checksum
from layer2.legs.evidence import EvmReceiptEvidence
from layer2.legs.evm import EvmOffer
from layer2.legs.leg import Htlc
from layer2.legs.views import ActStatus, ClockReading, LegView, OfferRequest, Side, Verb
from layer2.model.transactions import Finality, Preimage
from layer2.ports.journal import Json
from layer2.ports.legs import HtlcLayer
from layer2.protocols.evm.locks.deployment import check_htlc
from layer2.protocols.evm.locks.gas_reserves import SIGNED_SIZE
from layer2.protocols.evm.parts import EvmParts

__all__ = ["EvmLegs"]

_MOST_CLOCK_DIFFERENCE: Final = 60
"""Seconds by which the node's clock may differ from this machine's."""


class EvmLegs(HtlcLayer):
    """Legs in the HTLC contract of one EVM layer, through the party's own node.

    Args:
        parts: the parts of the layer's client.
    """

    def __init__(self, parts: EvmParts) -> None:
        self._parts = parts
        self._contract_checked = False

    async def leg_offer(self) -> EvmOffer:
        """See ``HtlcLayer``: this account, the HTLC contract and the configured token."""
        await self._check_contract()
        return EvmOffer(
            protocol=self._parts.layer,
            chain_id=self._parts.settings.chain_id,
            contract=HTLC_ADDRESS,
            token=self._parts.token,
            token_decimals=self._parts.settings.token_decimals,
            account=self._parts.account.address,
            finality=Finality.LATEST,
        )

    async def offer(self, request: OfferRequest) -> str:
        """See ``HtlcLayer``: the account's address, from which the payer locks and to which a claim pays."""
        await self._check_contract()
        return to_checksum(self._parts.account.address)

    async def network_cost(self, amount: int) -> int | None:
        """See ``HtlcLayer``: a lock and its claim or refund at urgent prices. The amount does not matter."""
        price = self._parts.settings.native_price_sat
        if price is None:
            return None
        quote = await self._parts.fees.urgent_quote()
        wei = sum(quote.most(gas, SIGNED_SIZE) for gas in (LOCK_GAS_ERC20, max(CLAIM_GAS, REFUND_GAS)))
        whole: int = 10**self._parts.facts.native_decimals
        return -(-wei * price // whole)

    async def check_can_finish(self, htlc: Htlc, side: Side) -> None:
        """See ``HtlcLayer``. It also refuses to start a swap if the chain's time is ahead of this machine's clock.

        Only new swaps are refused: an open swap has to be finished at any chain time.
        """
        await self._check_contract()
        clock = await self.read_clock()
        ahead = clock.chain_time - self._parts.clock.now()
        if ahead > self._parts.settings.max_tip_ahead:
            raise self._clock_error(f"the newest block is {ahead:.0f} s ahead of this machine's clock")
        await self._parts.acts.check_can_finish(htlc, side)

    async def reserve(self, htlc: Htlc, side: Side) -> None:
        """See ``HtlcLayer``: reserves the gas of every act that this side may need."""
        self._parts.acts.reserve(htlc, side)

    def free(self, htlc: Htlc) -> None:
        """See ``HtlcLayer``."""
        self._parts.acts.free(htlc)

    async def prepare(self, verb: Verb, htlc: Htlc, preimage: Preimage | None = None) -> Json:
        """See ``HtlcLayer``. A prepared act has a nonce: perform it or discard it."""
        await self._check_contract()
        return await self._parts.acts.prepare(verb, htlc, preimage)

    def discard(self, act: Json) -> None:
        """See ``HtlcLayer``: the act's nonces are free again."""
        self._parts.acts.discard(act)

    async def perform(self, act: Json) -> None:
        """See ``HtlcLayer``."""
        await self._parts.acts.perform(act)

    async def act_status(self, act: Json) -> ActStatus:
        """See ``HtlcLayer``."""
        return await self._parts.acts.status(act)

    async def repriced(self, act: Json, htlc: Htlc) -> Json | None:
        """See ``HtlcLayer``: the same nonce at a higher price, so at most one version is ever in a block."""
        return await self._parts.acts.repriced(act, htlc)

    async def observe(self, htlc: Htlc, side: Side) -> LegView:
        """See ``HtlcLayer``. A ``lock_id`` commits to all terms, so a lock with other terms does not count.

        FUNDED and ``arrived`` refer to the finality in the terms, ``final`` to finalized blocks.
        """
        await self._check_contract()
        return await self._parts.locks.observe(htlc)

    async def wait_for_change(self, htlc: Htlc, view: LegView) -> None:
        """See ``HtlcLayer``: waits until one of the three heads differs from the last observation."""
        await self._parts.locks.changed(htlc)

    async def read_clock(self) -> ClockReading:
        """See ``HtlcLayer``: the newest block's time, if the node's ``Date`` agrees with this machine's clock."""
        block, date = await self._parts.node.dated_block(Finality.LATEST)
        now = self._parts.clock.now()
        if block is None:
            raise self._clock_error("the node has no newest block")
        if date is None:
            raise self._clock_error("the node's answer has no Date header, so its clock cannot be compared")
        if abs(date - now) > _MOST_CLOCK_DIFFERENCE:
            raise self._clock_error(f"the node's clock differs from this machine's by {date - now:+.0f} s")
        if now - block.timestamp > self._parts.settings.max_tip_age:
            raise self._clock_error(f"the node's newest block is {now - block.timestamp:.0f} s old: it is not synced")
        return ClockReading(chain_time=block.timestamp, height=block.number)

    async def evidence(self, htlc: Htlc, side: Side) -> EvmReceiptEvidence | None:
        """See ``HtlcLayer``: the receipt of the claim or of the refund."""
        return await self._parts.locks.evidence(htlc)

    async def late_fundings(self, since: int) -> tuple[frozenset[bytes], int]:
        """See ``HtlcLayer``. With 0 the search starts at the oldest block that the settings allow.

        The next search has to start after the finalized block, because a reorganisation may add a funding to any later
        block.
        """
        await self._check_contract()
        heads = await self._parts.watcher.read()
        first = since if since > 0 else self._parts.events.oldest(heads.latest)
        found = await self._parts.events.locked_since(first, heads.latest)
        events = [each.event for each in found]
        hashes = [event.payment_hash for event in events if isinstance(event, LockedEvent) and self._is_payee(event)]
        return frozenset(hashes), max(first, heads.finalized.number + 1)

    async def courtesy(self, htlc: Htlc, preimage: Preimage) -> None:
        """See ``HtlcLayer``: a claim whose gas this account pays, at ``max_fee_per_gas`` or less."""
        await self._check_contract()
        await self._parts.courtesies.claim(htlc, preimage)

    def _is_payee(self, event: LockedEvent) -> bool:
        return event.payee == self._parts.account.address

    async def _check_contract(self) -> None:
        if not self._contract_checked:
            await check_htlc(self._parts.node)
            self._contract_checked = True

    def _clock_error(self, problem: str) -> BadAnswer:
        return BadAnswer(problem, code="clock", protocol=self._parts.layer.value, retryable=True)
