"""Statuses of payment hashes, made from the node's records. Payer and payee of a hash get the same kind. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, TypeAlias

from layer2.errors import FormatError
from layer2.model.transactions import LightningPaymentId, TxState, TxStatus
from layer2.protocols.lightning.invoices.records import HtlcState, InvoiceRecord, InvoiceState
from layer2.protocols.lightning.lnd.answers import LIGHTNING
from layer2.protocols.lightning.payments.records import PaymentRecord, PaymentState

__all__ = ["HashStatus", "LightningStatus", "has_reached", "payment_status", "read_payment_id"]

LightningStatus: TypeAlias = TxStatus[LightningPaymentId]

_PAYMENT_ID: Final = re.compile(r"[0-9a-f]{64}")
_RANK: Final = {TxState.UNKNOWN: 0, TxState.PENDING: 1, TxState.INCLUDED: 2, TxState.FINAL: 3}
"""Lightning has no INCLUDED, so FINAL reaches it."""
_PAYMENT_STATES: Final = {
    PaymentState.INITIATED: TxState.PENDING,
    PaymentState.IN_FLIGHT: TxState.PENDING,
    PaymentState.SUCCEEDED: TxState.FINAL,
    PaymentState.FAILED: TxState.FAILED,
}
_INVOICE_STATES: Final = {
    InvoiceState.OPEN: TxState.PENDING,
    InvoiceState.ACCEPTED: TxState.PENDING,
    InvoiceState.SETTLED: TxState.FINAL,
    InvoiceState.CANCELED: TxState.FAILED,
}
_COUNTED_HTLCS: Final = {InvoiceState.ACCEPTED: HtlcState.ACCEPTED, InvoiceState.SETTLED: HtlcState.SETTLED}


@dataclass(frozen=True, slots=True)
class HashStatus:
    """The node's records of one payment hash."""

    payment: PaymentRecord | None
    """The node's payment with that hash; None if there is none, or if the node made an invoice with the hash."""
    invoice: InvoiceRecord | None
    """The node's invoice with that hash; None if there is none. Not read again if there is a payment."""

    @property
    def is_last(self) -> bool:
        """Whether it cannot change."""
        if self.payment is not None:
            return self.payment.preimage is not None
        return self.invoice is not None and self.invoice.state.is_final

    def for_id(self, tx_id: LightningPaymentId) -> LightningStatus:
        """The status of the transaction with that id. If the node made an invoice with the hash, the invoice's."""
        if self.payment is not None and not (self.invoice is not None and self.invoice.is_own):
            return payment_status(self.payment)
        return TxStatus(tx_id, TxState.UNKNOWN) if self.invoice is None else _invoice_status(tx_id, self.invoice)


def read_payment_id(tx_id: LightningPaymentId) -> bytes:
    """The payment hash of an id, 32 bytes.

    Raises:
        FormatError: it is not the id of a payment.
    """
    if not _PAYMENT_ID.fullmatch(tx_id):
        raise FormatError("a payment's id is its hash in 64 lower-case hexadecimal digits", protocol=LIGHTNING)
    return bytes.fromhex(tx_id)


def has_reached(status: LightningStatus, until: TxState) -> bool:
    """Whether the status is at least in that state, or has FAILED and so cannot reach it.

    Raises:
        KeyError: ``until`` is not a state that can be waited for.
    """
    return status.state is TxState.FAILED or _RANK[status.state] >= _RANK[until]


def payment_status(payment: PaymentRecord) -> LightningStatus:
    """The status of a payment by the node."""
    return TxStatus(
        LightningPaymentId(payment.payment_hash.hex()),
        _PAYMENT_STATES[payment.state],
        fee=payment.fee_msat if payment.state is PaymentState.SUCCEEDED else None,
        reason=payment.failure,
        preimage=payment.preimage,
        parts=payment.parts or None,
    )


def _invoice_status(tx_id: LightningPaymentId, invoice: InvoiceRecord) -> LightningStatus:
    counted = _COUNTED_HTLCS.get(invoice.state)
    parts = () if counted is None else invoice.htlcs_in(counted)
    return TxStatus(
        tx_id,
        _INVOICE_STATES[invoice.state],
        reason="the invoice is cancelled" if invoice.state is InvoiceState.CANCELED else None,
        preimage=invoice.preimage,
        parts=len(parts) or None,
        expiry_height=min((htlc.expiry_height for htlc in parts), default=None)
        if invoice.state is InvoiceState.ACCEPTED
        else None,
    )
