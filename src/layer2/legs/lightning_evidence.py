"""The rule for evidence from Lightning: the preimage of exactly the invoice that the terms name.

A preimage shows that a payment could be collected. It shows that the payment was made only if no one but the payee
knew the preimage. The source of a swap is a hold invoice of the payer's own hash, so its preimage never shows this.
"""

from __future__ import annotations

from layer2.errors.base import ProofRefused
from layer2.legs.evidence import LightningPaymentEvidence
from layer2.legs.shown import EvidencePolicy, LegOutcome, LegShown, OpenMatter, OpenPoint, Owed, Shown
from layer2.legs.views import Side

__all__ = ["shown_of"]


def shown_of(evidence: LightningPaymentEvidence, payee: bytes, owed: Owed, policy: EvidencePolicy) -> LegShown:
    """Check that the evidence is the preimage of the terms' payment hash, and return what it shows.

    Args:
        payee: the node that signed the invoice, 33 bytes.

    Raises:
        ProofRefused: it is the preimage of something else, or the policy requires a payment and this shows none.
    """
    if evidence.preimage.payment_hash != owed.payment_hash:
        raise ProofRefused("preimage", "it is not the preimage of the terms' payment hash")
    if policy.own_preimage_payees is not None:
        _check_payee(payee, owed, policy.own_preimage_payees)
        return LegShown(LegOutcome.COLLECTED, frozenset({Shown.PREIMAGE, Shown.INDEPENDENT_PAYEE}))
    match owed.taker_side:
        case Side.PAYER:
            text = (
                "that the taker paid on Lightning: the invoice is a hold invoice and its preimage is the taker's own; "
                "ask the provider"
            )
        case Side.PAYEE:
            text = (
                "that the Lightning payment was made, and not only that it could be: the payer may have known the "
                f"preimage; ask the payee {payee.hex()}"
            )
    open_matter = OpenMatter(OpenPoint.PAYMENT, text)
    return LegShown(LegOutcome.COLLECTED, frozenset({Shown.PREIMAGE}), open=(open_matter,))


def _check_payee(payee: bytes, owed: Owed, own_preimage_payees: frozenset[bytes]) -> None:
    if owed.taker_side is Side.PAYER:
        raise ProofRefused("payee", "the source is a hold invoice of the taker's own hash: no preimage shows a payment")
    if payee not in own_preimage_payees:
        raise ProofRefused("payee", "the policy does not declare that the invoice's signer makes its own preimages")
