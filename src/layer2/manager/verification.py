"""A proof's verdict: what is checked offline, and what the verifier's own nodes confirm about its headers."""

from __future__ import annotations

import logging
from collections.abc import Container, Mapping
from dataclasses import replace
from typing import Final, assert_never

from layer2.config import EvmSection, Layer2Config
from layer2.contracts.htlc import HTLC_ADDRESS
from layer2.errors import InvalidRequest, ProofRefused, ProofUndecided
from layer2.legs.evidence import LegEvidence
from layer2.model.layers import Layer2ProtocolType
from layer2.model.transactions import Finality
from layer2.ports.evidence import ConfirmsEvidence
from layer2.proofs.check import CheckedEvidence, check_evidence, report_of
from layer2.proofs.model import ProofOutcome, TransferProof
from layer2.proofs.policy import Confirmation, ProofLevel, ProofPolicy, Requirement
from layer2.proofs.report import LegReport, ProofReport, require

__all__ = ["configured_policy", "confirmed_report", "legs_to_ask", "report_of_nodes", "verify_proof"]

LOG: Final = logging.getLogger("layer2.proofs")


def configured_policy(config: Layer2Config, policy: ProofPolicy | None) -> ProofPolicy:
    """The policy of a configuration, or the given one with what it leaves open filled in from there."""
    given = ProofPolicy(Requirement.AS_AGREED) if policy is None else policy
    assets = {section.chain_id: section.asset for section in config.layers.values() if isinstance(section, EvmSection)}
    tokens = {chain_id: {asset.token: asset.decimals} for chain_id, asset in assets.items() if not asset.is_native}
    contracts = dict(given.contracts)
    for chain_id, asset in assets.items():
        if asset.contract != HTLC_ADDRESS:
            contracts[chain_id] = contracts.get(chain_id, frozenset()) | {asset.contract}
    return replace(
        given,
        providers=frozenset(bytes.fromhex(each.identity_key) for each in config.providers)
        if given.providers is None
        else given.providers,
        networks=frozenset({config.network}) if given.networks is None else given.networks,
        tokens=tokens if given.tokens is None else given.tokens,
        contracts=contracts,
    )


async def verify_proof(
    proof: TransferProof,
    policy: ProofPolicy,
    clients: Mapping[Layer2ProtocolType, object],
    *,
    network: str | None = None,
) -> bool:
    """Whether the proof shows a completed transfer under the policy, with each leg at the level that it requires.

    Args:
        clients: the verifier's own clients; those of layers whose evidence has a header can confirm it.
        network: of the clients' nodes; None if the caller knows that it is that of the terms.

    Raises:
        InvalidRequest: the policy has trusted headers, to which no headers lead here.
        ProofUndecided: a node cannot tell now, or none is configured; or the policy lets no node be asked, and nothing
            but a header that anyone can make stands against the proof.
    """
    try:
        report = await confirmed_report(proof, policy, clients, network=network)
    except ProofRefused as error:
        LOG.info("proof refused: %s", error)
        return False
    if report.outcome is not ProofOutcome.COMPLETED:
        LOG.info("the proof shows no completed transfer: %s", report.outcome.value)
        return False
    if policy.requires is Requirement.NOTHING:
        raise ProofUndecided(
            "a policy that requires nothing lets anyone make a header, so no proof is ever True under it: use a policy "
            "that requires more, or read the report of check_proof"
        )
    return True


async def confirmed_report(
    proof: TransferProof,
    policy: ProofPolicy,
    clients: Mapping[Layer2ProtocolType, object],
    *,
    network: str | None = None,
) -> ProofReport:
    """What the proof shows under the policy, with what the verifier's own nodes confirm.

    Args:
        clients, network: as ``verify_proof``.

    Raises:
        InvalidRequest: as ``verify_proof``.
        ProofRefused: a check failed, or a node has another block at a header's height.
        ProofUndecided: a node cannot tell now, or none is configured for a layer whose header the policy requires.
    """
    if policy.trusted_headers:
        raise InvalidRequest("trusted_headers are for check_proof, which takes the headers; a manager asks its nodes")
    report = await report_of_nodes(check_evidence(proof, policy), clients, network=network)
    require(report, policy)
    return report


async def report_of_nodes(
    evidence: CheckedEvidence, clients: Mapping[Layer2ProtocolType, object], *, network: str | None
) -> ProofReport:
    """What a proof shows, with what the verifier's nodes confirm because the policy requires it.

    Args:
        evidence: checked under that policy.
        clients, network: as ``verify_proof``.

    Raises:
        ProofRefused: a node has another block at a header's height.
        ProofUndecided: a node cannot tell now, or none is configured for a layer whose header the policy requires.
    """
    headers: dict[tuple[Layer2ProtocolType, bytes], Finality] = {}
    policy, terms = evidence.policy, evidence.proof.terms.terms
    for leg, of_leg in legs_to_ask(evidence, clients):
        if network not in (None, terms.network):
            # A local network can have mainnet's chain id, and so its lock ids.
            raise ProofUndecided(f"the proof is of {terms.network}, and your nodes are of {network}")
        finality = Finality.FINALIZED if policy.requires is Requirement.FINALIZED else leg.leg.finality
        await _confirm(leg, of_leg, finality, clients.get(leg.protocol))
        assert leg.header is not None
        headers[leg.protocol, leg.header.hash] = finality
    return report_of(evidence, confirmed=Confirmation(headers))


def legs_to_ask(
    evidence: CheckedEvidence, configured: Container[Layer2ProtocolType]
) -> tuple[tuple[LegReport, LegEvidence], ...]:
    """The legs whose block a node has to confirm, because the policy requires more than what the file shows.

    Args:
        configured: the layers of which the verifier has nodes.
    """
    proof, policy, report = evidence.proof, evidence.policy, report_of(evidence)
    legs = ((report.source, proof.source_leg), (report.destination, proof.destination_leg))
    if policy.requires is Requirement.STATED and any(
        leg.header is None and leg.level is ProofLevel.OFFLINE for leg, _ in legs
    ):
        # Only a statement can show the end of that leg, and it shows both.
        return ()
    return tuple(
        [
            (leg, of_leg)
            for leg, of_leg in legs
            if leg.header is not None
            and of_leg is not None
            and not _is_enough(leg, policy.requires, is_configured=leg.protocol in configured)
        ]
    )


def _is_enough(leg: LegReport, requires: Requirement, *, is_configured: bool) -> bool:
    """Whether no node has to be asked about a leg. If one is configured, work alone does not replace it."""
    match requires:
        case Requirement.NOTHING:
            return True
        case Requirement.STATED:
            # Without a node, the statement that the proof lacks can still be had.
            return leg.level is not ProofLevel.OFFLINE or not is_configured
        case Requirement.AS_AGREED:
            return leg.level is ProofLevel.WORK and not is_configured
        case Requirement.FINALIZED:
            return False
        case _:
            assert_never(requires)


async def _confirm(leg: LegReport, evidence: LegEvidence, finality: Finality, client: object | None) -> None:
    name = evidence.protocol.value
    if not isinstance(client, ConfirmsEvidence):
        raise ProofUndecided(
            f"the policy requires a header that your own node confirms, and no {name} node is configured"
        )
    if not await client.confirm_evidence(evidence, contract=leg.contract, finality=finality):
        number = "" if leg.header is None else f" {leg.header.number}"
        raise ProofRefused("header", f"your {name} node has another block{number}, or finds no such event in it")
