"""The report of a proof: what it shows, how well that is known, and what stays open. Pure.

A report does not depend on what a verifier requires. Whether it is enough is another question, which ``require`` and
``ProofReport.undeclared`` answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from layer2.errors.base import ProofUndecided
from layer2.legs.leg import Leg
from layer2.legs.shown import BlockRef, LegOutcome, LegShown, OpenMatter, OpenPoint, PreimageMaker, Shown
from layer2.model.layers import Layer2ProtocolType
from layer2.model.transactions import Finality
from layer2.proofs.model import ProofOutcome
from layer2.proofs.policy import ProofLevel, ProofPolicy, Requirement
from layer2.proofs.statement import CompletionStatement
from layer2.terms.documents import Terms

__all__ = ["LegReport", "ProofReport", "open_points", "require"]

_BY_BLOCK: Final = frozenset({ProofLevel.TRUSTED_HEADER, ProofLevel.FINALIZED})
_ENOUGH: Final[Mapping[Requirement, frozenset[ProofLevel]]] = {
    Requirement.NOTHING: frozenset(ProofLevel),
    Requirement.STATED: frozenset(ProofLevel) - {ProofLevel.OFFLINE},
    Requirement.AS_AGREED: _BY_BLOCK | {ProofLevel.WORK, ProofLevel.AS_AGREED},
    Requirement.FINALIZED: _BY_BLOCK,
}
"""The levels that meet each requirement."""
_TO_DECLARE: Final = (OpenPoint.PROVIDER, OpenPoint.ASSET, OpenPoint.TEST_MONEY)


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

    @property
    def undeclared(self) -> tuple[OpenMatter, ...]:
        """The open points that only the policy can close: the signer, the tokens and the network, in this order.

        Without these declarations, anyone can make a proof to which every other requirement applies.
        """
        return tuple([each for point in _TO_DECLARE for each in self.open_points if each.point is point])


def require(report: ProofReport, policy: ProofPolicy) -> None:
    """Check that each leg's end is known as well as the policy requires.

    Raises:
        ProofUndecided: one is not: neither the trusted headers, nor the verifier's nodes, nor a known provider show it.
    """
    for leg in (report.source, report.destination):
        if leg.level in _ENOUGH[policy.requires]:
            continue
        if policy.requires is Requirement.STATED:
            needed = "that the policy names" if policy.providers is None else "of the terms"
            raise ProofUndecided(
                f"the policy requires that the end of the {leg.protocol.value} leg is stated: the proof has no "
                f"completion statement of a provider {needed}"
            )
        if leg.header is not None:
            raise ProofUndecided(
                f"the policy requires that block {leg.header.number} (0x{leg.header.hash.hex()}) is "
                f"{policy.requires.value} on {leg.protocol.value}: neither your nodes nor a trusted header show it"
                f"{_work_of(leg)}"
            )


def open_points(
    terms: Terms,
    policy: ProofPolicy,
    reports: tuple[LegReport, LegReport],
    shown: tuple[LegShown | None, LegShown | None],
    owed: Sequence[OpenMatter],
) -> tuple[OpenMatter, ...]:
    """What a proof leaves open.

    Args:
        reports, shown: of source and destination.
        owed: what the check of what the legs owe left open.
    """
    matters = [*_open_headers(reports), *_open_legs(reports), *_open_parties(terms, policy), *owed]
    for report, of_leg in zip(reports, shown, strict=True):
        matters += () if of_leg is None else _open_of_evidence(report, of_leg, is_source=report is reports[0])
    return tuple(matters)


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
