"""A manager's verdict on a proof: True only if its nodes have confirmed every header of a completed transfer."""

from __future__ import annotations

from dataclasses import replace

import pytest

from layer2.errors import InvalidRequest, ProofRefused, ProofUndecided
from layer2.legs.evidence import LegEvidence
from layer2.legs.evm import EvmLeg
from layer2.manager.verification import confirmed_report, verify_proof
from layer2.model.layers import Layer2ProtocolType
from layer2.model.transactions import Finality
from layer2.proofs.model import ProofOutcome
from layer2.proofs.policy import FINAL, OFFLINE, ProofLevel, ProofPolicy, Requirement
from proofs import made_bitcoin
from proofs import made_proofs as made

BOB, ROOTSTOCK, BITCOIN = Layer2ProtocolType.BOB, Layer2ProtocolType.ROOTSTOCK, Layer2ProtocolType.BITCOIN
AS_AGREED = ProofPolicy(Requirement.AS_AGREED)
KNOWN = frozenset({made.PROVIDER_KEY})


class Node:
    """A client whose node has every block at a finality, or has other blocks."""

    def __init__(self, knows: Finality | None = Finality.FINALIZED) -> None:
        self.knows = knows
        self.asked: list[tuple[bytes | None, Finality]] = []

    async def confirm_evidence(self, evidence: LegEvidence, *, contract: bytes | None, finality: Finality) -> bool:
        self.asked.append((contract, finality))
        order = list(Finality)
        if self.knows is not None and order.index(finality) > order.index(self.knows):
            raise ProofUndecided("not that final yet")
        return self.knows is not None


async def test_a_manager_asks_the_node_of_each_layer_at_the_finality_of_its_leg() -> None:
    proof = made.between_chains(made.terms(made.evm_leg(), made.rootstock_leg(finality=Finality.LATEST)))
    bob, rootstock = Node(), Node()
    report = await confirmed_report(proof, AS_AGREED, {BOB: bob, ROOTSTOCK: rootstock})
    assert made.block_levels(report) == {ProofLevel.AS_AGREED}
    leg = proof.terms.terms.source
    assert isinstance(leg, EvmLeg)
    assert bob.asked == [(leg.contract, Finality.SAFE)]
    assert rootstock.asked == [(leg.contract, Finality.LATEST)]
    assert await verify_proof(proof, FINAL, {BOB: bob, ROOTSTOCK: rootstock})
    assert bob.asked[-1][1] is rootstock.asked[-1][1] is Finality.FINALIZED


async def test_a_manager_asks_the_node_of_a_layer_without_contracts() -> None:
    proof = made_bitcoin.from_bitcoin()
    node = Node()
    report = await confirmed_report(proof, AS_AGREED, {BITCOIN: node})
    assert made.block_levels(report) == {ProofLevel.AS_AGREED}
    assert node.asked == [(None, Finality.SAFE)]
    with pytest.raises(ProofUndecided, match="no BITCOIN node"):
        await verify_proof(proof, AS_AGREED, {})
    assert not await verify_proof(proof, AS_AGREED, {BITCOIN: Node(None)})
    # Work replaces a node that is not configured, and never contradicts one.
    by_work = replace(AS_AGREED, work={BITCOIN: 1})
    assert await verify_proof(proof, by_work, {})
    assert not await verify_proof(proof, by_work, {BITCOIN: Node(None)})
    with pytest.raises(ProofUndecided, match="no BITCOIN node"):
        await verify_proof(proof, replace(FINAL, work={BITCOIN: 1}), {})


async def test_a_manager_is_undecided_without_the_node_of_a_layer_or_its_finality() -> None:
    proof = made.between_chains()
    with pytest.raises(ProofUndecided, match="no ROOTSTOCK node"):
        await verify_proof(proof, AS_AGREED, {BOB: Node()})
    with pytest.raises(ProofUndecided, match="no ROOTSTOCK node"):
        await verify_proof(proof, AS_AGREED, {BOB: Node(), ROOTSTOCK: object()})
    with pytest.raises(ProofUndecided):
        await verify_proof(proof, FINAL, {BOB: Node(), ROOTSTOCK: Node(Finality.SAFE)})


async def test_a_manager_returns_false_if_a_node_has_another_block() -> None:
    proof = made.between_chains()
    clients = {BOB: Node(), ROOTSTOCK: Node(None)}
    assert not await verify_proof(proof, AS_AGREED, clients)
    with pytest.raises(ProofRefused, match="ROOTSTOCK"):
        await confirmed_report(proof, AS_AGREED, clients)


async def test_a_manager_never_returns_true_for_a_refund_or_for_one_leg() -> None:
    refund = made.refunded()
    one = replace(made.between_chains(), source_leg=None)
    for proof, outcome in ((refund, ProofOutcome.REFUNDED), (one, ProofOutcome.PARTIAL)):
        clients = {BOB: Node(), ROOTSTOCK: Node()}
        assert (await confirmed_report(proof, FINAL, clients)).outcome is outcome
        assert not await verify_proof(proof, FINAL, clients)


async def test_a_manager_never_returns_true_offline() -> None:
    for proof in (made.to_lightning(), made.between_chains()):
        with pytest.raises(ProofUndecided, match="requires nothing"):
            await verify_proof(proof, replace(OFFLINE, providers=KNOWN), {BOB: Node(), ROOTSTOCK: Node()})
    assert not await verify_proof(made.refunded(), OFFLINE, {})
    assert not await verify_proof(made.to_lightning(), replace(OFFLINE, providers=frozenset({bytes(32)})), {})


async def test_a_manager_asks_its_own_node_and_takes_no_trusted_header() -> None:
    with pytest.raises(InvalidRequest, match="check_proof"):
        await verify_proof(made.to_lightning(), replace(AS_AGREED, trusted_headers={BOB: bytes(32)}), {})
