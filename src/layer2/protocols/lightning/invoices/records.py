"""The node's invoices, as it reports them. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from hashlib import sha256

from layer2.model.transactions import Preimage
from layer2.protocols.lightning.lnd.answers import LndObject

__all__ = ["HtlcState", "InvoiceHtlc", "InvoiceRecord", "InvoiceState", "read_invoice"]


class InvoiceState(Enum):
    """lnd's ``Invoice.InvoiceState``."""

    OPEN = "OPEN"
    ACCEPTED = "ACCEPTED"
    """Paid in full and held, neither settled nor cancelled."""
    SETTLED = "SETTLED"
    CANCELED = "CANCELED"

    @property
    def is_final(self) -> bool:
        """Whether the state cannot change."""
        return self in (InvoiceState.SETTLED, InvoiceState.CANCELED)


class HtlcState(Enum):
    """lnd's ``InvoiceHTLCState``."""

    ACCEPTED = "ACCEPTED"
    SETTLED = "SETTLED"
    CANCELED = "CANCELED"


@dataclass(frozen=True, slots=True)
class InvoiceHtlc:
    """One HTLC that pays an invoice, or a part of it."""

    channel_id: int
    amount_msat: int
    expiry_height: int
    state: HtlcState


@dataclass(frozen=True, slots=True)
class InvoiceRecord:
    """An invoice of the node."""

    payment_hash: bytes
    """32 bytes."""
    text: str
    """BOLT 11; empty if a payment to the node's key (keysend) created the record."""
    state: InvoiceState
    htlcs: tuple[InvoiceHtlc, ...]
    preimage: Preimage | None = field(repr=False)
    """Set if the invoice is settled. The node may know the preimage before that, but it is not public then."""
    is_hold: bool
    """Whether the node does not know the preimage, so that it holds a payment until its owner settles it."""
    expires_at: int
    """Unix seconds by the node's clock. An open invoice is cancelled soon after."""
    paid_msat: int
    """Amount that is held or was settled; 0 before a payment."""
    made_at: int
    """Unix seconds by the node's clock."""
    settled_at: int
    """Unix seconds by the node's clock; 0 if it is not settled."""
    add_index: int
    """Increases by one with each invoice that the node makes."""
    settle_index: int
    """Increases by one with each invoice that is settled; 0 if it is not settled."""

    @property
    def is_own(self) -> bool:
        """Whether the node made the invoice. If so, the status of its hash is the invoice's status: a payment by this
        node with the same hash may be a fraud that makes the invoice look paid. A keysend record is not such an
        invoice."""
        return self.text != ""

    def htlcs_in(self, state: HtlcState) -> tuple[InvoiceHtlc, ...]:
        """The HTLCs in that state."""
        return tuple(htlc for htlc in self.htlcs if htlc.state is state)


def read_invoice(fields: LndObject, expected_hash: bytes | None = None) -> InvoiceRecord:
    """Read lnd's ``Invoice``.

    Args:
        fields: the message.
        expected_hash: of the invoice that was asked for; None for any.

    Raises:
        BadAnswer: a field cannot be right, the preimage does not match the hash, or it is another invoice.
    """
    payment_hash = fields.data("r_hash")
    if len(payment_hash) != 32:
        raise fields.wrong("field r_hash is not 32 bytes")
    if expected_hash not in (None, payment_hash):
        raise fields.wrong("the answer is about another invoice")
    state = fields.enum("state", InvoiceState)
    secret = fields.data("r_preimage")
    preimage: Preimage | None = None
    if state is InvoiceState.SETTLED:
        if len(secret) != 32 or sha256(secret).digest() != payment_hash:
            raise fields.wrong("the preimage of a settled invoice does not match its hash")
        preimage = Preimage(secret)
    made_at = fields.integer("creation_date")
    return InvoiceRecord(
        payment_hash=payment_hash,
        text=fields.text("payment_request"),
        state=state,
        htlcs=tuple(
            InvoiceHtlc(
                channel_id=htlc.integer("chan_id"),
                amount_msat=htlc.integer("amt_msat"),
                expiry_height=htlc.integer("expiry_height"),
                state=htlc.enum("state", HtlcState),
            )
            for htlc in fields.objects("htlcs")
        ),
        preimage=preimage,
        is_hold=not secret,
        expires_at=made_at + fields.integer("expiry"),
        paid_msat=fields.integer("amt_paid_msat"),
        made_at=made_at,
        settled_at=fields.integer("settle_date"),
        add_index=fields.integer("add_index"),
        settle_index=fields.integer("settle_index"),
    )
