"""Reorganisations during a transfer: lost transactions are sent again, and no party relies on removed ones."""

from __future__ import annotations

from typing import Final

import pytest

from layer2 import Layer2ProtocolType, TransferState
from layer2.formats.bitcoin_transaction import decode_transaction
from layer2.formats.evm_hex import format_data, parse_data
from layer2.formats.evm_transaction import SignedTransaction, decode_signed
from layer2.model.transactions import EvmTxId
from networks.parties import clients_of
from networks.swaps import DIRECTIONS, Swaps, completed, until_state
from networks.waiting import until

BITCOIN: Final = Layer2ProtocolType.BITCOIN
TO_AN_EVM_CHAIN = pytest.mark.parametrize("direction", ["lightning_to_bob", "bob_to_rootstock"])
FROM_AN_EVM_CHAIN = pytest.mark.parametrize("direction", ["rootstock_to_bob", "bob_to_lightning"])
FOR_TIME = pytest.mark.only_on("simnet", reason="some directions; on real nodes one is enough")
TO_BITCOIN = pytest.mark.parametrize(
    "direction", ["bob_to_bitcoin", pytest.param("lightning_to_bitcoin", marks=FOR_TIME)]
)
FROM_BITCOIN = pytest.mark.parametrize(
    "direction", ["bitcoin_to_lightning", pytest.param("bitcoin_to_bob", marks=FOR_TIME)]
)
LARGE: Final = 600_000
"""An amount for which the provider waits until the funding is safe."""
LARGE_FEE: Final = 2_020


async def claims(swaps: Swaps, transfer_id: str) -> list[SignedTransaction]:
    """The taker's signed claims on an EVM chain, oldest first."""
    acts = [intent.act["act"] for intent in await swaps.intents(transfer_id, "collect")]
    return [decode_signed(parse_data(act["transactions"][-1], "transaction")) for act in acts]


async def mined_claim(swaps: Swaps, transfer_id: str) -> tuple[SignedTransaction, int]:
    """The newest mined claim on an EVM chain and its block's number. A claim may be sent at several prices."""
    async with clients_of(swaps.network, swaps.network.taker) as taker:
        for claim in reversed(await claims(swaps, transfer_id)):
            for client in (taker.bob, taker.rootstock):
                status = await client.get_transaction_status_async(EvmTxId(format_data(claim.hash)))
                if status.block_number is not None:
                    return claim, status.block_number
    raise AssertionError("no claim is mined")


async def height_of_act(swaps: Swaps, transfer_id: str, verb: str) -> int:
    """The number of the block that contains the taker's act on Bitcoin's chain."""
    async with clients_of(swaps.network, swaps.network.taker) as taker:
        for intent in reversed(await swaps.intents(transfer_id, verb)):
            transaction = decode_transaction(bytes.fromhex(intent.act["act"]["transaction"]))
            located = await taker.bitcoin._parts.source.find(transaction.hash)
            if located is not None and located.block is not None:
                return located.block.height
    raise AssertionError(f"no {verb} is mined")


async def reorganise_bitcoin(swaps: Swaps, height: int) -> None:
    """Replace the blocks from a height on by empty ones. Return when the transaction that was in them waits again.

    A real node keeps it. simnet drops it, and the party must send it again.
    """

    async def waits() -> bool:
        return bool((await swaps.control.status())["bitcoin"]["unconfirmed"])

    swaps.miner.is_automatic = False
    await swaps.reorganise(BITCOIN.value, height - 1, keep_transactions=swaps.network.name == "devnet")
    await until(waits, "the transaction waits for a block again")
    swaps.miner.is_automatic = True


@TO_AN_EVM_CHAIN
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


@TO_AN_EVM_CHAIN
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


@FROM_AN_EVM_CHAIN
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


@TO_BITCOIN
async def test_a_claim_on_bitcoin_that_a_reorganisation_removes_after_it_arrived_is_made_again(
    swaps: Swaps, direction: str
) -> None:
    before = await swaps.money()
    async with swaps.manager() as layers:
        transfer_id = await swaps.begin(layers, direction)
        await until_state(layers, transfer_id, TransferState.ARRIVED)
        await reorganise_bitcoin(swaps, await height_of_act(swaps, transfer_id, "collect"))
        async with swaps.quick_finality():
            proof = await layers.wait_for_transfer_async(transfer_id, timeout=60)
            await swaps.until_provider_has(transfer_id, "completed")
            assert await layers.verify_cross_layer_proof_async(proof)
    await swaps.until_moved(before, completed(direction))


@FROM_BITCOIN
async def test_a_funding_on_bitcoin_that_a_reorganisation_removes_is_paid_for_only_when_it_is_back(
    swaps: Swaps, direction: str
) -> None:
    before = await swaps.money()
    async with swaps.manager() as layers:
        transfer_id = await swaps.begin(layers, direction, LARGE)
        await swaps.until_provider_has(transfer_id, "agreed", sees_funding=True)
        await swaps.control.mine_bitcoin(1)
        # The branch has as many blocks as the terms ask for, and the funding is not in it.
        await reorganise_bitcoin(swaps, await height_of_act(swaps, transfer_id, "fund"))
        await swaps.until_provider_has(transfer_id, "agreed", sees_funding=True)
        async with swaps.quick_finality():
            proof = await layers.wait_for_transfer_async(transfer_id, timeout=60)
            await swaps.until_provider_has(transfer_id, "completed")
            assert await layers.verify_cross_layer_proof_async(proof)
    await swaps.until_moved(before, completed(direction, LARGE, LARGE_FEE))


@FROM_BITCOIN
async def test_the_providers_claim_on_bitcoin_is_made_again_after_a_reorganisation(
    swaps: Swaps, direction: str
) -> None:
    before = await swaps.money()
    async with swaps.manager() as layers:
        transfer_id = await swaps.begin(layers, direction)
        await swaps.until_provider_has(transfer_id, "collecting", has_arrived=True)
        await reorganise_bitcoin(swaps, await swaps.height(BITCOIN.value))
        async with swaps.quick_finality():
            await layers.wait_for_transfer_async(transfer_id, timeout=60)
            await swaps.until_provider_has(transfer_id, "completed")
    await swaps.until_moved(before, completed(direction))
