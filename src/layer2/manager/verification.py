"""A proof's verdict: what is checked offline, and what the verifier's own nodes confirm about its headers."""

from __future__ import annotations

import logging
from collections.abc import Mapping
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

__all__ = ["configured_policy", "confirmed_report", "report_of_nodes", "verify_proof"]

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
    """What a proof shows, with what the verifier's own nodes confirm because its policy requires it.

    Args:
        evidence: checked under that policy.
        clients, network: as ``verify_proof``.

    Raises:
        ProofRefused: a node has another block at a header's height.
        ProofUndecided: a node cannot tell now, or none is configured for a layer whose header the policy requires.
    """
    proof, policy, offline = evidence.proof, evidence.policy, report_of(evidence)
    headers: dict[tuple[Layer2ProtocolType, bytes], Finality] = {}
    for leg, of_leg in ((offline.source, proof.source_leg), (offline.destination, proof.destination_leg)):
        if leg.header is None or of_leg is None or _is_enough(leg, policy, clients.get(leg.protocol)):
            continue
        if network not in (None, offline.terms.network):
            # A local network can have mainnet's chain id, and so its lock ids.
            raise ProofUndecided(f"the proof is of {offline.terms.network}, and your nodes are of {network}")
        finality = Finality.FINALIZED if policy.requires is Requirement.FINALIZED else leg.leg.finality
        await _confirm(leg, of_leg, finality, clients.get(leg.protocol))
        headers[leg.protocol, leg.header.hash] = finality
    return report_of(evidence, confirmed=Confirmation(headers))


def _is_enough(leg: LegReport, policy: ProofPolicy, client: object | None) -> bool:
    """Whether a leg meets the requirement without a node. If one is configured, work alone does not replace it."""
    match policy.requires:
        case Requirement.NOTHING:
            return True
        case Requirement.STATED:
            return leg.level is not ProofLevel.OFFLINE
        case Requirement.AS_AGREED:
            return leg.level is ProofLevel.WORK and client is None
        case Requirement.FINALIZED:
            return False
        case _:
            assert_never(policy.requires)


async def _confirm(leg: LegReport, evidence: LegEvidence, finality: Finality, client: object | None) -> None:
    name = evidence.protocol.value
    if not isinstance(client, ConfirmsEvidence):
        raise ProofUndecided(
            f"the policy requires a header that your own node confirms, and no {name} node is configured"
        )
    if not await client.confirm_evidence(evidence, contract=leg.contract, finality=finality):
        number = "" if leg.header is None else f" {leg.header.number}"
        raise ProofRefused("header", f"your {name} node has another block{number}, or finds no such event in it")
