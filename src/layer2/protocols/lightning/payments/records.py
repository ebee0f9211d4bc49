"""The node's payments, as it reports them. Pure."""

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
    """Accepted, before the first HTLC. By default lnd reports IN_FLIGHT here too."""
    IN_FLIGHT = "IN_FLIGHT"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"

    @property
    def is_final(self) -> bool:
        """Whether lnd has finished the payment."""
        return self in (PaymentState.SUCCEEDED, PaymentState.FAILED)


class HtlcStatus(Enum):
    """lnd's ``HTLCAttempt.HTLCStatus``."""

    IN_FLIGHT = "IN_FLIGHT"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class PaymentRecord:
    """A payment by the node."""

    payment_hash: bytes
    invoice: str
    """BOLT 11, as it was sent; empty for a keysend."""
    state: PaymentState
    amount_msat: int
    fee_msat: int
    parts: int
    """Number of HTLCs in flight, or of settled HTLCs if it SUCCEEDED. 0 if the answer leaves HTLCs out."""
    paid_msat: int
    """Amount that these HTLCs deliver to the payee."""
    failure: str | None
    """lnd's reason if it FAILED."""
    preimage: Preimage | None = field(repr=False)
    """Set if it SUCCEEDED."""
    last_expiry: int | None
    """Highest expiry height at this node of its HTLCs that have not failed; None without such an HTLC."""
    has_settled_part: bool
    """Whether the payee has settled one of its HTLCs, which reveals the preimage."""
    index: int
    """lnd's ``payment_index``, which increases with each payment. A hash that is sent again gets a new index."""


def read_payment(fields: LndObject, expected_hash: bytes | None = None) -> PaymentRecord:
    """Read lnd's ``Payment``.

    Args:
        fields: the message.
        expected_hash: of the payment that was asked for; None for any.

    Raises:
        BadAnswer: a field cannot be right, the preimage does not match the hash, or it is another payment.
    """
    payment_hash = fields.hex("payment_hash", 32)
    if expected_hash not in (None, payment_hash):
        raise fields.wrong("the answer is about another payment")
    state = fields.enum("status", PaymentState)
    failure = fields.text("failure_reason")
    preimage: Preimage | None = None
    # SUCCEEDED with a failure reason is a success: a part failed before.
    if state is PaymentState.SUCCEEDED:
        secret = fields.hex("payment_preimage", 32)
        if sha256(secret).digest() != payment_hash:
            raise fields.wrong("the preimage of a payment that succeeded does not match its hash")
        preimage = Preimage(secret)
    counted = HtlcStatus.SUCCEEDED if state is PaymentState.SUCCEEDED else HtlcStatus.IN_FLIGHT
    htlcs = [(htlc.enum("status", HtlcStatus), htlc) for htlc in fields.objects("htlcs")]
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
