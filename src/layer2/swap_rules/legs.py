"""One hash-locked leg: what can be done to it, and what a party's own node says about it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from layer2.terms import Leg
from layer2.transactions import Preimage

__all__ = ["ActStatus", "ClockReading", "Htlc", "LegState", "LegView", "Side", "Verb"]


class Verb(Enum):
    """The acts of the seven verbs; the other three (offer, funding seen, collection seen) are reads."""

    FUND = "fund"
    """Payer: lock the money, or send the payment."""
    COLLECT = "collect"
    """Payee: claim with the preimage, or settle the hold invoice."""
    RELEASE = "release"
    """Payee: give the money back before the deadline."""
    RECLAIM = "reclaim"
    """Payer: take the money back after the deadline. On Lightning there is nothing to do."""


class Side(Enum):
    """What a party is to a leg."""

    PAYER = "payer"
    PAYEE = "payee"


@dataclass(frozen=True, slots=True)
class Htlc:
    """A leg under the payment hash and the terms that it belongs to."""

    leg: Leg
    payment_hash: bytes
    """32 bytes."""
    terms_hash: bytes
    """32 bytes; an EVM lock commits to it."""


class LegState(Enum):
    """What one read of the party's own node shows. Later states win: a collected leg was funded before."""

    NONE = "none"
    """Nothing is funded as far as this node knows."""
    PENDING = "pending"
    """Funding is seen and not yet as final as asked for; on Lightning as payer: in flight, outcome unknown."""
    FUNDED = "funded"
    """The money is there, exactly as the terms say, at the finality asked for."""
    COLLECTED = "collected"
    """The payee has it, or has shown the preimage for it."""
    RETURNED = "returned"
    """Refunded, cancelled, or failed in the sender's own node's words."""


@dataclass(frozen=True, slots=True)
class ClockReading:
    """A layer's clocks in one answer of its node."""

    chain_time: int
    """Unix seconds: timestamp of the newest block (EVM); the node's own time (Lightning)."""
    height: int
    """Newest block: of the layer (EVM), of Bitcoin (Lightning)."""


@dataclass(frozen=True, slots=True)
class LegView:
    """One read of a leg."""

    state: LegState
    clock: ClockReading
    final: bool = False
    """COLLECTED or RETURNED at the party's own finality: it cannot change any more."""
    over: bool = False
    """The funding is over: one finalized read shows REFUNDED, or NONE past the deadline (EVM); the payment has
    failed in a message to its sender, or the invoice expired and the node, asked after that, knows of no payment
    under way (Lightning, as payer); the invoice is cancelled (Lightning, as payee)."""
    preimage: Preimage | None = field(default=None, repr=False)
    """Found by hash, as soon as anybody has shown it."""
    tx_id: str | None = None
    """The transaction or payment hash that put the leg in this state."""
    expiry_height: int | None = None
    """Lightning as payee: the lowest expiry over the accepted HTLCs."""
    parts: int | None = None
    """Lightning as payee: number of accepted HTLCs."""
    smallest_part_msat: int | None = None
    reason: str | None = None
    """Why it was returned or is refused, in the node's words."""


class ActStatus(Enum):
    """What became of one act, asked by its own id."""

    UNSEEN = "unseen"
    """The node does not know it. After a send that is not failure."""
    UNDER_WAY = "under_way"
    DONE = "done"
    FAILED = "failed"
    """It had no effect and never will (reverted, replaced, or FAILED in a message to the sender)."""
