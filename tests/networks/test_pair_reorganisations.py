"""Reorganisations during a transfer: lost transactions are sent again, and no party relies on removed ones."""

from __future__ import annotations

from typing import Final

import pytest

from layer2 import TransferState
from layer2.formats.evm_hex import format_data, parse_data
from layer2.formats.evm_transaction import SignedTransaction, decode_signed
from layer2.model.transactions import EvmTxId
from networks.parties import clients_of
from networks.swaps import DIRECTIONS, Swaps, completed, until_state

TO_A_CHAIN = pytest.mark.parametrize("direction", ["lightning_to_bob", "bob_to_rootstock"])
FROM_A_CHAIN = pytest.mark.parametrize("direction", ["rootstock_to_bob", "bob_to_lightning"])
LARGE: Final = 600_000
"""An amount for which the provider waits until the funding is safe."""
LARGE_FEE: Final = 2_020


async def claims(swaps: Swaps, transfer_id: str) -> list[SignedTransaction]:
    """The taker's signed claims, oldest first."""
    acts = [intent.act["act"] for intent in await swaps.intents(transfer_id, "collect")]
    return [decode_signed(parse_data(act["transactions"][-1], "transaction")) for act in acts]


async def mined_claim(swaps: Swaps, transfer_id: str) -> tuple[SignedTransaction, int]:
    """The newest mined claim and its block's number. A claim may be sent at several prices."""
    async with clients_of(swaps.network, swaps.network.taker) as taker:
        for claim in reversed(await claims(swaps, transfer_id)):
            for client in (taker.bob, taker.rootstock):
                status = await client.get_transaction_status_async(EvmTxId(format_data(claim.hash)))
                if status.block_number is not None:
                    return claim, status.block_number
    raise AssertionError("no claim is mined")


@TO_A_CHAIN
async def test_a_claim_that_a_reorganisation_removes_after_it_arrived_is_made_again(
    swaps: Swaps, direction: str
) -> None:
    chain, before = DIRECTIONS[direction][1].value, await swaps.money()
    await swaps.hold_finality()
    async with swaps.manager() as layers:
        transfer_id = await swaps.begin(layers, direction)
        await until_state(layers, transfer_id, TransferState.ARRIVED)
        await swaps.control.set_automatic(False, chain=chain)
        _, number = await mined_claim(swaps, transfer_id)
        # A real node keeps the claim and mines it again. Here the claim is dropped and must be sent again.
        await swaps.reorganise(chain, number - 1, keep_transactions=swaps.network.name == "devnet")
        await until_state(layers, transfer_id, TransferState.COLLECTING)
        await swaps.control.set_automatic(True, chain=chain)
        async with swaps.quick_finality():
            proof = await layers.wait_for_transfer_async(transfer_id, timeout=60)
            await swaps.until_provider_has(transfer_id, "completed")
            assert await layers.verify_cross_layer_proof_async(proof)
    await swaps.until_moved(before, completed(direction))


@TO_A_CHAIN
async def test_a_claim_that_a_branch_has_before_its_lock_fails_there_and_is_made_again(
    swaps: Swaps, direction: str
) -> None:
    chain, before = DIRECTIONS[direction][1].value, await swaps.money()
    heights = await swaps.hold_finality()
    async with swaps.manager() as layers:
        transfer_id = await swaps.begin(layers, direction)
        await until_state(layers, transfer_id, TransferState.ARRIVED)
        await swaps.control.set_automatic(False, chain=chain)
        claim, _ = await mined_claim(swaps, transfer_id)
        await swaps.reorganise(chain, heights[chain], transactions=[claim.raw])
        await until_state(layers, transfer_id, TransferState.COLLECTING)
        await swaps.control.set_automatic(True, chain=chain)
        async with swaps.quick_finality():
            proof = await layers.wait_for_transfer_async(transfer_id, timeout=60)
            await swaps.until_provider_has(transfer_id, "completed")
            assert await layers.verify_cross_layer_proof_async(proof)
    again, _ = await mined_claim(swaps, transfer_id)
    assert again.transaction.nonce > claim.transaction.nonce
    await swaps.until_moved(before, completed(direction))


@FROM_A_CHAIN
async def test_a_funding_that_a_reorganisation_removes_is_paid_for_only_when_it_is_back(
    swaps: Swaps, direction: str
) -> None:
    chain, before = DIRECTIONS[direction][0].value, await swaps.money()
    heights = await swaps.hold_finality()
    async with swaps.manager() as layers:
        transfer_id = await swaps.begin(layers, direction, LARGE)
        await swaps.until_provider_has(transfer_id, "agreed", sees_funding=True)
        await swaps.control.set_automatic(False, chain=chain)
        await swaps.reorganise(chain, heights[chain])
        await swaps.until_provider_has(transfer_id, "agreed", sees_funding=False)
        await swaps.control.set_automatic(True, chain=chain)
        async with swaps.quick_finality():
            proof = await layers.wait_for_transfer_async(transfer_id, timeout=60)
            await swaps.until_provider_has(transfer_id, "completed")
            assert await layers.verify_cross_layer_proof_async(proof)
    await swaps.until_moved(before, completed(direction, LARGE, LARGE_FEE))
