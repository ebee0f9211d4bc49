"""The check of a proof: what it shows, what it leaves open, or why it is refused. Pure.

Each leg checks its own evidence. This module checks what applies to any two layers: the signer, that the legs match
each other and the terms, and what is known of each header's place in its chain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from layer2.errors.base import ProofRefused, ProofUndecided, TermsRefused
from layer2.legs.evidence import LegEvidence
from layer2.legs.leg import Leg
from layer2.legs.shown import BlockRef, LegOutcome, LegShown, OpenMatter, OpenPoint, Owed, Shown
from layer2.model.layers import LAYERS, Layer2ProtocolType
from layer2.model.money import BTC
from layer2.model.transactions import Finality
from layer2.proofs.header_chain import check_ancestor
from layer2.proofs.model import ProofOutcome, TransferProof, outcome_of, owed_of
from layer2.proofs.policy import Confirmation, HeaderRequirement, ProofLevel, ProofPolicy
from layer2.terms.documents import Terms
from layer2.terms.signing import check_terms_signature

__all__ = ["LegReport", "ProofReport", "check_proof"]

HeadersByLayer = Mapping[Layer2ProtocolType, Sequence[bytes]]
_LEVELS = (
    ProofLevel.OFFLINE,
    ProofLevel.WORK,
    ProofLevel.TRUSTED_HEADER,
    ProofLevel.AS_AGREED,
    ProofLevel.FINALIZED,
)


@dataclass(frozen=True, slots=True)
class LegReport:
    """What one leg's evidence shows."""

    leg: Leg
    outcome: LegOutcome | None
    """None if the proof has no evidence of the leg."""
    shown: frozenset[Shown]
    header: BlockRef | None
    """The block that includes the claim or refund, if there is one."""
    contract: bytes | None
    level: ProofLevel
    """What is known of that block's place in its chain."""
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
    level: ProofLevel
    """The lowest level of its headers. At ``OFFLINE`` the outcome is only a statement of the proof."""
    terms: Terms
    source: LegReport
    destination: LegReport
    provider_is_known: bool
    """The policy names the key that signed the terms."""
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
            proof itself has the trusted one.
        confirmed: the headers that the verifier's nodes have confirmed.

    Returns:
        What the proof shows, at least at the level that the policy requires. The proof of a refunded transfer is
        valid, and its ``outcome`` is ``REFUNDED``.

    Raises:
        ProofRefused: ``check`` names the first check that failed.
        ProofUndecided: the policy requires more for a header than the trusted headers and your nodes show.
    """
    terms = proof.terms.terms
    _check_terms(proof, policy)
    owed = owed_of(terms)
    matters: list[OpenMatter] = []
    for leg, of_leg in zip((terms.source, terms.destination), owed, strict=True):
        matters += leg.check_owed(of_leg, policy.evidence)
    source = _shown(terms.source, proof.source_leg, owed[0], policy)
    destination = _shown(terms.destination, proof.destination_leg, owed[1], policy)
    if (source is None or source.header is None) and (destination is None or destination.header is None):
        raise ProofRefused("evidence", "no leg shows how the transfer ended")
    outcome = outcome_of(source, destination)
    _check_headers(terms, (source, destination), policy, headers or {})
    reports = (
        _report(terms.source, source, policy, confirmed),
        _report(terms.destination, destination, policy, confirmed),
    )
    level = min((report.level for report in reports if report.header is not None), key=_LEVELS.index)
    _require(policy, reports)
    matters += [matter for shown in (source, destination) if shown is not None for matter in shown.open]
    return ProofReport(
        outcome=outcome,
        level=level,
        terms=terms,
        source=reports[0],
        destination=reports[1],
        provider_is_known=policy.providers is not None,
        open_points=(*_open_headers(reports), *_open_legs(reports), *_open_parties(terms, policy), *matters),
    )


def _check_terms(proof: TransferProof, policy: ProofPolicy) -> None:
    terms = proof.terms.terms
    try:
        check_terms_signature(proof.terms)
    except TermsRefused as error:
        raise ProofRefused("terms_signature", error.message) from error
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


def _shown(leg: Leg, evidence: LegEvidence | None, owed: Owed, policy: ProofPolicy) -> LegShown | None:
    return None if evidence is None else leg.check_evidence(evidence, owed, policy.evidence)


def _check_headers(
    terms: Terms, shown: tuple[LegShown | None, LegShown | None], policy: ProofPolicy, headers: HeadersByLayer
) -> None:
    """Check each header of a layer for which the policy has a trusted header."""
    for layer in headers:
        if layer not in policy.trusted_headers:
            raise ProofRefused("header_chain", f"the policy has no trusted header of {layer.value}")
    for leg, of_leg in zip((terms.source, terms.destination), shown, strict=True):
        trusted, given = policy.trusted_headers.get(leg.protocol), headers.get(leg.protocol, ())
        if trusted is None or of_leg is None or of_leg.header is None:
            continue
        if given or trusted not in of_leg.later:
            check_ancestor(of_leg.header, given, trusted, leg.next_block)


def _report(leg: Leg, shown: LegShown | None, policy: ProofPolicy, confirmed: Confirmation | None) -> LegReport:
    if shown is None:
        return LegReport(leg, None, frozenset(), None, None, ProofLevel.OFFLINE)
    level = ProofLevel.OFFLINE
    if shown.header is not None:
        level = _level(leg, shown, shown.header, policy, confirmed)
    return LegReport(leg, shown.outcome, shown.shown, shown.header, shown.contract, level, shown.work)


def _level(
    leg: Leg, shown: LegShown, header: BlockRef, policy: ProofPolicy, confirmed: Confirmation | None
) -> ProofLevel:
    finality = None if confirmed is None else confirmed.headers.get((leg.protocol, header.hash))
    if finality is Finality.FINALIZED:
        return ProofLevel.FINALIZED
    if finality is not None and finality.includes(leg.finality):
        return ProofLevel.AS_AGREED
    if leg.protocol in policy.trusted_headers:
        return ProofLevel.TRUSTED_HEADER
    return ProofLevel.WORK if Shown.WORK in shown.shown else ProofLevel.OFFLINE


def _require(policy: ProofPolicy, reports: tuple[LegReport, LegReport]) -> None:
    if policy.header is HeaderRequirement.NOT_CHECKED:
        return
    enough = {ProofLevel.TRUSTED_HEADER, ProofLevel.FINALIZED}
    if policy.header is HeaderRequirement.AS_AGREED:
        enough |= {ProofLevel.WORK, ProofLevel.AS_AGREED}
    for report in reports:
        if report.header is not None and report.level not in enough:
            raise ProofUndecided(
                f"the policy requires that block {report.header.number} (0x{report.header.hash.hex()}) is "
                f"{policy.header.value} on {report.protocol.value}: neither your nodes nor a trusted header show it"
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
        if report.header is not None and report.level is ProofLevel.OFFLINE
    ]


def _work_of(report: LegReport) -> str:
    """What its headers cost, if they show work."""
    return f"; to invent its headers takes about 2**{report.work.bit_length() - 1} hashes" if report.work else ""


def _open_legs(reports: tuple[LegReport, LegReport]) -> list[OpenMatter]:
    return [
        OpenMatter(
            OpenPoint.LEG,
            f"the outcome of the {side} on {report.protocol.value}: the proof has no evidence of it; ask its parties",
        )
        for side, report in zip(("source", "destination"), reports, strict=True)
        if report.outcome is None
    ]


def _open_parties(terms: Terms, policy: ProofPolicy) -> list[OpenMatter]:
    matters: list[OpenMatter] = []
    if policy.providers is None:
        text = f"the identity of the provider {terms.provider.hex()}: compare the key with one that you know"
        matters.append(OpenMatter(OpenPoint.PROVIDER, text))
    if policy.networks is None and terms.network != "mainnet":
        matters.append(OpenMatter(OpenPoint.TEST_MONEY, f"that anything of value moved: this is {terms.network}"))
    return matters
