"""Legs that are the payment of one BOLT 11 invoice, held by its payee."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final, Self

from coincurve import PublicKey

from layer2.errors import FormatError, FundsRulesError, InvalidRequest, ProofRefused
from layer2.formats.bolt11 import Bolt11Invoice
from layer2.formats.json_object import JsonObject
from layer2.legs import lightning_evidence
from layer2.legs.block_times import Span
from layer2.legs.evidence import LegEvidence, LightningPaymentEvidence
from layer2.legs.invoices import CLOCK_TOLERANCE, MSAT_PER_SAT, check_payable_invoice, decoded, read_invoice
from layer2.legs.leg import Leg, LegOffer, LegPlan
from layer2.legs.shown import EvidencePolicy, LegShown, OpenMatter, Owed
from layer2.legs.timelock_settings import TimelockSettings
from layer2.legs.views import ClockReading, LegView, OfferRequest, Release, Side
from layer2.model.layers import Layer2ProtocolType
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
    counts_blocks: ClassVar[bool] = True
    pays_strangers: ClassVar[bool] = True

    prefix: str
    """BOLT 11: ``bc``, ``tb``, ``tbs`` or ``bcrt``."""
    node_key: bytes
    """33 bytes: signs this party's invoices. It never signs one that this party is to pay."""

    @property
    def protocol(self) -> Layer2ProtocolType:
        return Layer2ProtocolType.LIGHTNING

    @property
    def network_id(self) -> str:
        return self.prefix

    @property
    def finality(self) -> Finality:
        return Finality.FINALIZED

    def with_finality(self, finality: Finality) -> Self:
        return self

    def of_anyone(self) -> Self:
        return replace(self, node_key=b"")

    def differs_from(self, own: LegOffer) -> str | None:
        if not isinstance(own, LightningOffer):
            return "kind"
        if self.prefix != own.prefix:
            return "prefix"
        return "node_key" if self.node_key == own.node_key or not _is_public_key(self.node_key) else None

    def request(self, plan: LegPlan, side: Side, memo: str, rules: TimelockSettings) -> OfferRequest:
        if plan.taker_side is Side.PAYEE:
            expiry, delta = rules.own_invoice_expiry, rules.own_final_cltv_delta
        else:
            expiry = _source_expiry(plan, rules)
            delta = self.deadline_after(plan.needed, rules).blocks + rules.accept_blocks
        return OfferRequest(side, plan.payment_hash, plan.amount, memo, expiry, delta)

    def check_named(self, plan: LegPlan, rules: TimelockSettings) -> None:
        if plan.taker_side is Side.PAYEE:
            self._payable(plan.taker, plan, rules)
        elif plan.taker:
            raise InvalidRequest("a payer names nothing for a Lightning leg", code="offer_format")

    def build(self, plan: LegPlan, rules: TimelockSettings) -> LightningLeg:
        if plan.taker_side is Side.PAYEE:
            invoice, min_blocks_left = self._payable(plan.taker, plan, rules), 0
        else:
            min_blocks_left = self.deadline_after(plan.needed, rules).blocks
            invoice = read_invoice(
                plan.provider, payment_hash=plan.payment_hash, amount=plan.amount, prefix=self.prefix
            )
            if invoice.payee != self.node_key:
                raise InvalidRequest("the hold invoice is not of the provider's node", code="invoice_payee")
            if invoice.timestamp > plan.issued_at + CLOCK_TOLERANCE:
                raise InvalidRequest("the hold invoice is dated in the future", code="invoice_timestamp")
            if invoice.expires_at > plan.issued_at + CLOCK_TOLERANCE + _source_expiry(plan, rules):
                # A payment that the payer's node does not know any more is waited for until no late one can be made.
                raise InvalidRequest("the hold invoice can be paid for longer than is agreed", code="invoice_expiry")
            if invoice.min_final_cltv_expiry_delta != min_blocks_left + rules.accept_blocks:
                # More would lock the taker's payment longer than the swap can need.
                raise InvalidRequest("the hold invoice's CLTV delta is not the agreed one", code="invoice_cltv_delta")
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
        return Span(0, needed.in_blocks(rules.bitcoin) + _collect_blocks(rules))

    def known_after(self, deadline: Span, rules: TimelockSettings) -> Span:
        limit = cltv_limit_for(rules.own_final_cltv_delta, rules)
        return Span(rules.own_invoice_expiry + rules.payment_timeout, limit + rules.close_blocks)

    def payer_cost(self, amount: int) -> int:
        return routing_fee_limit(amount)

    def hash_named(self, text: str) -> bytes:
        try:
            return decoded(text.lower()).payment_hash
        except FormatError as error:
            raise InvalidRequest(f"the invoice cannot be read: {error.message}", code="invoice_format") from error

    def settling(self, rules: TimelockSettings) -> int:
        return rules.payment_timeout

    def write(self) -> dict[str, Any]:
        return {"prefix": self.prefix, "node_key": self.node_key.hex()}

    @classmethod
    def read(cls, fields: JsonObject) -> Self:
        return cls(prefix=fields.text("prefix", max_length=8), node_key=fields.hex("node_key", length=33))


@dataclass(frozen=True, slots=True)
class LightningLeg(Leg):
    """One payment of one exact invoice."""

    kind: ClassVar[str] = "lightning"
    lapses: ClassVar[bool] = True
    is_repeatable: ClassVar[bool] = False
    payer_reclaims: ClassVar[bool] = False
    release: ClassVar[Release] = Release.ALONE
    anyone_collects: ClassVar[bool] = False
    holds: ClassVar[str] = "in flight"

    prefix: str
    """BOLT 11: ``bc``, ``tb``, ``tbs`` or ``bcrt``."""
    invoice: str
    """The exact text that is paid, lower case."""
    payee: bytes
    """33 bytes: the key that signed the invoice."""
    amount_msat: int
    cltv_limit: int
    """Most blocks that the payer lets its payment be locked (lnd's ``cltv_limit``)."""
    min_blocks_left: int
    """Source: fewest blocks that must be left, over all HTLCs, when the provider relies on the payment; else 0."""
    fee_limit_msat: int
    """Most that the payer spends on routing."""

    @property
    def protocol(self) -> Layer2ProtocolType:
        return Layer2ProtocolType.LIGHTNING

    @property
    def network_id(self) -> str:
        return self.prefix

    @property
    def finality(self) -> Finality:
        return Finality.FINALIZED

    @property
    def refundable_from(self) -> int | None:
        return None

    def clock_at_issue(self, issued_at: int) -> ClockReading:
        return ClockReading(issued_at, 0)

    def is_past(self, clock: ClockReading) -> bool:
        return False

    def outlasts(self, issued_at: int, needed: Span, rules: TimelockSettings) -> bool:
        return self.min_blocks_left >= needed.in_blocks(rules.bitcoin) + _collect_blocks(rules)

    def known(self, now: int, clock: ClockReading, rules: TimelockSettings) -> Span:
        # A stopped process may wake and send until the invoice expires.
        last = decoded(self.invoice).expires_at + rules.payment_timeout
        return Span(max(0, last - now), self.cltv_limit + rules.close_blocks)

    def problem(self, view: LegView, needed: Span, now: int, rules: TimelockSettings) -> str | None:
        held = view.held
        if held is None:
            return "the node does not show how the payment is held"
        if held.parts > rules.max_parts:
            return f"the payment has {held.parts} parts; at most {rules.max_parts} are taken"
        if held.smallest_part_msat < rules.smallest_part_msat:
            return "a part of the payment is not worth its own claim on chain"
        left = held.expiry_height - view.clock.height
        if left < needed.in_blocks(rules.bitcoin) + _collect_blocks(rules):
            return f"the held payment has only {left} blocks left"
        return None

    def collect_until(self, view: LegView | None, now: int, rules: TimelockSettings) -> int | None:
        if view is not None and view.held is not None:
            left = view.held.expiry_height - view.clock.height
        elif self.min_blocks_left:
            left = self.min_blocks_left
        else:
            return None
        blocks = left - _collect_blocks(rules)
        return now + rules.bitcoin.earliest(blocks) if blocks >= 0 else now - 1

    def last_funding(self, rules: TimelockSettings) -> int | None:
        return decoded(self.invoice).expires_at - rules.payment_timeout

    def lands_by(self, begun_by: int, rules: TimelockSettings) -> int:
        return begun_by + rules.payment_timeout

    def settled_by(self, begun_by: int, rules: TimelockSettings) -> int:
        return begun_by + rules.payment_timeout

    @property
    def named_by_provider(self) -> str:
        return self.invoice if self.min_blocks_left else ""

    def surely_over(self, now: int, clock: ClockReading, rules: TimelockSettings) -> int:
        return now + self.known(now, clock, rules).latest(rules.bitcoin)

    def check(self, issued_at: int, fund_by: int, rules: TimelockSettings) -> None:
        invoice = decoded(self.invoice)
        # lnd reads a limit of 0 as 2016, and at or below the padded final delta no route exists.
        if self.cltv_limit <= invoice.min_final_cltv_expiry_delta + LND_CLTV_PADDING:
            raise FundsRulesError("the CLTV limit is not above the invoice's final delta and lnd's padding")
        if self.cltv_limit > rules.max_cltv_limit:
            raise FundsRulesError(
                f"the payment could be locked for {self.cltv_limit} blocks; at most {rules.max_cltv_limit} are allowed"
            )
        if invoice.min_final_cltv_expiry_delta < self.min_blocks_left:
            raise FundsRulesError("the hold invoice's final delta is less than the blocks that must be left")
        if invoice.expires_at < fund_by + rules.payment_timeout:
            raise FundsRulesError("the invoice could expire while the payment is on its way")

    def check_owed(self, owed: Owed, policy: EvidencePolicy) -> tuple[OpenMatter, ...]:
        lightning_evidence.check_invoice(self, owed)
        return ()

    def check_evidence(self, evidence: LegEvidence, owed: Owed, policy: EvidencePolicy) -> LegShown:
        if not isinstance(evidence, LightningPaymentEvidence):
            raise ProofRefused("evidence", f"evidence of the type {evidence.type} is none of a Lightning leg")
        return lightning_evidence.shown_of(evidence, self, owed, policy)

    def evidence_of(self, preimage: Preimage) -> LegEvidence | None:
        return LightningPaymentEvidence(preimage)

    def write(self) -> dict[str, Any]:
        return {
            "prefix": self.prefix,
            "invoice": self.invoice,
            "payee": self.payee.hex(),
            "amount_msat": str(self.amount_msat),
            "cltv_limit": self.cltv_limit,
            "min_blocks_left": self.min_blocks_left,
            "fee_limit_msat": str(self.fee_limit_msat),
        }

    @classmethod
    def read(cls, fields: JsonObject) -> Self:
        return cls(
            prefix=fields.text("prefix", max_length=8),
            invoice=fields.text("invoice", max_length=8_000),
            payee=fields.hex("payee", length=33),
            amount_msat=fields.amount("amount_msat"),
            cltv_limit=fields.integer("cltv_limit"),
            min_blocks_left=fields.integer("min_blocks_left"),
            fee_limit_msat=fields.amount("fee_limit_msat"),
        )


def routing_fee_limit(amount: int) -> int:
    """Most that a taker spends on the route of a payment of that amount; both in satoshi."""
    return max(_SMALLEST_ROUTING_FEE, amount // _ROUTING_FEE_DIVISOR)


def cltv_limit_for(final_cltv_delta: int, rules: TimelockSettings) -> int:
    """Most blocks that a payment of an invoice with that final delta may be locked.

    Raises:
        FundsRulesError: the invoice asks for a longer lock than is allowed.
    """
    limit = final_cltv_delta + LND_CLTV_PADDING + rules.route_blocks
    if limit > rules.max_cltv_limit:
        raise FundsRulesError(
            f"the invoice's final delta of {final_cltv_delta} blocks would lock the payment for up to {limit} blocks; "
            f"at most {rules.max_cltv_limit} are allowed"
        )
    return limit


def _collect_blocks(rules: TimelockSettings) -> int:
    """lnd gives a held payment up so many blocks before its expiry, and a party's own tip may be late."""
    return rules.hold_expiry_blocks + rules.late_tip_blocks


def _source_expiry(plan: LegPlan, rules: TimelockSettings) -> int:
    """How long the hold invoice of a source lives. The node's clock, from which that counts, may be behind."""
    return plan.fund_by - plan.issued_at + rules.payment_timeout + CLOCK_TOLERANCE


def _is_public_key(data: bytes) -> bool:
    try:
        return PublicKey(data).format() == data
    except ValueError:
        return False
