"""Proofs of transfers, checked offline: needs coincurve, safe-pysha3 and rfc8785, and no node."""

from layer2.contracts.htlc import HTLC_ADDRESS, htlc_address
from layer2.legs.party_key import KeyScheme, PartyKey
from layer2.legs.shown import BlockRef, EvidencePolicy, LegOutcome, OpenMatter, OpenPoint, PreimageMaker, Shown
from layer2.legs.views import Side
from layer2.proofs.challenge import (
    HolderAnswer,
    HolderChallenge,
    LegKey,
    check_answer,
    make_answer,
    make_challenge,
    taker_keys,
)
from layer2.proofs.check import check_proof
from layer2.proofs.model import ProofOutcome, TransferProof
from layer2.proofs.policy import (
    FINAL,
    OFFLINE,
    Confirmation,
    ProofLevel,
    ProofPolicy,
    Requirement,
)
from layer2.proofs.report import LegReport, ProofReport
from layer2.proofs.statement import (
    CompletionStatement,
    SignedStatement,
    StatedBlock,
    StatedFinality,
    StatedLeg,
    StatedOutcome,
)

__all__ = [
    "FINAL",
    "HTLC_ADDRESS",
    "OFFLINE",
    "BlockRef",
    "CompletionStatement",
    "Confirmation",
    "EvidencePolicy",
    "HolderAnswer",
    "HolderChallenge",
    "KeyScheme",
    "LegKey",
    "LegOutcome",
    "LegReport",
    "OpenMatter",
    "OpenPoint",
    "PartyKey",
    "PreimageMaker",
    "ProofLevel",
    "ProofOutcome",
    "ProofPolicy",
    "ProofReport",
    "Requirement",
    "Shown",
    "Side",
    "SignedStatement",
    "StatedBlock",
    "StatedFinality",
    "StatedLeg",
    "StatedOutcome",
    "TransferProof",
    "check_answer",
    "check_proof",
    "htlc_address",
    "make_answer",
    "make_challenge",
    "taker_keys",
]
