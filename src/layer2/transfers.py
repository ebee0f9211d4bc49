"""What a user asks for and sees: requests, quotes, transfers and their events."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from layer2.layers import Layer2ProtocolType
from layer2.money import AssetId
from layer2.terms import SignedQuote
from layer2.transactions import SwapId

__all__ = ["Actor", "Quote", "Transfer", "TransferEvent", "TransferRequest", "TransferState"]


class TransferState(Enum):
    """Where a transfer is, for the one who asked for it (the taker)."""

    PLANNED = "planned"
    """Journaled; nobody has promised anything."""
    AGREED = "agreed"
    """Terms are signed and checked; no money has moved."""
    FUNDING = "funding"
    """The intent to pay the source leg is durable; it may be on its way."""
    FUNDED = "funded"
    """The source leg holds the money; the provider has to act."""
    COUNTER_FUNDED = "counter_funded"
    """The destination leg holds the provider's money at the finality that the terms name."""
    COLLECTING = "collecting"
    """The preimage is out; the destination's money is being taken, not yet irreversibly."""
    COMPLETED = "completed"
    ABANDONED = "abandoned"
    """Ended before any money was locked."""
    REFUNDING = "refunding"
    """The source leg's money is on its way back."""
    REFUNDED = "refunded"

    @property
    def is_final(self) -> bool:
        return self in (TransferState.COMPLETED, TransferState.ABANDONED, TransferState.REFUNDED)


class Actor(Enum):
    """Who has to act next."""

    YOU = "you"
    PROVIDER = "provider"
    NOBODY = "nobody"


@dataclass(frozen=True, slots=True)
class TransferRequest:
    """What was asked for. The same idempotency key with another request is an error."""

    asset: AssetId
    amount: int
    """What arrives at the destination, in the asset's smallest unit."""
    source: Layer2ProtocolType
    destination: Layer2ProtocolType
    recipient: str | None = None
    """A BOLT 11 invoice of somebody else to be paid (destination Lightning), or None: the caller's own."""
    max_fee: int | None = None
    """Most that may leave the source beyond ``amount``, or None for no limit of the caller's own."""


@dataclass(frozen=True, slots=True)
class Quote:
    """A provider's signed offer for one request, checked by us. Give it to ``start_transfer_async``."""

    request: TransferRequest
    offer: SignedQuote
    provider_name: str
    """The name under which the configuration lists the provider."""

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
    request: TransferRequest
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
    """Where the money is, in words."""
    source_tx_id: str | None
    """Lock transaction or payment hash of the source leg."""
    destination_tx_id: str | None
    reason: str | None
    """Why it is being or was refunded or abandoned."""
    created_at: int
    updated_at: int


@dataclass(frozen=True, slots=True)
class TransferEvent:
    """One change of a transfer: ``transfer`` is its state after the change."""

    transfer: Transfer
    previous: TransferState | None
    """None for the first event of a stream, which tells where the transfer is now."""
