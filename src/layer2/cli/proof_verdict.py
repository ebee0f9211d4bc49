"""What keeps a verifier from accepting a proof, and the options and keys that would change it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from layer2.errors import ProofRefused, ProofUndecided
from layer2.formats.evm_address import to_checksum
from layer2.formats.printable import printable
from layer2.legs.evm import EvmLeg
from layer2.legs.shown import OpenPoint
from layer2.proofs.check import CheckedEvidence, check_evidence, report_of
from layer2.proofs.model import TransferProof
from layer2.proofs.policy import ProofLevel, ProofPolicy, Requirement
from layer2.proofs.report import ProofReport, require
from layer2.terms.documents import Terms

__all__ = ["HEADER", "Undeclared", "checked", "judged", "lacking", "undeclared"]

HEADER: Final = "undeclared_header"
_HEADER_REMEDY: Final = "use --node, or --trusted-header with a block that you know is on the chain"

_STATEMENT_REMEDY: Final = "a party of the transfer asks its provider for the statement: layer2 proof complete FILE"
_OR_HEADER: Final = "; or in place of the statement, " + _HEADER_REMEDY


@dataclass(frozen=True, slots=True)
class Undeclared:
    """Something that a proof needs and the policy does not declare."""

    code: str
    text: str
    remedy: str
    """The option and the key that declare it."""
    point: OpenPoint | None = None
    """The kind of the report's open points that state the same; None if the report does not state it."""


def checked(proof: TransferProof, policy: ProofPolicy) -> CheckedEvidence:
    """Check the evidence of a proof.

    Raises:
        ProofRefused: a check failed.
    """
    try:
        return check_evidence(proof, policy)
    except ProofRefused as error:
        if error.check == "contract":
            terms = proof.terms.terms
            legs = [leg for leg in (terms.source, terms.destination) if isinstance(leg, EvmLeg)]
            named = [f"--contract {leg.chain_id}:{to_checksum(leg.contract, leg.chain_id)}" for leg in legs]
            error.remedy = f"if you know that its code is the contract's: {' '.join(named)}"
        raise


def judged(proof: TransferProof, policy: ProofPolicy) -> tuple[ProofReport, tuple[Undeclared, ...]]:
    """Check a proof without a node; the report, and what the policy would have to declare to accept it.

    Raises:
        ProofRefused: a check failed.
    """
    report = report_of(checked(proof, policy), trusted=policy.trusted_headers)
    return report, lacking(report, policy)


def lacking(report: ProofReport, policy: ProofPolicy) -> tuple[Undeclared, ...]:
    """What a verifier with this policy lacks before it relies on a report; empty for a proof that it accepts."""
    try:
        require(report, policy)
    except ProofUndecided as error:
        return (_unknown(report, policy, error), *undeclared(report))
    return undeclared(report)


def _unknown(report: ProofReport, policy: ProofPolicy, error: ProofUndecided) -> Undeclared:
    """The ends of legs of which less is known than the policy requires, and whom to ask."""
    if policy.requires is Requirement.STATED:
        unknown = [leg for leg in (report.source, report.destination) if leg.level is ProofLevel.OFFLINE]
        instead = _OR_HEADER if all(leg.header is not None for leg in unknown) else ""
        if report.statement is not None:
            text = "the completion statement counts only if you name the provider that signed it"
            return Undeclared(HEADER, text, "compare the provider's key with one that you know" + instead)
        return Undeclared(HEADER, error.message, _STATEMENT_REMEDY + instead)
    headers = [matter.text for matter in report.open_points if matter.point is OpenPoint.HEADER]
    remedy = _HEADER_REMEDY
    if policy.providers is not None and report.statement is not None:
        remedy += "; if the provider's statement is enough for you: --requires stated"
    # Without an open point, more is known of each header than the file shows, but less than the policy requires.
    if not headers:
        return Undeclared(HEADER, error.message, remedy)
    return Undeclared(HEADER, "not shown: " + "; and ".join(headers), remedy, OpenPoint.HEADER)


def undeclared(report: ProofReport) -> tuple[Undeclared, ...]:
    """What a report leaves to be declared, with the options and keys that declare it."""
    texts = {matter.point: matter.text for matter in report.undeclared}
    return tuple([_declaration(report.terms, point, text) for point, text in texts.items()])


def _declaration(terms: Terms, point: OpenPoint, text: str) -> Undeclared:
    match point:
        case OpenPoint.PROVIDER:
            key = terms.provider.hex()
            return Undeclared(
                "undeclared_provider",
                "anyone could have signed the terms: you did not name their signer",
                f'if you know that this key is the provider\'s: --provider {key}, or providers = ["{key}"] in the '
                "policy",
                point,
            )
        case OpenPoint.ASSET:
            legs = [leg for leg in (terms.source, terms.destination) if isinstance(leg, EvmLeg)]
            tokens = [_token(leg) for leg in legs if not leg.is_native_bitcoin]
            options, values = " ".join(f"--token {each}" for each in tokens), ", ".join(f'"{each}"' for each in tokens)
            remedy = f"if you accept the token as bitcoin: {options}, or tokens = [{values}] in the policy"
            return Undeclared("undeclared_token", f"not shown: {text}", remedy, point)
        case OpenPoint.TEST_MONEY:
            name = printable(terms.network)
            remedy = f'if you accept its coins: --network {name}, or networks = ["{name}"] in the policy'
            return Undeclared("undeclared_network", f"not shown: {text}", remedy, point)
        case _:
            raise AssertionError(f"a policy does not declare {point.value}")


def _token(leg: EvmLeg) -> str:
    return f"{leg.chain_id}:{to_checksum(leg.token, leg.chain_id)}:{leg.token_decimals}"
