"""The rule for evidence from Lightning: the preimage of exactly the invoice that the terms name."""

from __future__ import annotations

from layer2.errors import FormatError, ProofRefused
from layer2.formats import bolt11
from layer2.formats.bolt11 import Bolt11Invoice
from layer2.proofs.evidence import LightningPaymentEvidence
from layer2.terms import LightningLeg

__all__ = ["check_invoice", "check_payment"]


def check_invoice(leg: LightningLeg, payment_hash: bytes, amount: int) -> Bolt11Invoice:
    """Check that the leg's invoice asks for exactly what the terms say.

    Args:
        amount: satoshi.

    Raises:
        ProofRefused: another hash, amount, network or payee, no amount, a field twice that may come once,
            or a kind whose outcome shows nothing.
    """
    try:
        invoice = bolt11.decode(leg.invoice)
    except FormatError as error:
        raise ProofRefused("invoice", error.message) from error
    if invoice.text != leg.invoice:
        raise ProofRefused("invoice", "the invoice is not written in lower case")
    if invoice.prefix != leg.network:
        raise ProofRefused("invoice_network", f"the invoice is for {invoice.prefix}, the terms for {leg.network!r}")
    if invoice.is_ambiguous:
        raise ProofRefused(
            "invoice_ambiguous", "the invoice has a field twice that may come once: readers differ in which they take"
        )
    if invoice.payment_hash != payment_hash:
        raise ProofRefused("invoice_hash", "the invoice is under another payment hash than the terms")
    if invoice.amount_msat is None:
        raise ProofRefused("invoice_amount", "the invoice has no amount")
    if invoice.amount_msat != amount * 1000 or leg.amount_msat != amount * 1000:
        raise ProofRefused("invoice_amount", "the invoice asks for another amount than the terms")
    if invoice.payee != leg.payee:
        raise ProofRefused("invoice_payee", "the invoice is signed by another node than the terms name")
    if invoice.has_blinded_paths or invoice.is_amp:
        raise ProofRefused("invoice_kind", "an invoice with blinded paths or AMP shows nothing about its payee")
    return invoice


def check_payment(evidence: LightningPaymentEvidence, payment_hash: bytes) -> None:
    """Check that the evidence is the preimage of the terms' payment hash.

    Raises:
        ProofRefused: it is the preimage of something else.
    """
    if evidence.preimage.payment_hash != payment_hash:
        raise ProofRefused("preimage", "it is not the preimage of the terms' payment hash")
