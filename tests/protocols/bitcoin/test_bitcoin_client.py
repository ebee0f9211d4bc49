"""The public calls of the Bitcoin client on simnet's chain: statuses, waits, replacements, balances, and their end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from pathlib import Path

import pytest
import pytest_asyncio

from layer2.errors import (
    AsyncRuntimeError,
    AsyncTimeout,
    ConfigurationError,
    FormatError,
    InvalidRequest,
    NodeUnreachable,
    Outcome,
    WrongNetwork,
)
from layer2.formats import segwit_address
from layer2.formats.bitcoin_transaction import TxOut
from layer2.model.layers import Layer2ProtocolType
from layer2.model.money import BTC, Balance
from layer2.model.transactions import BitcoinTxId, Finality, TxState
from layer2.protocols.bitcoin.client import BitcoinClient
from protocols.bitcoin.client_world import COIN, STRANGER, STRANGER_SCRIPT, World, bitcoin_world

NOT_FOUND = BitcoinTxId("11" * 32)


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with bitcoin_world(tmp_path) as made:
        yield made


async def sent(world: World, client: BitcoinClient, key: str | None = None) -> BitcoinTxId:
    return await client.transfer_asset_async(BTC, 50_000, STRANGER, idempotency_key=key)


async def test_the_client_is_the_layer_s(world: World) -> None:
    client = world.client()
    assert client.protocol_type is Layer2ProtocolType.BITCOIN
    assert repr(client) == "BitcoinClient(regtest)"
    await client.initialize_async()
    await client.initialize_async()


async def test_a_source_of_another_network_is_refused(world: World) -> None:
    with pytest.raises(WrongNetwork) as caught:
        await world.client(network="testnet").initialize_async()
    assert "regtest" in caught.value.message


async def test_a_status_counts_the_depth_until_it_is_final(world: World) -> None:
    client = await world.funded()
    tx_id = await sent(world, client)
    states = [await client.get_transaction_status_async(tx_id)]
    for _ in range(6):
        world.node.mine(1)
        await asyncio.sleep(0.005)
        states.append(await client.get_transaction_status_async(tx_id))
    assert [each.state for each in states] == [TxState.PENDING, *[TxState.INCLUDED] * 5, TxState.FINAL]
    assert [each.depth for each in states] == [None, 1, 2, 3, 4, 5, 6]
    assert {each.fee for each in states} == {world.fee(tx_id)}
    assert {each.block_hash for each in states[1:]} == {world.node.chain.blocks[-6].block.header.hash}
    assert (states[1].block_number, states[6].finality) == (world.node.chain.height - 5, Finality.FINALIZED)


async def test_the_final_depth_is_a_setting(world: World) -> None:
    client = await world.funded(final_depth=2)
    tx_id = await sent(world, client)
    world.node.mine(2)
    assert (await client.get_transaction_status_async(tx_id)).state is TxState.FINAL


async def test_a_reorganisation_takes_a_status_back(world: World) -> None:
    client = await world.funded()
    tx_id = await sent(world, client)
    world.node.mine(2)
    before = await client.get_transaction_status_async(tx_id)
    world.node.reorganise(2, True, [])
    await asyncio.sleep(0.005)
    assert (await client.get_transaction_status_async(tx_id)).state is TxState.PENDING
    world.node.mine(1)
    await asyncio.sleep(0.005)
    after = await client.get_transaction_status_async(tx_id)
    assert (before.depth, after.depth) == (2, 1)
    assert before.block_hash != after.block_hash


async def test_a_reorganisation_that_loses_a_send_leaves_it_unknown_and_its_key_sends_it_again(world: World) -> None:
    client = await world.funded()
    tx_id = await sent(world, client, "rent")
    world.node.mine(1)
    world.node.reorganise(1, False, [])
    await asyncio.sleep(0.005)
    assert (await client.get_transaction_status_async(tx_id)).state is TxState.UNKNOWN
    assert await sent(world, client, "rent") == tx_id
    assert world.pool == {tx_id}
    # BDK counts in whole seconds what was seen again.
    await asyncio.sleep(1.1)
    assert (await client.balances_async())[BTC] == Balance(2 * COIN, COIN - 50_000 - world.fee(tx_id))


async def test_an_id_that_the_node_does_not_know_is_unknown_and_a_malformed_one_is_refused(world: World) -> None:
    client = world.client()
    assert (await client.get_transaction_status_async(NOT_FOUND)).state is TxState.UNKNOWN
    for wrong in ("", "11", "zz" * 32, "0x" + "11" * 32):
        with pytest.raises(FormatError):
            await client.get_transaction_status_async(BitcoinTxId(wrong))


async def test_another_party_s_transaction_has_a_status_without_a_fee(world: World) -> None:
    made = await world.fund(world.client(), COIN)
    status = await world.client("provider").get_transaction_status_async(BitcoinTxId(made.id))
    assert (status.state, status.depth, status.fee) == (TxState.INCLUDED, 1, None)


async def test_a_wait_ends_with_the_state_that_it_waits_for(world: World) -> None:
    client = await world.funded()
    tx_id = await sent(world, client)
    assert (await client.wait_for_status_async(tx_id, until=TxState.PENDING)).state is TxState.PENDING
    waiting = asyncio.create_task(client.wait_for_status_async(tx_id))
    await asyncio.sleep(0.02)
    assert not waiting.done()
    world.node.mine(1)
    assert (await waiting).state is TxState.INCLUDED
    waiting = asyncio.create_task(client.wait_for_status_async(tx_id, until=TxState.FINAL))
    world.node.mine(5)
    assert (await waiting).depth == 6


async def test_a_wait_ends_for_a_dropped_transaction(world: World) -> None:
    client = await world.funded()
    tx_id = await sent(world, client)
    waiting = asyncio.create_task(client.wait_for_status_async(tx_id, until=TxState.FINAL))
    newer = await client.replace_transaction_async(tx_id)
    world.node.mine(1)
    status = await waiting
    assert (status.state, status.replaced_by) == (TxState.DROPPED, newer)


async def test_a_wait_has_a_time_limit_and_a_sense(world: World) -> None:
    client = await world.funded()
    tx_id = await sent(world, client)
    with pytest.raises(AsyncTimeout) as caught:
        await client.wait_for_status_async(tx_id, timeout=0.05)
    assert (caught.value.outcome, caught.value.tx_id) == (Outcome.UNKNOWN, tx_id)
    for wrong in (TxState.DROPPED, TxState.FAILED):
        with pytest.raises(InvalidRequest):
            await client.wait_for_status_async(tx_id, until=wrong)


async def test_a_watch_yields_each_change_until_the_end(world: World) -> None:
    client = await world.funded(final_depth=2)
    tx_id = await sent(world, client)
    seen = []
    async with aclosing(client.watch_transaction_async(tx_id)) as statuses:
        async for status in statuses:
            seen.append((status.state, status.depth))
            match len(seen):
                case 1 | 4:
                    world.node.mine(1)
                case 2:
                    world.node.reorganise(1, True, [])
                case 3:
                    world.node.mine(1)
    expected = [TxState.PENDING, TxState.INCLUDED, TxState.PENDING, TxState.INCLUDED, TxState.FINAL]
    assert [state for state, _ in seen] == expected


async def test_a_watch_of_a_replaced_transaction_ends_once_the_replacement_is_final(world: World) -> None:
    client = await world.funded()
    tx_id = await sent(world, client)
    newer = await client.replace_transaction_async(tx_id)
    world.node.mine(6)
    seen = [each async for each in client.watch_transaction_async(tx_id)]
    assert [(each.state, each.replaced_by) for each in seen] == [(TxState.DROPPED, newer)]


async def test_a_watch_survives_a_short_failure_of_the_source(world: World) -> None:
    client = await world.funded()
    tx_id = await sent(world, client)
    find, failures = client.legs._parts.source.find, 2

    async def flaky(tx_hash: bytes) -> object:
        nonlocal failures
        failures -= 1
        if failures >= 0:
            raise NodeUnreachable("no answer")
        return await find(tx_hash)

    client.legs._parts.source.find = flaky  # type: ignore[method-assign, assignment]  # a fault
    assert (await client.wait_for_status_async(tx_id, until=TxState.PENDING)).state is TxState.PENDING
    failures = 10**6
    with pytest.raises(NodeUnreachable):
        await client.wait_for_status_async(tx_id, until=TxState.PENDING)


async def test_estimates_follow_the_node(world: World) -> None:
    client = world.client()
    assert await client.estimate_fee_rate_async() == 1_000
    world.node.set_fees(35_500)
    assert await client.estimate_fee_rate_async(1) == 35_500
    for blocks in (0, 1_009, True, 1.5, "6"):
        with pytest.raises(InvalidRequest):
            await client.estimate_fee_rate_async(blocks)  # type: ignore[arg-type]  # on purpose


async def test_the_balance_counts_what_can_be_spent_and_what_cannot_yet(world: World) -> None:
    client = await world.funded(coins=3)
    assert (await client.balances_async())[BTC] == Balance(3 * COIN, 0)
    await world.fund(client, 70_000, confirm=False)
    assert (await client.balances_async())[BTC] == Balance(3 * COIN, 70_000)
    tx_id = await sent(world, client)
    assert (await client.balances_async())[BTC] == Balance(2 * COIN, COIN - 50_000 - world.fee(tx_id) + 70_000)
    await client.legs._parts.coins.pay("swap:00", [TxOut(50_000, STRANGER_SCRIPT)], 2_000)
    balance = (await client.balances_async())[BTC]
    assert (balance.spendable, balance.receivable) == (COIN, None)
    world.node.mine(1)
    world.node.reorganise(1, False, [])
    assert (await client.balances_async())[BTC].spendable <= 2 * COIN


async def test_addresses_are_fresh_and_survive_a_restart(world: World) -> None:
    file = str(world.directory / "wallet.db")
    client = world.client(wallet_file=file)
    given = [await client.receive_address_async() for _ in range(30)]
    assert len(set(given)) == 30
    # The first address of this mnemonic on test networks, m/84'/1'/0'/0/0, as other wallets show it.
    first = segwit_address.decode_script("tb1q6rz28mcfaxtmd6v789l9rrlrusdprr9pqcpvkl", "tb")
    assert segwit_address.decode_script(given[0], "bcrt") == first
    await client.aclose()
    world.node.mine(1, [world.payment(TxOut(80_000, segwit_address.decode_script(given[-1], "bcrt")))])
    again = world.client(wallet_file=file)
    assert (await again.balances_async())[BTC] == Balance(80_000, 0)
    assert await again.receive_address_async() not in given


async def test_without_a_wallet_file_the_coins_are_found_again(world: World) -> None:
    await world.funded(coins=3)
    assert (await world.client().balances_async())[BTC] == Balance(3 * COIN, 0)


async def test_a_wallet_file_of_another_seed_is_refused(world: World) -> None:
    file = str(world.directory / "wallet.db")
    await world.client(wallet_file=file).receive_address_async()
    with pytest.raises(ConfigurationError):
        world.client("provider", wallet_file=file)


async def test_a_closed_client_refuses_every_call(world: World) -> None:
    client = await world.funded()
    tx_id = await sent(world, client)
    await client.aclose()
    await client.aclose()
    calls: list[Callable[[], Awaitable[object]]] = [
        client.initialize_async,
        client.balances_async,
        client.receive_address_async,
        client.estimate_fee_rate_async,
        lambda: sent(world, client),
        lambda: client.get_transaction_status_async(tx_id),
        lambda: client.wait_for_status_async(tx_id),
        lambda: client.replace_transaction_async(tx_id),
        lambda: client.cancel_transaction_async(tx_id),
        lambda: client.pay_for_parent_async(tx_id, fee_rate=2_000),
        lambda: anext(client.watch_transaction_async(tx_id)),
    ]
    for call in calls:
        with pytest.raises(AsyncRuntimeError):
            await call()


async def test_closing_ends_a_wait(world: World) -> None:
    client = await world.funded()
    tx_id = await sent(world, client)
    waiting = asyncio.create_task(client.wait_for_status_async(tx_id))
    await asyncio.sleep(0.02)
    await client.aclose()
    with pytest.raises((AsyncRuntimeError, NodeUnreachable)):
        await waiting


async def test_a_silent_server_holds_up_neither_a_call_nor_the_end(world: World) -> None:
    client = await world.funded()
    world.faults.is_mute = True
    for call in (client.initialize_async, client.balances_async, client.estimate_fee_rate_async):
        with pytest.raises(AsyncTimeout):
            await call(timeout=0.2)
    assert await client.receive_address_async(timeout=2)
    async with asyncio.timeout(2):
        await client.aclose()


async def test_a_server_that_is_gone_is_a_typed_error(world: World) -> None:
    client = world.client(esplora_url="http://127.0.0.1:9")
    for call in (client.initialize_async, client.balances_async, lambda: sent(world, client)):
        with pytest.raises(NodeUnreachable):
            await call()


def test_a_blocking_program_uses_the_twins(tmp_path: Path) -> None:
    async def run() -> None:
        async with bitcoin_world(tmp_path) as world:
            client = await world.funded()

            def blocking() -> None:
                tx_id = client.transfer_asset_sync(BTC, 50_000, STRANGER)
                newer = client.replace_transaction_sync(tx_id)
                assert client.get_transaction_status_sync(newer).state is TxState.PENDING
                assert client.estimate_fee_rate_sync() == 1_000
                world.node.mine(6)
                assert [each.state for each in client.watch_transaction_sync(newer)][-1] is TxState.FINAL

            async with client:
                await asyncio.to_thread(blocking)

    asyncio.run(run())
