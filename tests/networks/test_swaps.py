"""Properties of transfers apart from their outcome: proofs, idempotency keys, cancelled calls, third-party invoices."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Final

import pytest

from layer2 import (
    BTC,
    Layer2ProtocolType,
    TransferProof,
    TransferState,
)
from layer2.errors import IdempotencyConflict
from networks.swaps import AMOUNT, DIRECTIONS, Swaps, completed, until_state
from networks.waiting import until

BOB: Final = Layer2ProtocolType.BOB
LIGHTNING: Final = Layer2ProtocolType.LIGHTNING


@pytest.mark.parametrize("direction", ["bob_to_lightning", "lightning_to_bitcoin"])
async def test_a_proof_of_two_valid_but_unrelated_legs_is_refused(swaps: Swaps, direction: str) -> None:
    source, destination = DIRECTIONS[direction]
    async with swaps.manager() as layers, swaps.quick_finality():
        one, other = [
            await layers.cross_layer_transfer_async(BTC, AMOUNT, source, destination, timeout=60) for _ in range(2)
        ]
        for mixed in (
            replace(one, destination_leg=other.destination_leg),
            replace(one, source_leg=other.source_leg),
            replace(one, terms=other.terms),
        ):
            assert not await layers.verify_cross_layer_proof_async(mixed)
        assert await layers.verify_cross_layer_proof_async(one)


@pytest.mark.parametrize("direction", ["bob_to_lightning", "bitcoin_to_lightning"])
async def test_another_partys_invoice_is_paid_and_the_taker_learns_the_preimage(swaps: Swaps, direction: str) -> None:
    before, (source, _) = await swaps.money(), DIRECTIONS[direction]
    async with swaps.manager() as layers, swaps.quick_finality():
        lightning = await layers.get_protocol_async(LIGHTNING)
        # The taker's node plays a third party's node: the swap makes no request to it.
        invoice = await lightning.create_invoice_async(AMOUNT, expiry_seconds=600)
        proof = await layers.cross_layer_transfer_async(
            BTC, AMOUNT, source, LIGHTNING, recipient=invoice.text, timeout=60
        )
        assert await layers.verify_cross_layer_proof_async(proof)
    await swaps.until_moved(before, completed(direction))


async def test_two_transfers_with_one_idempotency_key_are_one(swaps: Swaps) -> None:
    before = await swaps.money()
    async with swaps.manager() as layers, swaps.quick_finality():

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
    await swaps.until_moved(before, completed("bob_to_lightning"))


async def test_cancelling_the_call_never_cancels_the_swap(swaps: Swaps) -> None:
    before = await swaps.money()
    async with swaps.manager() as layers, swaps.quick_finality():
        await swaps.control.set_automatic(False)
        call = asyncio.create_task(layers.cross_layer_transfer_async(BTC, AMOUNT, BOB, LIGHTNING))

        async def has_begun() -> bool:
            return bool(await layers.list_transfers_async())

        await until(has_begun, "the transfer starts")
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
    await swaps.until_moved(before, completed("bob_to_lightning"))
