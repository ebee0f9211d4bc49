"""The invoices and payments of the two Lightning nodes of a simnet, as a state machine.

Pure: heights and times are arguments. It behaves like lnd 0.21 where a swap depends on it:

- An accepted hold invoice waits, and is cancelled ``HOLD_EXPIRY_DELTA`` blocks before its HTLC expires.
- An unpaid invoice is cancelled when it expires.
- A payment hash is paid at most once at a time, and a failed payment can be sent again.

The ledger keeps every state of each invoice and payment in ``history``, for subscribers.

No call iterates over all invoices or payments, so ten thousand open ones do not slow a call down.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from heapq import heappop, heappush
from types import MappingProxyType

from layer2.local.simnet.lightning.channel import MIN_HTLC_MSAT, Channel, Side
from layer2.local.simnet.lightning.records import (
    KEYSEND_RECORD,
    Attempt,
    AttemptState,
    FailureReason,
    Invoice,
    InvoiceHtlc,
    InvoiceNotFound,
    InvoiceState,
    LedgerError,
    Payment,
    PaymentConflict,
    PaymentNotFound,
    PaymentState,
    Record,
)

__all__ = ["BLOCK_PADDING", "HOLD_EXPIRY_DELTA", "Ledger"]

HOLD_EXPIRY_DELTA = 18
"""lnd's ``invoices.holdexpirydelta``."""
FINAL_CLTV_REJECT_DELTA = 19
"""The minimum of remaining blocks with which lnd accepts an HTLC."""
BLOCK_PADDING = 3
"""Blocks that lnd's sender adds to the invoice's final CLTV delta."""
_UNACCOUNTABLE = {106_823: b"\x00"}
"""The experimental record that lnd 0.21 sends with each HTLC."""


@dataclass(slots=True)
class _Books:
    """One node's records."""

    invoices: dict[bytes, Invoice] = field(default_factory=dict)
    added: list[bytes] = field(default_factory=list)
    """The hash of each invoice, at its add index minus one."""
    settled: list[bytes] = field(default_factory=list)
    """The hash of each settled invoice, at its settle index minus one."""
    payments: dict[bytes, Payment] = field(default_factory=dict)
    sent: list[bytes] = field(default_factory=list)
    """The hash of each payment ever started, at its index minus one."""
    in_flight: dict[bytes, None] = field(default_factory=dict)
    undelivered: dict[bytes, None] = field(default_factory=dict)
    """Payments whose HTLCs have not been delivered, in the order in which they were offered."""
    attempts: int = 0
    is_holding: bool = False
    """Whether HTLCs that this node sends are held back."""


class Ledger:
    """The state of the two nodes. Not thread-safe: use it from one thread.

    Args:
        height: the initial Bitcoin height.
    """

    def __init__(self, height: int) -> None:
        self.channel = Channel()
        self.history: list[Record] = []
        self._height = height
        self._books = {side: _Books() for side in Side}
        self._held: dict[tuple[Side, bytes], Invoice] = {}
        self._lives: list[tuple[int, int, Side, bytes]] = []
        """A heap of invoices, earliest expiry first: the expiry, a sequence number, and the owner."""
        self._born = 0

    @property
    def height(self) -> int:
        """The Bitcoin height of both nodes."""
        return self._height

    # Looking up.

    def invoices(self, owner: Side) -> list[Invoice]:
        """All invoices of the node by add index."""
        return list(self._books[owner].invoices.values())

    def payments(self, sender: Side) -> list[Payment]:
        """All payments of the node by payment index."""
        return sorted(self._books[sender].payments.values(), key=lambda payment: payment.index)

    def count(self, side: Side) -> tuple[int, int]:
        """The node's numbers of invoices and of payments."""
        return len(self._books[side].invoices), len(self._books[side].payments)

    def invoice(self, owner: Side, payment_hash: bytes) -> Invoice:
        """Raises InvoiceNotFound."""
        try:
            return self._books[owner].invoices[payment_hash]
        except KeyError:
            raise InvoiceNotFound("unable to locate invoice") from None

    def find_invoice(self, owner: Side, payment_hash: bytes) -> Invoice | None:
        """The invoice with that hash, if there is one."""
        return self._books[owner].invoices.get(payment_hash)

    def payment(self, sender: Side, payment_hash: bytes) -> Payment:
        """Raises PaymentNotFound."""
        try:
            return self._books[sender].payments[payment_hash]
        except KeyError:
            raise PaymentNotFound("payment isn't initiated") from None

    def last_add_index(self, owner: Side) -> int:
        """The add index of the owner's newest invoice, or zero."""
        return len(self._books[owner].added)

    def last_payment_index(self, sender: Side) -> int:
        """The index of the payment that was started last, or zero."""
        return len(self._books[sender].sent)

    def invoice_at(self, owner: Side, add_index: int) -> Invoice:
        """The invoice with that add index, which must exist."""
        books = self._books[owner]
        return books.invoices[books.added[add_index - 1]]

    def payment_at(self, sender: Side, index: int) -> Payment | None:
        """The payment with that index, or None if its hash was sent again under a later index."""
        books = self._books[sender]
        payment = books.payments[books.sent[index - 1]]
        return payment if payment.index == index else None

    def added_since(self, owner: Side, add_index: int) -> Iterator[Invoice]:
        """The owner's invoices after that add index, in their current state."""
        books = self._books[owner]
        return (books.invoices[payment_hash] for payment_hash in books.added[add_index:])

    def settled_since(self, owner: Side, settle_index: int) -> Iterator[Invoice]:
        """The owner's settled invoices after that settle index."""
        books = self._books[owner]
        return (books.invoices[payment_hash] for payment_hash in books.settled[settle_index:])

    def payments_in_flight(self, sender: Side) -> list[Payment]:
        """The sender's payments in flight, ordered by hash."""
        books = self._books[sender]
        return [books.payments[payment_hash] for payment_hash in sorted(books.in_flight)]

    # Invoices.

    def add_invoice(self, invoice: Invoice) -> None:
        """Add an OPEN invoice with the next add index. Its hash must be new to its owner."""
        books = self._books[invoice.owner]
        if invoice.payment_hash in books.invoices:
            raise LedgerError("invoice with payment hash already exists")
        books.added.append(invoice.payment_hash)
        self._born += 1
        heappush(self._lives, (invoice.expires_at, self._born, invoice.owner, invoice.payment_hash))
        self._keep(invoice)

    def settle_invoice(self, owner: Side, preimage: bytes, now: int) -> None:
        """Settle an accepted hold invoice. A settled invoice is left unchanged."""
        invoice = self.invoice(owner, sha256(preimage).digest())
        match invoice.state:
            case InvoiceState.OPEN:
                raise LedgerError("invoice still open")
            case InvoiceState.CANCELED:
                raise LedgerError("invoice already canceled")
            case InvoiceState.SETTLED:
                return
            case InvoiceState.ACCEPTED:
                self._settle(invoice, preimage, now)

    def cancel_invoice(self, owner: Side, payment_hash: bytes, now: int) -> None:
        """Cancel an invoice and fail the HTLCs that it holds. A cancelled invoice is left unchanged."""
        invoice = self.invoice(owner, payment_hash)
        if invoice.state is InvoiceState.SETTLED:
            raise LedgerError("invoice already settled")
        if invoice.state is not InvoiceState.CANCELED:
            self._cancel(invoice, now)

    # Payments.

    def start_payment(
        self,
        sender: Side,
        *,
        payment_hash: bytes,
        payment_address: bytes,
        payment_request: str,
        amount_msat: int,
        final_cltv_delta: int,
        now: int,
        custom_records: Mapping[int, bytes] = MappingProxyType({}),
    ) -> Payment:
        """Start a payment, or restart one that failed. ``attempt`` then offers its HTLCs."""
        books = self._books[sender]
        known = books.payments.get(payment_hash)
        if known is not None and known.state is PaymentState.SUCCEEDED:
            raise PaymentConflict("invoice is already paid")
        if known is not None and known.state is PaymentState.IN_FLIGHT:
            raise PaymentConflict("payment is in transition")
        books.sent.append(payment_hash)
        payment = Payment(
            sender,
            len(books.sent),
            payment_hash,
            payment_address,
            payment_request,
            amount_msat,
            final_cltv_delta,
            now,
            custom_records,
        )
        self._keep(payment)
        return payment

    def attempt(self, payment: Payment, now: int, parts_msat: Sequence[int] = ()) -> None:
        """Offer the payment's HTLCs, and deliver them unless its sender's payments are held.

        Args:
            payment: as returned by ``start``.
            now: the unix time.
            parts_msat: the amount of each HTLC; they add up to the payment's amount. If empty, one HTLC takes all.
        """
        parts = parts_msat or (payment.amount_msat,)
        assert sum(parts) == payment.amount_msat
        if not self.channel.can_offer(payment.sender, payment.amount_msat, len(parts)):
            self.fail_payment(payment, FailureReason.INSUFFICIENT_BALANCE, now)
            return
        if min(parts) < MIN_HTLC_MSAT:
            self.fail_payment(payment, FailureReason.NO_ROUTE, now)
            return
        books = self._books[payment.sender]
        expiry = self._height + payment.final_cltv_delta + BLOCK_PADDING
        for part in parts:
            htlc = self.channel.offer(payment.sender, payment.payment_hash, part, expiry)
            books.attempts += 1
            payment = replace(payment, attempts=(*payment.attempts, Attempt(books.attempts, htlc)))
            self._keep(payment)
        if books.is_holding:
            books.undelivered[payment.payment_hash] = None
        else:
            self._deliver(payment, now)

    def fail_payment(self, payment: Payment, reason: FailureReason, now: int) -> None:
        """Fail a payment in flight. Its HTLCs return to the sender."""
        self._books[payment.sender].undelivered.pop(payment.payment_hash, None)
        payment = replace(payment, reason=reason)
        if not payment.attempts:
            self._keep(replace(payment, state=PaymentState.FAILED))
        for position, attempt in enumerate(payment.attempts):
            # lnd records the reason first, so subscribers see a payment in flight with a failure reason.
            self._keep(payment)
            self.channel.fail(attempt.htlc)
            payment = self._resolved(payment, position, AttemptState.FAILED, now)
            if position == len(payment.attempts) - 1:
                payment = replace(payment, state=PaymentState.FAILED)
            self._keep(payment)

    def hold_payments(self, sender: Side) -> None:
        """Hold the sender's HTLCs back from now on, until they are released."""
        self._books[sender].is_holding = True

    def release_payments(self, sender: Side, now: int) -> None:
        """Deliver the held HTLCs, in the order in which they were offered."""
        books = self._books[sender]
        books.is_holding = False
        for payment_hash in list(books.undelivered):
            del books.undelivered[payment_hash]
            self._deliver(books.payments[payment_hash], now)

    # Time and blocks.

    def pass_time(self, now: int) -> None:
        """Cancel the open invoices that have expired."""
        while self._lives and now > self._lives[0][0]:
            _, _, owner, payment_hash = heappop(self._lives)
            invoice = self._books[owner].invoices[payment_hash]
            if invoice.state is InvoiceState.OPEN:
                self._cancel(invoice, now)

    def mine(self, blocks: int, now: int) -> int:
        """Advance the height block by block, apply all expiries, and return the new height."""
        for _ in range(blocks):
            self._height += 1
            self._give_up_held_invoices(now)
            self._expire_htlcs(now)
        return self._height

    def _give_up_held_invoices(self, now: int) -> None:
        for invoice in list(self._held.values()):
            if self._height + HOLD_EXPIRY_DELTA >= min(held.htlc.expiry_height for held in invoice.htlcs):
                self._cancel(invoice, now)

    def _expire_htlcs(self, now: int) -> None:
        # Only an undelivered HTLC can reach this height. A real sender would close the channel. Its payment ends
        # as TIMEOUT when the attempt's time is over, which is certain after so many blocks.
        for side, books in self._books.items():
            for payment_hash in list(books.undelivered):
                payment = self.payment(side, payment_hash)
                if self._height >= payment.attempts[0].htlc.expiry_height:
                    self.fail_payment(payment, FailureReason.TIMEOUT, now)

    # What happens between the nodes.

    def _deliver(self, payment: Payment, now: int) -> None:
        """Decide, for the receiver, about the delivered HTLCs of a payment: it accepts all or none."""
        invoice = self._invoice_for(payment, now)
        blocks_left = payment.attempts[0].htlc.expiry_height - self._height
        if (
            invoice is None
            or invoice.state is not InvoiceState.OPEN
            or payment.payment_address != invoice.payment_address
            or payment.amount_msat < invoice.value_msat
            or blocks_left < max(FINAL_CLTV_REJECT_DELTA, invoice.final_cltv_delta)
        ):
            # A receiver returns the same error in all of these cases, which prevents probing for invoices (BOLT 4).
            self.fail_payment(payment, FailureReason.INCORRECT_PAYMENT_DETAILS, now)
            return
        records = MappingProxyType({**_UNACCOUNTABLE, **payment.custom_records})
        accepted = tuple(
            InvoiceHtlc(attempt.htlc, AttemptState.IN_FLIGHT, self._height, now, records)
            for attempt in payment.attempts
        )
        if invoice.is_hold:
            self._keep(replace(invoice, state=InvoiceState.ACCEPTED, htlcs=accepted))
            return
        assert invoice.preimage is not None
        self._settle(replace(invoice, htlcs=accepted), invoice.preimage, now)

    def _invoice_for(self, payment: Payment, now: int) -> Invoice | None:
        """The invoice that is paid. A payment that carries its preimage (keysend) gets a new invoice."""
        owner, payment_hash = payment.sender.peer, payment.payment_hash
        known = self._books[owner].invoices.get(payment_hash)
        preimage = payment.custom_records.get(KEYSEND_RECORD)
        if known is not None or preimage is None:
            return known
        blocks_left = payment.attempts[0].htlc.expiry_height - self._height
        if sha256(preimage).digest() != payment_hash or blocks_left < FINAL_CLTV_REJECT_DELTA:
            return None
        invoice = Invoice(
            owner=owner,
            add_index=self.last_add_index(owner) + 1,
            payment_hash=payment_hash,
            payment_address=b"",
            payment_request="",
            memo="",
            description_hash=b"",
            value_msat=payment.amount_msat,
            created_at=now,
            expiry_seconds=0,
            final_cltv_delta=FINAL_CLTV_REJECT_DELTA,
            is_hold=False,
            preimage=preimage,
        )
        self.add_invoice(invoice)
        return invoice

    def _settle(self, invoice: Invoice, preimage: bytes, now: int) -> None:
        books = self._books[invoice.owner]
        for held in invoice.htlcs:
            self.channel.settle(held.htlc)
        books.settled.append(invoice.payment_hash)
        self._keep(
            replace(
                invoice,
                state=InvoiceState.SETTLED,
                preimage=preimage,
                settled_at=now,
                settle_index=len(books.settled),
                htlcs=_ended(invoice.htlcs, AttemptState.SUCCEEDED, now),
            )
        )
        payment = replace(self.payment(invoice.owner.peer, invoice.payment_hash), preimage=preimage)
        for position in range(len(payment.attempts)):
            payment = self._resolved(payment, position, AttemptState.SUCCEEDED, now)
            if position == len(payment.attempts) - 1:
                payment = replace(payment, state=PaymentState.SUCCEEDED)
            self._keep(payment)

    def _cancel(self, invoice: Invoice, now: int) -> None:
        failed = _ended(invoice.htlcs, AttemptState.FAILED, now)
        self._keep(replace(invoice, state=InvoiceState.CANCELED, htlcs=failed))
        if failed:
            payment = self.payment(invoice.owner.peer, invoice.payment_hash)
            self.fail_payment(payment, FailureReason.INCORRECT_PAYMENT_DETAILS, now)

    def _resolved(self, payment: Payment, position: int, state: AttemptState, now: int) -> Payment:
        attempts = list(payment.attempts)
        attempts[position] = replace(attempts[position], state=state, resolved_at=now, resolved_height=self._height)
        return replace(payment, attempts=tuple(attempts))

    def _keep(self, record: Record) -> None:
        match record:
            case Invoice():
                key = record.owner, record.payment_hash
                self._books[record.owner].invoices[record.payment_hash] = record
                self._held.pop(key, None)
                if record.state is InvoiceState.ACCEPTED:
                    self._held[key] = record
            case Payment():
                books = self._books[record.sender]
                books.payments[record.payment_hash] = record
                books.in_flight.pop(record.payment_hash, None)
                if not record.state.is_final:
                    books.in_flight[record.payment_hash] = None
        self.history.append(record)


def _ended(htlcs: tuple[InvoiceHtlc, ...], state: AttemptState, now: int) -> tuple[InvoiceHtlc, ...]:
    return tuple(replace(held, state=state, resolve_time=now) for held in htlcs)
