"""Watched transactions: every change is reported once, and requests depend on blocks, not on transactions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import orjson
import pytest

from layer2.errors import FormatError, NodeUnreachable
from layer2.formats.evm_transaction import Eip1559Transaction
from layer2.model.money import ETH
from layer2.model.transactions import EvmTxId, Finality, TxState, TxStatus
from layer2.protocols.bob import BobClient
from protocols.evm.bob_network import BobNetwork

SOMEBODY = "0x" + "05" * 20


class Watcher:
    """Collects the statuses of a watch."""

    def __init__(self, client: BobClient, tx_id: EvmTxId) -> None:
        self.told: list[tuple[TxState, int | None]] = []
        self._news = asyncio.Condition()
        self.task = asyncio.create_task(self._collect(client.watch_transaction_async(tx_id)))

    async def _collect(self, statuses: AsyncIterator[TxStatus[EvmTxId]]) -> None:
        async for status in statuses:
            async with self._news:
                self.told.append((status.state, status.block_number))
                self._news.notify_all()

    async def until(self, state: TxState) -> None:
        async with asyncio.timeout(5), self._news:
            await self._news.wait_for(lambda: bool(self.told) and self.told[-1][0] is state)


async def sent_and_waiting(bob: BobNetwork, client: BobClient) -> EvmTxId:
    bob.maker.set_enabled(False)
    bob.node.set_finality(0, 0)
    return await client.transfer_asset_async(ETH, 1, SOMEBODY)


async def test_each_state_is_reported_once_and_final_ends_the_watch(bob: BobNetwork) -> None:
    client = await bob.client("taker")
    tx_id = await sent_and_waiting(bob, client)
    watcher = Watcher(client, tx_id)
    await watcher.until(TxState.PENDING)
    height = bob.node.mine()
    await watcher.until(TxState.INCLUDED)
    bob.node.mine(2)
    bob.node.set_finality(height, height)
    await asyncio.wait_for(watcher.task, 5)
    assert watcher.told == [(TxState.PENDING, None), (TxState.INCLUDED, height), (TxState.FINAL, height)]


@pytest.mark.parametrize("depth", [1, 5, 20])
async def test_every_watcher_gets_one_report_when_a_reorganisation_removes_the_transaction(
    bob: BobNetwork, depth: int
) -> None:
    client = await bob.client("taker")
    tx_id = await sent_and_waiting(bob, client)
    watchers = [Watcher(client, tx_id) for _ in range(3)]
    for watcher in watchers:
        await watcher.until(TxState.PENDING)
    first = bob.node.mine()
    if depth > 1:
        bob.node.mine(depth - 1)
    for watcher in watchers:
        await watcher.until(TxState.INCLUDED)
    bob.node.reorganise(depth, keep_transactions=True)
    for watcher in watchers:
        await watcher.until(TxState.PENDING)
    again = bob.node.mine()
    for watcher in watchers:
        await watcher.until(TxState.INCLUDED)
    bob.node.set_finality(again, again)
    for watcher in watchers:
        await asyncio.wait_for(watcher.task, 5)
        assert watcher.told == [
            (TxState.PENDING, None),
            (TxState.INCLUDED, first),
            (TxState.PENDING, None),
            (TxState.INCLUDED, again),
            (TxState.FINAL, again),
        ]


async def test_a_transaction_that_a_reorganisation_forgot_is_unknown(bob: BobNetwork) -> None:
    client = await bob.client("taker")
    watcher = Watcher(client, await sent_and_waiting(bob, client))
    bob.node.mine()
    await watcher.until(TxState.INCLUDED)
    bob.node.reorganise(1, keep_transactions=False)
    await watcher.until(TxState.UNKNOWN)
    watcher.task.cancel()
    await asyncio.gather(watcher.task, return_exceptions=True)


async def test_a_replaced_transaction_is_dropped_and_over_when_that_is_final(bob: BobNetwork) -> None:
    client = await bob.client("taker")
    tx_id = await sent_and_waiting(bob, client)
    watcher = Watcher(client, tx_id)
    await watcher.until(TxState.PENDING)
    nonce = await client._node.transaction_count(bob.address("taker"), Finality.LATEST)
    other = Eip1559Transaction(60808, nonce, 9_000_000, 90_000_000, 21_000, b"\x06" * 20, 1)
    signature = bob.accounts["taker"].key.sign_recoverable(other.signing_hash(), hasher=None)
    bob.node.send(other.signed(signature).raw)
    height = bob.node.mine()
    await watcher.until(TxState.DROPPED)
    assert not watcher.task.done()
    bob.node.set_finality(height, height)
    await asyncio.wait_for(watcher.task, 5)
    assert {state for state, _ in watcher.told} == {TxState.PENDING, TxState.DROPPED}


async def test_a_thousand_watched_transactions_cost_requests_by_the_block_and_not_each(
    bob: BobNetwork, requests_seen: list[bytes]
) -> None:
    client = await bob.client("taker")
    bob.maker.set_enabled(False)
    bob.node.set_finality(0, 0)
    # Requests are counted here, not seconds: a slow machine may take as long as it needs.
    sends = [client.transfer_asset_async(ETH, 1, SOMEBODY, timeout=100) for _ in range(1000)]
    tx_ids = await asyncio.gather(*sends)
    watchers = [Watcher(client, tx_id) for tx_id in tx_ids]
    for watcher in watchers:
        await watcher.until(TxState.PENDING)
    requests_seen.clear()
    height = bob.node.mine()
    for _ in range(3):
        height = bob.node.mine()
    for watcher in watchers:
        await watcher.until(TxState.INCLUDED)
    included = bob.node.mine()
    bob.node.set_finality(height, height)
    for watcher in watchers:
        await asyncio.wait_for(watcher.task, 10)
    calls = [call["method"] for body in requests_seen for call in _calls(body)]
    assert calls.count("eth_getBlockReceipts") <= included
    assert calls.count("eth_getTransactionReceipt") == 0
    assert calls.count("eth_getTransactionByHash") == 0


async def test_a_watch_that_is_left_leaves_nothing_behind(bob: BobNetwork) -> None:
    client = await bob.client("taker")
    tx_id = await sent_and_waiting(bob, client)
    for _ in range(20):
        watcher = Watcher(client, tx_id)
        await watcher.until(TxState.PENDING)
        watcher.task.cancel()
        await asyncio.gather(watcher.task, return_exceptions=True)
    assert client._watches._watched == {}
    bob.node.mine()
    await client.get_transaction_status_async(tx_id)
    await client.aclose()
    assert client._watches._task is None
    assert [task for task in asyncio.all_tasks() if "evm" in str(task.get_coro())] == []


async def test_watchers_get_an_error_when_the_node_stays_unreachable(bob: BobNetwork) -> None:
    client = await bob.client("taker")
    watcher = Watcher(client, await sent_and_waiting(bob, client))
    await watcher.until(TxState.PENDING)
    bob.faults.set("down")
    with pytest.raises(NodeUnreachable, match="cannot be followed"):
        await asyncio.wait_for(watcher.task, 10)


async def test_many_statuses_are_those_that_single_calls_give(bob: BobNetwork, requests_seen: list[bytes]) -> None:
    client = await bob.client("taker", head_life_ms=0)
    tx_ids = list(await asyncio.gather(*[client.transfer_asset_async(ETH, 1, SOMEBODY) for _ in range(30)]))
    unknown = EvmTxId("0x" + "77" * 32)
    bob.node.mine()
    singles = [await client.get_transaction_status_async(tx_id) for tx_id in [unknown, *tx_ids]]
    requests_seen.clear()
    assert await client.get_transaction_statuses_async([unknown, *tx_ids, tx_ids[0]]) == [*singles, singles[1]]
    methods = [call["method"] for body in requests_seen for call in _calls(body)]
    assert methods.count("eth_getTransactionReceipt") < 10
    bob.node.reorganise(2, keep_transactions=True)
    states = {status.state for status in await client.get_transaction_statuses_async(tx_ids)}
    assert states == {TxState.PENDING}


def _calls(body: bytes) -> list[dict[str, object]]:
    decoded = orjson.loads(body)
    return decoded if isinstance(decoded, list) else [decoded]


async def test_an_invalid_id_is_refused_for_its_watcher_only(bob: BobNetwork) -> None:
    client = await bob.client("taker")
    tx_id = await sent_and_waiting(bob, client)
    watcher = Watcher(client, tx_id)
    await watcher.until(TxState.PENDING)
    with pytest.raises(FormatError, match="transaction id"):
        await anext(aiter(client.watch_transaction_async(EvmTxId("hello"))))
    with pytest.raises(FormatError, match="transaction id"):
        await client.wait_for_status_async(EvmTxId(tx_id[:-2]))
    bob.node.mine()
    await watcher.until(TxState.INCLUDED)
    watcher.task.cancel()


async def test_an_id_in_upper_case_is_watched_like_any_other(bob: BobNetwork) -> None:
    client = await bob.client("taker")
    tx_id = await sent_and_waiting(bob, client)
    watcher = Watcher(client, EvmTxId("0x" + tx_id[2:].upper()))
    await watcher.until(TxState.PENDING)
    bob.node.mine()
    await watcher.until(TxState.INCLUDED)
    watcher.task.cancel()


async def test_the_last_watcher_ends_the_following_without_a_new_block(bob: BobNetwork) -> None:
    client = await bob.client("taker")
    tx_id = await sent_and_waiting(bob, client)
    watchers = [Watcher(client, tx_id) for _ in range(3)]
    for watcher in watchers:
        await watcher.until(TxState.PENDING)
    following = client._watches._task
    assert following is not None
    for watcher in watchers[:2]:
        watcher.task.cancel()
    await asyncio.wait([watcher.task for watcher in watchers[:2]])
    assert not following.done()
    watchers[2].task.cancel()
    await asyncio.wait({following}, timeout=5)
    assert following.done()
    assert not client._watcher._waiters
    again = Watcher(client, tx_id)
    await again.until(TxState.PENDING)
    again.task.cancel()
