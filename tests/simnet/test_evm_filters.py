"""Filters, subscriptions to logs, notifications and the small methods of the simnet's EVM nodes."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest

from layer2.formats.evm_abi import event_topic
from layer2.formats.keccak import keccak256
from simnet.bob_client import NodeError, RunningBob, signed
from simnet.token_chain import TOKEN, deploy_token, holder, mint

_TRANSFER = "0x" + event_topic("Transfer(address,address,uint256)").hex()
_NOWHERE = "0x" + "99" * 32


def _to(address: bytes) -> str:
    return "0x" + address.rjust(32, b"\0").hex()


async def _post(bob: RunningBob, body: Any) -> bytes:
    async with aiohttp.ClientSession() as session, session.post(bob.url, json=body) as response:
        assert response.status == 200
        return await response.read()


async def test_a_filter_for_blocks_returns_each_new_hash_once(bob: RunningBob) -> None:
    name = await bob.client.call("eth_newBlockFilter")
    assert await bob.client.call("eth_getFilterChanges", name) == []
    bob.node.mine(2)
    blocks = [await bob.client.call("eth_getBlockByNumber", hex(number), False) for number in (1, 2)]
    assert await bob.client.call("eth_getFilterChanges", name) == [block["hash"] for block in blocks]
    assert await bob.client.call("eth_getFilterChanges", name) == []
    bob.node.reorganise(1, keep_transactions=False)
    new = [await bob.client.call("eth_getBlockByNumber", hex(number), False) for number in (2, 3)]
    assert await bob.client.call("eth_getFilterChanges", name) == [block["hash"] for block in new]


async def test_a_filter_for_transactions_returns_those_that_came_into_the_pool(bob: RunningBob) -> None:
    await bob.client.send(signed(bob.taker, 0))
    name = await bob.client.call("eth_newPendingTransactionFilter")
    later = await bob.client.send(signed(bob.taker, 1))
    bob.node.mine()
    assert await bob.client.call("eth_getFilterChanges", name) == [later]
    assert await bob.client.call("eth_getFilterChanges", name) == []


async def test_a_filter_for_logs_returns_new_ones_and_those_that_a_reorganisation_removes(bob: RunningBob) -> None:
    deploy_token(bob, 2)
    criteria = {"fromBlock": "0x0", "address": TOKEN, "topics": [_TRANSFER, None, _to(holder(2))]}
    name = await bob.client.call("eth_newFilter", criteria)
    # What was there before is not new, and is found as eth_getLogs finds it.
    assert await bob.client.call("eth_getFilterChanges", name) == []
    assert await bob.client.call("eth_getFilterLogs", name) == await bob.client.call("eth_getLogs", criteria)
    mint(bob, 3, holder(2), 5)
    mint(bob, 4, holder(1), 5)
    bob.node.mine(2)
    new = await bob.client.call("eth_getFilterChanges", name)
    assert [(log["blockNumber"], int(log["data"], 16), log["removed"]) for log in new] == [("0x2", 5, False)]
    bob.node.reorganise(2, keep_transactions=True)
    assert await bob.client.call("eth_getFilterChanges", name) == [new[0] | {"removed": True}]
    bob.node.mine()
    again = await bob.client.call("eth_getFilterChanges", name)
    assert [(log["transactionHash"], log["removed"]) for log in again] == [(new[0]["transactionHash"], False)]
    assert again[0]["blockHash"] != new[0]["blockHash"]


async def test_a_filter_for_logs_keeps_to_its_heights(bob: RunningBob) -> None:
    deploy_token(bob, 1)
    name = await bob.client.call("eth_newFilter", {"fromBlock": "0x3", "toBlock": "0x3", "address": TOKEN})
    for nonce in range(2, 5):
        mint(bob, nonce, holder(1), nonce)
        bob.node.mine()
    changes = await bob.client.call("eth_getFilterChanges", name)
    assert [(log["blockNumber"], int(log["data"], 16)) for log in changes] == [("0x3", 3)]


@pytest.mark.parametrize(
    ("criteria", "message"),
    [
        ({"fromBlock": "latest", "toBlock": "0x9"}, "invalid block range params"),
        ({"fromBlock": "0x9", "toBlock": "0x8"}, "invalid block range params"),
        ({"fromBlock": "safe"}, "invalid block range params"),
        ({"fromBlock": "0x1", "toBlock": "pending"}, "pending logs are not supported"),
        ({"topics": [None] * 5}, "exceed max topics"),
    ],
    ids=["from latest", "backwards", "from safe", "pending", "topics"],
)
async def test_criteria_that_cannot_be_followed_are_refused(
    bob: RunningBob, criteria: dict[str, Any], message: str
) -> None:
    with pytest.raises(NodeError, match=f"{message}$") as caught:
        await bob.client.call("eth_newFilter", criteria)
    assert caught.value.code == -32602
    async with aiohttp.ClientSession() as session, session.ws_connect(bob.url) as socket:
        await socket.send_json({"jsonrpc": "2.0", "id": 1, "method": "eth_subscribe", "params": ["logs", criteria]})
        error = (await socket.receive_json(timeout=5))["error"]
        assert (error["code"], error["message"][-len(message) :]) == (-32602, message)


async def test_the_logs_of_replaced_blocks_are_reported_oldest_first(bob: RunningBob) -> None:
    deploy_token(bob, 0)
    name = await bob.client.call("eth_newFilter", {})
    for nonce in (1, 2, 3):
        mint(bob, nonce, holder(1), nonce)
        bob.node.mine()
    before = await bob.client.call("eth_getFilterChanges", name)
    bob.node.reorganise(3, keep_transactions=False)
    assert [log["blockNumber"] for log in before] == ["0x2", "0x3", "0x4"]
    assert await bob.client.call("eth_getFilterChanges", name) == [log | {"removed": True} for log in before]


async def test_a_filter_that_was_removed_is_not_found(bob: RunningBob) -> None:
    name = await bob.client.call("eth_newBlockFilter")
    with pytest.raises(NodeError, match=r"^filter not found$"):
        await bob.client.call("eth_getFilterLogs", name)
    assert await bob.client.call("eth_uninstallFilter", name) is True
    assert await bob.client.call("eth_uninstallFilter", name) is False
    unknowns: list[Any] = [name, "0x99", 7, [name], {}]
    for unknown in unknowns:
        with pytest.raises(NodeError, match=r"^filter not found$"):
            await bob.client.call("eth_getFilterChanges", unknown)


async def test_a_subscription_to_logs_notifies_of_new_and_of_removed_ones(bob: RunningBob) -> None:
    deploy_token(bob, 1)
    async with aiohttp.ClientSession() as session, session.ws_connect(bob.url) as socket:

        async def subscribe(*arguments: Any) -> str:
            await socket.send_json({"jsonrpc": "2.0", "id": 1, "method": "eth_subscribe", "params": arguments})
            return str((await socket.receive_json(timeout=5))["result"])

        async def notice() -> tuple[str, dict[str, Any]]:
            params = (await socket.receive_json(timeout=5))["params"]
            return params["subscription"], params["result"]

        own = await subscribe("logs", {"address": TOKEN, "topics": [_TRANSFER, None, _to(holder(1))]})
        every = await subscribe("logs")
        mint(bob, 2, holder(1), 5)
        mint(bob, 3, holder(2), 6)
        bob.node.mine()
        told = [await notice() for _ in range(3)]
        assert [(name, int(log["data"], 16)) for name, log in told] == [(own, 5), (every, 5), (every, 6)]
        logs = await bob.client.call("eth_getLogs", {"fromBlock": "0x2", "toBlock": "0x2"})
        assert [log for _, log in told[1:]] == logs
        bob.node.reorganise(1, keep_transactions=False)
        assert await notice() == (own, logs[0] | {"removed": True})


@pytest.mark.parametrize("as_bytes", [False, True], ids=["text", "binary"])
async def test_a_websocket_answers_text_and_binary_frames_with_text(bob: RunningBob, as_bytes: bool) -> None:
    body = b'{"jsonrpc":"2.0","id":1,"method":"eth_chainId"}'
    async with aiohttp.ClientSession() as session, session.ws_connect(bob.url) as socket:
        for _ in range(2):
            await (socket.send_bytes(body) if as_bytes else socket.send_str(body.decode()))
            message = await socket.receive(timeout=5)
            assert message.type is aiohttp.WSMsgType.TEXT
            assert message.json()["result"] == hex(60808)


async def test_a_request_without_an_id_is_carried_out_and_not_answered(bob: RunningBob) -> None:
    raw = signed(bob.taker, 0)
    notification = {"jsonrpc": "2.0", "method": "eth_sendRawTransaction", "params": ["0x" + raw.hex()]}
    assert await _post(bob, notification) == b""
    assert (await bob.client.call("eth_getTransactionByHash", "0x" + keccak256(raw).hex()))["nonce"] == "0x0"
    # A failed one is not answered either, and neither are those of a batch.
    wrong = {"jsonrpc": "2.0", "method": "eth_nothing"}
    assert await _post(bob, wrong) == b""
    assert await _post(bob, [wrong, notification]) == b""
    call = {"jsonrpc": "2.0", "id": None, "method": "eth_chainId"}
    assert await bob.client.post([wrong, call, wrong]) == [{"jsonrpc": "2.0", "id": None, "result": hex(60808)}]


async def test_a_notification_over_a_websocket_is_not_answered(bob: RunningBob) -> None:
    async with aiohttp.ClientSession() as session, session.ws_connect(bob.url) as socket:
        for method in ("eth_chainId", "eth_subscribe", "eth_unsubscribe"):
            await socket.send_json({"jsonrpc": "2.0", "method": method, "params": ["newHeads"]})
        await socket.send_json({"jsonrpc": "2.0", "id": 8, "method": "eth_blockNumber"})
        assert (await socket.receive_json(timeout=5))["id"] == 8


async def test_the_transactions_of_a_block_are_counted_and_found_by_their_place(bob: RunningBob) -> None:
    hashes = [await bob.client.send(signed(bob.taker, nonce)) for nonce in range(3)]
    bob.node.mine()
    block = await bob.client.call("eth_getBlockByNumber", "latest", True)
    for kind, name in (("Number", "0x1"), ("Hash", block["hash"])):
        assert await bob.client.call(f"eth_getBlockTransactionCountBy{kind}", name) == "0x3"
        assert await bob.client.call(f"eth_getUncleCountByBlock{kind}", name) == "0x0"
        by_index = f"eth_getTransactionByBlock{kind}AndIndex"
        assert [await bob.client.call(by_index, name, hex(index)) for index in range(3)] == block["transactions"]
        assert await bob.client.call(by_index, name, "0x3") is None
    assert [item["hash"] for item in block["transactions"]] == hashes
    for kind, name in (("Number", "0x9"), ("Hash", _NOWHERE)):
        assert await bob.client.call(f"eth_getBlockTransactionCountBy{kind}", name) is None
        assert await bob.client.call(f"eth_getUncleCountByBlock{kind}", name) is None
        assert await bob.client.call(f"eth_getTransactionByBlock{kind}AndIndex", name, "0x0") is None


async def test_a_node_without_accounts_and_peers_reports_none(bob: RunningBob) -> None:
    assert await bob.client.call("eth_accounts") == []
    assert await bob.client.call("net_listening") is True
    assert await bob.client.call("net_peerCount") == "0x0"
    assert await bob.client.call("web3_sha3", "0x") == "0x" + keccak256(b"").hex()
