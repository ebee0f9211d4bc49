"""Legs that are locks in the HTLC contract of an EVM layer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final, Self

from layer2.errors import FormatError, FundsRulesError, InvalidRequest, ProofRefused
from layer2.formats.evm_address import parse_address
from layer2.formats.json_object import JsonObject
from layer2.legs import evm_evidence
from layer2.legs.block_times import Span
from layer2.legs.evidence import EvmReceiptEvidence, LegEvidence
from layer2.legs.fields import read_finality, read_protocol
from layer2.legs.leg import Leg, LegOffer, LegPlan
from layer2.legs.shown import EvidencePolicy, LegShown, OpenMatter, Owed
from layer2.legs.timelock_settings import TimelockSettings, finality_seconds
from layer2.legs.views import ClockReading, LegView, OfferRequest, Release, Side
from layer2.model.layers import Layer2ProtocolType
from layer2.model.money import BTC, rescaled
from layer2.model.transactions import Finality

__all__ = ["NO_ADDRESS", "EvmLeg", "EvmOffer"]

NO_ADDRESS: Final = bytes(20)
_MOST_DECIMALS: Final = 36


@dataclass(frozen=True, slots=True)
class EvmOffer(LegOffer):
    """A party's account on an EVM layer, and the token that is bitcoin there."""

    kind: ClassVar[str] = "evm"
    counts_blocks: ClassVar[bool] = False
    pays_strangers: ClassVar[bool] = False

    layer: Layer2ProtocolType
    chain_id: int
    contract: bytes
    """20 bytes: the HTLC contract."""
    token: bytes
    """20 bytes."""
    token_decimals: int
    account: bytes
    """20 bytes: payee of a source lock, payer of a destination lock."""
    lock_finality: Finality

    @property
    def protocol(self) -> Layer2ProtocolType:
        return self.layer

    @property
    def network_id(self) -> str:
        return str(self.chain_id)

    @property
    def finality(self) -> Finality:
        return self.lock_finality

    def with_finality(self, finality: Finality) -> Self:
        return replace(self, lock_finality=finality)

    def differs_from(self, own: LegOffer) -> str | None:
        if not isinstance(own, EvmOffer):
            return "kind"
        for name in ("layer", "chain_id", "contract", "token", "token_decimals"):
            if getattr(self, name) != getattr(own, name):
                return name
        return "account" if self.account in (NO_ADDRESS, own.account) else None

    def request(self, plan: LegPlan, side: Side, memo: str, rules: TimelockSettings) -> OfferRequest:
        return OfferRequest(side, plan.payment_hash, plan.amount, memo, expiry_seconds=0, min_blocks=0)

    def check_named(self, plan: LegPlan, rules: TimelockSettings) -> None:
        if _account(plan.taker) == self.account:
            raise InvalidRequest("payer and payee of a lock are the same account", code="offer_address")

    def build(self, plan: LegPlan, rules: TimelockSettings) -> EvmLeg:
        self.check_named(plan, rules)
        lasts, taker = self.deadline_after(plan.needed, rules).seconds, _account(plan.taker)
        taker_pays = plan.taker_side is Side.PAYER
        return EvmLeg(
            layer=self.layer,
            chain_id=self.chain_id,
            contract=self.contract,
            token=self.token,
            token_decimals=self.token_decimals,
            amount=rescaled(plan.amount, BTC.decimals, self.token_decimals),
            payer=taker if taker_pays else self.account,
            payee=self.account if taker_pays else taker,
            deadline=plan.issued_at + lasts,
            lock_finality=self.lock_finality,
        )

    def deadline_after(self, needed: Span, rules: TimelockSettings) -> Span:
        return Span(needed.latest(rules.bitcoin) + _collect_margin(self.layer, rules))

    def known_after(self, deadline: Span, rules: TimelockSettings) -> Span:
        return deadline + Span(_known_margin(self.layer, rules))

    def payer_cost(self, amount: int) -> int:
        return 0

    def hash_named(self, text: str) -> bytes:
        raise InvalidRequest(f"{self.layer.value} pays only the taker's own account", code="recipient")

    def settling(self, rules: TimelockSettings) -> int:
        margins = rules.margins(self.layer)
        return margins.landing_time + finality_seconds(self.lock_finality, margins)

    def write(self) -> dict[str, Any]:
        return {
            "layer": self.layer.value,
            "chain_id": self.chain_id,
            "contract": self.contract.hex(),
            "token": self.token.hex(),
            "token_decimals": self.token_decimals,
            "account": self.account.hex(),
            "finality": self.lock_finality.value,
        }

    @classmethod
    def read(cls, fields: JsonObject) -> Self:
        return cls(
            layer=read_protocol(fields, "layer"),
            chain_id=fields.integer("chain_id"),
            contract=fields.hex("contract", length=20),
            token=fields.hex("token", length=20),
            token_decimals=fields.integer("token_decimals", maximum=_MOST_DECIMALS),
            account=fields.hex("account", length=20),
            lock_finality=read_finality(fields),
        )


@dataclass(frozen=True, slots=True)
class EvmLeg(Leg):
    """One lock. Its ``lock_id`` commits to every field but the finality."""

    kind: ClassVar[str] = "evm"
    lapses: ClassVar[bool] = True
    is_repeatable: ClassVar[bool] = True
    payer_reclaims: ClassVar[bool] = True
    release: ClassVar[Release] = Release.ALONE
    anyone_collects: ClassVar[bool] = True
    holds: ClassVar[str] = "locked"

    layer: Layer2ProtocolType
    chain_id: int
    contract: bytes
    """20 bytes."""
    token: bytes
    """20 bytes; all zero for the native coin."""
    token_decimals: int
    """What one unit of ``amount`` is, so that a verifier can compare it with satoshi."""
    amount: int
    """In the token's smallest unit."""
    payer: bytes
    """20 bytes: the account that locks, and gets a refund."""
    payee: bytes
    """20 bytes: the account that a claim pays, and that alone may refund before the deadline."""
    deadline: int
    """Unix seconds on the chain's clock: from then on anyone may refund."""
    lock_finality: Finality
    """What the payee waits for before it acts on the lock."""

    @property
    def protocol(self) -> Layer2ProtocolType:
        return self.layer

    @property
    def network_id(self) -> str:
        return str(self.chain_id)

    @property
    def finality(self) -> Finality:
        return self.lock_finality

    @property
    def refundable_from(self) -> int | None:
        return self.deadline

    def clock_at_issue(self, issued_at: int) -> ClockReading:
        return ClockReading(issued_at, 0)

    def is_past(self, clock: ClockReading) -> bool:
        return clock.chain_time >= self.deadline

    def outlasts(self, issued_at: int, needed: Span, rules: TimelockSettings) -> bool:
        return issued_at + needed.latest(rules.bitcoin) <= self._begin_by(rules)

    def known(self, now: int, clock: ClockReading, rules: TimelockSettings) -> Span:
        return Span(max(0, self.deadline - now) + _known_margin(self.layer, rules))

    def problem(self, view: LegView, needed: Span, now: int, rules: TimelockSettings) -> str | None:
        # The margin allows for a clock that runs ahead; only one that runs further than that counts here.
        ahead = max(0, view.clock.chain_time - now - rules.margins(self.layer).clock_early)
        late = now + ahead + needed.latest(rules.bitcoin) - self._begin_by(rules)
        return f"the lock's deadline is {late} s too early to be sure to collect" if late > 0 else None

    def collect_until(self, view: LegView | None, now: int, rules: TimelockSettings) -> int | None:
        return self._begin_by(rules)

    def _begin_by(self, rules: TimelockSettings) -> int:
        return self.deadline - _collect_margin(self.layer, rules)

    def last_funding(self, rules: TimelockSettings) -> int | None:
        return None

    def lands_by(self, begun_by: int, rules: TimelockSettings) -> int:
        return begun_by + rules.margins(self.layer).landing_time

    def settled_by(self, begun_by: int, rules: TimelockSettings) -> int:
        margins = rules.margins(self.layer)
        return begun_by + margins.landing_time + finality_seconds(self.lock_finality, margins)

    @property
    def named_by_provider(self) -> str:
        return ""

    def surely_over(self, now: int, clock: ClockReading, rules: TimelockSettings) -> int:
        margins = rules.margins(self.layer)
        return self.deadline + margins.inclusion + margins.final_time

    def check(self, issued_at: int, fund_by: int, rules: TimelockSettings) -> None:
        if self.deadline > issued_at + rules.max_lock:
            raise FundsRulesError(f"the lock would last longer than the {rules.max_lock} s that are allowed")

    def check_owed(self, owed: Owed, policy: EvidencePolicy) -> tuple[OpenMatter, ...]:
        return evm_evidence.check_lock(self, owed, policy)

    def check_evidence(self, evidence: LegEvidence, owed: Owed, policy: EvidencePolicy) -> LegShown:
        if not isinstance(evidence, EvmReceiptEvidence):
            raise ProofRefused("evidence", f"evidence of the type {evidence.type} is none of an EVM leg")
        return evm_evidence.shown_of(evidence, self, owed)

    def write(self) -> dict[str, Any]:
        return {
            "layer": self.layer.value,
            "chain_id": self.chain_id,
            "contract": self.contract.hex(),
            "token": self.token.hex(),
            "token_decimals": self.token_decimals,
            "amount": str(self.amount),
            "payer": self.payer.hex(),
            "payee": self.payee.hex(),
            "deadline": self.deadline,
            "finality": self.lock_finality.value,
        }

    @classmethod
    def read(cls, fields: JsonObject) -> Self:
        return cls(
            layer=read_protocol(fields, "layer"),
            chain_id=fields.integer("chain_id"),
            contract=fields.hex("contract", length=20),
            token=fields.hex("token", length=20),
            token_decimals=fields.integer("token_decimals", maximum=_MOST_DECIMALS),
            amount=fields.amount("amount"),
            payer=fields.hex("payer", length=20),
            payee=fields.hex("payee", length=20),
            deadline=fields.integer("deadline"),
            lock_finality=read_finality(fields),
        )


def _collect_margin(layer: Layer2ProtocolType, rules: TimelockSettings) -> int:
    """From the begin of a claim to the deadline: the clock may run ahead, the claim may be censored, and it has to be
    final, because a reorganisation past the deadline would let a refund come first."""
    margins = rules.margins(layer)
    return margins.clock_early + margins.inclusion + margins.final_time


def _known_margin(layer: Layer2ProtocolType, rules: TimelockSettings) -> int:
    """From the deadline until the payer's refund, or the payee's late claim, is final."""
    margins = rules.margins(layer)
    return rules.provider_absence + margins.inclusion + margins.final_time


def _account(text: str) -> bytes:
    """An account that a party names.

    Raises:
        InvalidRequest: code ``offer_address``.
    """
    try:
        account = parse_address(text)
    except FormatError as error:
        raise InvalidRequest(f"the account cannot be read: {error.message}", code="offer_address") from error
    if account == NO_ADDRESS:
        raise InvalidRequest("the account is the zero address", code="offer_address")
    return account
