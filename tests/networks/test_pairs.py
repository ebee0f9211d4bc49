"""Whole transfers between two parties over every pair of layers: each completes, or returns both parties' money.

A taker's manager and a provider's process, each with its own nodes. One suite for all pairs.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Final

import pytest

from layer2 import (
    BTC,
    OFFLINE,
    AsyncTimeout,
    Layer2ProtocolType,
    ProofOutcome,
    TransferProof,
    TransferRefunded,
    TransferState,
    check_proof,
)
from layer2.contracts.bitcoin_htlc import Branch
from layer2.formats.bitcoin_transaction import decode_transaction
from layer2.legs.bitcoin import BitcoinLeg
from layer2.legs.evidence import BitcoinSpendEvidence
from networks.misbehaving import CANNOT_PAY, dies, falls_silent
from networks.money import NOTHING
from networks.recording import Recorder
from networks.swaps import AMOUNT, DIRECTIONS, FEE, Swaps, completed, until_state

BITCOIN: Final = Layer2ProtocolType.BITCOIN
LIGHTNING: Final = Layer2ProtocolType.LIGHTNING
ROOTSTOCK: Final = Layer2ProtocolType.ROOTSTOCK
KINDS: Final = (
    "bob_to_lightning",
    "lightning_to_rootstock",
    "rootstock_to_bob",
    "bitcoin_to_lightning",
    "bob_to_bitcoin",
)
"""A lock for a payment, a payment for a lock, a lock for a lock, an output for a payment, and a lock for an output."""
NOT_REAL = pytest.mark.only_on("simnet", reason="some directions; devnet has no Rootstock node to swap with Bitcoin")
FOR_TIME = pytest.mark.only_on("simnet", reason="some directions; on real nodes some are enough")


def directions(*, wanted: Container[str] = DIRECTIONS, on_devnet: Container[str]) -> pytest.MarkDecorator:
    """Run a test with each of these directions, and on real nodes with some of them."""
    return pytest.mark.parametrize(
        "direction",
        [
            pytest.param(direction, marks=() if direction in on_devnet else FOR_TIME)
            for direction in DIRECTIONS
            if direction in wanted
        ],
    )


EVERY_DIRECTION = pytest.mark.parametrize(
    "direction",
    [
        pytest.param(direction, marks=NOT_REAL if {BITCOIN, ROOTSTOCK} == set(layers) else ())
        for direction, layers in DIRECTIONS.items()
    ],
)
EACH_KIND = directions(wanted=KINDS, on_devnet=KINDS[:3])
EVERY_DIRECTION_ON_SIMNET = directions(on_devnet=KINDS[:-1])
FURTHER = directions(wanted=DIRECTIONS.keys() - set(KINDS), on_devnet=())
SIMNET_ONLY = pytest.mark.only_on("simnet", reason="each test needs a network of its own, and a devnet takes longer")


@EVERY_DIRECTION
async def test_a_transfer_completes_with_a_proof_and_balances_that_add_up(
    swaps: Swaps, direction: str, recorder: Recorder
) -> None:
    before, (source, destination) = await swaps.money(), DIRECTIONS[direction]
    async with swaps.manager() as layers, swaps.quick_finality():
        proof = await layers.cross_layer_transfer_async(BTC, AMOUNT, source, destination, timeout=60)
        assert await layers.verify_cross_layer_proof_async(proof)
        (transfer,) = await layers.list_transfers_async()
        assert (transfer.state, transfer.fee) == (TransferState.COMPLETED, FEE)
        await swaps.until_provider_has(transfer.transfer_id, "completed")
        await recorder.keep(direction, swaps.network, layers, transfer.transfer_id)

    report = check_proof(TransferProof.from_bytes(proof.to_bytes()), OFFLINE)
    assert report.outcome is ProofOutcome.COMPLETED
    after = await swaps.until_moved(before, completed(direction))
    assert sum(after.changes(before).values()) == 0
    for layer in {source, destination} - {LIGHTNING}:
        for party in ("taker", "provider"):
            if layer is BITCOIN:
                assert after.mining_fees[party] > before.mining_fees[party]
            else:
                assert after.gas[party, layer] < before.gas[party, layer]


@EVERY_DIRECTION_ON_SIMNET
@pytest.mark.starts_provider
async def test_a_provider_that_cannot_pay_gives_the_money_back_at_once(
    swaps: Swaps, direction: str, recorder: Recorder
) -> None:
    source, destination = DIRECTIONS[direction]
    swaps.provider.start(CANNOT_PAY)
    before = await swaps.money()
    async with swaps.manager() as layers, swaps.quick_finality():
        with pytest.raises(TransferRefunded) as refunded:
            await layers.cross_layer_transfer_async(BTC, AMOUNT, source, destination, timeout=60)
        (transfer,) = await layers.list_transfers_async()
        assert refunded.value.transfer_id == transfer.transfer_id
        if source is LIGHTNING:
            # Nothing was locked on a chain, so a third party has nothing to check.
            assert refunded.value.proof is None
        else:
            assert refunded.value.proof is not None
            assert check_proof(refunded.value.proof, OFFLINE).outcome is ProofOutcome.REFUNDED
            assert not await layers.verify_cross_layer_proof_async(refunded.value.proof)
            assert branch_of(refunded.value.proof) in (None, Branch.RELEASE)
            await recorder.keep(f"{direction}_refunded", swaps.network, layers, transfer.transfer_id)
    await swaps.until_moved(before, NOTHING)


def branch_of(proof: TransferProof) -> Branch | None:
    """How an output was spent that was the source; None for other sources."""
    leg, evidence = proof.terms.terms.source, proof.source_leg
    if not isinstance(leg, BitcoinLeg):
        return None
    assert isinstance(evidence, BitcoinSpendEvidence)
    spent = leg.htlc.spending(decode_transaction(evidence.transaction).inputs[evidence.input].witness)
    assert spent is not None
    return spent[0]


# Killed and restarted at once


@EACH_KIND
@pytest.mark.starts_provider
async def test_both_are_killed_once_at_every_moment_and_the_transfer_is_made_once(swaps: Swaps, direction: str) -> None:
    before = await swaps.money()
    of_provider = swaps.start_provider_that_dies_everywhere(direction)
    async with swaps.quick_finality():
        of_taker = await swaps.run_taker_that_dies_everywhere(direction)
        async with swaps.manager() as layers:
            (transfer,) = [
                each for each in await layers.list_transfers_async() if each.state is not TransferState.ABANDONED
            ]
            assert transfer.state is TransferState.COMPLETED
            await swaps.until_provider_has(transfer.transfer_id, "completed")
    acts = {"after:fund", "before:collect", "after:collect"}
    assert set(of_taker) >= acts | {f"written:{state}" for state in ("funding", "funded", "collecting", "completed")}
    states = ("counter_funding", "counter_funded", "collecting")
    assert set(of_provider.read_text().split()) >= acts | {f"written:{state}" for state in states}
    await swaps.until_moved(before, completed(direction))


@FURTHER
@pytest.mark.starts_provider
async def test_both_are_killed_once_and_restarted_at_once_and_the_transfer_is_made_once(
    swaps: Swaps, direction: str
) -> None:
    swaps.provider.start(dies("after:fund"))
    before = await swaps.money()
    async with swaps.quick_finality():
        assert await swaps.run_taker(dies("after:fund"), direction) == -9
        async with swaps.manager() as layers:
            await swaps.provider.died()
            swaps.provider.start()
            (transfer,) = await layers.list_transfers_async()
            proof = await layers.wait_for_transfer_async(transfer.transfer_id, timeout=60)
            assert await layers.verify_cross_layer_proof_async(proof)
            await swaps.until_provider_has(transfer.transfer_id, "completed")
    await swaps.until_moved(before, completed(direction))


# Vanished, or killed and restarted after the deadlines


@EVERY_DIRECTION_ON_SIMNET
@pytest.mark.starts_provider
async def test_the_money_returns_when_the_provider_falls_silent_before_it_pays(
    own_swaps: Swaps, direction: str
) -> None:
    swaps, (source, _) = own_swaps, DIRECTIONS[direction]
    swaps.provider.start(falls_silent("before:fund"))
    before = await swaps.money()
    async with swaps.manager() as layers:
        transfer_id = await swaps.begin(layers, direction)
        await until_state(layers, transfer_id, TransferState.FUNDED)
        await swaps.provider.fell_silent()
        with pytest.raises(AsyncTimeout) as waiting:
            await layers.wait_for_transfer_async(transfer_id, timeout=0.1)
        transfer = await layers.get_transfer_async(transfer_id)
        assert (waiting.value.transfer_id, waiting.value.deadline) == (transfer_id, transfer.deadline)

        await swaps.let_deadlines_pass(transfer_id)
        async with swaps.quick_finality():
            with pytest.raises(TransferRefunded) as refunded:
                await layers.wait_for_transfer_async(transfer_id, timeout=60)
        assert refunded.value.transfer_id == transfer_id
        if source is not LIGHTNING:
            assert refunded.value.proof is not None
            assert check_proof(refunded.value.proof, OFFLINE).outcome is ProofOutcome.REFUNDED
            assert not await layers.verify_cross_layer_proof_async(refunded.value.proof)
            assert branch_of(refunded.value.proof) in (None, Branch.REFUND)
    await swaps.until_moved(before, NOTHING)


@SIMNET_ONLY
@pytest.mark.parametrize(
    ("direction", "moment"),
    [
        ("bob_to_lightning", "written:collecting"),
        ("lightning_to_rootstock", "written:funded"),
        ("rootstock_to_bob", "written:collecting"),
        ("bitcoin_to_lightning", "written:collecting"),
        ("bob_to_bitcoin", "written:collecting"),
    ],
)
async def test_a_taker_that_returns_after_the_deadlines_without_having_collected_is_refunded(
    own_swaps: Swaps, direction: str, moment: str
) -> None:
    swaps = own_swaps
    before = await swaps.money()
    assert await swaps.run_taker(dies(moment), direction) == -9
    transfer_id = await swaps.only_transfer()
    await swaps.until_provider_has(transfer_id, "counter_funded")
    await swaps.let_deadlines_pass(transfer_id)
    async with swaps.quick_finality():
        await swaps.until_provider_has(transfer_id, "released")
        async with swaps.manager() as layers:
            with pytest.raises(TransferRefunded):
                await layers.wait_for_transfer_async(transfer_id, timeout=60)
    await swaps.until_moved(before, NOTHING)


@SIMNET_ONLY
@EACH_KIND
async def test_a_taker_that_returns_after_the_deadlines_and_has_collected_has_completed(
    own_swaps: Swaps, direction: str
) -> None:
    swaps = own_swaps
    before = await swaps.money()
    assert await swaps.run_taker(dies("after:collect"), direction) == -9
    transfer_id = await swaps.only_transfer()
    async with swaps.quick_finality():
        await swaps.until_provider_has(transfer_id, "completed")
        await swaps.let_deadlines_pass(transfer_id)
        async with swaps.manager() as layers:
            proof = await layers.wait_for_transfer_async(transfer_id, timeout=60)
            assert await layers.verify_cross_layer_proof_async(proof)
    await swaps.until_moved(before, completed(direction))


@SIMNET_ONLY
@EACH_KIND
@pytest.mark.starts_provider
async def test_a_provider_that_returns_after_the_deadlines_without_having_paid_pays_nothing(
    own_swaps: Swaps, direction: str
) -> None:
    swaps = own_swaps
    swaps.provider.start(dies("written:counter_funding"))
    before = await swaps.money()
    async with swaps.manager() as layers, swaps.quick_finality():
        transfer_id = await swaps.begin(layers, direction)
        await swaps.provider.died()
        await swaps.let_deadlines_pass(transfer_id)
        with pytest.raises(TransferRefunded):
            await layers.wait_for_transfer_async(transfer_id, timeout=60)
        swaps.provider.start()
        await swaps.until_provider_has(transfer_id, "released")
    await swaps.until_moved(before, NOTHING)


@SIMNET_ONLY
@pytest.mark.parametrize(
    ("direction", "moment"),
    [
        ("bob_to_lightning", "written:collecting"),
        ("lightning_to_rootstock", "after:fund"),
        ("rootstock_to_bob", "written:collecting"),
        ("bitcoin_to_lightning", "written:collecting"),
        ("bob_to_bitcoin", "written:collecting"),
    ],
)
@pytest.mark.starts_provider
async def test_a_provider_that_returns_after_the_deadlines_of_locks_collects_what_it_has_earned(
    own_swaps: Swaps, direction: str, moment: str
) -> None:
    swaps = own_swaps
    swaps.provider.start(dies(moment))
    before = await swaps.money()
    async with swaps.manager() as layers, swaps.quick_finality():
        transfer_id = await swaps.begin(layers, direction)
        await swaps.provider.died()
        await layers.wait_for_transfer_async(transfer_id, until=TransferState.ARRIVED, timeout=60)
        # The provider loses a payment that it does not settle before its expiry, so it must not stay offline that long.
        await swaps.let_deadlines_pass(transfer_id, payments_too=False)
        swaps.provider.start()
        await swaps.until_provider_has(transfer_id, "completed")
    await swaps.until_moved(before, completed(direction))
