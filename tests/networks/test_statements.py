"""A provider's completion statement of a whole transfer: a running manager asks for it, or another process later."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import pytest

from layer2 import (
    BTC,
    Layer2Manager,
    Layer2ProtocolType,
    ProofOutcome,
    ProofUndecided,
    TransferProof,
    TransferRefunded,
    check_proof,
)
from layer2.errors import StatementRefused
from layer2.manager.completion import Part, complete
from layer2.model.transactions import SwapId
from layer2.proofs import ProofLevel, ProofPolicy, ProofReport, Requirement, StatedFinality
from layer2.swap_engine.records import record_terms
from networks.misbehaving import CANNOT_PAY
from networks.recording import stated
from networks.swaps import AMOUNT, DIRECTIONS, Swaps
from networks.waiting import until

LIGHTNING: Final = Layer2ProtocolType.LIGHTNING
EACH_KIND = pytest.mark.parametrize(
    "direction", ["bob_to_lightning", "lightning_to_rootstock", "rootstock_to_bob", "bitcoin_to_bob"]
)
pytestmark = pytest.mark.only_on("simnet", reason="the statement does not depend on the nodes")


def policy_of(swaps: Swaps) -> ProofPolicy:
    """A stranger's policy that trusts the provider's word."""
    contracts = {33: frozenset({proof_contract(swaps)})}
    return ProofPolicy(
        Requirement.STATED, providers=frozenset({bytes.fromhex(swaps.provider.identity_key)}), contracts=contracts
    )


def proof_contract(swaps: Swaps) -> bytes:
    rootstock = swaps.config().rootstock
    return bytes(20) if rootstock is None else rootstock.asset.contract


def checked(proof: TransferProof, swaps: Swaps) -> ProofReport:
    """What the proof shows a stranger, who asks no node."""
    again = TransferProof.from_bytes(proof.to_bytes())
    report = check_proof(again, policy_of(swaps))
    assert (report.source.level, report.destination.level) == (ProofLevel.STATED, ProofLevel.STATED)
    return report


@EACH_KIND
async def test_a_running_manager_gets_the_statement_of_a_completed_transfer(swaps: Swaps, direction: str) -> None:
    source, destination = DIRECTIONS[direction]
    async with swaps.manager() as layers, swaps.quick_finality():
        proof = await layers.cross_layer_transfer_async(BTC, AMOUNT, source, destination, timeout=60)
        with pytest.raises(ProofUndecided):
            check_proof(replace(proof, statement=None), policy_of(swaps))
        proof = await stated(layers, proof.terms.terms.swap_id)
        report = check_proof(proof, policy_of(swaps))
        assert report.statement is not None
        for leg, end in ((report.source, report.statement.source), (report.destination, report.statement.destination)):
            if leg.protocol is LIGHTNING:
                assert end.finality is StatedFinality.SETTLED
            else:
                # The same block as in the taker's evidence.
                assert leg.header is not None
                assert end.block is not None
                assert (end.block.number, end.block.hash) == (leg.header.number, leg.header.hash)
        assert await layers.verify_cross_layer_proof_async(proof, policy=ProofPolicy(Requirement.STATED))
    assert checked(proof, swaps).outcome is ProofOutcome.COMPLETED


@pytest.mark.starts_provider
async def test_a_running_manager_gets_the_statement_of_a_refund(swaps: Swaps) -> None:
    source, destination = DIRECTIONS["bob_to_lightning"]
    swaps.provider.start(CANNOT_PAY)
    async with swaps.manager() as layers, swaps.quick_finality():
        with pytest.raises(TransferRefunded) as refunded:
            await layers.cross_layer_transfer_async(BTC, AMOUNT, source, destination, timeout=60)
        assert refunded.value.transfer_id is not None
        proof = await stated(layers, refunded.value.transfer_id)
    report = checked(proof, swaps)
    assert report.outcome is ProofOutcome.REFUNDED
    # A payment that was never made leaves no evidence.
    assert (report.destination.outcome, report.destination.level) == (None, ProofLevel.STATED)


@pytest.mark.starts_provider
async def test_a_refund_without_evidence_has_no_proof_also_with_a_statement(swaps: Swaps) -> None:
    source, destination = DIRECTIONS["lightning_to_bob"]
    swaps.provider.start(CANNOT_PAY)
    async with swaps.manager() as layers, swaps.quick_finality():
        with pytest.raises(TransferRefunded) as refunded:
            await layers.cross_layer_transfer_async(BTC, AMOUNT, source, destination, timeout=60)
        assert refunded.value.transfer_id is not None
        assert refunded.value.proof is None
        transfer_id = SwapId(refunded.value.transfer_id)
        record = await layers._entered().records.load(transfer_id)
        signed = record_terms(record)
        assert signed is not None
        bare = TransferProof(signed, None, None)

        async def is_stated() -> bool:
            done = await complete(
                bare, record, swaps.config(), layers._entered().clients, from_storage=False, seconds=10
            )
            assert done.proof == bare
            assert isinstance(done.problems[Part.DESTINATION], ProofUndecided)
            return done.problems[Part.STATEMENT].code == "proof_refused"

        await until(is_stated, "the provider states how the transfer ended, and there is no proof to add it to")
        assert await layers._entered().records.proof(transfer_id) is None


async def test_a_provider_states_nothing_before_its_end_is_final_and_states_it_after_a_restart(swaps: Swaps) -> None:
    async with swaps.manager() as layers:
        transfer_id = await swaps.begin(layers, "bob_to_lightning")
        async with swaps.quick_finality():
            await layers.wait_for_transfer_async(transfer_id, timeout=60)
    swaps.provider.kill()
    swaps.provider.start()
    async with Layer2Manager(swaps.config()) as layers:
        stored = await layers._entered().records.proof(SwapId(transfer_id))
        assert stored is not None
        proof = replace(stored, statement=None)

        async def is_stated() -> bool:
            try:
                found.append(await layers.complete_proof_async(proof))
            except StatementRefused as error:
                refusals.append(error)
            return bool(found)

        found: list[TransferProof] = []
        refusals: list[StatementRefused] = []
        async with swaps.quick_finality():
            await until(is_stated, "the restarted provider states how the transfer ended")
    assert checked(found[0], swaps).outcome is ProofOutcome.COMPLETED
    assert all(each.retryable for each in refusals)
