"""The acts on a leg, and what one read of a party's node shows of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from layer2.model.transactions import Preimage

__all__ = [
    "ActStatus",
    "ClockReading",
    "FundingRequest",
    "HeldPayment",
    "LegState",
    "LegView",
    "OfferRequest",
    "Release",
    "Side",
    "Verb",
]


class Verb(Enum):
    """The acts of a party. Offers and observations are reads, and not acts."""

    FUND = "fund"
    """Payer: lock the money, or send the payment."""
    COLLECT = "collect"
    """Payee: take the money with the preimage."""
    RELEASE = "release"
    """Payee: give the money back before the deadline."""
    RECLAIM = "reclaim"
    """Payer: take the money back after the deadline."""
    VOID = "void"
    """Payer: spend the inputs of a funding that does not lapse, so that it can no longer be confirmed."""


class Side(Enum):
    """A party's role on a leg."""

    PAYER = "payer"
    PAYEE = "payee"


class Release(Enum):
    """How a payee returns a leg before its deadline."""

    ALONE = "alone"
    """By an act of the payee."""
    COSIGNED = "cosigned"
    """By a signature that the payee gives to the payer."""


class LegState(Enum):
    """What one read shows. The latest state counts: a collected leg was funded before."""

    NONE = "none"
    """This node knows of no funding."""
    PENDING = "pending"
    """A funding is visible that does not have the finality of the terms yet, or does not match every detail yet."""
    FUNDED = "funded"
    """The money is locked, matches every detail, and has the finality of the terms. As payer: it was sent."""
    COLLECTED = "collected"
    """The payee has it, or has shown the preimage for it."""
    RETURNED = "returned"
    """The payer has it back."""


@dataclass(frozen=True, slots=True)
class ClockReading:
    """A layer's clocks, from one answer of its node."""

    chain_time: int
    """Unix seconds: the newest block's timestamp (EVM), the median time past (Bitcoin), the node's time (Lightning)."""
    height: int
    """The newest block: of the layer's own chain, for Lightning of Bitcoin's."""


@dataclass(frozen=True, slots=True)
class HeldPayment:
    """The state of a held Lightning payment at its payee's node."""

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
    """COLLECTED or RETURNED at the layer's strongest finality, for any amount: it can no longer change."""
    over: bool = False
    """This funding can never hold money again, as far as the node shows: it was returned finally, or it was never made
    and it is too late to make it."""
    preimage: Preimage | None = field(default=None, repr=False)
    """Set as soon as any party has revealed it on this layer."""
    tx_id: str | None = None
    """The transaction or payment hash that caused this state, if the node still shows it."""
    final_at: int | None = None
    """Estimated unix seconds at which what has arrived becomes final."""
    held: HeldPayment | None = None
    """Set for the payee of a Lightning payment."""
    returnable: bool = False
    """Payer: the payee's release signature is available."""
    has_more: bool = False
    """Payer: there is more money in the leg than the funding, or some after its end. It belongs to the payer."""
    reason: str | None = None
    """The node's reason why the leg was returned or is refused."""


@dataclass(frozen=True, slots=True)
class FundingRequest:
    """How others pay the source of a transfer: one payment of exactly this amount."""

    address: str
    amount: int
    """Satoshi that must arrive; the network's fee comes on top."""
    fund_by: int
    """Unix seconds by which the payment must be visible to your node. A later one is refunded."""
    uri: str
    """BIP 21: address and amount."""
    psbt: bytes
    """BIP 370: a PSBT of version 2 without inputs, which the paying wallet adds."""


class ActStatus(Enum):
    """The status of one act, read by its id."""

    UNSEEN = "unseen"
    """The node does not know it. After a send this does not mean failure."""
    UNDER_WAY = "under_way"
    DONE = "done"
    FAILED = "failed"
    """It had no effect and never will. For a funding, this status is only given once it is final."""


@dataclass(frozen=True, slots=True)
class OfferRequest:
    """A party's request to its own layer, whose result it names to the other party."""

    side: Side
    payment_hash: bytes
    amount: int
    """Satoshi."""
    memo: str
    """The swap's public id, so that the node's data alone identifies the swap."""
    expiry_seconds: int
    """The validity of an invoice."""
    min_blocks: int
    """The final CLTV delta of an invoice."""
