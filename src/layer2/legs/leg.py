"""What every kind of leg answers: the offer of a party in a quote, and the leg in the terms."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from layer2.formats.json_object import JsonObject
from layer2.legs.block_times import Span
from layer2.legs.evidence import LegEvidence
from layer2.legs.shown import EvidencePolicy, LegShown, OpenMatter, Owed
from layer2.legs.timelock_settings import TimelockSettings
from layer2.legs.views import ClockReading, LegView, OfferRequest, Release, Side
from layer2.model.layers import Layer2ProtocolType
from layer2.model.transactions import Finality, Preimage

__all__ = ["Htlc", "Leg", "LegOffer", "LegPlan"]


@dataclass(frozen=True, slots=True)
class LegPlan:
    """What a leg is built from, besides the provider's offer."""

    taker_side: Side
    """``PAYER`` for the source, which the taker pays; ``PAYEE`` for the destination."""
    taker: str
    """What the taker names for this leg: an account, a key, an invoice; empty where it names nothing."""
    provider: str
    """What the provider names for this swap alone, such as a hold invoice; empty where the offer has all."""
    payment_hash: bytes
    amount: int
    """Satoshi."""
    fee_limit: int
    """Satoshi that the payer spends on the way at most."""
    issued_at: int
    """Unix seconds."""
    fund_by: int
    """Unix seconds by which the payer begins to fund."""
    needed: Span
    """How long after ``issued_at`` the payee must still be able to begin to collect."""
    height: int
    """The newest block of Bitcoin at ``issued_at``; 0 where no leg needs it."""
    by_height: bool
    """Whether both legs count Bitcoin's blocks: then a deadline on Bitcoin is a height."""


class LegOffer(ABC):
    """One side of a quote: on which network, in which unit and from which account a party offers a leg."""

    kind: ClassVar[str]
    counts_blocks: ClassVar[bool]
    """Whether the leg's deadline can be counted in Bitcoin's blocks."""
    pays_strangers: ClassVar[bool]
    """Whether the destination may pay a third party, which then makes the preimage."""
    __slots__ = ()

    def counts_blocks_with(self, other: LegOffer) -> bool:
        """Whether both legs count Bitcoin's blocks, so that their deadlines are compared in blocks."""
        return self.counts_blocks and other.counts_blocks

    @property
    @abstractmethod
    def protocol(self) -> Layer2ProtocolType: ...

    @property
    @abstractmethod
    def network_id(self) -> str:
        """The chain id, or the prefix of BOLT 11: which network of the layer."""

    @property
    @abstractmethod
    def finality(self) -> Finality:
        """What the payee waits for before it acts on a funding."""

    @abstractmethod
    def with_finality(self, finality: Finality) -> Self:
        """The same offer with another finality, for a quote."""

    def of_anyone(self) -> Self:
        """The same offer without the party that makes it, where the party decides which payees are allowed."""
        return self

    @abstractmethod
    def differs_from(self, own: LegOffer) -> str | None:
        """The name of the first field in which another party's offer does not fit one's own, or None."""

    @abstractmethod
    def request(self, plan: LegPlan, side: Side, memo: str, rules: TimelockSettings) -> OfferRequest:
        """What a party asks its own layer for on its side of the leg, so that ``build`` accepts it."""

    @abstractmethod
    def check_named(self, plan: LegPlan, rules: TimelockSettings) -> None:
        """Check what the taker names, before anything is done on its account.

        Raises:
            InvalidRequest: its code names what is wrong.
        """

    @abstractmethod
    def build(self, plan: LegPlan, rules: TimelockSettings) -> Leg:
        """The one leg that follows from the offer and the plan.

        Raises:
            InvalidRequest: a party names something wrong for it; the code states what.
            InvalidAmount: the unit cannot express the amount.
            FundsRulesError: a margin does not hold.
        """

    @abstractmethod
    def deadline_after(self, needed: Span, rules: TimelockSettings) -> Span:
        """How long a leg lasts on which the payee surely collects if it begins within ``needed``."""

    @abstractmethod
    def known_after(self, deadline: Span, rules: TimelockSettings) -> Span:
        """When the payer of a leg with that deadline has surely the preimage, or its own money back, finally."""

    @abstractmethod
    def payer_cost(self, amount: int) -> int:
        """Satoshi that the payer may spend on the way, besides the amount, in the layer's own bitcoin."""

    @abstractmethod
    def hash_named(self, text: str) -> bytes:
        """The payment hash, 32 bytes, of what a stranger names to be paid on.

        Raises:
            InvalidRequest: the text cannot be read, or this layer pays no strangers.
        """

    @abstractmethod
    def settling(self, rules: TimelockSettings) -> int:
        """Seconds from the start of a funding until it is normally as settled as this offer asks."""

    @abstractmethod
    def write(self) -> dict[str, Any]:
        """The offer as a JSON object, without ``kind``."""

    @classmethod
    @abstractmethod
    def read(cls, fields: JsonObject) -> Self:
        """The reverse of ``write``.

        Raises:
            FormatError: a field is missing or of another shape.
        """


class Leg(ABC):
    """One side of a swap, with everything that both parties have agreed on about it."""

    kind: ClassVar[str]
    lapses: ClassVar[bool]
    """Whether a funding that was not made in time can never be made any more. Otherwise it has to be voided."""
    is_repeatable: ClassVar[bool]
    """Whether the same funding may be sent again and has its effect once. Otherwise it is sent once."""
    payer_reclaims: ClassVar[bool]
    """Whether the payer has to act to get its money back. Otherwise it comes back by itself."""
    release: ClassVar[Release]
    anyone_collects: ClassVar[bool]
    """Whether whoever knows the preimage can make the payee be paid."""
    holds: ClassVar[str]
    """How money in the leg is described: ``locked`` or ``in flight``."""
    __slots__ = ()

    @property
    @abstractmethod
    def protocol(self) -> Layer2ProtocolType: ...

    @property
    @abstractmethod
    def network_id(self) -> str:
        """As ``LegOffer.network_id``."""

    @property
    @abstractmethod
    def finality(self) -> Finality:
        """What the payee waits for before it acts on a funding."""

    @property
    @abstractmethod
    def refundable_from(self) -> int | None:
        """Unix seconds from which the payer can take its money back alone; None where it does not act, or where the
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
        """From ``now`` on: when the payer has surely the preimage, or its own money back, finally."""

    @abstractmethod
    def problem(self, view: LegView, needed: Span, now: int, rules: TimelockSettings) -> str | None:
        """Why the payee must not rely on the funding that it sees, if it has to be able to collect within ``needed``
        from ``now``; None where it may."""

    @abstractmethod
    def collect_until(self, view: LegView | None, now: int, rules: TimelockSettings) -> int | None:
        """Unix seconds up to which the payee can begin to collect and surely succeeds; None where that depends on a
        view and there is none.

        Args:
            view: None takes what the terms guarantee, with ``now`` as the moment of issue. Where the deadline is a
                height, its blocks may come as fast as they can.
        """

    @abstractmethod
    def last_funding(self, rules: TimelockSettings) -> int | None:
        """Unix seconds after which the payer must not begin to fund, besides what the terms say; or None."""

    @abstractmethod
    def lands_by(self, begun_by: int, rules: TimelockSettings) -> int:
        """Unix seconds by which a funding that was begun in time is normally seen."""

    @abstractmethod
    def settled_by(self, begun_by: int, rules: TimelockSettings) -> int:
        """Unix seconds by which a funding that was begun in time is normally as settled as the terms ask."""

    @property
    @abstractmethod
    def named_by_provider(self) -> str:
        """What the provider named for this swap alone, as ``LegPlan.provider``."""

    @abstractmethod
    def surely_over(self, now: int, clock: ClockReading, rules: TimelockSettings) -> int:
        """The unix time after which the leg is empty, if the payee does not collect and the payer acts in time."""

    @abstractmethod
    def check(self, issued_at: int, fund_by: int, rules: TimelockSettings) -> None:
        """Check what must hold of the leg alone: that nothing is locked for too long, and the funding can be made.

        Raises:
            FundsRulesError: names what does not hold.
        """

    @abstractmethod
    def check_owed(self, owed: Owed, policy: EvidencePolicy) -> tuple[OpenMatter, ...]:
        """Check, for a proof, that the leg is what the terms owe on this side, and that it counts under the policy.

        Returns:
            What that leaves open.

        Raises:
            ProofRefused: ``check`` names the first check that failed.
        """

    @abstractmethod
    def check_evidence(self, evidence: LegEvidence, owed: Owed, policy: EvidencePolicy) -> LegShown:
        """Check evidence of how the leg ended, after ``check_owed``. It does not show a header's place in a chain.

        Raises:
            ProofRefused: ``check`` names the first check that failed.
        """

    def evidence_of(self, preimage: Preimage) -> LegEvidence | None:
        """The evidence that consists of the preimage alone, for a party whose node has no view of the leg; None where
        the kind has none."""
        return None

    @abstractmethod
    def write(self) -> dict[str, Any]:
        """The leg as a JSON object, without ``kind``."""

    @classmethod
    @abstractmethod
    def read(cls, fields: JsonObject) -> Self:
        """The reverse of ``write``.

        Raises:
            FormatError: a field is missing or of another shape.
        """


@dataclass(frozen=True, slots=True)
class Htlc:
    """A leg under the payment hash and the terms that it belongs to."""

    leg: Leg
    payment_hash: bytes
    """32 bytes."""
    terms_hash: bytes
    """32 bytes; an EVM lock commits to it."""
