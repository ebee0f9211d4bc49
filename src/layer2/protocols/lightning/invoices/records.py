"""The node's own invoices as it shows them. Pure."""

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
    """Paid in full, and held."""
    SETTLED = "SETTLED"
    CANCELED = "CANCELED"

    @property
    def is_final(self) -> bool:
        """Whether it stays so forever."""
        return self in (InvoiceState.SETTLED, InvoiceState.CANCELED)


class HtlcState(Enum):
    """lnd's ``InvoiceHTLCState``."""

    ACCEPTED = "ACCEPTED"
    SETTLED = "SETTLED"
    CANCELED = "CANCELED"


@dataclass(frozen=True, slots=True)
class InvoiceHtlc:
    """One part of what is paid for an invoice."""

    channel_id: int
    amount_msat: int
    expiry_height: int
    state: HtlcState


@dataclass(frozen=True, slots=True)
class InvoiceRecord:
    """An own invoice as the node shows it."""

    payment_hash: bytes
    """32 bytes."""
    text: str
    """BOLT 11; empty where a payment to the node's key made it."""
    state: InvoiceState
    htlcs: tuple[InvoiceHtlc, ...]
    preimage: Preimage | None = field(repr=False)
    """Only where it is settled: before that it is not public, though the node may know it."""
    is_hold: bool
    """Whether the node does not know the preimage (yet), so that it waits for its owner to settle."""
    expires_at: int
    """Unix seconds by the node's clock; from then on an open one is soon cancelled."""
    paid_msat: int
    """What is held or was settled; 0 before."""
    made_at: int
    """Unix seconds by the node's clock."""
    settled_at: int
    """Unix seconds by the node's clock; 0 where it is not settled."""
    add_index: int
    """Grows by one with each invoice that the node makes."""
    settle_index: int
    """Grows by one with each invoice that is settled; 0 before."""

    @property
    def is_own(self) -> bool:
        """Whether the node made it, so that its hash stands for it: a payment with the same hash is someone's attempt
        to pass for this one's being paid. What a payment to the node's key left behind is none."""
        return self.text != ""

    def htlcs_in(self, state: HtlcState) -> tuple[InvoiceHtlc, ...]:
        return tuple(htlc for htlc in self.htlcs if htlc.state is state)


def read_invoice(fields: LndObject) -> InvoiceRecord:
    """Read lnd's ``Invoice``.

    Raises:
        BadAnswer: it cannot be right; also where the preimage of a settled one is not its hash's.
    """
    payment_hash = fields.data("r_hash")
    if len(payment_hash) != 32:
        raise fields.wrong("field r_hash is not 32 bytes")
    state = fields.word("state", InvoiceState)
    secret = fields.data("r_preimage")
    preimage: Preimage | None = None
    if state is InvoiceState.SETTLED:
        if len(secret) != 32 or sha256(secret).digest() != payment_hash:
            raise fields.wrong("the preimage of a settled invoice does not belong to its hash")
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
                state=htlc.word("state", HtlcState),
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
