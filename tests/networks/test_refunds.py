"""The user's money comes back alone when the provider does nothing more, once the deadline has passed."""

from __future__ import annotations

import pytest

from layer2 import (
    BTC,
    OFFLINE,
    AsyncTimeout,
    Layer2Manager,
    ProofOutcome,
    TransferRefunded,
    TransferState,
    check_proof,
)
from networks.misbehaving import Misbehaviour
from networks.swaps import AMOUNT, DIRECTIONS, Swaps, until_state


async def test_a_lock_comes_back_alone_when_the_provider_falls_silent_before_it_pays(own_swaps: Swaps) -> None:
    swaps, (source, destination) = own_swaps, DIRECTIONS["bob_to_lightning"]
    swaps.provider.start(Misbehaviour.FALLS_SILENT.value, "lightning")
    before = await swaps.money()
    async with swaps.manager() as layers:
        quote = await layers.quote_transfer_async(BTC, AMOUNT, source, destination)
        transfer_id = (await layers.start_transfer_async(quote)).transfer_id
        await until_state(layers, transfer_id, TransferState.FUNDED)
        await swaps.provider.fell_silent()
        with pytest.raises(AsyncTimeout) as waiting:
            await layers.wait_for_transfer_async(transfer_id, timeout=0.1)
        transfer = await layers.get_transfer_async(transfer_id)
        assert transfer.refundable_from is not None
        assert waiting.value.transfer_id == transfer_id
        assert waiting.value.deadline == transfer.deadline is not None

        await swaps.move_time_past(transfer.refundable_from)
        with pytest.raises(TransferRefunded) as refunded:
            await layers.wait_for_transfer_async(transfer_id, timeout=60)
        assert refunded.value.transfer_id == transfer_id
        assert refunded.value.proof is not None
        assert check_proof(refunded.value.proof, OFFLINE).outcome is ProofOutcome.REFUNDED
        assert not await layers.verify_cross_layer_proof_async(refunded.value.proof)
    await swaps.until_moved(before, (0, 0, 0, 0))


async def test_a_payment_comes_back_alone_when_the_provider_ends_before_it_locks(own_swaps: Swaps) -> None:
    swaps, (source, destination) = own_swaps, DIRECTIONS["lightning_to_bob"]
    swaps.provider.start(Misbehaviour.DIES_BEFORE.value, "bob")
    before = await swaps.money()
    async with swaps.manager() as layers:
        quote = await layers.quote_transfer_async(BTC, AMOUNT, source, destination)
        transfer_id = (await layers.start_transfer_async(quote)).transfer_id
        await until_state(layers, transfer_id, TransferState.FUNDED)
        await swaps.provider.died()
        with pytest.raises(AsyncTimeout) as waiting:
            await layers.wait_for_transfer_async(transfer_id, timeout=0.1)
        deadline = (await layers.get_transfer_async(transfer_id)).deadline
        assert deadline is not None
        assert (waiting.value.transfer_id, waiting.value.deadline) == (transfer_id, deadline)

        await swaps.move_time_past(deadline + 600)
        await until_state(layers, transfer_id, TransferState.REFUNDING)
        await come_to_the_expiry_of_held_payments(swaps, layers, transfer_id)
        with pytest.raises(TransferRefunded) as refunded:
            await layers.wait_for_transfer_async(transfer_id, timeout=60)
        assert refunded.value.transfer_id == transfer_id
    await swaps.until_moved(before, (0, 0, 0, 0))


async def come_to_the_expiry_of_held_payments(swaps: Swaps, layers: Layer2Manager, transfer_id: str) -> None:
    """Make Bitcoin blocks until the provider's node, with nobody to tell it, gives back what it holds."""
    for _ in range(20):
        if (await layers.get_transfer_async(transfer_id)).state is TransferState.REFUNDED:
            return
        await swaps.control.mine_bitcoin(20)
