"""Statuses from cached heads and shared requests are never wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

import pytest

from layer2.errors import BadAnswer, NodeError
from layer2.formats.evm_transaction import Eip1559Transaction
from layer2.model.money import ETH
from layer2.model.transactions import EvmTxId, Finality, TxState
from layer2.protocols.bob import BobClient
from protocols.evm.bob_network import BobNetwork
from protocols.evm.scripted_node import Calls, balanced

HOUR_MS = 3_600_000
SOMEBODY = "0x" + "06" * 20


async def included(bob: BobNetwork, client: BobClient) -> tuple[EvmTxId, bytes, int]:
    """A transaction in a block below two others: its id, its bytes, and its height. No block is safe."""
    bob.maker.set_enabled(False)
    bob.node.set_finality(0, 0)
    nonce = await client._node.transaction_count(bob.address("taker"), Finality.LATEST)
    transaction = Eip1559Transaction(60808, nonce, 9_000_000, 90_000_000, 21_000, b"\x06" * 20, 1)
    raw = transaction.signed(bob.accounts["taker"].key.sign_recoverable(transaction.signing_hash(), hasher=None)).raw
    tx_id = (await client.submit_transaction_async(raw)).tx_id
    height = bob.node.mine()
    bob.node.mine(2)
    return tx_id, raw, height


async def test_old_heads_understate_finality_until_they_are_read_again(bob: BobNetwork) -> None:
    client = await bob.client("taker", head_life_ms=HOUR_MS)
    tx_id, _, height = await included(bob, client)
    await client._watcher.read()
    assert (await client.get_transaction_status_async(tx_id)).state is TxState.INCLUDED
    bob.node.set_finality(height, height)
    assert (await client.get_transaction_status_async(tx_id)).finality is Finality.LATEST
    await client._watcher.read()
    assert (await client.get_transaction_status_async(tx_id)).state is TxState.FINAL


async def test_a_receipt_above_old_heads_has_them_read_again(bob: BobNetwork) -> None:
    client = await bob.client("taker", head_life_ms=HOUR_MS)
    await client._watcher.read()
    tx_id, _, height = await included(bob, client)
    status = await client.get_transaction_status_async(tx_id)
    assert (status.state, status.block_number, status.depth) == (TxState.INCLUDED, height, 3)


@pytest.mark.parametrize(("head_life_ms", "reads"), [(0, 2), (HOUR_MS, 1)])
async def test_a_call_joins_a_read_of_the_heads_that_is_under_way_if_heads_may_be_old(
    bob: BobNetwork, requests_seen: list[bytes], head_life_ms: int, reads: int
) -> None:
    client = await bob.client("taker", head_life_ms=head_life_ms)
    tx_id, _, _ = await included(bob, client)
    assert client._watcher.recent(0) is None
    requests_seen.clear()
    first = asyncio.ensure_future(client.get_transaction_status_async(tx_id))
    for _ in range(5):
        # The first call has begun to read the heads, in an earlier turn of the loop than the second call.
        await asyncio.sleep(0)
    assert client._watcher.recent(3600) is None
    second = asyncio.ensure_future(client.get_transaction_status_async(tx_id))
    assert await first == await second
    assert b"".join(requests_seen).count(b'"finalized"') == reads


@pytest.mark.parametrize("head_life_ms", [0, HOUR_MS])
async def test_where_safe_is_final_a_safe_head_that_went_back_makes_nothing_final(
    bob: BobNetwork, head_life_ms: int
) -> None:
    client = await bob.client("taker", head_life_ms=head_life_ms, finality=Finality.SAFE)
    tx_id, raw, height = await included(bob, client)
    bob.node.set_finality(height, 0)
    await client._watcher.read()
    assert (await client.get_transaction_status_async(tx_id)).state is TxState.FINAL
    bob.node.reorganise(3, keep_transactions=True, transactions=[raw])
    status = await client.get_transaction_status_async(tx_id)
    assert (status.state, status.block_number, status.finality) == (TxState.INCLUDED, height, Finality.LATEST)


@pytest.mark.parametrize("head_life_ms", [0, HOUR_MS])
async def test_a_removed_transaction_is_never_reported_from_an_older_receipt(
    bob: BobNetwork, head_life_ms: int
) -> None:
    client = await bob.client("taker", head_life_ms=head_life_ms)
    tx_id, _, _ = await included(bob, client)
    assert (await client.get_transaction_status_async(tx_id)).state is TxState.INCLUDED
    bob.node.reorganise(3, keep_transactions=False)
    assert (await client.get_transaction_status_async(tx_id)).state is TxState.UNKNOWN
    assert [status.state for status in await client.get_transaction_statuses_async([tx_id])] == [TxState.UNKNOWN]


async def test_concurrent_calls_about_a_block_share_its_receipts_and_later_calls_do_not(
    bob: BobNetwork, requests_seen: list[bytes]
) -> None:
    client = await bob.client("taker")
    bob.maker.set_enabled(False)
    tx_ids = list(await asyncio.gather(*[client.transfer_asset_async(ETH, 1, SOMEBODY) for _ in range(30)]))
    bob.node.mine()
    singles = [await client.get_transaction_status_async(tx_id) for tx_id in tx_ids]
    requests_seen.clear()
    cancelled, *asking = [
        asyncio.ensure_future(client.get_transaction_statuses_async(part))
        for part in (tx_ids[:10], tx_ids[:10], tx_ids[10:20], tx_ids[20:])
    ]
    await asyncio.sleep(0)
    cancelled.cancel()
    assert [status for part in await asyncio.gather(*asking) for status in part] == singles
    assert await client.get_transaction_statuses_async(tx_ids) == singles
    asked = b"".join(requests_seen)
    assert asked.count(b'"eth_getBlockReceipts"') == 2
    assert b'"eth_getTransactionReceipt"' not in asked
    assert cancelled.cancelled()


LOOK_UPS = {"eth_getTransactionReceipt", "eth_getTransactionByHash"}


@pytest.mark.parametrize("unseen", [{"error": {"code": -32000, "message": "header not found"}}, {"result": None}])
async def test_a_transaction_in_a_block_that_one_of_several_nodes_has_not_seen_is_not_called_dropped(
    bob: BobNetwork, unseen: dict[str, Any]
) -> None:
    lags = False

    def change(calls: Calls, answers: list[dict[str, Any]]) -> None:
        methods = {call["method"] for call in calls}
        if lags and methods & LOOK_UPS:
            for call, answer in zip(calls, answers, strict=True):
                if call["method"] in LOOK_UPS:
                    answer["result"] = None
                elif call["method"] == "eth_getBlockByHash" or "error" in unseen:
                    answer.pop("result", None)
                    answer.update(unseen)

    async with balanced(bob.url, change) as scripted:
        client = await bob.client("taker", rpc_url=scripted.url)
        tx_id, _, _ = await included(bob, client)
        lags = True
        with pytest.raises(BadAnswer, match="has not seen block") as raised:
            await client.get_transaction_status_async(tx_id)
        assert raised.value.retryable
        lags = False
        assert (await client.get_transaction_status_async(tx_id)).state is TxState.INCLUDED
        await client.aclose()


async def test_a_receipt_of_another_block_than_the_one_on_the_chain_makes_nothing_final(
    bob: BobNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("layer2.protocols.evm.sending.statuses._FEWEST_TO_SHARE", 1)
    lies = False

    def change(calls: Calls, answers: list[dict[str, Any]]) -> None:
        for call, answer in zip(calls, answers, strict=True):
            if lies and call["method"] == "eth_getTransactionReceipt":
                answer["result"]["blockHash"] = "0x" + "ab" * 32
            if lies and call["method"] == "eth_getBlockReceipts":
                for receipt in answer["result"]:
                    receipt["blockHash"] = "0x" + "ab" * 32

    async with balanced(bob.url, change) as scripted:
        client = await bob.client("taker", rpc_url=scripted.url, head_life_ms=0)
        tx_id, _, height = await included(bob, client)
        assert [one.state for one in await client.get_transaction_statuses_async([tx_id])] == [TxState.INCLUDED]
        bob.node.set_finality(height, height)
        lies = True
        asking: dict[str, Awaitable[object]] = {
            "one": client.get_transaction_status_async(tx_id),
            "many": client.get_transaction_statuses_async([tx_id]),
            "watched": client.wait_for_status_async(tx_id, until=TxState.FINAL),
        }
        for name, asked in asking.items():
            with pytest.raises(NodeError, match="not on the node's chain"):
                await asked
            assert not client._statuses._on_chain, name
        lies = False
        assert (await client.get_transaction_status_async(tx_id)).state is TxState.FINAL
        await client.aclose()


async def test_that_a_final_block_is_on_the_chain_is_asked_once(bob: BobNetwork) -> None:
    client = await bob.client("taker", head_life_ms=HOUR_MS)
    tx_id, _, height = await included(bob, client)
    bob.node.set_finality(height, height)
    await client._watcher.read()
    assert (await client.get_transaction_status_async(tx_id)).state is TxState.FINAL
    assert list(client._statuses._on_chain) == [(height, (await client.get_transaction_status_async(tx_id)).block_hash)]
