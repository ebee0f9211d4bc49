"""The data of the public API: requests, quotes, transfers and their events."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from layer2.legs.views import FundingRequest
from layer2.model.layers import Layer2ProtocolType
from layer2.model.money import AssetId
from layer2.model.transactions import SwapId
from layer2.terms.documents import SignedQuote

__all__ = ["Actor", "Quote", "Transfer", "TransferEvent", "TransferRequest", "TransferState"]


class TransferState(Enum):
    """The state of a transfer for the taker, who requested it."""

    PLANNED = "planned"
    """In the journal; nothing is agreed yet."""
    AGREED = "agreed"
    """Terms are signed and checked; no money has moved."""
    FUNDING = "funding"
    """The intent to pay the source leg is durable; the payment may have been sent."""
    FUNDED = "funded"
    """The source leg holds the money; the provider has to act."""
    COLLECTING = "collecting"
    """The preimage is revealed; the destination is being collected."""
    ARRIVED = "arrived"
    """The destination is collected at the finality of the terms: usable, but not final yet."""
    COMPLETED = "completed"
    """The destination is final on its layer."""
    ABANDONED = "abandoned"
    """Ended before any money was locked."""
    REFUNDING = "refunding"
    """The source leg is being refunded."""
    REFUNDED = "refunded"
    """The refund of the source leg is final."""
    LOST = "lost"
    """Money was lost: the provider has the source, and the destination was refunded to it. Keep the journal."""

    @property
    def is_final(self) -> bool:
        """Whether the transfer has ended. The state never changes, except that a late payment reopens an abandoned
        transfer that others fund."""
        return self in _ENDS


_ENDS = frozenset({TransferState.COMPLETED, TransferState.ABANDONED, TransferState.REFUNDED, TransferState.LOST})


class Actor(Enum):
    """The party that has to act next."""

    YOU = "you"
    PROVIDER = "provider"
    NOBODY = "nobody"


@dataclass(frozen=True, slots=True)
class TransferRequest:
    """A request for a transfer. The same idempotency key with another request is an error."""

    asset: AssetId
    amount: int | None
    """The amount that arrives at the destination, in the asset's smallest unit; None if ``send_amount`` is given."""
    source: Layer2ProtocolType
    destination: Layer2ProtocolType
    recipient: str | None = None
    """Where to pay a third party, such as a BOLT 11 invoice; None pays the caller's own account."""
    max_fee: int | None = None
    """Maximum total fee, in the asset's smallest unit; None means 1 % plus twice the estimated network costs."""
    send_amount: int | None = None
    """The amount that leaves the source, in the asset's smallest unit; None if ``amount`` is given."""
    funded_by_others: bool = False
    """Whether the source is paid from outside, such as by an exchange or a hardware wallet."""


@dataclass(frozen=True, slots=True)
class Quote:
    """A provider's signed and checked offer for one request. Pass it to ``start_transfer_async``."""

    request: TransferRequest
    offer: SignedQuote
    provider_name: str
    """The provider's name in the configuration."""
    max_fee: int
    """The limit against which the fee was checked, in the asset's smallest unit."""
    network_cost: int | None = None
    """What both legs cost on their networks, in satoshi, by the estimates of now; None if an estimate is missing. You
    pay for your own acts, and the provider's are in its fee. On Bitcoin's chain the cost follows the fee rate: a claim
    or a refund can cost up to half of its amount."""

    @property
    def send_amount(self) -> int:
        """The amount that leaves the source, in the asset's smallest unit."""
        return self.offer.quote.source_amount

    @property
    def receive_amount(self) -> int:
        """The amount that arrives at the destination, in the asset's smallest unit."""
        return self.offer.quote.amount

    @property
    def fee(self) -> int:
        """``send_amount - receive_amount``. It does not include what your own acts cost."""
        return self.send_amount - self.receive_amount

    @property
    def valid_until(self) -> int:
        """Unix seconds."""
        return self.offer.quote.valid_until


@dataclass(frozen=True, slots=True)
class Transfer:
    """A transfer, as stored in the journal at one moment."""

    transfer_id: SwapId
    """The swap's public id, which appears in the terms, memos and logs of both parties."""
    request: TransferRequest
    idempotency_key: str | None
    state: TransferState
    version: int
    """Increases by one with every change."""
    provider_name: str
    send_amount: int | None
    """The amount that leaves the source; None until terms are agreed."""
    fee: int | None
    next_actor: Actor
    deadline: int | None
    """Unix seconds by which ``next_actor`` must act; None in a final state."""
    refundable_from: int | None
    """Unix seconds from which you can refund your money without the provider; None if none of it is locked."""
    funds: str
    """Where the money is, as a sentence."""
    source_tx_id: str | None
    """Lock transaction or payment hash of the source leg."""
    destination_tx_id: str | None
    reason: str | None
    """Why the transfer is refunded or abandoned."""
    attention: str | None
    """What needs your attention, or None."""
    final_at: int | None
    """Estimated unix seconds at which what has arrived becomes final."""
    created_at: int
    updated_at: int
    funding_request: FundingRequest | None = None
    """How others pay the source, until their payment is seen; None if they do not."""


@dataclass(frozen=True, slots=True)
class TransferEvent:
    """One change of a transfer: ``transfer`` is its state after the change."""

    transfer: Transfer
    previous: TransferState | None
    """None for the first event of a stream, which shows the current state."""
