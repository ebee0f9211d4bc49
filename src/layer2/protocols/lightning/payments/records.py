"""The node's own payments as it shows them. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from hashlib import sha256

from layer2.model.transactions import Preimage
from layer2.protocols.lightning.lnd.answers import LndObject

__all__ = ["PaymentRecord", "PaymentState", "read_payment"]


class PaymentState(Enum):
    """lnd's ``Payment.PaymentStatus``."""

    INITIATED = "INITIATED"
    """Taken, no HTLC offered yet; by default lnd says IN_FLIGHT here too."""
    IN_FLIGHT = "IN_FLIGHT"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"

    @property
    def is_final(self) -> bool:
        """Whether lnd does nothing more for it by itself."""
        return self in (PaymentState.SUCCEEDED, PaymentState.FAILED)


class HtlcStatus(Enum):
    """lnd's ``HTLCAttempt.HTLCStatus``."""

    IN_FLIGHT = "IN_FLIGHT"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class PaymentRecord:
    """An own payment as the node shows it."""

    payment_hash: bytes
    invoice: str
    """BOLT 11, as it was sent."""
    state: PaymentState
    amount_msat: int
    fee_msat: int
    parts: int
    """HTLCs that carry it: those in flight, or where it SUCCEEDED those that were settled. 0 where lnd was asked to
    leave them out."""
    paid_msat: int
    """What these HTLCs carry to the payee."""
    failure: str | None
    """lnd's reason where it FAILED."""
    preimage: Preimage | None = field(repr=False)
    """Where it SUCCEEDED."""
    last_expiry: int | None
    """The highest height at which an HTLC that has not failed expires at this node; None where there is none."""
    has_settled_part: bool
    """Whether the payee has taken an HTLC of it, and so shown the preimage."""
    index: int
    """lnd's ``payment_index``, which grows with each payment; a hash that is sent again gets a new one."""


def read_payment(fields: LndObject) -> PaymentRecord:
    """Read lnd's ``Payment``.

    Raises:
        BadAnswer: it cannot be right; also where the preimage of a payment that succeeded is not its hash's.
    """
    payment_hash = fields.hex("payment_hash", 32)
    state = fields.word("status", PaymentState)
    failure = fields.text("failure_reason")
    preimage: Preimage | None = None
    # A payment that SUCCEEDED with a failure reason has succeeded: one of its parts failed before.
    if state is PaymentState.SUCCEEDED:
        secret = fields.hex("payment_preimage", 32)
        if sha256(secret).digest() != payment_hash:
            raise fields.wrong("the preimage of a payment that succeeded does not belong to its hash")
        preimage = Preimage(secret)
    counted = HtlcStatus.SUCCEEDED if state is PaymentState.SUCCEEDED else HtlcStatus.IN_FLIGHT
    htlcs = [(htlc.word("status", HtlcStatus), htlc) for htlc in fields.objects("htlcs")]
    routes = [htlc.inner("route") for status, htlc in htlcs if status is counted]
    live = [htlc.inner("route") for status, htlc in htlcs if status is not HtlcStatus.FAILED]
    return PaymentRecord(
        payment_hash=payment_hash,
        invoice=fields.text("payment_request"),
        state=state,
        amount_msat=fields.integer("value_msat"),
        fee_msat=fields.integer("fee_msat"),
        parts=len(routes),
        paid_msat=sum(route.integer("total_amt_msat") - route.integer("total_fees_msat") for route in routes),
        failure=failure if state is PaymentState.FAILED else None,
        preimage=preimage,
        last_expiry=max((route.integer("total_time_lock") for route in live), default=None),
        has_settled_part=any(status is HtlcStatus.SUCCEEDED for status, _ in htlcs),
        index=fields.integer("payment_index"),
    )
