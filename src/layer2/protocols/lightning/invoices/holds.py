"""What is held for own invoices, and how long it can still be settled. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from layer2.protocols.lightning.invoices.records import HtlcState, InvoiceRecord

__all__ = ["Hold", "HoldPart", "hold_of"]


@dataclass(frozen=True, slots=True)
class HoldPart:
    """One HTLC that waits."""

    amount_msat: int
    expiry_height: int
    """The Bitcoin height from which its sender can take it back on the chain."""


@dataclass(frozen=True, slots=True)
class Hold:
    """A payment that is held for an own invoice until that is settled or cancelled.

    The invoice's own expiry has no meaning any more: it ends new payments, not one that is held.
    """

    payment_hash: bytes
    """32 bytes."""
    invoice: str
    """BOLT 11."""
    amount_msat: int
    """Of all parts."""
    parts: tuple[HoldPart, ...]
    expiry_height: int
    """The lowest of its parts'."""
    given_up_height: int
    """The Bitcoin height at which the node gives all of it back by itself; from then on it cannot be settled."""
    blocks_left: int
    """How many more blocks bring that height; 0 or less where it has come."""
    is_near_expiry: bool
    """Whether no more blocks are left than the node keeps as its own margin (``invoices.holdexpirydelta``)."""


def hold_of(invoice: InvoiceRecord, height: int, expiry_delta: int) -> Hold:
    """What is held for an ACCEPTED invoice.

    Args:
        invoice: with at least one HTLC that is held.
        height: Bitcoin's, as the node has it.
        expiry_delta: how many blocks before the first expiry the node gives a hold up.
    """
    parts = tuple(HoldPart(htlc.amount_msat, htlc.expiry_height) for htlc in invoice.htlcs_in(HtlcState.ACCEPTED))
    expiry_height = min(part.expiry_height for part in parts)
    given_up_height = expiry_height - expiry_delta
    blocks_left = given_up_height - height
    return Hold(
        payment_hash=invoice.payment_hash,
        invoice=invoice.text,
        amount_msat=sum(part.amount_msat for part in parts),
        parts=parts,
        expiry_height=expiry_height,
        given_up_height=given_up_height,
        blocks_left=blocks_left,
        is_near_expiry=blocks_left <= expiry_delta,
    )
