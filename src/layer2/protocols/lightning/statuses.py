"""What the node says of its payments and invoices, as statuses: payer and payee of a hash get the same kind."""

from __future__ import annotations

import re
from typing import Final, TypeAlias

from layer2.errors import FormatError
from layer2.model.transactions import LightningPaymentId, TxState, TxStatus
from layer2.protocols.lightning.invoices.records import HtlcState, InvoiceRecord, InvoiceState
from layer2.protocols.lightning.lnd.answers import LIGHTNING
from layer2.protocols.lightning.payments.records import PaymentRecord, PaymentState

__all__ = ["LightningStatus", "has_reached", "invoice_status", "payment_status", "read_payment_id", "status_of"]

LightningStatus: TypeAlias = TxStatus[LightningPaymentId]

_PAYMENT_ID: Final = re.compile(r"[0-9a-f]{64}")
_RANK: Final = {TxState.UNKNOWN: 0, TxState.PENDING: 1, TxState.INCLUDED: 2, TxState.FINAL: 3}
"""INCLUDED does not occur on Lightning, so it is reached with FINAL."""
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


def read_payment_id(tx_id: LightningPaymentId) -> bytes:
    """The payment hash that an id spells, 32 bytes.

    Raises:
        FormatError: it is no payment's id.
    """
    if not _PAYMENT_ID.fullmatch(tx_id):
        raise FormatError("a payment's id is its hash in 64 lower-case hexadecimal digits", protocol=LIGHTNING)
    return bytes.fromhex(tx_id)


def has_reached(status: LightningStatus, until: TxState) -> bool:
    """Whether it is at least in that state, or will never be, because it has FAILED.

    Raises:
        KeyError: ``until`` is none that can be waited for.
    """
    return status.state is TxState.FAILED or _RANK[status.state] >= _RANK[until]


def status_of(
    tx_id: LightningPaymentId, payment: PaymentRecord | None, invoice: InvoiceRecord | None
) -> LightningStatus:
    """The status of a hash: the own invoice's where there is one, whatever the node paid under its hash."""
    if payment is not None and not (invoice is not None and invoice.is_own):
        return payment_status(payment)
    return TxStatus(tx_id, TxState.UNKNOWN) if invoice is None else invoice_status(tx_id, invoice)


def payment_status(payment: PaymentRecord) -> LightningStatus:
    """The status of an own payment."""
    return TxStatus(
        LightningPaymentId(payment.payment_hash.hex()),
        _PAYMENT_STATES[payment.state],
        fee=payment.fee_msat if payment.state is PaymentState.SUCCEEDED else None,
        reason=payment.failure,
        preimage=payment.preimage,
        parts=payment.parts or None,
    )


def invoice_status(tx_id: LightningPaymentId, invoice: InvoiceRecord) -> LightningStatus:
    """The status of an own invoice."""
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
