"""The invoices and payments of the two Lightning nodes of a simnet, as a state machine.

Pure: heights and times are arguments. It behaves like lnd 0.21 where a swap depends on it:

- An accepted hold invoice waits, and is cancelled ``HOLD_EXPIRY_DELTA`` blocks before its HTLC expires.
- An unpaid invoice is cancelled when it expires.
- A payment hash is paid at most once at a time, and a failed payment can be sent again.

The ledger keeps every state of each invoice and payment in ``history``, for subscribers.

No call iterates over all invoices or payments, so ten thousand open ones do not slow a call down.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from heapq import heappop, heappush
from types import MappingProxyType

from layer2.local.simnet.lightning.books import Books
from layer2.local.simnet.lightning.channel import MIN_HTLC_MSAT, Channels, Side
from layer2.local.simnet.lightning.records import (
    KEYSEND_RECORD,
    Attempt,
    FailureReason,
    Invoice,
    InvoiceHtlc,
    InvoiceState,
    LedgerError,
    Payment,
    PaymentConflict,
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


class Ledger:
    """The state of the two nodes. Not thread-safe: use it from one thread.

    Args:
        height: the initial Bitcoin height.
        channels: the number of channels between the two nodes.
    """

    def __init__(self, height: int, channels: int = 1) -> None:
        self.channels = Channels(channels)
        self.history: list[Record] = []
        self.height = height
        """The Bitcoin height of both nodes."""
        self.books = {side: Books(side) for side in Side}
        self._lives: list[tuple[int, int, Side, bytes]] = []
        """A heap of invoices, earliest expiry first: the expiry, a sequence number, and the owner."""
        self._born = 0

    # Invoices.

    def add_invoice(self, invoice: Invoice) -> Invoice:
        """Add an OPEN invoice, and return it with its add index. Its hash must be new to its owner."""
        books = self.books[invoice.owner]
        if invoice.payment_hash in books.invoices:
            raise LedgerError("invoice with payment hash already exists")
        books.added.append(invoice.payment_hash)
        if invoice.payment_address:
            books.by_address[invoice.payment_address] = invoice.payment_hash
        invoice = replace(invoice, add_index=len(books.added))
        self._born += 1
        heappush(self._lives, (invoice.expires_at, self._born, invoice.owner, invoice.payment_hash))
        self._keep(invoice)
        return invoice

    def settle_invoice(self, owner: Side, preimage: bytes, now: int) -> None:
        """Settle an accepted hold invoice. A settled invoice is left unchanged."""
        invoice = self.books[owner].invoice(sha256(preimage).digest())
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
        invoice = self.books[owner].invoice(payment_hash)
        if invoice.state is InvoiceState.SETTLED:
            raise LedgerError("invoice already settled")
        if invoice.state is not InvoiceState.CANCELED:
            self._cancel(invoice, now)

    # Payments.

    def start_payment(self, payment: Payment) -> Payment:
        """Start a payment, or restart one that failed. ``attempt`` then offers its HTLCs.

        Returns:
            The payment with its index.
        """
        books = self.books[payment.owner]
        known = books.payments.get(payment.payment_hash)
        if known is not None and known.state is PaymentState.SUCCEEDED:
            raise PaymentConflict("invoice is already paid")
        if known is not None and known.state is PaymentState.IN_FLIGHT:
            raise PaymentConflict("payment is in transition")
        books.sent.append(payment.payment_hash)
        payment = replace(payment, index=len(books.sent))
        self._keep(payment)
        return payment

    def attempt(self, payment: Payment, now: int, parts_msat: Sequence[int] = ()) -> None:
        """Offer the payment's HTLCs, and deliver them unless its sender's payments are held.

        Args:
            payment: as returned by ``start_payment``.
            now: the unix time.
            parts_msat: the amount of each HTLC; they add up to the payment's amount. If empty, one HTLC takes all.
        """
        parts = parts_msat or (payment.amount_msat,)
        assert sum(parts) == payment.amount_msat
        placed = self.channels.placed(payment.owner, parts)
        if placed is None:
            self.fail_payment(payment, FailureReason.INSUFFICIENT_BALANCE, now)
            return
        if min(parts) < MIN_HTLC_MSAT:
            self.fail_payment(payment, FailureReason.NO_ROUTE, now)
            return
        books = self.books[payment.owner]
        expiry = self.height + payment.final_cltv_delta + BLOCK_PADDING
        for channel, part in zip(placed, parts, strict=True):
            htlc = channel.offer(payment.owner, payment.payment_hash, part, expiry)
            books.attempts += 1
            payment = replace(payment, attempts=(*payment.attempts, Attempt(books.attempts, htlc)))
            self._keep(payment)
        if books.is_holding:
            books.undelivered[payment.payment_hash] = None
        else:
            self._deliver(payment, now)

    def fail_payment(self, payment: Payment, reason: FailureReason, now: int) -> None:
        """Fail a payment in flight. Its HTLCs return to the sender."""
        self.books[payment.owner].undelivered.pop(payment.payment_hash, None)
        payment = replace(payment, reason=reason)
        if not payment.attempts:
            self._keep(replace(payment, state=PaymentState.FAILED))
        for position, attempt in enumerate(payment.attempts):
            # lnd records the reason first, so subscribers see a payment in flight with a failure reason.
            self._keep(payment)
            self.channels.fail(attempt.htlc)
            payment = self._resolve(payment, position, PaymentState.FAILED, now)

    def hold_payments(self, sender: Side) -> None:
        """Hold the sender's HTLCs back from now on, until they are released."""
        self.books[sender].is_holding = True

    def release_payments(self, sender: Side, now: int) -> None:
        """Deliver the held HTLCs, in the order in which they were offered."""
        books = self.books[sender]
        books.is_holding = False
        for payment_hash in list(books.undelivered):
            del books.undelivered[payment_hash]
            self._deliver(books.payments[payment_hash], now)

    # Time and blocks.

    def pass_time(self, now: int) -> None:
        """Cancel the open invoices that have expired."""
        while self._lives and now > self._lives[0][0]:
            _, _, owner, payment_hash = heappop(self._lives)
            invoice = self.books[owner].invoices[payment_hash]
            if invoice.state is InvoiceState.OPEN:
                self._cancel(invoice, now)

    def mine(self, blocks: int, now: int) -> int:
        """Advance the height block by block, apply all expiries, and return the new height."""
        for _ in range(blocks):
            self.height += 1
            self._give_up_held_invoices(now)
            self._expire_htlcs(now)
        return self.height

    def _give_up_held_invoices(self, now: int) -> None:
        for invoice in [books.invoices[held] for books in self.books.values() for held in books.held]:
            if self.height + HOLD_EXPIRY_DELTA >= min(held.htlc.expiry_height for held in invoice.htlcs):
                self._cancel(invoice, now)

    def _expire_htlcs(self, now: int) -> None:
        # Only an undelivered HTLC can reach this height. A real sender would close the channel. Its payment ends
        # as TIMEOUT when the attempt's time is over, which is certain after so many blocks.
        for books in self.books.values():
            for payment in [books.payments[undelivered] for undelivered in books.undelivered]:
                if self.height >= payment.attempts[0].htlc.expiry_height:
                    self.fail_payment(payment, FailureReason.TIMEOUT, now)

    # What happens between the nodes.

    def _deliver(self, payment: Payment, now: int) -> None:
        """Decide, for the receiver, about the delivered HTLCs of a payment: it accepts all or none."""
        invoice = self._invoice_for(payment, now)
        blocks_left = payment.attempts[0].htlc.expiry_height - self.height
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
            InvoiceHtlc(attempt.htlc, PaymentState.IN_FLIGHT, self.height, now, records) for attempt in payment.attempts
        )
        if invoice.preimage is None:
            self._keep(replace(invoice, state=InvoiceState.ACCEPTED, htlcs=accepted))
            return
        self._settle(replace(invoice, htlcs=accepted), invoice.preimage, now)

    def _invoice_for(self, payment: Payment, now: int) -> Invoice | None:
        """The invoice that is paid. A payment that carries its preimage (keysend) gets a new invoice."""
        owner, payment_hash = payment.owner.peer, payment.payment_hash
        known = self.books[owner].invoices.get(payment_hash)
        preimage = payment.custom_records.get(KEYSEND_RECORD)
        if known is not None or preimage is None:
            return known
        blocks_left = payment.attempts[0].htlc.expiry_height - self.height
        if sha256(preimage).digest() != payment_hash or blocks_left < FINAL_CLTV_REJECT_DELTA:
            return None
        invoice = Invoice(
            owner=owner,
            payment_hash=payment_hash,
            value_msat=payment.amount_msat,
            created_at=now,
            expiry_seconds=0,
            final_cltv_delta=FINAL_CLTV_REJECT_DELTA,
            preimage=preimage,
        )
        return self.add_invoice(invoice)

    def _settle(self, invoice: Invoice, preimage: bytes, now: int) -> None:
        books = self.books[invoice.owner]
        for held in invoice.htlcs:
            self.channels.settle(held.htlc)
        books.settled.append(invoice.payment_hash)
        self._keep(
            replace(
                invoice,
                state=InvoiceState.SETTLED,
                preimage=preimage,
                settled_at=now,
                settle_index=len(books.settled),
                htlcs=_ended(invoice.htlcs, PaymentState.SUCCEEDED, now),
            )
        )
        payment = replace(self.books[invoice.owner.peer].payment(invoice.payment_hash), preimage=preimage)
        for position in range(len(payment.attempts)):
            payment = self._resolve(payment, position, PaymentState.SUCCEEDED, now)

    def _cancel(self, invoice: Invoice, now: int) -> None:
        failed = _ended(invoice.htlcs, PaymentState.FAILED, now)
        self._keep(replace(invoice, state=InvoiceState.CANCELED, htlcs=failed))
        if failed:
            payment = self.books[invoice.owner.peer].payment(invoice.payment_hash)
            self.fail_payment(payment, FailureReason.INCORRECT_PAYMENT_DETAILS, now)

    def _resolve(self, payment: Payment, position: int, state: PaymentState, now: int) -> Payment:
        """End an attempt, and with the last one the payment."""
        attempts = list(payment.attempts)
        attempts[position] = replace(attempts[position], state=state, resolved_at=now, resolved_height=self.height)
        is_last = position == len(attempts) - 1
        payment = replace(payment, attempts=tuple(attempts), state=state if is_last else payment.state)
        self._keep(payment)
        return payment

    def _keep(self, record: Record) -> None:
        self.books[record.owner].keep(record)
        self.history.append(record)


def _ended(htlcs: tuple[InvoiceHtlc, ...], state: PaymentState, now: int) -> tuple[InvoiceHtlc, ...]:
    return tuple(replace(held, state=state, resolve_time=now) for held in htlcs)
