"""Whole transfers between two parties: a taker's manager and a provider's process, each with its own nodes."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Final

import pytest

from layer2 import (
    BTC,
    OFFLINE,
    Layer2Manager,
    Layer2ProtocolType,
    ProofOutcome,
    TransferProof,
    TransferRefunded,
    TransferState,
    check_proof,
)
from layer2.errors import IdempotencyConflict
from networks.misbehaving import Misbehaviour
from networks.swaps import AMOUNT, DIRECTIONS, FEE, Swaps, until_state
from networks.waiting import until

BOB: Final = Layer2ProtocolType.BOB
LIGHTNING: Final = Layer2ProtocolType.LIGHTNING
BOTH_WAYS = pytest.mark.parametrize("direction", list(DIRECTIONS))
COMPLETED = {
    "bob_to_lightning": (-AMOUNT - FEE, AMOUNT, AMOUNT + FEE, -AMOUNT),
    "lightning_to_bob": (AMOUNT, -AMOUNT - FEE, -AMOUNT, AMOUNT + FEE),
}
"""How the balances change: the taker's on BOB and on Lightning, then the provider's."""


async def begin(layers: Layer2Manager, direction: str) -> str:
    source, destination = DIRECTIONS[direction]
    quote = await layers.quote_transfer_async(BTC, AMOUNT, source, destination, max_fee=FEE + 300)
    return (await layers.start_transfer_async(quote)).transfer_id


@BOTH_WAYS
async def test_a_transfer_completes_with_a_proof_and_balances_that_add_up(swaps: Swaps, direction: str) -> None:
    before, (source, destination) = await swaps.money(), DIRECTIONS[direction]
    async with swaps.manager() as layers:
        proof = await layers.cross_layer_transfer_async(BTC, AMOUNT, source, destination, max_fee=FEE + 300, timeout=60)
        assert await layers.verify_cross_layer_proof_async(proof)
        (transfer,) = await layers.list_transfers_async()
        assert (transfer.state, transfer.fee) == (TransferState.COMPLETED, FEE)
        await swaps.until_provider_has(transfer.transfer_id, "completed")

    report = check_proof(TransferProof.from_bytes(proof.to_bytes()), OFFLINE)
    assert report.outcome is ProofOutcome.COMPLETED
    after = await swaps.until_moved(before, COMPLETED[direction])
    assert sum(after.changes(before)) == 0
    assert after.taker_gas < before.taker_gas
    assert after.provider_gas < before.provider_gas


async def test_a_proof_of_two_valid_but_unrelated_legs_is_refused(swaps: Swaps) -> None:
    async with swaps.manager() as layers:
        one, other = [
            await layers.cross_layer_transfer_async(BTC, AMOUNT, BOB, LIGHTNING, timeout=60) for _ in range(2)
        ]
        for mixed in (
            replace(one, destination_leg=other.destination_leg),
            replace(one, source_leg=other.source_leg),
            replace(one, terms=other.terms),
        ):
            assert not await layers.verify_cross_layer_proof_async(mixed)
        assert await layers.verify_cross_layer_proof_async(one)


async def test_somebody_elses_invoice_is_paid_and_the_taker_learns_the_preimage(swaps: Swaps) -> None:
    before = await swaps.money()
    async with swaps.manager() as layers:
        lightning = await layers.get_protocol_async(LIGHTNING)
        # The taker's node stands for a third party's: the swap asks it for nothing.
        invoice = await lightning.create_invoice_async(AMOUNT, expiry_seconds=600)
        proof = await layers.cross_layer_transfer_async(BTC, AMOUNT, BOB, LIGHTNING, recipient=invoice.text, timeout=60)
        assert await layers.verify_cross_layer_proof_async(proof)
    await swaps.until_moved(before, COMPLETED["bob_to_lightning"])


@BOTH_WAYS
async def test_a_provider_that_cannot_pay_gives_the_money_back_at_once(swaps: Swaps, direction: str) -> None:
    source, destination = DIRECTIONS[direction]
    swaps.provider.start(Misbehaviour.CANNOT_PAY.value, "bob" if destination is BOB else "lightning")
    before = await swaps.money()
    async with swaps.manager() as layers:
        with pytest.raises(TransferRefunded) as refunded:
            await layers.cross_layer_transfer_async(BTC, AMOUNT, source, destination, timeout=60)
        (transfer,) = await layers.list_transfers_async()
        assert refunded.value.transfer_id == transfer.transfer_id
        if source is BOB:
            assert refunded.value.proof is not None
            assert check_proof(refunded.value.proof, OFFLINE).outcome is ProofOutcome.REFUNDED
            assert not await layers.verify_cross_layer_proof_async(refunded.value.proof)
        else:
            # Nothing was locked on a chain: there is nothing that a stranger could check.
            assert refunded.value.proof is None
    await swaps.until_moved(before, (0, 0, 0, 0))


@BOTH_WAYS
async def test_a_taker_that_is_killed_right_after_its_funding_completes_after_a_restart(
    swaps: Swaps, direction: str
) -> None:
    before, (source, _) = await swaps.money(), DIRECTIONS[direction]
    assert await swaps.run_taker_that(Misbehaviour.DIES_AFTER, "bob" if source is BOB else "lightning", direction) == -9
    async with swaps.manager() as layers:
        (transfer,) = await layers.list_transfers_async()
        proof = await layers.wait_for_transfer_async(transfer.transfer_id, timeout=60)
        assert await layers.verify_cross_layer_proof_async(proof)
        await swaps.until_provider_has(transfer.transfer_id, "completed")
    await swaps.until_moved(before, COMPLETED[direction])


async def test_a_taker_that_is_killed_between_intent_and_lock_locks_once_after_a_restart(swaps: Swaps) -> None:
    before, direction = await swaps.money(), "bob_to_lightning"
    assert await swaps.run_taker_that(Misbehaviour.DIES_BEFORE, "bob", direction) == -9
    async with swaps.manager() as layers:
        (transfer,) = await layers.list_transfers_async()
        await layers.wait_for_transfer_async(transfer.transfer_id, timeout=60)
        await swaps.until_provider_has(transfer.transfer_id, "completed")
    await swaps.until_moved(before, COMPLETED[direction])


@BOTH_WAYS
async def test_a_provider_that_is_killed_right_after_its_payment_completes_after_a_restart(
    swaps: Swaps, direction: str
) -> None:
    before, (_, destination) = await swaps.money(), DIRECTIONS[direction]
    swaps.provider.start(Misbehaviour.DIES_AFTER.value, "bob" if destination is BOB else "lightning")
    async with swaps.manager() as layers:
        transfer_id = await begin(layers, direction)
        await swaps.provider.died()
        swaps.provider.start()
        proof = await layers.wait_for_transfer_async(transfer_id, timeout=60)
        assert await layers.verify_cross_layer_proof_async(proof)
        await swaps.until_provider_has(transfer_id, "completed")
    await swaps.until_moved(before, COMPLETED[direction])


async def test_two_transfers_with_one_idempotency_key_are_one(swaps: Swaps) -> None:
    before = await swaps.money()
    async with swaps.manager() as layers:

        async def transfer(amount: int = AMOUNT) -> TransferProof:
            return await layers.cross_layer_transfer_async(
                BTC, amount, BOB, LIGHTNING, idempotency_key="rent of May", timeout=60
            )

        first, second = await asyncio.gather(transfer(), transfer())
        assert first == second == await transfer()
        (only,) = await layers.list_transfers_async()
        with pytest.raises(IdempotencyConflict) as conflict:
            await transfer(AMOUNT + 1)
        assert conflict.value.transfer_id == only.transfer_id
        await swaps.until_provider_has(only.transfer_id, "completed")
    await swaps.until_moved(before, COMPLETED["bob_to_lightning"])


async def test_cancelling_the_call_never_cancels_the_swap(swaps: Swaps) -> None:
    before = await swaps.money()
    async with swaps.manager() as layers:
        await swaps.control.set_automatic(False)
        call = asyncio.create_task(layers.cross_layer_transfer_async(BTC, AMOUNT, BOB, LIGHTNING))

        async def has_begun() -> bool:
            return bool(await layers.list_transfers_async())

        await until(has_begun, "the transfer begins")
        (transfer_id,) = [transfer.transfer_id for transfer in await layers.list_transfers_async()]
        await until_state(layers, transfer_id, TransferState.FUNDING)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await swaps.control.set_automatic(True)
        assert await layers.verify_cross_layer_proof_async(
            await layers.wait_for_transfer_async(transfer_id, timeout=60)
        )
        await swaps.until_provider_has(transfer_id, "completed")
    await swaps.until_moved(before, COMPLETED["bob_to_lightning"])
