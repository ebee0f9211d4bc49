"""What a verifier accepts: a proof that its policy declares everything about. What is missing is named. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from layer2.errors import ProofRefused, ProofUndecided
from layer2.formats.evm_address import to_checksum
from layer2.formats.printable import printable
from layer2.legs.evm import NO_ADDRESS, EvmLeg
from layer2.legs.shown import OpenPoint
from layer2.model.layers import LAYERS
from layer2.proofs.checking import HeadersByLayer, ProofReport, check_proof
from layer2.proofs.model import TransferProof
from layer2.proofs.policy import ProofPolicy, Requirement

__all__ = ["HEADER", "Undeclared", "judged", "undeclared"]

HEADER: Final = "undeclared_header"
_HEADER_REMEDY: Final = "use --node, or --trusted-header with a block that you know is on the chain"

_STATEMENT_REMEDY: Final = "a party of the transfer asks its provider for the statement: layer2 proof complete FILE"


@dataclass(frozen=True, slots=True)
class Undeclared:
    """Something that a proof needs and the policy does not declare."""

    code: str
    text: str
    remedy: str
    """The option and the key that declare it."""
    point: OpenPoint | None = None
    """The kind of the report's open points that state the same; None if the report does not state it."""


def judged(
    proof: TransferProof, policy: ProofPolicy, headers: HeadersByLayer | None = None
) -> tuple[ProofReport, tuple[Undeclared, ...]]:
    """Check a proof without a node; the report, and what the policy would have to declare to accept it.

    Raises:
        ProofRefused: a check failed.
    """
    try:
        report = check_proof(proof, policy, headers=headers)
    except ProofRefused as error:
        if error.check == "contract":
            terms = proof.terms.terms
            legs = [leg for leg in (terms.source, terms.destination) if isinstance(leg, EvmLeg)]
            named = [f"--contract {leg.chain_id}:{to_checksum(leg.contract, leg.chain_id)}" for leg in legs]
            error.remedy = f"if you know that its code is the contract's: {' '.join(named)}"
        if error.check == "header_chain" and not headers:
            error.remedy = "if the block that you trust is a later one: --headers, with the headers up to it"
        raise
    except ProofUndecided as error:
        report = check_proof(proof, replace(policy, requires=Requirement.NOTHING), headers=headers)
        return report, (_unknown(report, policy, error), *undeclared(report))
    return report, undeclared(report)


def _unknown(report: ProofReport, policy: ProofPolicy, error: ProofUndecided) -> Undeclared:
    """The ends of legs of which less is known than the policy requires, and whom to ask."""
    if policy.requires is Requirement.STATED:
        if report.statement is not None:
            text = "the completion statement counts only if you name the provider that signed it"
            return Undeclared(HEADER, text, "compare the provider's key with one that you know")
        return Undeclared(HEADER, error.message, _STATEMENT_REMEDY)
    headers = [matter.text for matter in report.open_points if matter.point is OpenPoint.HEADER]
    remedy = _HEADER_REMEDY
    if policy.providers is not None and report.statement is not None:
        remedy += "; if the provider's statement is enough for you: --requires stated"
    # Without an open point, more is known of each header than the file shows, but less than the policy requires.
    if not headers:
        return Undeclared(HEADER, error.message, remedy)
    return Undeclared(HEADER, "not shown: " + "; and ".join(headers), remedy, OpenPoint.HEADER)


def undeclared(report: ProofReport) -> tuple[Undeclared, ...]:
    """What a report leaves open and a verifier has to declare before it relies on the proof."""
    found: list[Undeclared] = []
    terms = report.terms
    points = {matter.point: matter.text for matter in report.open_points}
    if OpenPoint.PROVIDER in points:
        key = terms.provider.hex()
        text = "anyone could have signed the terms: you did not name their signer"
        remedy = (
            f'if you know that this key is the provider\'s: --provider {key}, or providers = ["{key}"] in the policy'
        )
        found.append(Undeclared("undeclared_provider", text, remedy, OpenPoint.PROVIDER))
    if OpenPoint.ASSET in points:
        tokens = [
            _token(leg) for leg in (terms.source, terms.destination) if isinstance(leg, EvmLeg) and _is_token(leg)
        ]
        options, values = " ".join(f"--token {each}" for each in tokens), ", ".join(f'"{each}"' for each in tokens)
        remedy = f"if you accept the token as bitcoin: {options}, or tokens = [{values}] in the policy"
        text = f"not shown: {points[OpenPoint.ASSET]}"
        found.append(Undeclared("undeclared_token", text, remedy, OpenPoint.ASSET))
    if OpenPoint.TEST_MONEY in points:
        name = printable(terms.network)
        remedy = f'if you accept its coins: --network {name}, or networks = ["{name}"] in the policy'
        text = f"not shown: {points[OpenPoint.TEST_MONEY]}"
        found.append(Undeclared("undeclared_network", text, remedy, OpenPoint.TEST_MONEY))
    return tuple(found)


def _is_token(leg: EvmLeg) -> bool:
    return leg.token != NO_ADDRESS or not LAYERS[leg.protocol].coin_is_bitcoin


def _token(leg: EvmLeg) -> str:
    return f"{leg.chain_id}:{to_checksum(leg.token, leg.chain_id)}:{leg.token_decimals}"
