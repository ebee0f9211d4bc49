"""What the simulated Lightning nodes write down: invoices and payments in one of their states, as lnd names them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import TypeAlias

from layer2.formats.bolt11 import RouteHop
from layer2.local.simnet.lightning.channel import Htlc, Side

__all__ = [
    "KEYSEND_RECORD",
    "Attempt",
    "AttemptState",
    "FailureReason",
    "Invoice",
    "InvoiceHtlc",
    "InvoiceNotFound",
    "InvoiceState",
    "LedgerError",
    "Payment",
    "PaymentConflict",
    "PaymentNotFound",
    "PaymentState",
    "Record",
]

KEYSEND_RECORD = 5_482_373_484
"""The onion's record that carries the preimage to a payee who made no invoice."""


class LedgerError(Exception):
    """An operation that the state does not allow, in lnd's own words."""


class InvoiceNotFound(LedgerError):
    """No invoice with that hash."""


class PaymentConflict(LedgerError):
    """A payment with that hash is under way or done."""


class PaymentNotFound(LedgerError):
    """No payment with that hash was ever started."""


class InvoiceState(Enum):
    """lnd's ``Invoice.InvoiceState``."""

    OPEN = "OPEN"
    ACCEPTED = "ACCEPTED"
    SETTLED = "SETTLED"
    CANCELED = "CANCELED"

    @property
    def is_final(self) -> bool:
        """Whether the invoice moves no more."""
        return self in (InvoiceState.SETTLED, InvoiceState.CANCELED)


class PaymentState(Enum):
    """lnd's ``Payment.PaymentStatus``."""

    IN_FLIGHT = "IN_FLIGHT"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"

    @property
    def is_final(self) -> bool:
        """Whether the payment moves no more, unless it is sent again."""
        return self is not PaymentState.IN_FLIGHT


class AttemptState(Enum):
    """lnd's ``HTLCAttempt.HTLCStatus``, and ``InvoiceHTLCState`` on the receiver's side."""

    IN_FLIGHT = "IN_FLIGHT"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"


class FailureReason(Enum):
    """lnd's ``PaymentFailureReason``."""

    NONE = "FAILURE_REASON_NONE"
    TIMEOUT = "FAILURE_REASON_TIMEOUT"
    NO_ROUTE = "FAILURE_REASON_NO_ROUTE"
    ERROR = "FAILURE_REASON_ERROR"
    INCORRECT_PAYMENT_DETAILS = "FAILURE_REASON_INCORRECT_PAYMENT_DETAILS"
    INSUFFICIENT_BALANCE = "FAILURE_REASON_INSUFFICIENT_BALANCE"


@dataclass(frozen=True, slots=True)
class InvoiceHtlc:
    """One of the HTLCs that an invoice accepted."""

    htlc: Htlc
    state: AttemptState
    accept_height: int
    accept_time: int
    custom_records: Mapping[int, bytes]
    """What the payer's onion brought, by type."""
    resolve_time: int = 0


@dataclass(frozen=True, slots=True)
class Invoice:
    """An invoice in one of its states."""

    owner: Side
    add_index: int
    payment_hash: bytes
    payment_address: bytes
    payment_request: str
    """Empty where the payer sent without one (keysend)."""
    memo: str
    description_hash: bytes
    value_msat: int
    """Zero lets the payer choose."""
    created_at: int
    expiry_seconds: int
    final_cltv_delta: int
    is_hold: bool
    preimage: bytes | None
    route_hints: tuple[tuple[RouteHop, ...], ...] = ()
    state: InvoiceState = InvoiceState.OPEN
    htlcs: tuple[InvoiceHtlc, ...] = ()
    settled_at: int = 0
    settle_index: int = 0

    @property
    def is_keysend(self) -> bool:
        """Whether it was made for a payment that came without one."""
        return not self.payment_request

    @property
    def amount_paid_msat(self) -> int:
        """What was ever accepted for it. As in lnd it stays when the invoice is cancelled: the state decides."""
        return sum(held.htlc.amount_msat for held in self.htlcs)

    @property
    def expires_at(self) -> int:
        """The last second of its life, while nobody has paid."""
        return self.created_at + self.expiry_seconds


@dataclass(frozen=True, slots=True)
class Attempt:
    """One HTLC of a payment, as its sender knows it."""

    number: int
    """Counts the attempts of this sender's payments."""
    htlc: Htlc
    state: AttemptState = AttemptState.IN_FLIGHT
    resolved_at: int = 0
    resolved_height: int = 0


@dataclass(frozen=True, slots=True)
class Payment:
    """A payment in one of its states, as its sender knows it."""

    sender: Side
    index: int
    payment_hash: bytes
    payment_address: bytes
    """Empty where it goes without an invoice."""
    payment_request: str
    amount_msat: int
    final_cltv_delta: int
    created_at: int
    custom_records: Mapping[int, bytes] = field(default_factory=lambda: MappingProxyType({}))
    state: PaymentState = PaymentState.IN_FLIGHT
    reason: FailureReason = FailureReason.NONE
    preimage: bytes | None = None
    attempts: tuple[Attempt, ...] = ()


Record: TypeAlias = Invoice | Payment
