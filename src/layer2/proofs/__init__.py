"""Proofs of transfers, checked offline: needs coincurve, safe-pysha3 and rfc8785, and no node."""

from layer2.contracts.htlc import HTLC_ADDRESS, htlc_address
from layer2.legs.shown import BlockRef, EvidencePolicy, LegOutcome, OpenMatter, OpenPoint, Shown
from layer2.proofs.checking import LegReport, ProofReport, check_proof
from layer2.proofs.model import ProofOutcome, TransferProof
from layer2.proofs.policy import (
    FINAL,
    OFFLINE,
    Confirmation,
    HeaderRequirement,
    ProofLevel,
    ProofPolicy,
)

__all__ = [
    "FINAL",
    "HTLC_ADDRESS",
    "OFFLINE",
    "BlockRef",
    "Confirmation",
    "EvidencePolicy",
    "HeaderRequirement",
    "LegOutcome",
    "LegReport",
    "OpenMatter",
    "OpenPoint",
    "ProofLevel",
    "ProofOutcome",
    "ProofPolicy",
    "ProofReport",
    "Shown",
    "TransferProof",
    "check_proof",
    "htlc_address",
]
