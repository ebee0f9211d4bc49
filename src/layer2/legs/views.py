"""What can be done to a leg, and what one read of a party's own node shows of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from layer2.model.transactions import Preimage

__all__ = ["ActStatus", "ClockReading", "HeldPayment", "LegState", "LegView", "OfferRequest", "Release", "Side", "Verb"]


class Verb(Enum):
    """The acts of a party. Offering, and seeing that a leg is funded or collected, are reads."""

    FUND = "fund"
    """Payer: lock the money, or send the payment."""
    COLLECT = "collect"
    """Payee: take the money with the preimage."""
    RELEASE = "release"
    """Payee: give the money back before the deadline."""
    RECLAIM = "reclaim"
    """Payer: take the money back after the deadline."""
    VOID = "void"
    """Payer: spend the inputs of a funding that never lapses, so that it can no longer be confirmed."""


class Side(Enum):
    """What a party is to a leg."""

    PAYER = "payer"
    PAYEE = "payee"


class Release(Enum):
    """How a payee gives a leg back before its deadline."""

    ALONE = "alone"
    """By an act of its own."""
    COSIGNED = "cosigned"
    """By a signature that it hands to the payer."""


class LegState(Enum):
    """What one read shows. Later states win: a collected leg was funded before."""

    NONE = "none"
    """Nothing is funded as far as this node knows."""
    PENDING = "pending"
    """A funding is seen that is not yet as settled as the terms ask, or that is not yet right in every detail."""
    FUNDED = "funded"
    """The money is there, right in every detail, at the finality of the terms. As payer: it has left."""
    COLLECTED = "collected"
    """The payee has it, or has shown the preimage for it."""
    RETURNED = "returned"
    """The payer has it back."""


@dataclass(frozen=True, slots=True)
class ClockReading:
    """A layer's clocks in one answer of its node."""

    chain_time: int
    """Unix seconds: the newest block's timestamp (EVM), the median time past (Bitcoin), the node's time (Lightning)."""
    height: int
    """The newest block: of the layer's own chain, for Lightning of Bitcoin's."""


@dataclass(frozen=True, slots=True)
class HeldPayment:
    """How a Lightning payment is held at its payee's node."""

    expiry_height: int
    """The lowest expiry over the accepted HTLCs."""
    parts: int
    smallest_part_msat: int


@dataclass(frozen=True, slots=True)
class LegView:
    """One read of a leg."""

    state: LegState
    clock: ClockReading
    arrived: bool = False
    """COLLECTED or RETURNED at the finality of the terms: usable, and it may still change."""
    final: bool = False
    """COLLECTED or RETURNED at the layer's strongest finality, for any amount: it cannot change any more."""
    over: bool = False
    """This funding can never hold money again, as far as the node can show it: returned for good, or never made and too
    late to be made."""
    preimage: Preimage | None = field(default=None, repr=False)
    """Found by hash, as soon as anyone has shown it under this hash on this layer."""
    tx_id: str | None = None
    """The transaction or payment hash that put the leg in this state, where the node still shows it."""
    final_at: int | None = None
    """Unix seconds at which what has arrived becomes final, as an estimate."""
    held: HeldPayment | None = None
    """Lightning as payee."""
    returnable: bool = False
    """Payer: a release signature of the payee is at hand."""
    reason: str | None = None
    """Why it was returned or is refused, from the node."""


class ActStatus(Enum):
    """What became of one act, asked by its own id."""

    UNSEEN = "unseen"
    """The node does not know it. After a send that is not failure."""
    UNDER_WAY = "under_way"
    DONE = "done"
    FAILED = "failed"
    """It had no effect and never will have one. Of a funding this is only stated when it is final."""


@dataclass(frozen=True, slots=True)
class OfferRequest:
    """What a party asks its own layer for, to name it to the other party."""

    side: Side
    payment_hash: bytes
    amount: int
    """Satoshi."""
    memo: str
    """The swap's public id, so that the node alone can lead back to the swap."""
    expiry_seconds: int
    """How long an invoice lives."""
    min_blocks: int
    """The final CLTV delta of an invoice."""
