"""The invoices and payments of one simulated Lightning node, with lnd's indexes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from layer2.local.simnet.lightning.channel import Side
from layer2.local.simnet.lightning.records import (
    Invoice,
    InvoiceNotFound,
    InvoiceState,
    Payment,
    PaymentNotFound,
    Record,
)

__all__ = ["Books"]


@dataclass(slots=True)
class Books:
    """One node's records. No lookup iterates over all of them."""

    owner: Side
    invoices: dict[bytes, Invoice] = field(default_factory=dict)
    """By hash, in the order of their add indexes."""
    added: list[bytes] = field(default_factory=list)
    """The hash of each invoice, at its add index minus one."""
    by_address: dict[bytes, bytes] = field(default_factory=dict)
    """The hash of each invoice by its payment address."""
    settled: list[bytes] = field(default_factory=list)
    """The hash of each settled invoice, at its settle index minus one."""
    held: dict[bytes, None] = field(default_factory=dict)
    """The hashes of the accepted hold invoices."""
    payments: dict[bytes, Payment] = field(default_factory=dict)
    sent: list[bytes] = field(default_factory=list)
    """The hash of each payment ever started, at its index minus one."""
    in_flight: dict[bytes, None] = field(default_factory=dict)
    undelivered: dict[bytes, None] = field(default_factory=dict)
    """Payments whose HTLCs have not been delivered, in the order in which they were offered."""
    attempts: int = 0
    is_holding: bool = False
    """Whether HTLCs that this node sends are held back."""

    def invoice(self, payment_hash: bytes) -> Invoice:
        """Raises InvoiceNotFound."""
        try:
            return self.invoices[payment_hash]
        except KeyError:
            raise InvoiceNotFound("unable to locate invoice") from None

    def payment(self, payment_hash: bytes) -> Payment:
        """Raises PaymentNotFound."""
        try:
            return self.payments[payment_hash]
        except KeyError:
            raise PaymentNotFound("payment isn't initiated") from None

    def invoice_at(self, add_index: int) -> Invoice:
        """The invoice with that add index, which must exist."""
        return self.invoices[self.added[add_index - 1]]

    def payment_at(self, index: int) -> Payment | None:
        """The payment with that index, or None if its hash was sent again under a later index."""
        payment = self.payments[self.sent[index - 1]]
        return payment if payment.index == index else None

    def added_since(self, add_index: int) -> Iterator[Invoice]:
        """The invoices after that add index, in their current state."""
        return (self.invoices[payment_hash] for payment_hash in self.added[add_index:])

    def settled_since(self, settle_index: int) -> Iterator[Invoice]:
        """The settled invoices after that settle index."""
        return (self.invoices[payment_hash] for payment_hash in self.settled[settle_index:])

    def payments_in_flight(self) -> list[Payment]:
        """The payments in flight, ordered by hash."""
        return [self.payments[payment_hash] for payment_hash in sorted(self.in_flight)]

    def keep(self, record: Record) -> None:
        """Store the record in place of its earlier state."""
        match record:
            case Invoice():
                self.invoices[record.payment_hash] = record
                self.held.pop(record.payment_hash, None)
                if record.state is InvoiceState.ACCEPTED:
                    self.held[record.payment_hash] = None
            case Payment():
                self.payments[record.payment_hash] = record
                self.in_flight.pop(record.payment_hash, None)
                if not record.state.is_final:
                    self.in_flight[record.payment_hash] = None
