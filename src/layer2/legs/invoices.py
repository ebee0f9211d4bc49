"""Invoices of Lightning legs: what both parties check of the text that one of them pays."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from layer2.errors import FormatError, InvalidRequest
from layer2.formats import bolt11
from layer2.formats.bolt11 import Bolt11Invoice
from layer2.legs.timelock_settings import TimelockSettings

__all__ = ["CLOCK_TOLERANCE", "MSAT_PER_SAT", "check_payable_invoice", "decoded", "read_invoice"]

CLOCK_TOLERANCE: Final = 60
"""Seconds by which the clocks of two parties, or of a party and its node, may differ."""
MSAT_PER_SAT: Final = 1000


@lru_cache(maxsize=4096)
def decoded(text: str) -> Bolt11Invoice:
    """The invoice of a text, decoded once.

    Raises:
        FormatError: it is not a BOLT 11 invoice.
    """
    return bolt11.decode(text)


def read_invoice(text: str, *, payment_hash: bytes | None, amount: int, prefix: str) -> Bolt11Invoice:
    """Read an invoice of either leg and check what holds for both.

    Args:
        text: in lower case, alone.
        payment_hash: 32 bytes, or None where the hash is to be learnt from the invoice.
        amount: satoshi.
        prefix: of the network, as BOLT 11 has it.

    Raises:
        InvalidRequest: code ``invoice_format``, ``invoice_network``, ``invoice_amount``, ``invoice_hash``,
            ``invoice_ambiguous``, ``invoice_blinded_paths`` or ``invoice_amp``.
    """
    try:
        invoice = decoded(text)
    except FormatError as error:
        raise InvalidRequest(f"the invoice cannot be read: {error.message}", code="invoice_format") from error
    if invoice.text != text:
        raise InvalidRequest("an invoice is written in lower case here", code="invoice_format")
    if invoice.prefix != prefix:
        raise InvalidRequest(
            f"the invoice is for the network {invoice.prefix!r}, not {prefix!r}", code="invoice_network"
        )
    if invoice.is_ambiguous:
        raise InvalidRequest(
            "the invoice has a field twice that may come once: readers differ in which of them they take",
            code="invoice_ambiguous",
        )
    if invoice.amount_msat is None:
        raise InvalidRequest("the invoice names no amount", code="invoice_amount")
    if invoice.amount_msat != amount * MSAT_PER_SAT:
        raise InvalidRequest(
            f"the invoice asks for {invoice.amount_msat} msat, not {amount * MSAT_PER_SAT}", code="invoice_amount"
        )
    if payment_hash is not None and invoice.payment_hash != payment_hash:
        raise InvalidRequest("the invoice is for another payment hash", code="invoice_hash")
    # lnd bounds a blinded payment by its path's delta instead of the CLTV limit, and the signer has no part in it.
    if invoice.has_blinded_paths:
        raise InvalidRequest("an invoice with blinded paths cannot be paid by a swap", code="invoice_blinded_paths")
    if invoice.is_amp:
        raise InvalidRequest("an AMP invoice has no payment hash of the payee's", code="invoice_amp")
    return invoice


def check_payable_invoice(
    text: str,
    *,
    payment_hash: bytes | None,
    amount: int,
    prefix: str,
    provider_node: bytes | None,
    now: int,
    rules: TimelockSettings,
) -> Bolt11Invoice:
    """Check the invoice of a Lightning destination, the taker's own or a third party's.

    Args:
        provider_node: 33 bytes, or None before a provider is chosen.

    Raises:
        InvalidRequest: as ``read_invoice``, or code ``invoice_payee`` (the payer itself: it would learn the
            preimage without paying), ``invoice_expired``, ``invoice_timestamp``.
    """
    invoice = read_invoice(text, payment_hash=payment_hash, amount=amount, prefix=prefix)
    if provider_node is not None and invoice.payee == provider_node:
        raise InvalidRequest("the provider's own node signed the invoice that it is to pay", code="invoice_payee")
    if invoice.timestamp > now + CLOCK_TOLERANCE:
        raise InvalidRequest("the invoice is dated in the future", code="invoice_timestamp")
    if invoice.expires_at - rules.payment_timeout < now:
        raise InvalidRequest("the invoice has expired, or would while it is paid", code="invoice_expired")
    return invoice
