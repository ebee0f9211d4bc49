"""Coins of single sends on Bitcoin: no two sends or swaps spend the same one, and each is released in the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from layer2.errors import (
    FundsRulesError,
    InsufficientFunds,
    Outcome,
    TransactionError,
)
from layer2.formats.bitcoin_transaction import TxOut
from layer2.journal.sql_journal import SqlJournal
from layer2.model.money import BTC, Balance
from layer2.model.transactions import TxState
from protocols.bitcoin.client_world import COIN, STRANGER, STRANGER_SCRIPT, World, bitcoin_world


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with bitcoin_world(tmp_path) as made:
        yield made


async def test_concurrent_payments_never_share_a_coin(world: World) -> None:
    client = await world.funded(coins=6)
    calls = [client.transfer_asset_async(BTC, 50_000, STRANGER, idempotency_key=f"{at}") for at in range(6)]
    sent = await asyncio.gather(*calls)
    assert len(set(sent)) == 6
    coins = [coin for each in sent for coin in world.spent(each)]
    assert len(coins) == len(set(coins))


async def test_two_processes_with_one_journal_never_share_a_coin(world: World) -> None:
    one = await world.funded(coins=8)
    journal = await SqlJournal.open(world.journal_path)
    world.closing.push_async_callback(journal.aclose)
    two = world.client(records=journal)
    calls = [
        each.transfer_asset_async(BTC, 50_000, STRANGER, idempotency_key=f"{name} {at}")
        for at in range(3)
        for name, each in (("one", one), ("two", two))
    ]
    sent = await asyncio.gather(*calls)
    assert len(set(sent)) == 6
    coins = [coin for each in sent for coin in world.spent(each)]
    assert len(coins) == len(set(coins))


async def test_a_send_and_a_swap_s_funding_never_share_a_coin(world: World) -> None:
    client = await world.funded(coins=2)
    coins = client.legs._parts.coins
    funding = await coins.pay("swap:00", [TxOut(50_000, STRANGER_SCRIPT)], 2_000)
    tx_id = await client.transfer_asset_async(BTC, 50_000, STRANGER)
    assert not world.spent(tx_id) & set(funding.coins)
    with pytest.raises(InsufficientFunds):
        await client.transfer_asset_async(BTC, COIN, STRANGER)


async def test_sends_and_fundings_at_the_same_time_never_share_a_coin(world: World) -> None:
    client = await world.funded(coins=6)
    coins = client.legs._parts.coins
    fundings = [coins.pay(f"swap:{at}", [TxOut(50_000, STRANGER_SCRIPT)], 2_000) for at in range(3)]
    sends = [client.transfer_asset_async(BTC, 60_000, STRANGER) for _ in range(3)]
    funded, sent = await asyncio.gather(asyncio.gather(*fundings), asyncio.gather(*sends))
    spent = [coin for each in funded for coin in each.coins] + [coin for each in sent for coin in world.spent(each)]
    assert len(spent) == len(set(spent))


async def test_a_replacement_never_takes_a_coin_that_a_swap_holds(world: World) -> None:
    client = await world.funded(coins=2, amount=100_000)
    tx_id = await client.transfer_asset_async(BTC, 95_000, STRANGER)
    funding = await client.legs._parts.coins.pay("swap:00", [TxOut(50_000, STRANGER_SCRIPT)], 2_000)
    with pytest.raises(InsufficientFunds):
        await client.replace_transaction_async(tx_id, fee_rate=100_000)
    assert world.pool == {tx_id}
    assert (await world.held())[str(funding.coins[0])] == "swap:00"


async def test_a_replacement_holds_the_coins_that_it_adds(world: World) -> None:
    client = await world.funded(coins=2, amount=100_000)
    tx_id = await client.transfer_asset_async(BTC, 95_000, STRANGER, idempotency_key="rent")
    newer = await client.replace_transaction_async(tx_id, fee_rate=100_000)
    assert len(world.spent(newer)) == 2
    assert world.paid(newer) == 95_000
    assert await world.held() == {str(each): "send:rent" for each in world.spent(newer)}


async def test_two_keys_with_the_same_signed_bytes_are_not_two_payments(world: World) -> None:
    client = await world.funded(coins=1)
    await client.initialize_async()
    raw = (await client.legs._parts.coins.wallet.pay([TxOut(50_000, STRANGER_SCRIPT)], 2_000)).transaction.encode()
    sent = await client.submit_transaction_async(raw, idempotency_key="one")
    assert (await client.submit_transaction_async(raw, idempotency_key="one")).tx_id == sent.tx_id
    with pytest.raises(FundsRulesError) as caught:
        await client.submit_transaction_async(raw, idempotency_key="two")
    assert caught.value.code == "coins_held"


async def test_signed_bytes_with_a_coin_that_a_swap_holds_are_refused(world: World) -> None:
    client = await world.funded(coins=1)
    coins = client.legs._parts.coins
    await client.initialize_async()
    other = await coins.wallet.pay([TxOut(60_000, STRANGER_SCRIPT)], 2_000)
    await coins.pay("swap:00", [TxOut(50_000, STRANGER_SCRIPT)], 2_000)
    with pytest.raises(FundsRulesError) as caught:
        await client.submit_transaction_async(other.transaction.encode())
    assert caught.value.code == "coins_held"
    assert not world.faults.broadcasts


async def test_an_unconfirmed_payment_from_another_party_is_not_spent(world: World) -> None:
    client = world.client()
    await world.fund(client, COIN, confirm=False)
    balance = (await client.balances_async())[BTC]
    assert (balance.spendable, balance.reserved) == (0, COIN)
    with pytest.raises(InsufficientFunds):
        await client.transfer_asset_async(BTC, 50_000, STRANGER)


async def test_the_change_of_an_unconfirmed_send_is_spent(world: World) -> None:
    client = await world.funded(coins=1)
    first = await client.transfer_asset_async(BTC, 50_000, STRANGER)
    second = await client.transfer_asset_async(BTC, 60_000, STRANGER)
    assert {each.tx_hash for each in world.spent(second)} == {world.transaction(first).hash}


async def test_coins_that_another_program_spent_drop_the_send_and_are_released(world: World) -> None:
    client = await world.funded(coins=1)
    tx_id = await client.transfer_asset_async(BTC, 50_000, STRANGER, idempotency_key="rent")
    world.evict()
    journal = await SqlJournal.open(world.directory / "other.db")
    world.closing.push_async_callback(journal.aclose)
    other = await world.client(records=journal).transfer_asset_async(BTC, 70_000, STRANGER)
    with pytest.raises(TransactionError) as caught:
        await client.transfer_asset_async(BTC, 50_000, STRANGER, idempotency_key="rent")
    assert (caught.value.outcome, caught.value.tx_id) == (Outcome.UNKNOWN, tx_id)
    world.node.mine(1)
    status = await client.get_transaction_status_async(tx_id)
    assert (status.state, status.replaced_by, status.finality) == (TxState.DROPPED, None, None)
    assert await world.held()
    world.node.mine(5)
    assert (await client.get_transaction_status_async(tx_id)).finality is not None
    assert (await client.balances_async())[BTC] == Balance(COIN - 70_000 - world.fee(other), 0)
    assert not await world.held()


async def test_coins_are_released_once_their_transaction_is_final(world: World) -> None:
    client = await world.funded(coins=3)
    sent = [await client.transfer_asset_async(BTC, 50_000, STRANGER) for _ in range(2)]
    world.node.mine(5)
    for each in sent:
        await client.get_transaction_status_async(each)
    await client.balances_async()
    assert set((await world.held()).values()) == {f"send:{each}" for each in sent}
    world.node.mine(1)
    assert (await client.get_transaction_status_async(sent[0])).state is TxState.FINAL
    assert set((await world.held()).values()) == {f"send:{sent[1]}"}
    await client.balances_async()
    assert not await world.held()


async def test_a_send_is_not_replaced_while_another_one_spends_its_change(world: World) -> None:
    client = await world.funded(coins=1)
    first = await client.transfer_asset_async(BTC, 50_000, STRANGER)
    second = await client.transfer_asset_async(BTC, 60_000, STRANGER)
    for act in (client.replace_transaction_async, client.cancel_transaction_async):
        with pytest.raises(TransactionError) as caught:
            await act(first)
        assert (caught.value.code, caught.value.tx_id) == ("has_child", second)
    newer = await client.replace_transaction_async(second, fee_rate=9_000)
    assert world.pool == {first, newer}


async def test_a_send_whose_parent_was_replaced_is_dropped_and_its_coins_are_released(world: World) -> None:
    client = await world.funded(coins=1)
    first = await client.transfer_asset_async(BTC, 50_000, STRANGER)
    second = await client.transfer_asset_async(BTC, 60_000, STRANGER)
    world.evict()
    newer = await client.replace_transaction_async(first)
    assert (await client.get_transaction_status_async(second)).state is TxState.UNKNOWN
    world.node.mine(1)
    assert (await client.get_transaction_status_async(second)).state is TxState.DROPPED
    world.node.mine(5)
    assert (await client.get_transaction_status_async(second)).finality is not None
    assert (await client.balances_async())[BTC] == Balance(COIN - 50_000 - world.fee(newer), 0)
    assert not await world.held()


async def test_the_change_of_a_swap_s_funding_is_not_spent_before_it_is_confirmed(world: World) -> None:
    # A funding that stays unconfirmed is voided. That would undo the send, and its other coins would stay held.
    client = await world.funded(coins=2)
    coins = client.legs._parts.coins
    funding = await coins.pay("swap:00", [TxOut(50_000, STRANGER_SCRIPT)], 2_000)
    world.node.submit(funding.transaction.encode())
    await coins.wallet.note_unconfirmed(funding.transaction, 1)
    with pytest.raises(InsufficientFunds):
        await client.transfer_asset_async(BTC, COIN + 50_000, STRANGER)
    world.node.mine(1)
    await client.transfer_asset_async(BTC, COIN + 50_000, STRANGER)
