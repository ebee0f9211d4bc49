"""The simnet's BOB node answers as op-geth does, and its blocks pass the checks for a real chain."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest

from layer2.contracts.factory import (
    DETERMINISTIC_FACTORY,
    FACTORY_CODE,
    deployed_address,
    deployment_call,
)
from layer2.contracts.htlc import HTLC_SALT, htlc_address, htlc_init_code, probe_sha256_call
from layer2.contracts.test_token import TEST_TOKEN_SALT, mint_call
from layer2.contracts.test_token import test_token_init_code as token_init_code
from layer2.errors import InvalidRequest
from layer2.formats.evm_abi import event_topic
from layer2.formats.evm_header import decode_header, header_from_rpc
from layer2.formats.evm_receipt import receipt_from_rpc
from layer2.formats.keccak import keccak256
from layer2.formats.merkle_patricia import trie_root
from simnet.bob_client import NodeError, RunningBob, signed

_TOKEN = deployed_address(TEST_TOKEN_SALT, token_init_code())
_TRANSFER = event_topic("Transfer(address,address,uint256)")


def _hex(value: bytes) -> str:
    return "0x" + value.hex()


def _token_transactions(bob: RunningBob) -> list[bytes]:
    """The token's deployment and 19 transactions that mint for the taker."""
    deployment = deployment_call(TEST_TOKEN_SALT, token_init_code())
    return [
        signed(bob.taker, 0, to=DETERMINISTIC_FACTORY, value=0, data=deployment, gas=2_000_000),
        *(
            signed(bob.taker, nonce, to=_TOKEN, value=0, data=mint_call(bob.taker.address, nonce), gas=100_000)
            for nonce in range(1, 20)
        ),
    ]


async def _deploy_token(bob: RunningBob) -> None:
    for raw in _token_transactions(bob):
        await bob.client.send(raw)
    assert bob.node.mine() == 1


async def test_every_header_hashes_to_its_hash_and_names_its_parent(bob: RunningBob) -> None:
    await bob.client.send(signed(bob.taker, 0))
    bob.node.mine(3)
    parent = bytes(32)
    for number in range(4):
        block = await bob.client.call("eth_getBlockByNumber", hex(number), False)
        header = header_from_rpc(block)
        assert _hex(header.hash) == block["hash"]
        assert header.parent_hash == parent
        raw = await bob.client.call("debug_getRawHeader", block["hash"])
        assert decode_header(bytes.fromhex(raw[2:])) == header
        assert block["requestsHash"] == "0xe3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        parent = header.hash


async def test_receipts_and_transactions_of_a_block_give_the_roots_in_its_header(bob: RunningBob) -> None:
    await _deploy_token(bob)
    block = await bob.client.call("eth_getBlockByNumber", "latest", True)
    receipts = await bob.client.call("eth_getBlockReceipts", "latest")
    assert len(receipts) == 20
    encoded = [receipt_from_rpc(receipt).encode() for receipt in receipts]
    assert _hex(trie_root(encoded)) == block["receiptsRoot"]
    assert await bob.client.call("debug_getRawReceipts", "latest") == [_hex(item) for item in encoded]
    transactions = _token_transactions(bob)
    assert _hex(trie_root(transactions)) == block["transactionsRoot"]
    assert [item["hash"] for item in block["transactions"]] == [_hex(keccak256(raw)) for raw in transactions]
    assert sum(int(item["gasUsed"], 16) for item in receipts) == int(block["gasUsed"], 16)


async def test_the_sender_pays_exactly_the_amount_in_the_receipt(bob: RunningBob) -> None:
    before = int(await bob.client.call("eth_getBalance", _hex(bob.taker.address), "latest"), 16)
    transaction_hash = await bob.client.send(signed(bob.taker, 0, value=5))
    bob.node.mine()
    receipt = await bob.client.call("eth_getTransactionReceipt", transaction_hash)
    after = int(await bob.client.call("eth_getBalance", _hex(bob.taker.address), "latest"), 16)
    paid = int(receipt["gasUsed"], 16) * int(receipt["effectiveGasPrice"], 16) + int(receipt["l1Fee"], 16)
    assert receipt["status"] == "0x1"
    assert before - after == 5 + paid


async def test_the_factory_in_genesis_creates_the_contract_at_its_address(bob: RunningBob) -> None:
    assert await bob.client.call("eth_getCode", _hex(DETERMINISTIC_FACTORY), "earliest") == _hex(FACTORY_CODE)
    data = deployment_call(HTLC_SALT, htlc_init_code())
    await bob.client.send(signed(bob.taker, 0, to=DETERMINISTIC_FACTORY, value=0, data=data, gas=2_000_000))
    bob.node.mine()
    message = {"to": _hex(htlc_address()), "data": _hex(probe_sha256_call(b"\x01" * 32))}
    assert await bob.client.call("eth_call", message, "latest") == (
        "0x72cd6e8422c407fb6d098690f1130b7ded7ec2f7f5e1d30bd9d521f015363793"
    )
    assert await bob.client.call("eth_call", message, "earliest") == "0x"


async def test_a_call_that_reverts_answers_with_code_3_and_the_revert_data(bob: RunningBob) -> None:
    # Creation code that reverts with Error("no").
    text = bytes.fromhex("08c379a0") + (32).to_bytes(32, "big") + (2).to_bytes(32, "big") + b"no".ljust(32, b"\0")
    code = bytes.fromhex("6064600c60003960646000fd") + text
    for method in ("eth_call", "eth_estimateGas"):
        with pytest.raises(NodeError, match=r"^execution reverted: no$") as caught:
            await bob.client.call(method, {"data": _hex(code)}, "latest")
        assert (caught.value.code, caught.value.data) == (3, _hex(text))


async def test_the_estimate_suffices_and_is_close_to_the_gas_used(bob: RunningBob) -> None:
    await _deploy_token(bob)
    data = mint_call(bob.stranger.address, 7)
    message = {"from": _hex(bob.taker.address), "to": _hex(_TOKEN), "data": _hex(data)}
    estimate = int(await bob.client.call("eth_estimateGas", message), 16)
    transaction_hash = await bob.client.send(signed(bob.taker, 20, to=_TOKEN, value=0, data=data, gas=estimate))
    bob.node.mine()
    receipt = await bob.client.call("eth_getTransactionReceipt", transaction_hash)
    assert receipt["status"] == "0x1"
    assert estimate <= int(receipt["gasUsed"], 16) * 1.05
    transfer = {"from": _hex(bob.taker.address), "to": "0x" + "07" * 20, "value": "0x1"}
    assert await bob.client.call("eth_estimateGas", transfer) == hex(21_000)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"nonce": 0}, "nonce too low: next nonce 1, tx nonce 0"),
        ({"nonce": 1, "value": 10**20}, "insufficient funds for gas * price + value: balance "),
        ({"nonce": 1, "gas": 20_999}, "intrinsic gas too low: gas 20999, minimum needed 21000"),
        ({"nonce": 1, "gas": 21_100, "data": b"\1" * 99}, "intrinsic gas too low: gas 21100, minimum needed"),
        ({"nonce": 1, "gas": 22_600, "data": b"\1" * 99}, "insufficient gas for floor data gas cost: gas 22600,"),
        ({"nonce": 1, "gas": 60_000_001}, "exceeds block gas limit"),
        ({"nonce": 1, "tip": 0}, "transaction gas price below minimum: gas tip cap 0, minimum needed 1"),
        ({"nonce": 1, "chain_id": 1}, "invalid sender: invalid chain id for signer: have 1 want 60808"),
    ],
    ids=["nonce", "funds", "gas", "gas for data", "gas floor", "block gas", "tip", "chain id"],
)
async def test_a_bad_transaction_is_refused_with_op_geths_message(
    bob: RunningBob, change: dict[str, Any], words: str
) -> None:
    await bob.client.send(signed(bob.taker, 0))
    bob.node.mine()
    with pytest.raises(NodeError) as caught:
        await bob.client.send(signed(bob.taker, **change))
    assert caught.value.code == -32000
    assert str(caught.value).startswith(words)


async def test_an_account_without_money_cannot_send(bob: RunningBob) -> None:
    with pytest.raises(NodeError, match=r"insufficient funds .* balance 0, tx cost 21000000000001, overshot"):
        await bob.client.send(signed(bob.stranger, 0))


async def test_bytes_that_are_not_a_transaction_are_refused(bob: RunningBob) -> None:
    whole = signed(bob.taker, 0)
    for raw in (b"", b"\x02", whole[:-1], b"\x03" + whole[1:], b"\xc0"):
        with pytest.raises(NodeError) as caught:
            await bob.client.send(raw)
        assert caught.value.code == -32000


async def test_the_pool_queues_after_a_gap_and_accepts_only_replacements_with_a_higher_price(bob: RunningBob) -> None:
    first = signed(bob.taker, 0)
    await bob.client.send(first)
    with pytest.raises(NodeError, match=r"^already known$"):
        await bob.client.send(first)
    with pytest.raises(NodeError, match=r"^replacement transaction underpriced$"):
        await bob.client.send(signed(bob.taker, 0, value=2, tip=1_099_999, most=1_099_999_999))
    dearer = await bob.client.send(signed(bob.taker, 0, value=2, tip=1_100_000, most=1_100_000_000))
    later = await bob.client.send(signed(bob.taker, 2))
    address = _hex(bob.taker.address)
    assert await bob.client.call("eth_getTransactionCount", address, "pending") == "0x1"
    assert await bob.client.call("eth_getTransactionByHash", _hex(keccak256(first))) is None
    bob.node.mine()
    assert (await bob.client.call("eth_getTransactionByHash", dearer))["blockNumber"] == "0x1"
    assert (await bob.client.call("eth_getTransactionByHash", later))["blockNumber"] is None
    assert await bob.client.call("eth_getTransactionReceipt", later) is None
    await bob.client.send(signed(bob.taker, 1))
    bob.node.mine()
    assert (await bob.client.call("eth_getTransactionReceipt", later))["transactionIndex"] == "0x1"
    assert await bob.client.call("eth_getTransactionCount", address, "latest") == "0x3"


async def test_a_batch_above_the_limit_gets_one_error_under_the_first_id(bob: RunningBob) -> None:
    calls = [{"jsonrpc": "2.0", "id": i + 5, "method": "eth_chainId"} for i in range(1001)]
    assert await bob.client.post(calls) == [
        {"jsonrpc": "2.0", "id": 5, "error": {"code": -32600, "message": "batch too large"}}
    ]
    answers = await bob.client.post(calls[:1000])
    assert [answer["id"] for answer in answers] == list(range(5, 1005))
    assert {answer["result"] for answer in answers} == {hex(60808)}
    assert (await bob.client.post([]))["error"] == {"code": -32600, "message": "empty batch"}


@pytest.mark.parametrize(
    ("method", "arguments", "code", "words"),
    [
        ("eth_nothing", [], -32601, "the method eth_nothing does not exist/is not available"),
        ("eth_getBalance", [], -32602, "missing value for required argument 0"),
        ("eth_chainId", [1], -32602, "too many arguments, want at most 0"),
        ("eth_getBalance", ["0x12"], -32602, "invalid argument 0: "),
        ("eth_getBalance", ["0x" + "00" * 20, "0x09"], -32602, "invalid argument 1: "),
        ("eth_getBalance", ["0x" + "00" * 20, "0x9"], -32000, "header not found"),
        ("eth_getLogs", [{"blockHash": "0x" + "77" * 32}], -32000, "unknown block"),
        ("eth_getLogs", [{"fromBlock": "0x1", "toBlock": "0x0"}], -32602, "invalid block range params"),
        ("eth_getLogs", [{"toBlock": "0x9", "fromBlock": "0x0"}], -32602, "block range extends beyond"),
    ],
)
async def test_a_bad_call_is_refused_with_op_geths_message(
    bob: RunningBob, method: str, arguments: list[Any], code: int, words: str
) -> None:
    with pytest.raises(NodeError) as caught:
        await bob.client.call(method, *arguments)
    assert (caught.value.code, str(caught.value)[: len(words)]) == (code, words)


async def test_absent_blocks_and_transactions_are_null(bob: RunningBob) -> None:
    nothing = "0x" + "99" * 32
    assert await bob.client.call("eth_getBlockByHash", nothing, True) is None
    assert await bob.client.call("eth_getBlockByNumber", "0x9", True) is None
    assert await bob.client.call("eth_getBlockReceipts", "0x9") is None
    assert await bob.client.call("eth_getTransactionByHash", nothing) is None


async def test_logs_are_found_by_block_hash_by_range_by_contract_and_by_topic(bob: RunningBob) -> None:
    await _deploy_token(bob)
    block = await bob.client.call("eth_getBlockByNumber", "latest", False)
    by_hash = await bob.client.call("eth_getLogs", {"blockHash": block["hash"]})
    assert [log["logIndex"] for log in by_hash] == [hex(i) for i in range(19)]
    receiver = "0x" + bob.taker.address.hex().rjust(64, "0")
    query = {"fromBlock": "0x0", "toBlock": "latest"}
    topics = [[_hex(_TRANSFER)], None, receiver]
    assert await bob.client.call("eth_getLogs", query | {"address": _hex(_TOKEN), "topics": topics}) == by_hash
    assert await bob.client.call("eth_getLogs", query | {"address": [_hex(htlc_address())]}) == []
    assert await bob.client.call("eth_getLogs", query | {"topics": [receiver]}) == []
    receipt = await bob.client.call("eth_getTransactionReceipt", by_hash[4]["transactionHash"])
    assert receipt["logs"] == [by_hash[4]]


async def test_safe_and_finalized_follow_the_head_until_they_are_held(bob: RunningBob) -> None:
    async def heights() -> list[int]:
        tags = ("safe", "finalized")
        blocks = [await bob.client.call("eth_getBlockByNumber", tag, False) for tag in tags]
        return [int(block["number"], 16) for block in blocks]

    bob.node.mine(6)
    assert await heights() == [4, 2]
    bob.node.set_finality(5, None)
    bob.node.mine()
    assert await heights() == [5, 3]
    with pytest.raises(ValueError, match="safe cannot be held at 8: the head is at 7"):
        bob.node.set_finality(8, None)
    with pytest.raises(ValueError, match=r"finalized \(3\) cannot be above safe \(2\)"):
        bob.node.set_finality(2, None)
    bob.node.set_finality(None, None)
    assert await heights() == [5, 3]


async def test_a_reorganisation_returns_the_transaction_to_the_pool(bob: RunningBob) -> None:
    bob.node.mine()
    transaction_hash = await bob.client.send(signed(bob.taker, 0, value=9))
    bob.node.mine(2)
    old = await bob.client.call("eth_getTransactionReceipt", transaction_hash)
    assert bob.node.reorganise(2, keep_transactions=True) == 4
    assert await bob.client.call("eth_getTransactionReceipt", transaction_hash) is None
    assert (await bob.client.call("eth_getTransactionByHash", transaction_hash))["blockHash"] is None
    assert await bob.client.call("eth_getBalance", "0x" + "05" * 20, "latest") == "0x0"
    block = await bob.client.call("eth_getBlockByNumber", "0x2", False)
    assert block["hash"] != old["blockHash"]
    assert _hex(header_from_rpc(block).hash) == block["hash"]
    abandoned = await bob.client.call("eth_getBlockByHash", old["blockHash"], False)
    assert abandoned["transactions"] == [transaction_hash]
    with pytest.raises(NodeError, match=r"^header not found$"):
        await bob.client.call(
            "eth_getBalance", "0x" + "05" * 20, {"blockHash": old["blockHash"], "requireCanonical": True}
        )
    bob.node.mine()
    assert (await bob.client.call("eth_getTransactionReceipt", transaction_hash))["blockNumber"] == "0x5"
    assert await bob.client.call("eth_getBalance", "0x" + "05" * 20, "latest") == "0x9"


async def test_a_reorganisation_can_drop_the_transaction(bob: RunningBob) -> None:
    transaction_hash = await bob.client.send(signed(bob.taker, 0))
    bob.node.mine()
    bob.node.reorganise(1, keep_transactions=False)
    assert await bob.client.call("eth_getTransactionByHash", transaction_hash) is None
    with pytest.raises(ValueError, match="is below the finalized head at 0"):
        bob.node.reorganise(9, keep_transactions=True)


async def test_chain_time_changes_block_times_and_not_the_clock(bob: RunningBob) -> None:
    bob.node.mine()
    before = bob.node.chain.head.timestamp
    assert bob.node.advance_time(86_400) == before + 86_400
    bob.node.mine()
    assert bob.node.chain.head.timestamp == before + 86_401
    bob.clock.advance(100)
    bob.node.mine()
    assert bob.node.chain.head.timestamp == before + 86_501
    async with aiohttp.ClientSession() as session, session.post(bob.url, json={}) as response:
        assert response.headers["Date"] == "Fri, 15 Jan 2027 08:01:40 GMT"


async def test_fee_history_reports_base_fees_and_tips(bob: RunningBob) -> None:
    await bob.client.send(signed(bob.taker, 0, tip=3_000_000))
    bob.node.mine(2)
    history = await bob.client.call("eth_feeHistory", "0x2", "latest", [10, 90])
    assert history["oldestBlock"] == "0x1"
    assert history["reward"] == [[hex(3_000_000)] * 2, ["0x0"] * 2]
    blocks = [await bob.client.call("eth_getBlockByNumber", hex(n), False) for n in (1, 2)]
    assert history["baseFeePerGas"][:2] == [block["baseFeePerGas"] for block in blocks]
    bob.node.mine()
    third = await bob.client.call("eth_getBlockByNumber", "0x3", False)
    assert history["baseFeePerGas"][2] == third["baseFeePerGas"]


async def test_a_node_that_is_down_resets_connections_until_the_fault_is_off(bob: RunningBob) -> None:
    bob.faults.set("down")
    for _ in range(2):
        with pytest.raises(aiohttp.ClientConnectionError):
            await bob.client.call("eth_chainId")
    bob.faults.set("none")
    assert await bob.client.call("eth_chainId") == hex(60808)


async def test_a_request_whose_reply_is_dropped_is_executed(bob: RunningBob) -> None:
    bob.faults.set("drop_reply", method="eth_sendRawTransaction", count=1)
    raw = signed(bob.taker, 0)
    assert await bob.client.call("eth_chainId") == hex(60808)
    with pytest.raises(aiohttp.ClientConnectionError):
        await bob.client.send(raw)
    assert (await bob.client.call("eth_getTransactionByHash", _hex(keccak256(raw))))["nonce"] == "0x0"
    with pytest.raises(NodeError, match=r"^already known$"):
        await bob.client.send(raw)


async def test_an_error_fault_answers_with_its_status_and_executes_nothing(bob: RunningBob) -> None:
    bob.faults.set("error", status=429, count=1)
    raw = signed(bob.taker, 0)
    body = {"jsonrpc": "2.0", "id": 1, "method": "eth_sendRawTransaction", "params": [_hex(raw)]}
    async with aiohttp.ClientSession() as session, session.post(bob.url, json=body) as response:
        assert response.status == 429
    assert await bob.client.call("eth_getTransactionByHash", _hex(keccak256(raw))) is None


async def test_a_delayed_answer_arrives_after_a_shorter_timeout_of_the_client(bob: RunningBob) -> None:
    bob.faults.set("delay", seconds=5.0, method="eth_chainId", count=1)
    body = {"jsonrpc": "2.0", "id": 1, "method": "eth_chainId"}
    patience = aiohttp.ClientTimeout(total=0.05)
    async with aiohttp.ClientSession(timeout=patience) as session:
        with pytest.raises(TimeoutError):
            await session.post(bob.url, json=body)
    assert await bob.client.call("eth_chainId") == hex(60808)


def test_a_fault_switch_refuses_unknown_kinds_and_arguments(bob: RunningBob) -> None:
    with pytest.raises(InvalidRequest, match="there is no fault 'melt'"):
        bob.faults.set("melt")
    with pytest.raises(InvalidRequest, match=r"down needs \[\] and may take \[\], got \['seconds'\]"):
        bob.faults.set("down", seconds=1)
    with pytest.raises(InvalidRequest, match="delay takes no str as seconds"):
        bob.faults.set("delay", seconds="1")
