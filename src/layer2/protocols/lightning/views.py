"""Views of a leg, made from lnd's record of the payment or invoice. Pure."""

from __future__ import annotations

from typing import Final, assert_never

from layer2.legs.lightning import LightningLeg
from layer2.legs.timelock_settings import TimelockSettings
from layer2.legs.views import ActStatus, ClockReading, HeldPayment, LegState, LegView
from layer2.protocols.lightning.invoices.records import HtlcState, InvoiceRecord, InvoiceState
from layer2.protocols.lightning.payments.records import PaymentRecord, PaymentState
from layer2.protocols.lightning.payments.request import decode_invoice

__all__ = [
    "is_expired",
    "is_past_its_locks",
    "next_time",
    "pay_act_status",
    "returned_without_a_message",
    "seen_by_payee",
    "seen_by_payer",
]

_ACT_STATES: Final = {
    PaymentState.INITIATED: ActStatus.UNDER_WAY,
    PaymentState.IN_FLIGHT: ActStatus.UNDER_WAY,
    PaymentState.SUCCEEDED: ActStatus.DONE,
    PaymentState.FAILED: ActStatus.FAILED,
}
EXPIRY_MARGIN: Final = 120
"""Seconds after the expiry of an invoice from which no payment can have started: twice the clocks' difference."""
_NEVER: Final = 2**62
"""A time that does not come."""


def pay_act_status(payment: PaymentRecord | None) -> ActStatus:
    """The status of the act of paying."""
    return ActStatus.UNSEEN if payment is None else _ACT_STATES[payment.state]


def seen_by_payer(leg: LightningLeg, payment: PaymentRecord | None, clock: ClockReading) -> LegView:
    """The leg as the payer's payment shows it.

    Without a payment, the view only shows whether one could still be made. It does not show whether one was made and
    deleted by the node; the journal does.
    """
    if payment is None:
        return LegView(LegState.NONE, clock, over=is_expired(leg, clock))
    tx_id = payment.payment_hash.hex()
    if payment.invoice != leg.invoice or payment.amount_msat != leg.amount_msat:
        reason = "the node's payment with this hash is for another invoice"
        return LegView(LegState.NONE, clock, preimage=payment.preimage, reason=reason)
    match payment.state:
        case PaymentState.INITIATED:
            return LegView(LegState.PENDING, clock, tx_id=tx_id)
        case PaymentState.IN_FLIGHT:
            return LegView(LegState.FUNDED, clock, tx_id=tx_id)
        case PaymentState.SUCCEEDED:
            return LegView(LegState.COLLECTED, clock, arrived=True, final=True, preimage=payment.preimage, tx_id=tx_id)
        case PaymentState.FAILED:
            return _returned(clock, tx_id, payment.failure)
        case _:
            assert_never(payment.state)


def is_past_its_locks(leg: LightningLeg, payment: PaymentRecord, clock: ClockReading, rules: TimelockSettings) -> bool:
    """Whether every HTLC that the payment can have had must be resolved by now, judged by its expiry heights.

    True only for a source leg. A provider must not use it for the destination: it would give the source back.
    """
    is_source = leg.min_blocks_left > 0
    if not is_source or payment.state is not PaymentState.IN_FLIGHT or payment.has_settled_part:
        return False
    last_try = decode_invoice(leg.invoice).expires_at + rules.payment_timeout + EXPIRY_MARGIN
    if clock.chain_time <= last_try:
        return False
    if payment.last_expiry is not None:
        return clock.height > payment.last_expiry + rules.close_blocks
    # lnd shows no HTLC, so the latest possible expiry is used.
    return clock.chain_time > last_try + rules.bitcoin.latest(leg.cltv_limit + rules.close_blocks)


def next_time(leg: LightningLeg, clock: ClockReading, rules: TimelockSettings) -> int:
    """The next time by the node's clock at which a view of the leg may differ although its record does not.

    Returns:
        Unix seconds, later than ``clock``. A time in the far future if no such time is left.
    """
    expiry = decode_invoice(leg.invoice).expires_at
    last_try = expiry + rules.payment_timeout + EXPIRY_MARGIN
    last_lock = last_try + rules.bitcoin.latest(leg.cltv_limit + rules.close_blocks)
    times = (expiry, expiry + EXPIRY_MARGIN, last_try, last_lock)
    return min((time + 1 for time in times if time + 1 > clock.chain_time), default=_NEVER)


def returned_without_a_message(view: LegView) -> LegView:
    """The view of a payment that lnd lists as in flight, although no channel has an HTLC of it."""
    reason = "lnd lists the payment as in flight, and no channel has an HTLC of it after the last could have expired"
    return _returned(view.clock, view.tx_id, reason)


def seen_by_payee(leg: LightningLeg, invoice: InvoiceRecord | None, clock: ClockReading, *, is_final: bool) -> LegView:
    """The leg as the payee's invoice shows it.

    Args:
        leg: from the terms.
        invoice: None if the node has no invoice with this hash, so that it cannot be paid.
        clock: of the node.
        is_final: whether a settled payment can no longer be lost in a channel.
    """
    if invoice is None:
        return LegView(LegState.NONE, clock, over=True, reason="the node has no invoice with this hash")
    if invoice.text != leg.invoice:
        reason = "the node has another invoice with this hash"
        return LegView(LegState.NONE, clock, preimage=invoice.preimage, reason=reason)
    tx_id = invoice.payment_hash.hex()
    match invoice.state:
        case InvoiceState.OPEN:
            return LegView(LegState.NONE, clock)
        case InvoiceState.ACCEPTED:
            return _held(leg, invoice, clock, tx_id)
        case InvoiceState.SETTLED:
            return LegView(
                LegState.COLLECTED, clock, arrived=True, final=is_final, preimage=invoice.preimage, tx_id=tx_id
            )
        case InvoiceState.CANCELED:
            return _returned(clock, None, "the invoice is cancelled")
        case _:
            assert_never(invoice.state)


def _held(leg: LightningLeg, invoice: InvoiceRecord, clock: ClockReading, tx_id: str) -> LegView:
    parts = invoice.htlcs_in(HtlcState.ACCEPTED)
    amount_msat = sum(part.amount_msat for part in parts)
    if amount_msat != leg.amount_msat or not parts:
        reason = f"{amount_msat} msat are held, not {leg.amount_msat}"
        return LegView(LegState.PENDING, clock, tx_id=tx_id, reason=reason)
    held = HeldPayment(
        expiry_height=min(part.expiry_height for part in parts),
        parts=len(parts),
        smallest_part_msat=min(part.amount_msat for part in parts),
    )
    return LegView(LegState.FUNDED, clock, tx_id=tx_id, held=held)


def _returned(clock: ClockReading, tx_id: str | None, reason: str | None) -> LegView:
    return LegView(LegState.RETURNED, clock, arrived=True, final=True, over=True, tx_id=tx_id, reason=reason)


def is_expired(leg: LightningLeg, clock: ClockReading) -> bool:
    return clock.chain_time > decode_invoice(leg.invoice).expires_at + EXPIRY_MARGIN
