"""The invoices and payments of the two Lightning nodes of a simnet, as a state machine.

Pure: heights and times come in as arguments. It does what lnd 0.21 does where a swap depends on it: a hold invoice
is accepted and waits, is given up ``HOLD_EXPIRY_DELTA`` blocks before its HTLC expires, an invoice that nobody
paid is cancelled when its time is over, a payment hash is paid at most once at a time, and a failed one may be
sent again. Every state that an invoice or payment was ever in is kept in ``history``, for those who subscribe.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from hashlib import sha256

from layer2.simnet.lightning_channel import Channel, Htlc, Side

__all__ = [
    "BLOCK_PADDING",
    "HOLD_EXPIRY_DELTA",
    "AttemptState",
    "FailureReason",
    "Invoice",
    "InvoiceHtlc",
    "InvoiceNotFound",
    "InvoiceState",
    "Ledger",
    "LedgerError",
    "Payment",
    "PaymentConflict",
    "PaymentNotFound",
    "PaymentState",
]

HOLD_EXPIRY_DELTA = 18
"""lnd's ``invoices.holdexpirydelta``."""
FINAL_CLTV_REJECT_DELTA = 19
"""With fewer blocks left lnd accepts no HTLC."""
BLOCK_PADDING = 3
"""What lnd's sender adds to the invoice's final CLTV delta."""


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
    """The HTLC that an invoice accepted."""

    htlc: Htlc
    state: AttemptState
    accept_height: int
    accept_time: int
    resolve_time: int = 0


@dataclass(frozen=True, slots=True)
class Invoice:
    """An invoice in one of its states."""

    owner: Side
    add_index: int
    payment_hash: bytes
    payment_address: bytes
    payment_request: str
    memo: str
    description_hash: bytes
    value_msat: int
    """Zero lets the payer choose."""
    created_at: int
    expiry_seconds: int
    final_cltv_delta: int
    is_hold: bool
    preimage: bytes | None
    state: InvoiceState = InvoiceState.OPEN
    htlc: InvoiceHtlc | None = None
    settled_at: int = 0
    settle_index: int = 0

    @property
    def amount_paid_msat(self) -> int:
        """What was ever accepted for it. As in lnd it stays when the invoice is cancelled: the state decides."""
        return 0 if self.htlc is None else self.htlc.htlc.amount_msat


@dataclass(frozen=True, slots=True)
class Payment:
    """A payment in one of its states, as its sender knows it."""

    sender: Side
    index: int
    payment_hash: bytes
    payment_address: bytes
    payment_request: str
    amount_msat: int
    final_cltv_delta: int
    created_at: int
    state: PaymentState = PaymentState.IN_FLIGHT
    reason: FailureReason = FailureReason.NONE
    preimage: bytes | None = None
    htlc: Htlc | None = None
    """The one attempt, where one was made."""
    attempt_id: int = 0
    resolved_at: int = 0
    resolved_height: int = 0


class Ledger:
    """Everything that the two nodes know, under one lock: the caller's single thread.

    Args:
        height: the Bitcoin height to begin with.
    """

    def __init__(self, height: int) -> None:
        self.channel = Channel()
        self.history: list[Invoice | Payment] = []
        self._height = height
        self._invoices: dict[tuple[Side, bytes], Invoice] = {}
        self._payments: dict[tuple[Side, bytes], Payment] = {}
        self._added = dict.fromkeys(Side, 0)
        self._settled = dict.fromkeys(Side, 0)
        self._sent = dict.fromkeys(Side, 0)
        self._attempts = dict.fromkeys(Side, 0)
        self._holding: set[Side] = set()
        self._unpaid: dict[tuple[Side, bytes], Invoice] = {}
        self._held: dict[tuple[Side, bytes], Invoice] = {}

    @property
    def height(self) -> int:
        """The Bitcoin height of both nodes."""
        return self._height

    def invoices(self, owner: Side) -> list[Invoice]:
        """All invoices of the node by add index."""
        return [invoice for (side, _), invoice in self._invoices.items() if side is owner]

    def payments(self, sender: Side) -> list[Payment]:
        """All payments of the node by payment index."""
        own = [payment for (side, _), payment in self._payments.items() if side is sender]
        return sorted(own, key=lambda payment: payment.index)

    def invoice(self, owner: Side, payment_hash: bytes) -> Invoice:
        """Raises InvoiceNotFound."""
        try:
            return self._invoices[owner, payment_hash]
        except KeyError:
            raise InvoiceNotFound("unable to locate invoice") from None

    def payment(self, sender: Side, payment_hash: bytes) -> Payment:
        """Raises PaymentNotFound."""
        try:
            return self._payments[sender, payment_hash]
        except KeyError:
            raise PaymentNotFound("payment isn't initiated") from None

    def next_add_index(self, owner: Side) -> int:
        """The add index that the owner's next invoice gets."""
        return self._added[owner] + 1

    def add_invoice(self, invoice: Invoice) -> None:
        """Take an OPEN invoice with ``next_add_index``; its hash must be new to its owner."""
        if (invoice.owner, invoice.payment_hash) in self._invoices:
            raise LedgerError("invoice with payment hash already exists")
        self._added[invoice.owner] += 1
        self._keep(invoice)

    def settle_invoice(self, owner: Side, preimage: bytes, now: int) -> None:
        """Settle an accepted hold invoice; a settled one stays as it is."""
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
        """Cancel an invoice and fail back what it holds; a cancelled one stays as it is."""
        invoice = self.invoice(owner, payment_hash)
        if invoice.state is InvoiceState.SETTLED:
            raise LedgerError("invoice already settled")
        if invoice.state is not InvoiceState.CANCELED:
            self._cancel(invoice, now)

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
    ) -> Payment:
        """Take up a payment, without an HTLC yet: ``attempt`` makes that. One that failed starts anew."""
        known = self._payments.get((sender, payment_hash))
        if known is not None and known.state is PaymentState.SUCCEEDED:
            raise PaymentConflict("invoice is already paid")
        if known is not None and known.state is PaymentState.IN_FLIGHT:
            raise PaymentConflict("payment is in transition")
        self._sent[sender] += 1
        payment = Payment(
            sender,
            self._sent[sender],
            payment_hash,
            payment_address,
            payment_request,
            amount_msat,
            final_cltv_delta,
            now,
        )
        self._keep(payment)
        return payment

    def attempt(self, payment: Payment, now: int) -> None:
        """Offer the payment's HTLC, and deliver it unless its sender's payments are held."""
        if payment.amount_msat > self.channel.sendable_msat(payment.sender):
            self.fail_payment(payment, FailureReason.INSUFFICIENT_BALANCE, now)
            return
        expiry = self._height + payment.final_cltv_delta + BLOCK_PADDING
        htlc = self.channel.offer(payment.sender, payment.payment_hash, payment.amount_msat, expiry)
        self._attempts[payment.sender] += 1
        payment = replace(payment, htlc=htlc, attempt_id=self._attempts[payment.sender])
        self._keep(payment)
        if payment.sender not in self._holding:
            self._deliver(payment, now)

    def fail_payment(self, payment: Payment, reason: FailureReason, now: int) -> None:
        """End a payment that is under way; what it had in flight goes back to its sender."""
        payment = replace(payment, reason=reason)
        if payment.htlc is not None:
            # lnd writes the reason down first: subscribers see a payment in flight that has one.
            self._keep(payment)
            self.channel.fail(payment.htlc)
        self._keep(replace(payment, state=PaymentState.FAILED, resolved_at=now, resolved_height=self._height))

    def hold_payments(self, sender: Side) -> None:
        """From now on the sender's HTLCs stay on the way: they reach nobody until released."""
        self._holding.add(sender)

    def release_payments(self, sender: Side, now: int) -> None:
        """Deliver what was held, in the order in which it was offered."""
        if sender not in self._holding:
            return
        self._holding.discard(sender)
        for htlc in self.channel.htlcs:
            if htlc.sender is sender and not self._is_delivered(htlc):
                self._deliver(self._payments[sender, htlc.payment_hash], now)

    def pass_time(self, now: int) -> None:
        """Cancel the open invoices whose time is over."""
        for invoice in list(self._unpaid.values()):
            if now > invoice.created_at + invoice.expiry_seconds:
                self._cancel(invoice, now)

    def mine(self, blocks: int, now: int) -> int:
        """Advance the height block by block, let what expires expire, and return the new height."""
        for _ in range(blocks):
            self._height += 1
            self._give_up_held_invoices(now)
            self._expire_htlcs(now)
        return self._height

    def _give_up_held_invoices(self, now: int) -> None:
        for invoice in list(self._held.values()):
            assert invoice.htlc is not None
            if self._height + HOLD_EXPIRY_DELTA >= invoice.htlc.htlc.expiry_height:
                self._cancel(invoice, now)

    def _expire_htlcs(self, now: int) -> None:
        # Only one that was never delivered can come so far. A real sender would close the channel; its payment
        # ends as TIMEOUT where the attempt's time is over, and that it is after so many blocks.
        for htlc in self.channel.htlcs:
            if self._height >= htlc.expiry_height:
                payment = self._payments[htlc.sender, htlc.payment_hash]
                self.fail_payment(payment, FailureReason.TIMEOUT, now)

    def _is_delivered(self, htlc: Htlc) -> bool:
        invoice = self._invoices.get((htlc.sender.peer, htlc.payment_hash))
        return invoice is not None and invoice.htlc is not None and invoice.htlc.htlc == htlc

    def _deliver(self, payment: Payment, now: int) -> None:
        """The receiver's decision about an HTLC that reached it."""
        htlc = payment.htlc
        assert htlc is not None
        invoice = self._invoices.get((payment.sender.peer, payment.payment_hash))
        blocks_left = htlc.expiry_height - self._height
        if (
            invoice is None
            or invoice.state is not InvoiceState.OPEN
            or payment.payment_address != invoice.payment_address
            or payment.amount_msat < invoice.value_msat
            or blocks_left < max(FINAL_CLTV_REJECT_DELTA, invoice.final_cltv_delta)
        ):
            # A receiver says the same in all of these cases, so that nobody can probe for invoices (BOLT 4).
            self.fail_payment(payment, FailureReason.INCORRECT_PAYMENT_DETAILS, now)
            return
        accepted = InvoiceHtlc(htlc, AttemptState.IN_FLIGHT, self._height, now)
        if invoice.is_hold:
            self._keep(replace(invoice, state=InvoiceState.ACCEPTED, htlc=accepted))
            return
        assert invoice.preimage is not None
        self._settle(replace(invoice, htlc=accepted), invoice.preimage, now)

    def _settle(self, invoice: Invoice, preimage: bytes, now: int) -> None:
        accepted = invoice.htlc
        assert accepted is not None
        self.channel.settle(accepted.htlc)
        self._settled[invoice.owner] += 1
        self._keep(
            replace(
                invoice,
                state=InvoiceState.SETTLED,
                preimage=preimage,
                settled_at=now,
                settle_index=self._settled[invoice.owner],
                htlc=replace(accepted, state=AttemptState.SUCCEEDED, resolve_time=now),
            )
        )
        payment = self._payments[invoice.owner.peer, invoice.payment_hash]
        self._keep(
            replace(
                payment,
                state=PaymentState.SUCCEEDED,
                preimage=preimage,
                resolved_at=now,
                resolved_height=self._height,
            )
        )

    def _cancel(self, invoice: Invoice, now: int) -> None:
        accepted = invoice.htlc
        if accepted is None:
            self._keep(replace(invoice, state=InvoiceState.CANCELED))
            return
        failed = replace(accepted, state=AttemptState.FAILED, resolve_time=now)
        self._keep(replace(invoice, state=InvoiceState.CANCELED, htlc=failed))
        payment = self._payments[invoice.owner.peer, invoice.payment_hash]
        self.fail_payment(payment, FailureReason.INCORRECT_PAYMENT_DETAILS, now)

    def _keep(self, record: Invoice | Payment) -> None:
        match record:
            case Invoice():
                key = record.owner, record.payment_hash
                self._invoices[key] = record
                for state, those in ((InvoiceState.OPEN, self._unpaid), (InvoiceState.ACCEPTED, self._held)):
                    those.pop(key, None)
                    if record.state is state:
                        those[key] = record
            case Payment():
                self._payments[record.sender, record.payment_hash] = record
        self.history.append(record)
