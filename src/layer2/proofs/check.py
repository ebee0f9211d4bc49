"""The check of a proof: what it shows, what it leaves open, or why it is refused. Pure.

Each leg checks its own evidence. This module checks what applies to any two layers: the signer, that the legs match
each other and the terms, and what is known of each header's place in its chain.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial

from layer2.errors.base import ProofRefused, ProofUndecided
from layer2.legs.evidence import LegEvidence
from layer2.legs.leg import Leg
from layer2.legs.shown import (
    BlockRef,
    EvidencePolicy,
    LegOutcome,
    LegShown,
    OpenMatter,
    OpenPoint,
    Owed,
    PreimageMaker,
    Shown,
)
from layer2.model.layers import LAYERS, Layer2ProtocolType
from layer2.model.money import BTC
from layer2.model.transactions import Finality
from layer2.proofs.header_chain import check_ancestor
from layer2.proofs.model import ProofOutcome, TransferProof, outcome_of, owed_of
from layer2.proofs.policy import Confirmation, ProofLevel, ProofPolicy, Requirement
from layer2.proofs.statement import CompletionStatement, check_agrees, check_statement
from layer2.terms.documents import Terms
from layer2.terms.signing import is_signed

__all__ = ["LegReport", "ProofReport", "check_proof"]

HeadersByLayer = Mapping[Layer2ProtocolType, Iterable[bytes]]
_BY_BLOCK = frozenset({ProofLevel.TRUSTED_HEADER, ProofLevel.FINALIZED})
_ENOUGH: Mapping[Requirement, frozenset[ProofLevel]] = {
    Requirement.NOTHING: frozenset(ProofLevel),
    Requirement.STATED: frozenset(ProofLevel) - {ProofLevel.OFFLINE},
    Requirement.AS_AGREED: _BY_BLOCK | {ProofLevel.WORK, ProofLevel.AS_AGREED},
    Requirement.FINALIZED: _BY_BLOCK,
}
"""The levels that meet each requirement."""


@dataclass(frozen=True, slots=True)
class LegReport:
    """What is known of one leg's end."""

    leg: Leg
    outcome: LegOutcome | None
    """None if the proof has no evidence of the leg."""
    shown: frozenset[Shown]
    header: BlockRef | None
    """The block that includes the claim or refund, if there is one."""
    contract: bytes | None
    level: ProofLevel
    """What is known of the leg's end beyond the proof's author: of that block's place in its chain, or a statement."""
    work: int = 0
    """Expected number of hashes to make the evidence's headers; 0 on layers without proof of work."""

    @property
    def protocol(self) -> Layer2ProtocolType:
        """The leg's layer."""
        return self.leg.protocol

    @property
    def finality_reached(self) -> Finality | None:
        """The finality with which the verifier's node has confirmed the block; None if no node has confirmed it."""
        match self.level:
            case ProofLevel.FINALIZED:
                return Finality.FINALIZED
            case ProofLevel.AS_AGREED:
                return self.leg.finality
            case _:
                return None


@dataclass(frozen=True, slots=True)
class ProofReport:
    """What a proof shows."""

    outcome: ProofOutcome
    """What the evidence of both legs shows together. A statement does not change it."""
    terms: Terms
    source: LegReport
    destination: LegReport
    preimage_maker: PreimageMaker
    provider_is_known: bool
    """The policy names the key that signed the terms."""
    statement: CompletionStatement | None
    """How the provider of the terms states that the transfer ended; a known one only if ``provider_is_known``."""
    open_points: tuple[OpenMatter, ...]
    """What is not shown, and where to find it out."""


def check_proof(
    proof: TransferProof,
    policy: ProofPolicy,
    *,
    headers: HeadersByLayer | None = None,
    confirmed: Confirmation | None = None,
) -> ProofReport:
    """Check a proof completely, without a node.

    Args:
        proof: terms and evidence.
        policy: the verifier's requirements.
        headers: for each layer in the policy's ``trusted_headers``, the headers after that of the proof's block, oldest
            first, up to and including the trusted one: RLP on an EVM layer, 80 bytes each on Bitcoin. Not needed if the
            proof itself has the trusted one. They are read once, and no further than the first wrong one.
        confirmed: the headers that the verifier's nodes have confirmed.

    Returns:
        What the proof shows; each leg meets the requirement of the policy. The proof of a refunded transfer is
        valid, and its ``outcome`` is ``REFUNDED``.

    Raises:
        ProofRefused: ``check`` names the first check that failed.
        ProofUndecided: a leg does not meet the requirement: neither the trusted headers, nor your nodes, nor a known
            provider show it.
    """
    terms = proof.terms.terms
    owed = owed_of(terms)
    _check_terms(proof, policy, owed[0].terms_hash)
    of_evidence = policy.evidence
    matters: list[OpenMatter] = []
    for leg, of_leg in zip((terms.source, terms.destination), owed, strict=True):
        matters += leg.check_owed(of_leg, of_evidence)
    source = _shown(terms.source, proof.source_leg, owed[0], of_evidence)
    destination = _shown(terms.destination, proof.destination_leg, owed[1], of_evidence)
    if (source is None or source.header is None) and (destination is None or destination.header is None):
        raise ProofRefused("evidence", "no leg shows how the transfer ended")
    ends = tuple([None if shown is None else shown.outcome for shown in (source, destination)])
    outcome = outcome_of(*ends)
    if proof.statement is not None:
        check_statement(proof.statement, terms)
        check_agrees(proof.statement.statement, *ends)
    _check_headers(proof, (source, destination), policy, headers or {})
    # Anyone can state something: only the statement of a provider that the policy names counts.
    least = ProofLevel.OFFLINE if proof.statement is None or policy.providers is None else ProofLevel.STATED
    reports = (
        _report(terms.source, source, least, policy, confirmed),
        _report(terms.destination, destination, least, policy, confirmed),
    )
    _require(policy, reports)
    for report, shown in zip(reports, (source, destination), strict=True):
        matters += () if shown is None else _open_of_evidence(report, shown, is_source=shown is source)
    return ProofReport(
        outcome=outcome,
        terms=terms,
        source=reports[0],
        destination=reports[1],
        preimage_maker=terms.destination.preimage_maker(of_evidence),
        provider_is_known=policy.providers is not None,
        statement=None if proof.statement is None else proof.statement.statement,
        open_points=(*_open_headers(reports), *_open_legs(reports), *_open_parties(terms, policy), *matters),
    )


def _check_terms(proof: TransferProof, policy: ProofPolicy, terms_hash: bytes) -> None:
    terms = proof.terms.terms
    if not is_signed(terms_hash, proof.terms.signature, terms.provider):
        raise ProofRefused("terms_signature", "the provider did not sign these terms")
    if policy.providers is not None and terms.provider not in policy.providers:
        raise ProofRefused("provider", f"the policy does not list the provider {terms.provider.hex()}")
    if policy.networks is not None and terms.network not in policy.networks:
        raise ProofRefused("network", f"the proof is of {terms.network!r}, which the policy does not accept")
    if terms.asset != BTC.code:
        raise ProofRefused("asset", f"the asset {terms.asset!r} is unknown")
    if terms.amount <= 0:
        raise ProofRefused("amount", "the amount is zero")
    for leg in (terms.source, terms.destination):
        _check_layer(leg, terms.network)
    if terms.source.protocol is terms.destination.protocol:
        raise ProofRefused("legs", "both legs are on one layer")


def _check_layer(leg: Leg, network: str) -> None:
    facts = LAYERS.get(leg.protocol)
    if facts is None or facts.kind != leg.kind:
        raise ProofRefused("legs", f"the kind of leg {leg.kind!r} is unknown on {leg.protocol.value}")
    if network not in facts.network_ids:
        raise ProofRefused("network", f"{network!r} is not a network of {leg.protocol.value}")
    if leg.network_id not in facts.network_ids[network]:
        raise ProofRefused("network", f"{leg.protocol.value} {leg.network_id!r} is not part of {network}")


def _shown(leg: Leg, evidence: LegEvidence | None, owed: Owed, policy: EvidencePolicy) -> LegShown | None:
    return None if evidence is None else leg.check_evidence(evidence, owed, policy)


def _check_headers(
    proof: TransferProof, shown: tuple[LegShown | None, LegShown | None], policy: ProofPolicy, headers: HeadersByLayer
) -> None:
    """Check each header of a layer for which the policy has a trusted header."""
    for layer in headers:
        if layer not in policy.trusted_headers:
            raise ProofRefused("header_chain", f"the policy has no trusted header of {layer.value}")
    terms = proof.terms.terms
    legs = ((terms.source, proof.source_leg), (terms.destination, proof.destination_leg))
    for (leg, evidence), of_leg in zip(legs, shown, strict=True):
        trusted = policy.trusted_headers.get(leg.protocol)
        if trusted is None or evidence is None or of_leg is None or of_leg.header is None:
            continue
        if leg.protocol in headers or trusted not in of_leg.later:
            given = headers.get(leg.protocol, ())
            check_ancestor(of_leg.header, given, trusted, partial(leg.next_block, evidence))


def _report(
    leg: Leg, shown: LegShown | None, least: ProofLevel, policy: ProofPolicy, confirmed: Confirmation | None
) -> LegReport:
    """The report of a leg whose level is ``least``, unless more is known of its block."""
    if shown is None:
        return LegReport(leg, None, frozenset(), None, None, least)
    level = least if shown.header is None else _level(leg, shown, shown.header, policy, confirmed) or least
    return LegReport(leg, shown.outcome, shown.shown, shown.header, shown.contract, level, shown.work)


def _level(
    leg: Leg, shown: LegShown, header: BlockRef, policy: ProofPolicy, confirmed: Confirmation | None
) -> ProofLevel | None:
    """What is known of a header's place in its chain; None for nothing."""
    finality = None if confirmed is None else confirmed.headers.get((leg.protocol, header.hash))
    if finality is Finality.FINALIZED:
        return ProofLevel.FINALIZED
    if finality is not None and finality.includes(leg.finality):
        return ProofLevel.AS_AGREED
    if leg.protocol in policy.trusted_headers:
        return ProofLevel.TRUSTED_HEADER
    return ProofLevel.WORK if Shown.WORK in shown.shown else None


def _require(policy: ProofPolicy, reports: tuple[LegReport, LegReport]) -> None:
    for report in reports:
        if report.level in _ENOUGH[policy.requires]:
            continue
        if policy.requires is Requirement.STATED:
            needed = "that the policy names" if policy.providers is None else "of the terms"
            raise ProofUndecided(
                f"the policy requires that the end of the {report.protocol.value} leg is stated: the proof has no "
                f"completion statement of a provider {needed}"
            )
        if report.header is not None:
            raise ProofUndecided(
                f"the policy requires that block {report.header.number} (0x{report.header.hash.hex()}) is "
                f"{policy.requires.value} on {report.protocol.value}: neither your nodes nor a trusted header show it"
                f"{_work_of(report)}"
            )


def _open_headers(reports: tuple[LegReport, LegReport]) -> list[OpenMatter]:
    return [
        OpenMatter(
            OpenPoint.HEADER,
            f"that block {report.header.number} (0x{report.header.hash.hex()}) is on the chain of "
            f"{report.protocol.value}: ask your own node{_work_of(report)}",
        )
        for report in reports
        if report.header is not None and report.level in (ProofLevel.OFFLINE, ProofLevel.STATED)
    ]


def _work_of(report: LegReport) -> str:
    """What its headers cost, if they show work."""
    return f"; to invent its headers takes about 2**{report.work.bit_length() - 1} hashes" if report.work else ""


def _open_legs(reports: tuple[LegReport, LegReport]) -> list[OpenMatter]:
    source, destination = reports
    matters: list[OpenMatter] = []
    for side, report, other in (("source", source, destination), ("destination", destination, source)):
        if report.outcome is None:
            lacks = f"the proof has no evidence of the {side}; ask the taker"
            if other.outcome is not LegOutcome.RETURNED:
                text = f"how the {side} on {report.protocol.value} ended: {lacks}"
            elif report is source:
                text = f"that the taker paid on {report.protocol.value}, or has its money back: {lacks}"
            else:
                text = f"that the provider did not pay on {report.protocol.value}: {lacks}"
            matters.append(OpenMatter(OpenPoint.LEG, text))
    return matters


def _open_of_evidence(report: LegReport, shown: LegShown, *, is_source: bool) -> tuple[OpenMatter, ...]:
    """What a leg's evidence leaves open. A known provider that states its receipt has answered whether it was paid."""
    is_acknowledged = is_source and report.level is ProofLevel.STATED
    return tuple(each for each in shown.open if not (is_acknowledged and each.point is OpenPoint.PAYMENT))


def _open_parties(terms: Terms, policy: ProofPolicy) -> list[OpenMatter]:
    matters: list[OpenMatter] = []
    if policy.providers is None:
        text = f"the identity of the provider {terms.provider.hex()}: compare the key with one that you know"
        matters.append(OpenMatter(OpenPoint.PROVIDER, text))
    if policy.networks is None and terms.network != "mainnet":
        matters.append(OpenMatter(OpenPoint.TEST_MONEY, f"that anything of value moved: this is {terms.network}"))
    return matters
