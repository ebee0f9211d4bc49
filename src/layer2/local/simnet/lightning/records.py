"""The records of the simulated Lightning nodes: invoices and payments, each in one of lnd's states."""

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
"""The onion record that carries the preimage to a payee without an invoice."""


class LedgerError(Exception):
    """The state does not allow the operation. The message is lnd's."""


class InvoiceNotFound(LedgerError):
    """No invoice with that hash."""


class PaymentConflict(LedgerError):
    """A payment with that hash is in flight or complete."""


class PaymentNotFound(LedgerError):
    """No payment with that hash has been started."""


class InvoiceState(Enum):
    """lnd's ``Invoice.InvoiceState``."""

    OPEN = "OPEN"
    ACCEPTED = "ACCEPTED"
    SETTLED = "SETTLED"
    CANCELED = "CANCELED"

    @property
    def is_final(self) -> bool:
        """Whether the invoice is in a final state."""
        return self in (InvoiceState.SETTLED, InvoiceState.CANCELED)


class PaymentState(Enum):
    """lnd's ``Payment.PaymentStatus`` and ``HTLCAttempt.HTLCStatus``, and of an invoice's HTLCs."""

    IN_FLIGHT = "IN_FLIGHT"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"

    @property
    def is_final(self) -> bool:
        """Whether the payment is in a final state, unless it is sent again."""
        return self is not PaymentState.IN_FLIGHT


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
    state: PaymentState
    accept_height: int
    accept_time: int
    custom_records: Mapping[int, bytes]
    """The custom records of the payer's onion, by type."""
    resolve_time: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Invoice:
    """An invoice in one of its states."""

    owner: Side
    payment_hash: bytes
    payment_address: bytes = b""
    payment_request: str = ""
    """Empty if the payer did not send one (keysend)."""
    memo: str = ""
    description_hash: bytes = b""
    value_msat: int
    """Zero if the payer chooses the amount."""
    created_at: int
    expiry_seconds: int
    final_cltv_delta: int
    preimage: bytes | None
    """None for a hold invoice that is not settled."""
    route_hints: tuple[tuple[RouteHop, ...], ...] = ()
    add_index: int = 0
    """The invoice's number among all of this owner's invoices; zero until the ledger adds it."""
    state: InvoiceState = InvoiceState.OPEN
    htlcs: tuple[InvoiceHtlc, ...] = ()
    settled_at: int = 0
    settle_index: int = 0

    @property
    def is_keysend(self) -> bool:
        """Whether it was created for a payment without an invoice."""
        return not self.payment_request

    @property
    def amount_paid_msat(self) -> int:
        """All HTLCs accepted for it. As in lnd, they stay when the invoice is cancelled; check the state."""
        return sum(held.htlc.amount_msat for held in self.htlcs)

    @property
    def expires_at(self) -> int:
        """The unix second at which it expires if it is unpaid."""
        return self.created_at + self.expiry_seconds


@dataclass(frozen=True, slots=True)
class Attempt:
    """One HTLC of a payment, from the sender's side."""

    number: int
    """The attempt's number among all of this sender's attempts."""
    htlc: Htlc
    state: PaymentState = PaymentState.IN_FLIGHT
    resolved_at: int = 0
    resolved_height: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Payment:
    """A payment in one of its states, from the sender's side."""

    owner: Side
    """The sender."""
    payment_hash: bytes
    payee: bytes
    payment_address: bytes = b""
    """Empty for a payment without an invoice."""
    payment_request: str = ""
    amount_msat: int
    final_cltv_delta: int
    created_at: int
    custom_records: Mapping[int, bytes] = field(default_factory=lambda: MappingProxyType({}))
    index: int = 0
    """The number of the send among all of this sender's sends; zero until the ledger starts the payment."""
    state: PaymentState = PaymentState.IN_FLIGHT
    reason: FailureReason = FailureReason.NONE
    preimage: bytes | None = None
    attempts: tuple[Attempt, ...] = ()


Record: TypeAlias = Invoice | Payment
