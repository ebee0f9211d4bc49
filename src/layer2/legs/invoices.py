"""Invoices of Lightning legs: the checks that both parties, and a verifier, make on the text that one party pays."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from layer2.errors.base import FormatError, InvalidRequest, ProofRefused
from layer2.formats import bolt11
from layer2.formats.bolt11 import Bolt11Invoice
from layer2.legs.shown import Owed
from layer2.legs.timelock_settings import TimelockSettings

__all__ = [
    "CLOCK_TOLERANCE",
    "MSAT_PER_SAT",
    "check_owed_invoice",
    "check_payable_invoice",
    "decoded",
    "decoded_once",
    "read_invoice",
]

CLOCK_TOLERANCE: Final = 60
"""Seconds by which the clocks of two parties, or of a party and its node, may differ."""
MSAT_PER_SAT: Final = 1000
_LONGEST_KEPT: Final = 1_000
"""Characters. A payee can write an invoice that takes 14 KB when it is decoded, and one of 7,000 that takes 140 KB."""
_PROOF_CHECKS: Final = {
    "invoice_format": "invoice",
    "invoice_blinded_paths": "invoice_kind",
    "invoice_amp": "invoice_kind",
}
"""For a code of ``read_invoice``: the name of the check of a proof, if it differs."""


def decoded(text: str) -> Bolt11Invoice:
    """The invoice of a text. An open swap asks for its invoice at every step, so those of usual length are kept.

    Raises:
        FormatError: it is not a BOLT 11 invoice.
    """
    return decoded_once(text) if len(text) <= _LONGEST_KEPT else bolt11.decode(text)


@lru_cache(maxsize=4096)
def decoded_once(text: str) -> Bolt11Invoice:
    """The invoice of a text of usual length. Raises: as ``decoded``."""
    return bolt11.decode(text)


def read_invoice(text: str, *, payment_hash: bytes | None, amount: int, prefix: str) -> Bolt11Invoice:
    """Read an invoice of either leg and check the rules for both.

    Args:
        text: in lower case, alone.
        payment_hash: 32 bytes, or None to accept the invoice's own hash.
        amount: satoshi.
        prefix: the network's prefix in BOLT 11.

    Raises:
        InvalidRequest: code ``invoice_format``, ``invoice_network``, ``invoice_amount``, ``invoice_hash``,
            ``invoice_ambiguous``, ``invoice_blinded_paths`` or ``invoice_amp``.
    """
    try:
        invoice = decoded(text)
    except FormatError as error:
        raise InvalidRequest(f"the invoice cannot be read: {error.message}", code="invoice_format") from error
    if invoice.text != text:
        raise InvalidRequest("the invoice is not in lower case", code="invoice_format")
    if invoice.prefix != prefix:
        raise InvalidRequest(
            f"the invoice is for the network {invoice.prefix!r}, not {prefix!r}", code="invoice_network"
        )
    if invoice.is_ambiguous:
        raise InvalidRequest(
            "the invoice repeats a field that may appear once: readers differ in which one they use",
            code="invoice_ambiguous",
        )
    if invoice.amount_msat != amount * MSAT_PER_SAT:
        asked = "has no amount" if invoice.amount_msat is None else f"asks for {invoice.amount_msat} msat"
        raise InvalidRequest(f"the invoice {asked}, not {amount * MSAT_PER_SAT}", code="invoice_amount")
    if payment_hash is not None and invoice.payment_hash != payment_hash:
        raise InvalidRequest("the invoice is for another payment hash", code="invoice_hash")
    # lnd bounds a blinded payment by its path's delta instead of the CLTV limit, and the payee does not sign the path.
    if invoice.has_blinded_paths:
        raise InvalidRequest("an invoice with blinded paths cannot be paid by a swap", code="invoice_blinded_paths")
    if invoice.is_amp:
        raise InvalidRequest("the payee of an AMP invoice does not choose the payment hash", code="invoice_amp")
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
            preimage without a payment), ``invoice_expired``, ``invoice_timestamp``.
    """
    invoice = read_invoice(text, payment_hash=payment_hash, amount=amount, prefix=prefix)
    if provider_node is not None and invoice.payee == provider_node:
        raise InvalidRequest("the provider's node signed the invoice that it would have to pay", code="invoice_payee")
    if invoice.timestamp > now + CLOCK_TOLERANCE:
        raise InvalidRequest("the invoice is dated in the future", code="invoice_timestamp")
    if invoice.expires_at - rules.payment_timeout < now:
        raise InvalidRequest("the invoice has expired, or would expire during the payment", code="invoice_expired")
    return invoice


def check_owed_invoice(text: str, *, payee: bytes, amount_msat: int, prefix: str, owed: Owed) -> None:
    """Check, for a proof, that an invoice asks for exactly what the terms state.

    Args:
        text: the invoice in the terms.
        payee: the node key in the terms, 33 bytes.
        amount_msat: the amount in the terms.
        prefix: the network's prefix in the terms.

    Raises:
        ProofRefused: the hash, amount, network or payee differs; there is no amount; a field that may appear once is
            repeated; the kind of invoice shows nothing; or the invoice was not valid when the terms were issued.
    """
    try:
        invoice = read_invoice(text, payment_hash=owed.payment_hash, amount=owed.amount, prefix=prefix)
    except InvalidRequest as error:
        raise ProofRefused(_PROOF_CHECKS.get(error.code, error.code), error.message) from error
    if amount_msat != owed.amount * MSAT_PER_SAT:
        raise ProofRefused("invoice_amount", "the invoice's amount differs from the terms'")
    if invoice.payee != payee:
        raise ProofRefused("invoice_payee", "another node signed the invoice than the terms name")
    if not invoice.timestamp - CLOCK_TOLERANCE <= owed.issued_at <= invoice.expires_at:
        raise ProofRefused("invoice_time", "the invoice was not valid when the terms were issued")
