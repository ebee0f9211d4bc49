"""Sends on Bitcoin's chain on both networks: fees, replacements, cancellations, reorganisations, and keys."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest

from layer2 import BTC, BitcoinTxId, Finality, TxState, TxStatus
from layer2.errors import FundsRulesError, InvalidRequest, TransactionError
from layer2.formats.bitcoin_transaction import Transaction
from layer2.local.network import LocalNetwork, LocalNetworkControl, Party
from layer2.protocols.bitcoin import BitcoinClient, BitcoinOutput, BitcoinPayment
from layer2.signers.bitcoin import BitcoinSeed
from memory_sends import MemoryRecords
from networks.parties import bitcoin_settings

AMOUNT = 20_000
FINAL_DEPTH = 3


@dataclass
class Chain:
    """Both parties' clients, and the control of the chain."""

    payer: BitcoinClient
    payee: BitcoinClient
    control: LocalNetworkControl

    async def send(self, amount: int = AMOUNT, **options: Any) -> BitcoinTxId:
        """Pay to a fresh address of the payee."""
        return await self.payer.transfer_asset_async(BTC, amount, await self.payee.receive_address_async(), **options)

    async def send_at(self, fee_rate: int) -> BitcoinTxId:
        """Pay to a fresh address of the payee at a fee rate."""
        output = BitcoinOutput(await self.payee.receive_address_async(), AMOUNT)
        return (await self.payer.submit_transaction_async(BitcoinPayment((output,), fee_rate))).tx_id

    async def mine(self, blocks: int = 1) -> int:
        return await self.control.mine(blocks, chain="BITCOIN")

    async def reorganise(self, depth: int, *transactions: Transaction) -> int:
        raw = [each.encode() for each in transactions]
        return await self.control.reorganise(depth, transactions=raw, chain="BITCOIN")

    async def status(self, tx_id: BitcoinTxId) -> TxStatus[BitcoinTxId]:
        return await self.payer.get_transaction_status_async(tx_id)

    async def transaction(self, tx_id: BitcoinTxId) -> Transaction:
        located = await self.payer._parts.source.find(bytes.fromhex(tx_id)[::-1])
        assert located is not None
        return located.transaction

    async def rate(self, *tx_ids: BitcoinTxId) -> float:
        """Satoshi per virtual byte that these transactions pay together; the first one is the payer's."""
        size = sum([(await self.transaction(each)).virtual_size for each in tx_ids])
        clients = (self.payer, self.payee)
        statuses = [
            await client.get_transaction_status_async(each) for client, each in zip(clients, tx_ids, strict=False)
        ]
        return sum(each.fee or 0 for each in statuses) / size

    async def owned(self, client: BitcoinClient) -> int:
        balance = (await client.balances_async())[BTC]
        return balance.spendable + balance.reserved


@pytest.fixture
async def chain(network: LocalNetwork, control: LocalNetworkControl) -> AsyncIterator[Chain]:
    """Clients that show every change at once."""
    async with client_of(network, network.taker) as payer, client_of(network, network.provider) as payee:
        await asyncio.gather(payer.initialize_async(), payee.initialize_async())
        yield Chain(payer, payee, control)


def client_of(network: LocalNetwork, party: Party) -> BitcoinClient:
    settings = bitcoin_settings(network, party, poll_interval_ms=1)
    return BitcoinClient(settings, BitcoinSeed.from_file(party.bitcoin_seed_file), MemoryRecords())


@dataclass
class Watcher:
    """Collects the reports of a watch."""

    told: list[TxStatus[BitcoinTxId]] = field(default_factory=list)
    news: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def until(self, state: TxState, depth: int | None = None) -> TxStatus[BitcoinTxId]:
        async with asyncio.timeout(30), self.news:
            await self.news.wait_for(
                lambda: bool(self.told) and (self.told[-1].state, self.told[-1].depth) == (state, depth)
            )
            return self.told[-1]


@asynccontextmanager
async def watching(client: BitcoinClient, tx_id: BitcoinTxId) -> AsyncIterator[Watcher]:
    watcher = Watcher()

    async def watch() -> None:
        async for status in client.watch_transaction_async(tx_id):
            async with watcher.news:
                watcher.told.append(status)
                watcher.news.notify_all()

    task = asyncio.create_task(watch())
    try:
        yield watcher
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_a_watch_reports_each_confirmation_until_the_transaction_is_final(chain: Chain) -> None:
    tx_id = await chain.send()
    async with watching(chain.payer, tx_id) as watcher:
        await watcher.until(TxState.PENDING)
        for depth in range(1, FINAL_DEPTH):
            height = await chain.mine()
            status = await watcher.until(TxState.INCLUDED, depth)
            assert (status.block_number, status.finality) == (height - depth + 1, None)
        await chain.mine()
        assert (await watcher.until(TxState.FINAL, FINAL_DEPTH)).finality is Finality.FINALIZED


@pytest.mark.parametrize("depth", [1, 2, 7])
async def test_a_reorganisation_takes_the_payment_back_until_it_is_mined_again(chain: Chain, depth: int) -> None:
    before = await chain.owned(chain.payee)
    tx_id = await chain.send()
    await chain.mine(depth)
    first = await chain.status(tx_id)
    assert first.depth == depth
    assert await chain.owned(chain.payee) == before + AMOUNT
    head = await chain.reorganise(depth)
    assert (await chain.status(tx_id)).state is TxState.PENDING
    # The payee's wallet may not see the mempool.
    assert (await chain.payee.balances_async())[BTC].spendable <= before
    assert await chain.mine() == head + 1
    again = await chain.status(tx_id)
    assert (again.depth, again.block_number) == (1, head + 1)
    assert again.block_hash != first.block_hash
    assert await chain.owned(chain.payee) == before + AMOUNT


async def test_a_branch_that_contains_the_replaced_version_makes_that_one_count(chain: Chain) -> None:
    before = await chain.owned(chain.payer), await chain.owned(chain.payee)
    original = await chain.send()
    raw = await chain.transaction(original)
    replacement = await chain.payer.replace_transaction_async(original)
    await chain.mine(2)
    assert (await chain.status(original)).replaced_by == replacement
    await chain.reorganise(2, raw)
    status, dropped = await chain.status(original), await chain.status(replacement)
    assert (status.state, status.depth) == (TxState.FINAL, 3)
    assert (dropped.state, dropped.replaced_by) == (TxState.DROPPED, original)
    assert status.fee is not None
    assert await chain.owned(chain.payer) == before[0] - AMOUNT - status.fee
    assert await chain.owned(chain.payee) == before[1] + AMOUNT


async def test_a_replacement_pays_more_and_takes_the_place_of_the_payment(chain: Chain) -> None:
    before = await chain.owned(chain.payee)
    original = await chain.send_at(2_000)
    replacement = await chain.payer.replace_transaction_async(original, fee_rate=9_000)
    assert await chain.rate(replacement) >= 9
    assert (await chain.status(original)).state is TxState.UNKNOWN
    await chain.mine(FINAL_DEPTH)
    dropped = await chain.status(original)
    assert (dropped.state, dropped.replaced_by) == (TxState.DROPPED, replacement)
    assert dropped.finality is Finality.FINALIZED
    assert (await chain.status(replacement)).state is TxState.FINAL
    assert await chain.owned(chain.payee) == before + AMOUNT
    with pytest.raises(TransactionError) as refused:
        await chain.payer.replace_transaction_async(original)
    assert refused.value.code == "mined"


async def test_a_cancellation_returns_the_coins(chain: Chain) -> None:
    before = await chain.owned(chain.payer), await chain.owned(chain.payee)
    key = os.urandom(8).hex()
    original = await chain.send(idempotency_key=key)
    cancellation = await chain.payer.cancel_transaction_async(original)
    await chain.mine(FINAL_DEPTH)
    status = await chain.status(cancellation)
    assert status.state is TxState.FINAL
    assert status.fee is not None
    assert (await chain.status(original)).state is TxState.DROPPED
    assert await chain.owned(chain.payer) == before[0] - status.fee
    assert await chain.owned(chain.payee) == before[1]


async def test_the_payee_raises_the_fee_of_a_payment_by_spending_it(chain: Chain) -> None:
    before = await chain.owned(chain.payee)
    parent = await chain.send_at(1_000)
    child = await chain.payee.pay_for_parent_async(parent, fee_rate=15_000)
    assert await chain.rate(parent, child) >= 15
    await chain.mine(FINAL_DEPTH)
    status = await chain.payee.get_transaction_status_async(child)
    assert (status.state, (await chain.status(parent)).state) == (TxState.FINAL, TxState.FINAL)
    assert await chain.owned(chain.payee) == before + AMOUNT - await fee_of(chain, child, parent)


async def fee_of(chain: Chain, child: BitcoinTxId, parent: BitcoinTxId) -> int:
    """What a child of one input pays to miners."""
    made, spent = await chain.transaction(child), await chain.transaction(parent)
    (source,) = made.inputs
    return spent.outputs[source.prevout.index].amount - sum(each.amount for each in made.outputs)


async def test_an_estimate_is_a_rate_that_the_node_accepts(chain: Chain) -> None:
    soon, later = [await chain.payer.estimate_fee_rate_async(blocks) for blocks in (1, 12)]
    assert soon >= later >= 1_000
    tx_id = await chain.send_at(later)
    assert (await chain.status(tx_id)).state is TxState.PENDING
    await chain.mine()
    with pytest.raises(InvalidRequest):
        await chain.payer.estimate_fee_rate_async(0)


async def test_a_fee_rate_above_the_cap_is_refused_and_nothing_is_sent(chain: Chain) -> None:
    too_much = chain.payer.settings.max_fee_rate + 1
    before = await chain.payer.balances_async()
    with pytest.raises(FundsRulesError) as refused:
        await chain.send_at(too_much)
    assert refused.value.code == "fee_cap"
    assert await chain.payer.balances_async() == before
    tx_id = await chain.send()
    for act in (chain.payer.replace_transaction_async, chain.payee.pay_for_parent_async):
        with pytest.raises(FundsRulesError):
            await act(tx_id, fee_rate=too_much)
    assert (await chain.status(tx_id)).state is TxState.PENDING
    await chain.mine()


async def test_sends_under_different_keys_never_spend_the_same_coin(chain: Chain) -> None:
    keys = [os.urandom(8).hex() for _ in range(4)]
    tx_ids = await asyncio.gather(*(chain.send(idempotency_key=key) for key in keys))
    spent = [one.prevout for each in tx_ids for one in (await chain.transaction(each)).inputs]
    assert len(set(tx_ids)) == len(keys)
    assert len(set(spent)) == len(spent)
    await chain.mine(FINAL_DEPTH)
    assert {(await chain.status(each)).state for each in tx_ids} == {TxState.FINAL}


async def test_every_address_is_fresh(chain: Chain) -> None:
    addresses = await asyncio.gather(*(chain.payee.receive_address_async() for _ in range(20)))
    assert len(set(addresses)) == 20
    assert all(each.startswith("bcrt1q") for each in addresses)


async def test_a_payment_to_the_hundredth_unused_address_is_seen(chain: Chain) -> None:
    before = await chain.owned(chain.payee)
    for _ in range(3):
        addresses = [await chain.payee.receive_address_async() for _ in range(40)]
        await chain.payee.balances_async()
    await chain.payer.transfer_asset_async(BTC, AMOUNT, addresses[-1])
    await chain.mine()
    assert await chain.owned(chain.payee) == before + AMOUNT


async def test_a_new_wallet_of_the_same_seed_has_the_same_coins(chain: Chain, network: LocalNetwork) -> None:
    await chain.send()
    await chain.mine(FINAL_DEPTH)
    await chain.payer.balances_async()
    coins = await chain.payer._parts.coins.wallet.confirmed_coins()
    # Almost everything, so that no output returns to the wallet: only its inputs show that it is the wallet's.
    everything = sum(coins.values()) - 100 - 50 - 70 * len(coins)
    address = await chain.payee.receive_address_async()
    payment = BitcoinPayment((BitcoinOutput(address, everything),), 1_000)
    tx_id = (await chain.payer.submit_transaction_async(payment)).tx_id
    assert len((await chain.transaction(tx_id)).outputs) == 1
    await chain.mine(FINAL_DEPTH)
    try:
        async with client_of(network, network.taker) as other:
            await other.initialize_async()
            assert await chain.owned(other) == 0
    finally:
        for _ in range(4):
            back = await chain.payer.receive_address_async()
            await chain.payee.transfer_asset_async(BTC, everything // 5, back)
        await chain.mine(FINAL_DEPTH)
    async with client_of(network, network.taker) as other:
        await other.initialize_async()
        assert await chain.owned(other) == 4 * (everything // 5)
