"""What a user asks for and sees: requests, quotes, transfers and their events."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from layer2.model.layers import Layer2ProtocolType
from layer2.model.money import AssetId
from layer2.model.transactions import SwapId
from layer2.terms.documents import SignedQuote

__all__ = ["Actor", "Quote", "Transfer", "TransferEvent", "TransferRequest", "TransferState"]


class TransferState(Enum):
    """Where a transfer is, for the one who asked for it (the taker)."""

    PLANNED = "planned"
    """Journaled; nothing is agreed yet."""
    AGREED = "agreed"
    """Terms are signed and checked; no money has moved."""
    FUNDING = "funding"
    """The intent to pay the source leg is durable; it may be on its way."""
    FUNDED = "funded"
    """The source leg holds the money; the provider has to act."""
    COLLECTING = "collecting"
    """The preimage is out; the destination's money is being taken."""
    ARRIVED = "arrived"
    """The destination is collected at the finality of the terms: usable, and not yet final."""
    COMPLETED = "completed"
    """The destination is final on its layer."""
    ABANDONED = "abandoned"
    """Ended before any money was locked."""
    REFUNDING = "refunding"
    """The source leg's money is on its way back."""
    REFUNDED = "refunded"
    """The source leg's money is back for good."""
    LOST = "lost"
    """The provider has the source, and the destination went back to it: money was lost. Keep the journal."""

    @property
    def is_final(self) -> bool:
        return self in _ENDS


_ENDS = frozenset({TransferState.COMPLETED, TransferState.ABANDONED, TransferState.REFUNDED, TransferState.LOST})


class Actor(Enum):
    """Who has to act next."""

    YOU = "you"
    PROVIDER = "provider"
    NOBODY = "nobody"


@dataclass(frozen=True, slots=True)
class TransferRequest:
    """What was asked for. The same idempotency key with another request is an error."""

    asset: AssetId
    amount: int | None
    """What arrives at the destination, in the asset's smallest unit; None where ``send_amount`` is given."""
    source: Layer2ProtocolType
    destination: Layer2ProtocolType
    recipient: str | None = None
    """What someone else is to be paid on, such as a BOLT 11 invoice, or None: the caller's own."""
    max_fee: int | None = None
    """Maximum total fee, in the asset's smallest unit; None for 1 % and twice the estimated network costs."""
    send_amount: int | None = None
    """What leaves the source, in the asset's smallest unit; None where ``amount`` is given."""


@dataclass(frozen=True, slots=True)
class Quote:
    """A provider's signed offer for one request, checked by us. Give it to ``start_transfer_async``."""

    request: TransferRequest
    offer: SignedQuote
    provider_name: str
    """The name under which the configuration lists the provider."""
    max_fee: int
    """The limit that the fee was checked against, in the asset's smallest unit."""

    @property
    def send_amount(self) -> int:
        """What leaves the source, in the asset's smallest unit."""
        return self.offer.quote.source_amount

    @property
    def receive_amount(self) -> int:
        """What arrives at the destination, in the asset's smallest unit."""
        return self.offer.quote.amount

    @property
    def fee(self) -> int:
        """``send_amount - receive_amount``. Gas that you pay yourself is not in it."""
        return self.send_amount - self.receive_amount

    @property
    def valid_until(self) -> int:
        """Unix seconds."""
        return self.offer.quote.valid_until


@dataclass(frozen=True, slots=True)
class Transfer:
    """A transfer as the journal knows it at one moment."""

    transfer_id: SwapId
    """The swap's public id: it is in the terms, memos, logs and pages of both parties."""
    request: TransferRequest
    idempotency_key: str | None
    state: TransferState
    version: int
    """Grows by one with every change."""
    provider_name: str
    send_amount: int | None
    """What leaves the source; None until terms are agreed."""
    fee: int | None
    next_actor: Actor
    deadline: int | None
    """Unix seconds by which ``next_actor`` must act; None in a final state."""
    refundable_from: int | None
    """Unix seconds from which you alone can take the money back; None where nothing of yours is locked."""
    funds: str
    """Where the money is, as a sentence."""
    source_tx_id: str | None
    """Lock transaction or payment hash of the source leg."""
    destination_tx_id: str | None
    reason: str | None
    """Why it is being or was refunded or abandoned."""
    attention: str | None
    """What a human has to look at, or None."""
    final_at: int | None
    """Unix seconds at which what has arrived becomes final, as an estimate."""
    created_at: int
    updated_at: int


@dataclass(frozen=True, slots=True)
class TransferEvent:
    """One change of a transfer: ``transfer`` is its state after the change."""

    transfer: Transfer
    previous: TransferState | None
    """None for the first event of a stream, which shows where the transfer is now."""
