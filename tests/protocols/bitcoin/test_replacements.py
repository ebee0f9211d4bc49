"""Replacements on Bitcoin: a higher fee, a cancellation, and a child that pays for its parent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from layer2.errors import (
    FundsRulesError,
    InsufficientFunds,
    InvalidAmount,
    Outcome,
    TransactionError,
)
from layer2.formats.bitcoin_transaction import TxOut
from layer2.model.money import BTC, Balance
from layer2.model.transactions import BitcoinTxId, TxState
from layer2.protocols.bitcoin.client import BitcoinClient
from protocols.bitcoin.client_world import COIN, STRANGER, STRANGER_SCRIPT, World, bitcoin_world

NOT_FOUND = BitcoinTxId("11" * 32)


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with bitcoin_world(tmp_path) as made:
        yield made


async def sent(world: World, client: BitcoinClient, key: str | None = None) -> BitcoinTxId:
    return await client.transfer_asset_async(BTC, 50_000, STRANGER, idempotency_key=key)


async def test_a_replacement_pays_the_same_with_a_higher_fee(world: World) -> None:
    client = await world.funded()
    first = await sent(world, client)
    second = await client.replace_transaction_async(first)
    assert world.pool == {second}
    assert world.rate(second) >= 2_000
    third = await client.replace_transaction_async(first, fee_rate=20_000)
    assert world.pool == {third}
    assert 20_000 <= world.rate(third) < 20_300
    assert world.paid(third) == 50_000
    world.node.mine(1)
    await asyncio.sleep(0.005)
    for tx_id in (first, second):
        status = await client.get_transaction_status_async(tx_id)
        assert (status.state, status.replaced_by) == (TxState.DROPPED, third)
    for act in (client.replace_transaction_async, client.cancel_transaction_async):
        with pytest.raises(TransactionError) as caught:
            await act(first)
        assert (caught.value.code, caught.value.tx_id) == ("mined", third)


@pytest.mark.parametrize("act", ["replace_transaction_async", "cancel_transaction_async"])
async def test_a_block_that_arrives_while_a_replacement_is_made_is_named(
    world: World, monkeypatch: pytest.MonkeyPatch, act: str
) -> None:
    client = await world.funded()
    first = await sent(world, client)
    coins = client._parts.coins
    synchronise = coins.bring_up_to_date

    async def after_a_block(*, fresh: bool = False) -> None:
        world.node.mine(1)
        await synchronise(fresh=True)

    monkeypatch.setattr(coins, "bring_up_to_date", after_a_block)
    with pytest.raises(TransactionError) as caught:
        await getattr(client, act)(first)
    assert (caught.value.code, caught.value.tx_id) == ("mined", first)


async def test_replacing_at_the_same_time_makes_one_replacement_after_the_other(world: World) -> None:
    client = await world.funded()
    tx_id = await sent(world, client)
    made = await asyncio.gather(*(client.replace_transaction_async(tx_id) for _ in range(3)))
    assert len(set(made)) == 3
    assert world.pool == {made[-1]}


async def test_a_cancellation_returns_the_coins(world: World) -> None:
    client = await world.funded(coins=1)
    tx_id = await sent(world, client, "rent")
    cancelling = await client.cancel_transaction_async(tx_id)
    assert world.pool == {cancelling}
    assert world.paid(cancelling) == 0
    with pytest.raises(TransactionError) as caught:
        await sent(world, client, "rent")
    assert (caught.value.code, caught.value.outcome, caught.value.tx_id) == ("cancelled", Outcome.UNKNOWN, cancelling)
    world.node.mine(6)
    with pytest.raises(TransactionError) as caught:
        await sent(world, client, "rent")
    assert (caught.value.code, caught.value.outcome) == ("cancelled", Outcome.REJECTED)
    gone = await client.get_transaction_status_async(tx_id)
    assert (gone.state, gone.replaced_by) == (TxState.DROPPED, cancelling)
    assert (await client.balances_async())[BTC] == Balance(COIN - world.fee(cancelling), 0)
    assert not await world.held()


async def test_a_cancellation_that_comes_too_late_leaves_the_payment(world: World) -> None:
    client = await world.funded(coins=1)
    tx_id = await sent(world, client, "rent")
    first = world.transaction(tx_id)
    cancelling = await client.cancel_transaction_async(tx_id)
    world.node.mine(1, [first])
    assert await sent(world, client, "rent") == tx_id
    assert (await client.get_transaction_status_async(cancelling)).replaced_by == tx_id


async def test_a_cancellation_is_itself_replaced_by_one_with_a_higher_fee(world: World) -> None:
    client = await world.funded(coins=1)
    cancelling = await client.cancel_transaction_async(await sent(world, client))
    faster = await client.replace_transaction_async(cancelling, fee_rate=30_000)
    assert world.pool == {faster}
    assert (world.rate(faster) >= 30_000, world.paid(faster)) == (True, 0)


async def test_a_replaced_transaction_names_the_newest_version_before_any_block(world: World) -> None:
    client = await world.funded()
    first = await sent(world, client)
    assert (await client.get_transaction_status_async(first)).replaced_by is None
    await client.replace_transaction_async(first)
    newest = await client.replace_transaction_async(first)
    status = await client.get_transaction_status_async(first)
    assert (status.state, status.replaced_by) == (TxState.UNKNOWN, newest)
    world.evict()
    for tx_id, successor in ((first, newest), (newest, None)):
        status = await client.get_transaction_status_async(tx_id)
        assert (status.state, status.replaced_by) == (TxState.UNKNOWN, successor)


async def test_a_child_of_a_transaction_that_is_not_pending_is_refused_with_the_reason(world: World) -> None:
    client = await world.funded()
    first = await sent(world, client)
    second = await client.replace_transaction_async(first)
    for tx_id, successor in ((NOT_FOUND, None), (first, second)):
        with pytest.raises(TransactionError) as caught:
            await client.pay_for_parent_async(tx_id, fee_rate=50_000)
        assert (caught.value.code, caught.value.tx_id) == ("not_pending", successor)
    world.node.mine(1)
    with pytest.raises(TransactionError) as caught:
        await client.pay_for_parent_async(first, fee_rate=50_000)
    assert (caught.value.code, caught.value.tx_id) == ("mined", second)


async def test_a_cancellation_of_several_coins_pays_what_the_replaced_fee_demands(world: World) -> None:
    client = await world.funded(coins=4, amount=100_000)
    tx_id = await client.transfer_asset_async(BTC, 350_000, STRANGER)
    assert len(world.spent(tx_id)) == 4
    cancelling = await client.cancel_transaction_async(tx_id)
    assert world.pool == {cancelling}
    world.node.mine(6)
    assert (await client.balances_async())[BTC] == Balance(400_000 - world.fee(cancelling), 0)
    assert not await world.held()


async def test_only_recorded_transactions_are_replaced(world: World) -> None:
    client = await world.funded()
    made = await world.fund(client, COIN, confirm=False)
    for tx_id in (NOT_FOUND, BitcoinTxId(made.id)):
        with pytest.raises(TransactionError) as caught:
            await client.replace_transaction_async(tx_id)
        assert caught.value.code == "not_recorded"
    for rate in (0, -1, True, 1.5):
        with pytest.raises(InvalidAmount):
            await client.replace_transaction_async(NOT_FOUND, fee_rate=rate)  # type: ignore[arg-type]  # on purpose


async def test_a_child_pays_for_a_parent_of_another_party(world: World) -> None:
    client = world.client()
    parent = await world.fund(client, COIN, confirm=False)
    child = await client.pay_for_parent_async(BitcoinTxId(parent.id), fee_rate=100_000)
    assert 100_000 <= world.rate(parent.id, child) < 101_000
    assert (await client.get_transaction_status_async(child)).fee == world.fee(child)
    with pytest.raises(FundsRulesError) as caught:
        await client.pay_for_parent_async(BitcoinTxId(parent.id), fee_rate=150_000)
    assert caught.value.code == "coins_held"
    faster = await client.replace_transaction_async(child, fee_rate=200_000)
    assert world.pool == {parent.id, faster}
    world.node.mine(6)
    assert (await client.balances_async())[BTC] == Balance(COIN - world.fee(faster), 0)
    assert not await world.held()


async def test_a_child_pays_for_an_own_send_by_its_change(world: World) -> None:
    client = await world.funded(coins=1)
    parent = await sent(world, client)
    child = await client.pay_for_parent_async(parent, fee_rate=50_000)
    assert world.rate(parent, child) >= 50_000
    world.node.set_fees(40_000)
    assert world.pool == {parent, child}


async def test_a_child_needs_an_output_that_is_worth_it(world: World) -> None:
    client = await world.funded(coins=1)
    small = await world.fund(client, 1_000, confirm=False)
    with pytest.raises(InsufficientFunds):
        await client.pay_for_parent_async(BitcoinTxId(small.id), fee_rate=100_000)
    foreign = world.payment(TxOut(5_000, STRANGER_SCRIPT))
    world.node.submit(foreign.encode())
    with pytest.raises(TransactionError) as caught:
        await client.pay_for_parent_async(BitcoinTxId(foreign.id), fee_rate=50_000)
    assert caught.value.code == "no_output"
    world.node.mine(1)
    with pytest.raises(TransactionError) as caught:
        await client.pay_for_parent_async(BitcoinTxId(small.id), fee_rate=50_000)
    assert (caught.value.code, caught.value.tx_id) == ("mined", small.id)
    with pytest.raises(InvalidAmount):
        await client.pay_for_parent_async(NOT_FOUND, fee_rate=0)
    assert not await world.held()
