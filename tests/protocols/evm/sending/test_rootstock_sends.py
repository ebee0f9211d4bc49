"""Single transactions at rskj's pool: legacy ones, 40 % bumps, 16 slots, and a pool that drops what waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import pytest

from layer2.errors import FormatError, FundsRulesError, InsufficientFunds, InvalidRequest, Outcome, TransactionError
from layer2.formats.evm_address import to_checksum
from layer2.formats.evm_hex import parse_data
from layer2.formats.evm_transaction import Eip1559Transaction, LegacyTransaction, SignedTransaction, decode_signed
from layer2.local.accounts import START_WEI
from layer2.model.money import AssetId
from layer2.model.transactions import EvmTxId, TxState
from layer2.protocols.evm.fees.models import MINIMUM_GAS_PRICE
from layer2.protocols.evm.fees.prices import Market, Price
from layer2.protocols.evm.requests import EvmTransactionRequest
from layer2.protocols.evm.sending.signing import Message, price_of
from layer2.protocols.rootstock import RootstockClient
from memory_sends import MemorySends
from protocols.evm.rootstock_network import CHAIN_ID, RootstockNetwork, rootstock_network

RBTC = AssetId("RBTC", 18)
SOMEBODY = b"\x05" * 20
TO = to_checksum(SOMEBODY, CHAIN_ID)
SLOTS = 16


@pytest.fixture
async def rootstock() -> AsyncIterator[RootstockNetwork]:
    async with rootstock_network() as network:
        yield network


async def pay(client: RootstockClient, wei: int = 7) -> EvmTxId:
    return await client.transfer_asset_async(RBTC, wei, TO)


def recorded(sends: MemorySends, tx_id: EvmTxId) -> SignedTransaction:
    act = next(record.act for record in sends.records.values() if record.tx_id == tx_id)
    return decode_signed(parse_data(act["raw"], "raw"))


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110 - the client and the node are in this loop
            await asyncio.sleep(0.01)


async def test_a_payment_is_a_legacy_transaction_that_costs_gas_at_its_price(rootstock: RootstockNetwork) -> None:
    sends = MemorySends()
    taker = await rootstock.client("taker", sends)
    estimate = await taker.estimate_fee_async(EvmTransactionRequest(to=TO, value=7))
    assert (estimate.l1_data, estimate.operator) == (0, 0)
    tx_id = await pay(taker)
    status = await taker.wait_for_status_async(tx_id, timeout=10)
    transaction = recorded(sends, tx_id).transaction
    assert isinstance(transaction, LegacyTransaction)
    assert transaction.chain_id == CHAIN_ID
    assert status.fee == 21_000 * transaction.gas_price == estimate.total
    assert rootstock.balance(rootstock.accounts["taker"].address) == START_WEI - 7 - status.fee


async def test_a_signed_transaction_of_type_2_is_refused_and_a_legacy_one_is_sent(rootstock: RootstockNetwork) -> None:
    taker = await rootstock.client("taker")
    key, address = rootstock.accounts["provider"].key, rootstock.accounts["provider"].address
    for transaction in (
        Eip1559Transaction(CHAIN_ID, 0, 10**9, 10**9, 21_000, SOMEBODY, 5),
        LegacyTransaction(CHAIN_ID, 0, 10**9, 21_000, SOMEBODY, 5),
    ):
        raw = transaction.signed(key.sign_recoverable(transaction.signing_hash(), hasher=None)).raw
        if isinstance(transaction, Eip1559Transaction):
            with pytest.raises(FormatError, match="only legacy transactions"):
                await taker.submit_transaction_async(raw)
        else:
            status = await taker.submit_transaction_async(raw)
            await taker.wait_for_status_async(status.tx_id, timeout=10)
    assert rootstock.balance(SOMEBODY) == 5
    assert rootstock.balance(address) == START_WEI - 5 - 21_000 * 10**9


async def test_a_repeated_send_that_the_pool_knows_is_a_success(rootstock: RootstockNetwork) -> None:
    rootstock.chain.maker.set_enabled(False)
    sends = MemorySends()
    taker = await rootstock.client("taker", sends)
    tx_id = await pay(taker)
    await taker._account.send(recorded(sends, tx_id))
    rootstock.chain.node.mine()
    # Now the pool does not have it, and its nonce is used: by itself.
    await taker._account.send(recorded(sends, tx_id))
    assert (await taker.get_transaction_status_async(tx_id)).state is TxState.INCLUDED


async def test_a_replacement_costs_40_percent_more_and_the_pool_takes_it(rootstock: RootstockNetwork) -> None:
    rootstock.chain.maker.set_enabled(False)
    sends = MemorySends()
    taker = await rootstock.client("taker", sends)
    first = await pay(taker)
    old = price_of(recorded(sends, first))
    with pytest.raises(TransactionError) as refused:
        await taker.replace_transaction_async(first, max_fee_per_gas=old.max_fee_per_gas * 14 // 10 - 1)
    assert refused.value.code == "bump_too_small"
    with pytest.raises(InvalidRequest, match="one price for gas"):
        await taker.replace_transaction_async(first, max_priority_fee_per_gas=old.max_fee_per_gas * 2)
    second = await taker.replace_transaction_async(first)
    assert price_of(recorded(sends, second)) == MINIMUM_GAS_PRICE.bumped(old)
    cancellation = await taker.cancel_transaction_async(second)
    rootstock.chain.node.mine()
    assert (await taker.get_transaction_status_async(cancellation)).state is TxState.INCLUDED
    assert (await taker.get_transaction_status_async(first)).replaced_by == cancellation
    assert rootstock.balance(SOMEBODY) == 0


async def test_a_bump_that_the_pool_finds_too_small_belongs_to_another_nonce_holder(
    rootstock: RootstockNetwork,
) -> None:
    rootstock.chain.maker.set_enabled(False)
    one, other = await rootstock.client("taker"), await rootstock.client("taker")
    message = Message(SOMEBODY, b"", 1, 21_000)
    (first,) = await one._account.sign([message], await one._fees.quote())
    (second,) = await other._account.sign([replace(message, value=2)], await other._fees.quote())
    await one._account.send(first)
    with pytest.raises(TransactionError, match="gas price not enough to bump") as refused:
        await other._account.send(second)
    assert (refused.value.code, refused.value.outcome) == ("nonce_used", Outcome.REJECTED)
    # The next one takes the next nonce.
    (third,) = await other._account.sign([message], await other._fees.quote())
    assert third.transaction.nonce == first.transaction.nonce + 1
    await other._account.send(third)


async def test_what_exceeds_the_pools_slots_is_refused_with_no_effect_and_can_be_tried_again(
    rootstock: RootstockNetwork,
) -> None:
    rootstock.chain.maker.set_enabled(False)
    taker = await rootstock.client("taker")
    results = await asyncio.gather(*[pay(taker, 1) for _ in range(SLOTS + 4)], return_exceptions=True)
    errors = [result for result in results if isinstance(result, TransactionError)]
    assert len(errors) == 4
    assert {(error.code, error.outcome, error.retryable) for error in errors} == {("pool_full", Outcome.REJECTED, True)}
    rootstock.chain.node.mine()
    assert rootstock.balance(SOMEBODY) == SLOTS
    await asyncio.gather(*[pay(taker, 1) for _ in errors])
    rootstock.chain.node.mine()
    assert rootstock.balance(SOMEBODY) == SLOTS + 4


async def test_what_the_pool_dropped_after_ten_blocks_is_sent_again_without_being_asked(
    rootstock: RootstockNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(MINIMUM_GAS_PRICE), "pool_seconds", 0.05)
    rootstock.chain.maker.set_enabled(False)
    taker = await rootstock.client("taker")
    node, tx_ids = rootstock.chain.node, [await pay(taker, 1) for _ in range(3)]
    rootstock.clock.advance(651)
    assert len(node.pool) == 0
    await until(lambda: len(node.pool) == 3)
    node.mine()
    assert [(await taker.get_transaction_status_async(tx_id)).state for tx_id in tx_ids] == [TxState.INCLUDED] * 3
    # Once all is final, the checks end.
    node.mine(5)
    await until(lambda: taker._account._repair._pool_timer is None)


async def test_a_payment_of_an_earlier_run_that_the_pool_dropped_does_not_block_what_is_sent_later(
    rootstock: RootstockNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(MINIMUM_GAS_PRICE), "pool_seconds", 0.05)
    rootstock.chain.maker.set_enabled(False)
    earlier = await rootstock.client("taker")
    await pay(earlier, 1)
    await earlier.aclose()
    rootstock.clock.advance(400)
    taker = await rootstock.client("taker")
    tx_id = await pay(taker, 2)
    rootstock.clock.advance(300)
    node = rootstock.chain.node
    assert len(node.pool) == 1
    await until(lambda: len(node.pool) == 2)
    node.mine()
    assert (await taker.get_transaction_status_async(tx_id)).state is TxState.INCLUDED
    assert rootstock.balance(SOMEBODY) == 2


async def test_each_block_shows_a_watcher_that_the_pool_dropped_a_transaction(
    rootstock: RootstockNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(MINIMUM_GAS_PRICE), "pool_seconds", 1e9)
    rootstock.chain.maker.set_enabled(False)
    taker = await rootstock.client("taker")
    tx_id = await pay(taker, 1)
    waiting = asyncio.create_task(taker.wait_for_status_async(tx_id, timeout=20))
    await asyncio.sleep(0.1)
    rootstock.clock.advance(651)
    node = rootstock.chain.node
    node.mine()
    await until(lambda: len(node.pool) == 1)
    node.mine()
    assert (await waiting).state is TxState.INCLUDED


async def test_an_account_without_coins_is_named(rootstock: RootstockNetwork) -> None:
    rootstock.accounts["poor"] = type(rootstock.accounts["taker"]).from_seed(b"tests", "poor")
    poor = await rootstock.client("poor")
    with pytest.raises(InsufficientFunds, match="it has 0"):
        await pay(poor, 1)
    transaction = LegacyTransaction(CHAIN_ID, 0, 10**9, 21_000, SOMEBODY, 5)
    key = rootstock.accounts["poor"].key
    raw = transaction.signed(key.sign_recoverable(transaction.signing_hash(), hasher=None)).raw
    with pytest.raises(InsufficientFunds, match="the sender account doesn't exist"):
        await poor.submit_transaction_async(raw)


async def test_the_cap_refuses_a_payment_when_the_minimum_is_above_it(rootstock: RootstockNetwork) -> None:
    taker = await rootstock.client("taker", max_fee_per_gas_wei=rootstock.minimum - 1)
    with pytest.raises(FundsRulesError) as refused:
        await pay(taker)
    assert refused.value.code == "fee_cap"


async def test_a_claims_price_at_its_deadline_is_one_that_the_pool_takes(rootstock: RootstockNetwork) -> None:
    rootstock.chain.maker.set_enabled(False)
    taker = await rootstock.client("taker")
    (signed,) = await taker._account.sign([Message(SOMEBODY, b"", 1, 21_000)], await taker._fees.urgent_quote())
    await taker._account.send(signed)
    market = MINIMUM_GAS_PRICE.urgent_quote(Market(rootstock.minimum), tip=0)
    price = MINIMUM_GAS_PRICE.next_price(price_of(signed), market, -1)
    assert price == Price(76 * rootstock.minimum, 76 * rootstock.minimum)
    last = await taker._account.sign_replacement(signed, Message(SOMEBODY, b"", 1, 21_000), price)
    await taker._account.send(last, is_replacement=True)
    rootstock.chain.node.mine()
    assert rootstock.balance(SOMEBODY) == 1


async def test_a_payment_that_the_minimum_passes_is_raised_for_a_claim_behind_it(
    rootstock: RootstockNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = rootstock.chain.node
    rootstock.chain.maker.set_enabled(False)
    sends = MemorySends()
    taker = await rootstock.client("taker", sends)
    first = await pay(taker)
    old = price_of(recorded(sends, first)).max_fee_per_gas
    rootstock.want_price(10 * old)
    with monkeypatch.context() as patch:
        # No miner takes the payment, and the pool drops it after ten blocks.
        patch.setattr(node.pool, "ready", lambda *_: iter(()))
        while rootstock.minimum < old:
            node.mine()
    with pytest.raises(TransactionError, match="lower than block's minimum"):
        await taker._account.send(recorded(sends, first))
    taker._fees._prices._until = 0.0  # As if two seconds had gone by: prices are read again.
    await taker._replacements.unblock(1)
    node.mine()
    assert rootstock.balance(SOMEBODY) == 7
    assert (await taker.get_transaction_status_async(first)).state is TxState.DROPPED
