"""The rule for evidence from Lightning: the preimage of exactly the invoice that the terms name.

A preimage shows that a payment could be collected. That it was made follows only for a payee whose preimages nobody
else knows. The payer's own hold invoice never has such a payee: the source of a swap is one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from layer2.errors import FormatError, ProofRefused
from layer2.legs.evidence import LightningPaymentEvidence
from layer2.legs.invoices import CLOCK_TOLERANCE, MSAT_PER_SAT, decoded
from layer2.legs.shown import EvidencePolicy, LegOutcome, LegShown, OpenMatter, OpenPoint, Owed, Shown
from layer2.legs.views import Side

if TYPE_CHECKING:
    from layer2.legs.lightning import LightningLeg

__all__ = ["check_invoice", "shown_of"]


def check_invoice(leg: LightningLeg, owed: Owed) -> None:
    """Check that the leg's invoice asks for exactly what the terms state.

    Raises:
        ProofRefused: another hash, amount, network or payee, no amount, a field twice that may come once, a kind whose
            outcome shows nothing, or an invoice that was not alive when the terms were issued.
    """
    try:
        invoice = decoded(leg.invoice)
    except FormatError as error:
        raise ProofRefused("invoice", error.message) from error
    if invoice.text != leg.invoice:
        raise ProofRefused("invoice", "the invoice is not written in lower case")
    if invoice.prefix != leg.prefix:
        raise ProofRefused("invoice_network", f"the invoice is for {invoice.prefix}, the terms for {leg.prefix!r}")
    if invoice.is_ambiguous:
        raise ProofRefused(
            "invoice_ambiguous", "the invoice has a field twice that may come once: readers differ in which they take"
        )
    if invoice.payment_hash != owed.payment_hash:
        raise ProofRefused("invoice_hash", "the invoice is under another payment hash than the terms")
    if invoice.amount_msat is None:
        raise ProofRefused("invoice_amount", "the invoice has no amount")
    if not invoice.amount_msat == leg.amount_msat == owed.amount * MSAT_PER_SAT:
        raise ProofRefused("invoice_amount", "the invoice asks for another amount than the terms")
    if invoice.payee != leg.payee:
        raise ProofRefused("invoice_payee", "the invoice is signed by another node than the terms name")
    if invoice.has_blinded_paths or invoice.is_amp:
        raise ProofRefused("invoice_kind", "an invoice with blinded paths or AMP shows nothing about its payee")
    if not invoice.timestamp - CLOCK_TOLERANCE <= owed.issued_at <= invoice.expires_at:
        raise ProofRefused("invoice_time", "the terms were not issued while the invoice could be paid")


def shown_of(evidence: LightningPaymentEvidence, leg: LightningLeg, owed: Owed, policy: EvidencePolicy) -> LegShown:
    """Check that the evidence is the preimage of the terms' payment hash, and return what it shows.

    Raises:
        ProofRefused: it is the preimage of something else, or the policy requires a payment and this shows none.
    """
    if evidence.preimage.payment_hash != owed.payment_hash:
        raise ProofRefused("preimage", "it is not the preimage of the terms' payment hash")
    if policy.own_preimage_payees is not None:
        _check_payee(leg, owed, policy.own_preimage_payees)
        return LegShown(LegOutcome.COLLECTED, frozenset({Shown.PREIMAGE, Shown.INDEPENDENT_PAYEE}))
    match owed.taker_side:
        case Side.PAYER:
            text = (
                "that the taker paid on Lightning: the invoice is a hold invoice and its preimage is the taker's own; "
                "ask the provider"
            )
        case Side.PAYEE:
            text = (
                "that Lightning paid, and not only that it could: whoever paid may have known the preimage; ask the "
                f"payee {leg.payee.hex()}"
            )
    open_matter = OpenMatter(OpenPoint.PAYMENT, text)
    return LegShown(LegOutcome.COLLECTED, frozenset({Shown.PREIMAGE}), open=(open_matter,))


def _check_payee(leg: LightningLeg, owed: Owed, own_preimage_payees: frozenset[bytes]) -> None:
    if owed.taker_side is Side.PAYER:
        raise ProofRefused("payee", "the source is a hold invoice of the taker's own hash: no preimage shows a payment")
    if leg.payee not in own_preimage_payees:
        raise ProofRefused("payee", "the policy does not declare that the invoice's signer makes its own preimages")
