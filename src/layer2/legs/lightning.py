"""Legs that are the payment of one BOLT 11 invoice, held by its payee."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Annotated, ClassVar, Final, Self

from layer2.errors.base import FormatError, FundsRulesError, InvalidRequest, ProofRefused
from layer2.formats.bolt11 import Bolt11Invoice
from layer2.formats.json_record import Amount, Bytes33, Text8, text
from layer2.formats.tagged_signature import is_public_key
from layer2.legs import lightning_evidence
from layer2.legs.block_times import Span
from layer2.legs.evidence import LegEvidence, LightningPaymentEvidence
from layer2.legs.invoices import (
    CLOCK_TOLERANCE,
    MSAT_PER_SAT,
    check_owed_invoice,
    check_payable_invoice,
    decoded,
    read_invoice,
)
from layer2.legs.leg import Leg, LegOffer, LegPlan
from layer2.legs.shown import EvidencePolicy, LegShown, OpenMatter, Owed, PreimageMaker
from layer2.legs.timelock_settings import TimelockSettings
from layer2.legs.views import ClockReading, LegView, OfferRequest, Release, Side
from layer2.model.layers import Layer2ProtocolType
from layer2.model.money import BTC
from layer2.model.transactions import Finality, Preimage

__all__ = ["LightningLeg", "LightningOffer", "cltv_limit_for", "routing_fee_limit"]

LND_CLTV_PADDING: Final = 3
"""Blocks that lnd adds to a payment's final delta."""
_ROUTING_FEE_DIVISOR: Final = 400
_SMALLEST_ROUTING_FEE: Final = 10


@dataclass(frozen=True, slots=True)
class LightningOffer(LegOffer):
    """A party's Lightning node."""

    kind: ClassVar[str] = "lightning"
    protocol: Layer2ProtocolType = field(default=Layer2ProtocolType.LIGHTNING, init=False)
    finality: Finality = field(default=Finality.FINALIZED, init=False)
    counts_blocks: ClassVar[bool] = True
    pays_strangers: ClassVar[bool] = True

    prefix: Text8
    """BOLT 11: ``bc``, ``tb``, ``tbs`` or ``bcrt``."""
    node_key: Bytes33
    """The key that signs this party's invoices. It never signs an invoice that this party pays."""

    @property
    def network_id(self) -> str:
        """The prefix."""
        return self.prefix

    def with_finality(self, finality: Finality) -> Self:
        """The same offer: a held payment has one finality only."""
        return self

    def of_anyone(self) -> Self:
        """The same offer without the node's key, so that it may pay that node's own invoices."""
        return replace(self, node_key=b"")

    def differs_from(self, own: LegOffer) -> str | None:
        """``kind``, ``prefix``, ``node_key``, or None."""
        if not isinstance(own, LightningOffer):
            return "kind"
        if self.prefix != own.prefix:
            return "prefix"
        return "node_key" if self.node_key == own.node_key or not is_public_key(self.node_key) else None

    def request(self, plan: LegPlan, side: Side, memo: str, rules: TimelockSettings) -> OfferRequest:
        """An invoice of the destination, or a hold invoice of the source."""
        if plan.taker_side is Side.PAYEE:
            expiry, delta = rules.own_invoice_expiry, rules.own_final_cltv_delta
        else:
            expiry = _source_expiry(plan, rules)
            delta = self.deadline_after(plan.needed, rules).blocks + rules.accept_blocks
        return OfferRequest(side, plan.payment_hash, plan.amount, memo, expiry, delta)

    def check_named(self, plan: LegPlan, rules: TimelockSettings) -> None:
        """Check the invoice of a destination; for a source the taker names nothing.

        Raises:
            InvalidRequest: as ``check_payable_invoice``, or code ``offer_format``.
        """
        if plan.taker_side is Side.PAYEE:
            self._payable(plan.taker, plan, rules)
        elif plan.taker:
            raise InvalidRequest("a payer names nothing for a Lightning leg", code="offer_format")

    def build(self, plan: LegPlan, rules: TimelockSettings) -> LightningLeg:
        """The payment that follows from the offer and the plan; raises as ``LegOffer.build``."""
        if plan.taker_side is Side.PAYEE:
            invoice, min_blocks_left = self._payable(plan.taker, plan, rules), 0
        else:
            min_blocks_left = self.deadline_after(plan.needed, rules).blocks
            invoice = read_invoice(
                plan.provider, payment_hash=plan.payment_hash, amount=plan.amount, prefix=self.prefix
            )
            if invoice.payee != self.node_key:
                raise InvalidRequest("the hold invoice is not from the provider's node", code="invoice_payee")
            if invoice.timestamp > plan.issued_at + CLOCK_TOLERANCE:
                raise InvalidRequest("the hold invoice is dated in the future", code="invoice_timestamp")
            if invoice.expires_at > plan.issued_at + CLOCK_TOLERANCE + _source_expiry(plan, rules):
                # If the payer's node forgets a payment, the payer waits until no late payment can be made.
                raise InvalidRequest("the hold invoice can be paid for longer than agreed", code="invoice_expiry")
            if invoice.min_final_cltv_expiry_delta != min_blocks_left + rules.accept_blocks:
                # More would lock the taker's payment longer than the swap can need.
                raise InvalidRequest(
                    "the hold invoice's CLTV delta differs from the agreed one", code="invoice_cltv_delta"
                )
        return LightningLeg(
            prefix=self.prefix,
            invoice=invoice.text,
            payee=invoice.payee,
            amount_msat=plan.amount * MSAT_PER_SAT,
            cltv_limit=cltv_limit_for(invoice.min_final_cltv_expiry_delta, rules),
            min_blocks_left=min_blocks_left,
            fee_limit_msat=plan.fee_limit * MSAT_PER_SAT,
        )

    def _payable(self, text: str, plan: LegPlan, rules: TimelockSettings) -> Bolt11Invoice:
        return check_payable_invoice(
            text,
            payment_hash=plan.payment_hash,
            amount=plan.amount,
            prefix=self.prefix,
            provider_node=self.node_key or None,
            now=plan.issued_at,
            rules=rules,
        )

    def deadline_after(self, needed: Span, rules: TimelockSettings) -> Span:
        """Blocks that must be left when the provider accepts the payment."""
        return Span(0, needed.in_blocks(rules.bitcoin) + _collect_blocks(rules))

    def known_after(self, deadline: Span, rules: TimelockSettings) -> Span:
        """The life of the taker's own invoice, and the longest lock of a payment, until it is resolved on chain."""
        limit = cltv_limit_for(rules.own_final_cltv_delta, rules)
        return Span(rules.own_invoice_expiry + rules.payment_timeout, limit + rules.close_blocks)

    def payer_cost(self, amount: int) -> int:
        """The maximum routing fee."""
        return routing_fee_limit(amount)

    def hash_named(self, text: str) -> bytes:
        """The payment hash of an invoice, 32 bytes.

        Raises:
            InvalidRequest: code ``invoice_format``.
        """
        try:
            return decoded(text.lower()).payment_hash
        except FormatError as error:
            raise InvalidRequest(f"the invoice cannot be read: {error.message}", code="invoice_format") from error

    def settling(self, rules: TimelockSettings) -> int:
        """The time in which a payer looks for routes."""
        return rules.payment_timeout


@dataclass(frozen=True, slots=True)
class LightningLeg(Leg):
    """One payment of one exact invoice."""

    kind: ClassVar[str] = "lightning"
    protocol: Layer2ProtocolType = field(default=Layer2ProtocolType.LIGHTNING, init=False)
    finality: Finality = field(default=Finality.FINALIZED, init=False)
    lapses: ClassVar[bool] = True
    is_repeatable: ClassVar[bool] = False
    payer_reclaims: ClassVar[bool] = False
    release: ClassVar[Release] = Release.ALONE
    anyone_collects: ClassVar[bool] = False
    holds: ClassVar[str] = "in flight"
    ends_in_block: ClassVar[bool] = False

    prefix: Text8
    """BOLT 11: ``bc``, ``tb``, ``tbs`` or ``bcrt``."""
    invoice: Annotated[str, text(8_000)]
    """The exact text that is paid, lower case."""
    payee: Bytes33
    """The key that signed the invoice."""
    amount_msat: Amount
    cltv_limit: int
    """Maximum number of blocks for which the payer's payment may be locked (lnd's ``cltv_limit``)."""
    min_blocks_left: int
    """Source: minimum number of blocks left, over all HTLCs, when the provider relies on the payment; else 0."""
    fee_limit_msat: Amount
    """Maximum that the payer spends on routing."""

    @property
    def network_id(self) -> str:
        """The prefix."""
        return self.prefix

    @property
    def refundable_from(self) -> int | None:
        """None: a failed payment returns to the payer automatically."""
        return None

    def clock_at_issue(self, issued_at: int) -> ClockReading:
        """Wall time; the height is not needed."""
        return ClockReading(issued_at, 0)

    def is_past(self, clock: ClockReading) -> bool:
        """False: the deadline binds the HTLCs, and not the payer."""
        return False

    def outlasts(self, issued_at: int, needed: Span, rules: TimelockSettings) -> bool:
        """Whether the agreed minimum of blocks covers ``needed`` and the time to collect."""
        return self.min_blocks_left >= needed.in_blocks(rules.bitcoin) + _collect_blocks(rules)

    def known(self, now: int, clock: ClockReading, rules: TimelockSettings) -> Span:
        """The invoice's remaining life, and the longest lock of a payment, until it is resolved on chain."""
        # A stopped process may resume and send until the invoice expires.
        last = decoded(self.invoice).expires_at + rules.payment_timeout
        return Span(max(0, last - now), self.cltv_limit + rules.close_blocks)

    def problem(self, view: LegView, needed: Span, now: int, rules: TimelockSettings) -> str | None:
        """Why the held payment is not safe to rely on, by its parts and its expiry; or None."""
        held = view.held
        if held is None:
            return "the node does not show how the payment is held"
        if held.parts > rules.max_parts:
            return f"the payment has {held.parts} parts; the maximum is {rules.max_parts}"
        if held.smallest_part_msat < rules.smallest_part_msat:
            return "a part of the payment is not worth its own claim on chain"
        left = held.expiry_height - view.clock.height
        if left < needed.in_blocks(rules.bitcoin) + _collect_blocks(rules):
            return f"the held payment has only {left} blocks left"
        return None

    def collect_until(self, view: LegView | None, now: int, rules: TimelockSettings) -> int | None:
        """The last safe moment to begin to settle, by the fastest blocks; None without a held payment or an agreed
        minimum."""
        if view is not None and view.held is not None:
            left = view.held.expiry_height - view.clock.height
        elif self.min_blocks_left:
            left = self.min_blocks_left
        else:
            return None
        blocks = left - _collect_blocks(rules)
        return now + rules.bitcoin.earliest(blocks) if blocks >= 0 else now - 1

    def last_funding(self, rules: TimelockSettings) -> int | None:
        """The invoice's expiry, less the time in which the payer looks for routes."""
        return decoded(self.invoice).expires_at - rules.payment_timeout

    def lands_by(self, begun_by: int, rules: TimelockSettings) -> int:
        """When the payer stops to look for routes."""
        return begun_by + rules.payment_timeout

    @property
    def named_by_provider(self) -> str:
        """The hold invoice of a source; empty for a destination."""
        return self.invoice if self.min_blocks_left else ""

    def check(self, issued_at: int, fund_by: int, rules: TimelockSettings) -> None:
        """Check the CLTV limits, and that the invoice lives long enough.

        Raises:
            FundsRulesError: names the rule that does not hold.
        """
        invoice = decoded(self.invoice)
        # lnd reads a limit of 0 as 2016, and at or below the padded final delta no route exists.
        if self.cltv_limit <= invoice.min_final_cltv_expiry_delta + LND_CLTV_PADDING:
            raise FundsRulesError("the CLTV limit is not above the invoice's final delta and lnd's padding")
        if self.cltv_limit > rules.max_cltv_limit:
            raise FundsRulesError(
                f"the payment could be locked for {self.cltv_limit} blocks; the maximum is {rules.max_cltv_limit}"
            )
        if invoice.min_final_cltv_expiry_delta < self.min_blocks_left:
            raise FundsRulesError("the hold invoice's final delta is less than the blocks that must be left")
        if invoice.expires_at < fund_by + rules.payment_timeout:
            raise FundsRulesError("the invoice could expire while the payment is in flight")

    def check_owed(self, owed: Owed, policy: EvidencePolicy) -> tuple[OpenMatter, ...]:
        """Check that the invoice asks for exactly what the terms owe.

        Raises:
            ProofRefused: as ``check_owed_invoice``.
        """
        check_owed_invoice(self.invoice, payee=self.payee, amount_msat=self.amount_msat, prefix=self.prefix, owed=owed)
        return ()

    def check_evidence(self, evidence: LegEvidence, owed: Owed, policy: EvidencePolicy) -> LegShown:
        """Check that the evidence is the preimage of the terms' payment hash.

        Raises:
            ProofRefused: it is something else, or the policy requires more than a preimage shows.
        """
        if not isinstance(evidence, LightningPaymentEvidence):
            raise ProofRefused("evidence", f"evidence of the type {evidence.type} does not fit a Lightning leg")
        return lightning_evidence.shown_of(evidence, self.payee, owed, policy)

    @property
    def parties(self) -> tuple[None, str]:
        """The node that signed the invoice. An invoice does not name its payer."""
        return None, self.payee.hex()

    @property
    def asset(self) -> str:
        """``BTC``."""
        return BTC.code

    def money_name(self, evidence: LegEvidence, owed: Owed) -> str:
        """The payment hash: the preimage of one payment of a hash shows nothing about another one."""
        return f"payment_hash {owed.payment_hash.hex()}"

    def preimage_maker(self, policy: EvidencePolicy) -> PreimageMaker:
        """The invoice's signer, if the policy declares that it makes its own preimages; otherwise unknown."""
        is_declared = policy.own_preimage_payees is not None and self.payee in policy.own_preimage_payees
        return PreimageMaker.DECLARED_PAYEE if is_declared else PreimageMaker.UNKNOWN

    def evidence_of(self, preimage: Preimage) -> LegEvidence | None:
        """The preimage as evidence."""
        return LightningPaymentEvidence(preimage)


def routing_fee_limit(amount: int) -> int:
    """Maximum routing fee of a payment of that amount; both in satoshi."""
    return max(_SMALLEST_ROUTING_FEE, amount // _ROUTING_FEE_DIVISOR)


def cltv_limit_for(final_cltv_delta: int, rules: TimelockSettings) -> int:
    """Maximum number of blocks for which a payment of an invoice with that final delta may be locked.

    Raises:
        FundsRulesError: the invoice asks for a longer lock than the settings allow.
    """
    limit = final_cltv_delta + LND_CLTV_PADDING + rules.route_blocks
    if limit > rules.max_cltv_limit:
        raise FundsRulesError(
            f"the invoice's final delta of {final_cltv_delta} blocks would lock the payment for up to {limit} blocks; "
            f"the maximum is {rules.max_cltv_limit}"
        )
    return limit


def _collect_blocks(rules: TimelockSettings) -> int:
    """Blocks before the expiry of a held payment at which lnd fails it, and by which a party's tip may be late."""
    return rules.hold_expiry_blocks + rules.late_tip_blocks


def _source_expiry(plan: LegPlan, rules: TimelockSettings) -> int:
    """Seconds for which the hold invoice of a source is valid. The node that counts them may have a late clock."""
    return plan.fund_by - plan.issued_at + rules.payment_timeout + CLOCK_TOLERANCE
