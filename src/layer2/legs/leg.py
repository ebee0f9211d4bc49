"""The interface of every kind of leg: the offer of a party in a quote, and the leg in the terms."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

from layer2.errors.base import InvalidRequest
from layer2.legs.block_times import Span
from layer2.legs.evidence import LegEvidence
from layer2.legs.party_key import PartyKey
from layer2.legs.shown import EvidencePolicy, LegShown, OpenMatter, Owed, PreimageMaker
from layer2.legs.timelock_settings import TimelockSettings
from layer2.legs.views import ClockReading, FundingRequest, LegView, OfferRequest, Release, Side
from layer2.model.layers import Layer2ProtocolType
from layer2.model.transactions import Finality, Preimage

__all__ = ["Htlc", "Leg", "LegOffer", "LegPlan"]


@dataclass(frozen=True, slots=True)
class LegPlan:
    """The inputs from which a provider's offer builds a leg."""

    taker_side: Side
    """``PAYER`` for the source, which the taker pays; ``PAYEE`` for the destination."""
    taker: str
    """What the taker names for this leg: an account, a key or an invoice; empty if the kind needs none."""
    provider: str
    """What the provider names for this swap alone, such as a hold invoice; empty if the offer is enough."""
    payment_hash: bytes
    amount: int
    """Satoshi."""
    fee_limit: int
    """Maximum routing cost of the payer, in satoshi."""
    issued_at: int
    """Unix seconds."""
    fund_by: int
    """Unix seconds by which the payer begins to fund."""
    needed: Span
    """How long after ``issued_at`` the payee must still be able to begin to collect."""
    height: int
    """The newest block of Bitcoin at ``issued_at``; 0 if no leg needs it."""
    by_height: bool
    """Whether both legs count Bitcoin's blocks. The deadline of a Bitcoin leg is then a height."""


class LegOffer(ABC):
    """One side of a quote: the network, the unit and the account with which a party offers a leg.

    Every offer is a dataclass, and a record of ``formats.json_record``.
    """

    kind: ClassVar[str]
    counts_blocks: ClassVar[bool]
    """Whether the leg's deadline can be counted in Bitcoin's blocks."""
    states_height: ClassVar[bool] = False
    """Whether the terms of the leg state the height of Bitcoin's chain when they were issued."""
    pays_strangers: ClassVar[bool]
    """Whether the destination may pay a third party, which then makes the preimage."""
    funded_by_others: ClassVar[bool] = False
    """Whether another party can make the payer's funding, at any time and again, and the payer can take it back."""
    smallest: ClassVar[int] = 1
    """The smallest amount of a leg, in satoshi."""
    protocol: Layer2ProtocolType
    """The layer."""
    finality: Finality
    """What the payee waits for before it acts on a funding."""
    __slots__ = ()

    @property
    @abstractmethod
    def network_id(self) -> str:
        """The layer's network: a chain id, or the prefix of BIP 173 or BOLT 11."""

    @abstractmethod
    def with_finality(self, finality: Finality) -> Self:
        """The same offer with another finality, for a quote."""

    def of_anyone(self) -> Self:
        """The same offer without the offering party, if the party's identity restricts which payees are allowed."""
        return self

    @abstractmethod
    def differs_from(self, own: LegOffer) -> str | None:
        """The name of the first field in which another party's offer conflicts with one's own, or None."""

    def request(self, plan: LegPlan, side: Side, memo: str, rules: TimelockSettings) -> OfferRequest:
        """What a party requests from its own layer for its side of the leg, so that ``build`` accepts it."""
        return OfferRequest(side, plan.payment_hash, plan.amount, memo, expiry_seconds=0, min_blocks=0)

    @abstractmethod
    def check_named(self, plan: LegPlan, rules: TimelockSettings) -> None:
        """Check what the taker names, before any node acts on it.

        Raises:
            InvalidRequest: the taker names something unusable; ``code`` states what.
        """

    @abstractmethod
    def build(self, plan: LegPlan, rules: TimelockSettings) -> Leg:
        """The leg that follows from the offer and the plan.

        Raises:
            InvalidRequest: a party names something unusable for it; ``code`` states what.
            InvalidAmount: the unit cannot express the amount.
            FundsRulesError: a margin does not hold.
        """

    @abstractmethod
    def deadline_after(self, needed: Span, rules: TimelockSettings) -> Span:
        """How long a leg lasts if its payee must surely collect when it begins within ``needed``."""

    @abstractmethod
    def known_after(self, deadline: Span, rules: TimelockSettings) -> Span:
        """When the payer of a leg with that deadline surely has the preimage, or its own money back, finally."""

    def slack(self, deadline: Span, rules: TimelockSettings) -> Span:
        """What a source's terms add to its deadline: blocks can arrive before its funding that nothing else counts."""
        return Span()

    def payer_cost(self, amount: int) -> int:
        """Satoshi that the payer may spend in addition to the amount, in the layer's own bitcoin."""
        return 0

    def hash_named(self, text: str) -> bytes:
        """The payment hash, 32 bytes, of the text on which a third party asks to be paid.

        Raises:
            InvalidRequest: the text cannot be read, or this layer pays no third party.
        """
        raise InvalidRequest(f"{self.protocol.value} pays only the taker's own account", code="recipient")

    @abstractmethod
    def settling(self, rules: TimelockSettings) -> int:
        """Seconds from the start of a funding until it normally has the finality of this offer."""


class Leg(ABC):
    """One side of a swap, with everything that both parties have agreed on about it.

    Every leg is a dataclass, and a record of ``formats.json_record``.
    """

    kind: ClassVar[str]
    lapses: ClassVar[bool]
    """Whether a funding that was not made in time can never be made later. Otherwise it has to be voided."""
    is_repeatable: ClassVar[bool]
    """Whether the same funding may be sent again and takes effect once. Otherwise it is sent once."""
    payer_reclaims: ClassVar[bool]
    """Whether the payer has to act to get its money back. Otherwise the refund is automatic."""
    release: ClassVar[Release]
    anyone_collects: ClassVar[bool]
    """Whether any party with the preimage can pay the payee."""
    holds: ClassVar[str]
    """How messages describe money in the leg: ``locked`` or ``in flight``."""
    ends_in_block: ClassVar[bool] = True
    """Whether a block of the layer shows how the leg ended."""
    protocol: Layer2ProtocolType
    """The layer."""
    finality: Finality
    """What the payee waits for before it acts on a funding."""
    __slots__ = ()

    @property
    @abstractmethod
    def network_id(self) -> str:
        """As ``LegOffer.network_id``."""

    @property
    @abstractmethod
    def refundable_from(self) -> int | None:
        """Unix seconds from which the payer can take its money back alone; None if the refund is automatic, or if the
        deadline is not a time."""

    @abstractmethod
    def clock_at_issue(self, issued_at: int) -> ClockReading:
        """The clock reading that the terms assume for the moment of issue."""

    @abstractmethod
    def is_past(self, clock: ClockReading) -> bool:
        """Whether the deadline has passed on the leg's own clock."""

    @abstractmethod
    def outlasts(self, issued_at: int, needed: Span, rules: TimelockSettings) -> bool:
        """Whether a payee that begins to collect within ``needed`` after the issue surely collects."""

    @abstractmethod
    def known(self, now: int, clock: ClockReading, rules: TimelockSettings) -> Span:
        """From ``now``: when the payer surely has the preimage, or its own money back, finally."""

    @abstractmethod
    def problem(self, view: LegView, needed: Span, now: int, rules: TimelockSettings) -> str | None:
        """Why the payee must not rely on the funding in the view, if it has to be able to collect within ``needed``
        from ``now``; None if it may."""

    @abstractmethod
    def collect_until(self, view: LegView | None, now: int, rules: TimelockSettings) -> int | None:
        """Unix seconds until which the payee can begin to collect and surely succeeds; None if that depends on a view
        and there is none.

        Args:
            view: None uses what the terms guarantee, with ``now`` as the moment of issue. If the deadline is a height,
                its blocks may arrive as fast as they can.
        """

    def last_funding(self, rules: TimelockSettings) -> int | None:
        """Unix seconds after which the payer must not begin to fund, in addition to the terms' own limit; or None."""
        return None

    @abstractmethod
    def lands_by(self, begun_by: int, rules: TimelockSettings) -> int:
        """Unix seconds by which a funding that began in time is normally visible."""

    def settled_by(self, begun_by: int, rules: TimelockSettings) -> int:
        """Unix seconds by which a funding that began in time normally has the finality of the terms."""
        return self.lands_by(begun_by, rules)

    @property
    def named_by_provider(self) -> str:
        """What the provider named for this swap alone, as ``LegPlan.provider``."""
        return ""

    def surely_over(self, now: int, clock: ClockReading, rules: TimelockSettings) -> int:
        """The unix time after which the leg is empty, if the payee does not collect and the payer acts in time."""
        return now + self.known(now, clock, rules).latest(rules.bitcoin)

    def funding_request(self, fund_by: int) -> FundingRequest | None:
        """How others fund the leg by a time in unix seconds; None if only the payer can."""
        return None

    @abstractmethod
    def check(self, issued_at: int, fund_by: int, rules: TimelockSettings) -> None:
        """Check the rules for the leg alone: nothing is locked for too long, and the funding can be made.

        Raises:
            FundsRulesError: names the rule that does not hold.
        """

    @abstractmethod
    def check_owed(self, owed: Owed, policy: EvidencePolicy) -> tuple[OpenMatter, ...]:
        """Check, for a proof, that the leg is what the terms owe on this side, and that the policy accepts it.

        Returns:
            What remains open.

        Raises:
            ProofRefused: ``check`` names the first check that failed.
        """

    @abstractmethod
    def check_evidence(self, evidence: LegEvidence, owed: Owed, policy: EvidencePolicy) -> LegShown:
        """Check evidence of how the leg ended, after ``check_owed``. It does not show a header's place in a chain.

        Raises:
            ProofRefused: ``check`` names the first check that failed.
        """

    @property
    def contracts(self) -> Mapping[int, frozenset[bytes]]:
        """By chain id, the contract that holds the leg's money, and whose storage shows its end; empty without one."""
        return {}

    def key_of(self, side: Side) -> PartyKey | None:
        """The key of one of its parties; None if the kind has none that a stranger can check."""
        return None

    @property
    @abstractmethod
    def parties(self) -> tuple[str | None, str]:
        """Payer and payee, as the leg names them; None for a payer that it does not name."""

    @property
    @abstractmethod
    def asset(self) -> str:
        """What the leg moves: ``BTC``, the chain's own coin, or the token's address with its check sum."""

    @abstractmethod
    def money_name(self, evidence: LegEvidence, owed: Owed) -> str:
        """What names the leg's money: the money of two legs with one name is the same, and is counted once.

        Args:
            evidence: checked evidence of the leg.
        """

    def preimage_maker(self, policy: EvidencePolicy) -> PreimageMaker:
        """Whoever made the preimage of a transfer whose destination this leg is."""
        return PreimageMaker.TAKER

    def evidence_of(self, preimage: Preimage) -> LegEvidence | None:
        """The evidence that consists of the preimage alone, for a party whose node has no view of the leg; None if the
        kind has none."""
        return None


@dataclass(frozen=True, slots=True)
class Htlc:
    """A leg, its payment hash, and the terms to which it belongs."""

    leg: Leg
    payment_hash: bytes
    """32 bytes."""
    terms_hash: bytes
    """32 bytes; an EVM lock commits to it."""
    funded_by_others: bool = False
    """Payer: others make the funding, so this party makes none and voids none."""
