"""A proof's verdict: what is checked offline, and what the own node says about the header."""

from __future__ import annotations

import logging
from dataclasses import replace

from layer2.config import Layer2Config
from layer2.errors import InvalidRequest, ProofRefused, ProofUndecided
from layer2.formats.evm_address import parse_address
from layer2.proofs.checking import check_proof
from layer2.proofs.model import EvmReceiptEvidence, ProofOutcome, TransferProof
from layer2.proofs.policy import HeaderRequirement, ProofPolicy
from layer2.protocols.bob import BobClient
from layer2.terms import EvmLeg
from layer2.transactions import Finality

__all__ = ["configured_policy", "is_canonical", "verify_proof"]

log = logging.getLogger("layer2.proofs")


def configured_policy(config: Layer2Config, policy: ProofPolicy | None) -> ProofPolicy:
    """The policy of a configuration, or the given one with what it leaves open filled in from there."""
    given = ProofPolicy(HeaderRequirement.AS_AGREED) if policy is None else policy
    tokens = None
    if config.bob is not None:
        tokens = {config.bob.chain_id: {parse_address(config.bob.token_address): config.bob.token_decimals}}
    return replace(
        given,
        providers=frozenset(bytes.fromhex(each.identity_key) for each in config.providers)
        if given.providers is None
        else given.providers,
        networks=frozenset({config.network}) if given.networks is None else given.networks,
        tokens=tokens if given.tokens is None else given.tokens,
    )


async def verify_proof(proof: TransferProof, policy: ProofPolicy, bob: BobClient | None) -> bool:
    """Whether the proof shows a completed transfer under the policy.

    Args:
        bob: the verifier's own node, or None where the configuration has none.

    Raises:
        InvalidRequest: the policy has a trusted header, to which no headers lead here.
        ProofUndecided: the node cannot tell now, or there is none and the policy requires one.
    """
    if policy.trusted_header is not None:
        raise InvalidRequest("trusted_header is for check_proof, which takes the headers; a manager asks its own node")
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
    return await is_canonical(proof, policy, bob)


async def is_canonical(proof: TransferProof, policy: ProofPolicy, bob: BobClient) -> bool:
    """Whether the header of a proof that was checked offline is on the own node's chain as the policy requires.

    Raises:
        ProofUndecided: the node cannot tell now.
    """
    terms = proof.terms.terms
    for leg, evidence in ((terms.source, proof.source_leg), (terms.destination, proof.destination_leg)):
        if isinstance(leg, EvmLeg) and isinstance(evidence, EvmReceiptEvidence):
            finality = Finality.FINALIZED if policy.header is HeaderRequirement.FINALIZED else leg.finality
            return await bob.confirm_evidence(evidence, contract=leg.contract, finality=finality)
    raise ProofUndecided("no leg has a header")
