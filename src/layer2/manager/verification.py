"""A proof's verdict: what is checked offline, and what the own node says about the header."""

from __future__ import annotations

import logging

from layer2.errors import ProofRefused, ProofUndecided
from layer2.proofs.checking import check_proof
from layer2.proofs.model import EvmReceiptEvidence, ProofOutcome, TransferProof
from layer2.proofs.policy import HeaderRequirement, ProofPolicy
from layer2.protocols.bob import BobClient
from layer2.terms import EvmLeg
from layer2.transactions import Finality

__all__ = ["verify_proof"]

log = logging.getLogger("layer2.proofs")


async def verify_proof(proof: TransferProof, policy: ProofPolicy, bob: BobClient | None) -> bool:
    """Whether the proof shows a completed transfer under the policy.

    Args:
        bob: the verifier's own node, or None where the configuration has none.

    Raises:
        ProofUndecided: the node cannot tell now, or there is none and the policy requires one.
    """
    try:
        report = check_proof(proof, policy)
    except ProofRefused as error:
        log.info("proof refused: %s", error)
        return False
    if report.outcome is not ProofOutcome.COMPLETED:
        return False
    if policy.header is HeaderRequirement.NOT_CHECKED:
        return True
    if bob is None:
        raise ProofUndecided("the policy requires a header that your own node confirms, and no BOB node is configured")
    return await _is_canonical(proof, policy, bob)


async def _is_canonical(proof: TransferProof, policy: ProofPolicy, bob: BobClient) -> bool:
    terms = proof.terms.terms
    for leg, evidence in ((terms.source, proof.source_leg), (terms.destination, proof.destination_leg)):
        if isinstance(leg, EvmLeg) and isinstance(evidence, EvmReceiptEvidence):
            finality = Finality.FINALIZED if policy.header is HeaderRequirement.FINALIZED else leg.finality
            return await bob.confirm_evidence(evidence, contract=leg.contract, finality=finality)
    raise ProofUndecided("no leg has a header")
