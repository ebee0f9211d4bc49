"""The check of a proof: what it shows, what it leaves open, or why it is refused. Pure.

Each leg checks its own evidence. This module checks what applies to any two layers: the signer, that the legs match
each other and the terms, and what is known of each header's place in its chain. A verifier who first has to ask its
nodes, or a file of headers, checks the evidence once (``check_evidence``), asks, and then makes the report.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from layer2.errors.base import ProofRefused
from layer2.legs.chain_header import reader_after
from layer2.legs.evidence import LightningPaymentEvidence
from layer2.legs.leg import Leg
from layer2.legs.shown import BlockRef, LegShown, OpenMatter, Shown
from layer2.model.layers import LAYERS, Layer2ProtocolType
from layer2.model.money import BTC
from layer2.model.transactions import Finality
from layer2.proofs.header_chain import check_ancestor
from layer2.proofs.model import ProofOutcome, TransferProof, evidence_shown, outcome_of, outcomes_of, owed_of
from layer2.proofs.policy import Confirmation, ProofLevel, ProofPolicy
from layer2.proofs.report import LegReport, ProofReport, open_points, require
from layer2.proofs.statement import check_agrees, check_statement
from layer2.terms.signing import is_signed

__all__ = ["CheckedEvidence", "HeadersByLayer", "check_evidence", "check_proof", "report_of"]

HeadersByLayer = Mapping[Layer2ProtocolType, Iterable[bytes]]


@dataclass(frozen=True, slots=True)
class CheckedEvidence:
    """A proof whose terms, evidence and statement hold under a policy. Its blocks have no place in a chain yet."""

    proof: TransferProof
    policy: ProofPolicy
    outcome: ProofOutcome
    shown: tuple[LegShown | None, LegShown | None]
    """By the evidence of source and destination; None without evidence."""
    open: tuple[OpenMatter, ...]
    """What the check of what the legs owe left open."""

    @property
    def layers(self) -> tuple[Layer2ProtocolType, ...]:
        """Those of the legs whose evidence names a block, the source first."""
        terms = self.proof.terms.terms
        legs = zip((terms.source, terms.destination), self.shown, strict=True)
        return tuple([leg.protocol for leg, shown in legs if shown is not None and shown.header is not None])


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
    evidence = check_evidence(proof, policy)
    report = report_of(evidence, trusted=policy.trusted_headers, headers=headers, confirmed=confirmed)
    require(report, policy)
    return report


def check_evidence(proof: TransferProof, policy: ProofPolicy) -> CheckedEvidence:
    """Check everything about a proof but the places of its blocks, and what the policy requires of them.

    Raises:
        ProofRefused: ``check`` names the first check that failed.
    """
    terms = proof.terms.terms
    owed = owed_of(terms)
    _check_terms(proof, policy, owed[0].terms_hash)
    matters: list[OpenMatter] = []
    for leg, of_leg in zip((terms.source, terms.destination), owed, strict=True):
        matters += leg.check_owed(of_leg, policy)
    shown = evidence_shown(proof, owed, policy)
    if all(each is None or each.header is None for each in shown):
        raise ProofRefused("evidence", "no leg shows how the transfer ended")
    ends = outcomes_of(shown)
    outcome = outcome_of(*ends)
    if proof.statement is not None:
        check_statement(proof.statement, terms)
        check_agrees(proof.statement.statement, *ends)
    return CheckedEvidence(proof, policy, outcome, shown, tuple(matters))


def report_of(
    evidence: CheckedEvidence,
    *,
    trusted: Mapping[Layer2ProtocolType, bytes] = MappingProxyType({}),
    headers: HeadersByLayer | None = None,
    confirmed: Confirmation | None = None,
) -> ProofReport:
    """What a proof shows, regardless of what the policy requires of its legs.

    Args:
        trusted: as ``ProofPolicy.trusted_headers``.
        headers, confirmed: as for ``check_proof``.

    Raises:
        ProofRefused: check ``header_chain``.
    """
    proof, policy, terms = evidence.proof, evidence.policy, evidence.proof.terms.terms
    _check_headers(evidence, trusted, headers or {})
    # Anyone can state something: only the statement of a provider that the policy names counts.
    least = ProofLevel.OFFLINE if proof.statement is None or policy.providers is None else ProofLevel.STATED
    of_source, of_destination = evidence.shown
    reports = (
        _report(terms.source, of_source, least, trusted, confirmed),
        _report(terms.destination, of_destination, least, trusted, confirmed),
    )
    return ProofReport(
        outcome=evidence.outcome,
        terms=terms,
        source=reports[0],
        destination=reports[1],
        preimage_maker=terms.destination.preimage_maker(policy),
        provider_is_known=policy.providers is not None,
        statement=None if proof.statement is None else proof.statement.statement,
        open_points=open_points(terms, policy, reports, evidence.shown, evidence.open),
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


def _check_headers(
    evidence: CheckedEvidence, trusted: Mapping[Layer2ProtocolType, bytes], headers: HeadersByLayer
) -> None:
    """Check each header of a layer for which the verifier has a trusted header."""
    for layer in headers:
        if layer not in trusted:
            raise ProofRefused("header_chain", f"the policy has no trusted header of {layer.value}")
    proof, terms = evidence.proof, evidence.proof.terms.terms
    legs = ((terms.source, proof.source_leg), (terms.destination, proof.destination_leg))
    for (leg, of_leg), shown in zip(legs, evidence.shown, strict=True):
        known = trusted.get(leg.protocol)
        if known is None or of_leg is None or shown is None or shown.header is None:
            continue
        if leg.protocol in headers or known not in shown.later:
            assert not isinstance(of_leg, LightningPaymentEvidence), "it names no block"
            given = headers.get(leg.protocol, ())
            check_ancestor(shown.header, given, known, reader_after(of_leg))


def _report(
    leg: Leg,
    shown: LegShown | None,
    least: ProofLevel,
    trusted: Collection[Layer2ProtocolType],
    confirmed: Confirmation | None,
) -> LegReport:
    """The report of a leg whose level is ``least``, unless more is known of its block."""
    if shown is None:
        return LegReport(leg, None, frozenset(), None, None, least)
    level = least if shown.header is None else _level(leg, shown, shown.header, trusted, confirmed) or least
    return LegReport(leg, shown.outcome, shown.shown, shown.header, shown.contract, level, shown.work)


def _level(
    leg: Leg,
    shown: LegShown,
    header: BlockRef,
    trusted: Collection[Layer2ProtocolType],
    confirmed: Confirmation | None,
) -> ProofLevel | None:
    """What is known of a header's place in its chain; None for nothing."""
    finality = None if confirmed is None else confirmed.headers.get((leg.protocol, header.hash))
    if finality is Finality.FINALIZED:
        return ProofLevel.FINALIZED
    if finality is not None and finality.includes(leg.finality):
        return ProofLevel.AS_AGREED
    if leg.protocol in trusted:
        return ProofLevel.TRUSTED_HEADER
    return ProofLevel.WORK if Shown.WORK in shown.shown else None
