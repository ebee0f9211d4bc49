"""The methods of the simnet's Rootstock node are rskj's: its names of blocks, its errors, and nothing else."""

from __future__ import annotations

import aiohttp
import orjson
import pytest

from layer2.contracts.factory import DETERMINISTIC_FACTORY, deployment_call
from layer2.contracts.htlc import HTLC_ADDRESS, HTLC_SALT, htlc_init_code
from layer2.local.accounts import START_WEI
from simnet.bob_client import NodeError
from simnet.rootstock_node import RunningRootstock, legacy

_STRANGER = "0x" + "77" * 20


async def refusal(rootstock: RunningRootstock, method: str, *arguments: object) -> tuple[int, str]:
    with pytest.raises(NodeError) as refused:
        await rootstock.client.call(method, *arguments)
    return refused.value.code, str(refused.value)


@pytest.mark.parametrize(
    "method",
    [
        "eth_getBlockReceipts",
        "eth_simulateV1",
        "eth_getProof",
        "eth_feeHistory",
        "eth_maxPriorityFeePerGas",
        "debug_getRawHeader",
        "debug_traceTransaction",
    ],
)
async def test_methods_that_rskj_does_not_have_are_refused(rootstock: RunningRootstock, method: str) -> None:
    assert await refusal(rootstock, method, "latest") == (-32601, "method not found")


async def test_blocks_have_no_base_fee_and_say_a_minimum_price(rootstock: RunningRootstock) -> None:
    rootstock.node.mine()
    block = await rootstock.block()
    assert "baseFeePerGas" not in block
    assert block["minimumGasPrice"] == hex(60_000_000)
    assert await rootstock.client.call("eth_chainId") == "0x21"


@pytest.mark.parametrize("tag", ["safe", "finalized"])
async def test_the_tags_of_finality_are_read_and_refused(rootstock: RunningRootstock, tag: str) -> None:
    expected = (-32602, f"invalid blocknumber {tag}")
    assert await refusal(rootstock, "eth_getBlockByNumber", tag, False) == expected
    assert await refusal(rootstock, "rsk_getRawBlockHeaderByNumber", tag) == expected
    state = (-32602, f"Invalid block identifier '{tag}'")
    assert await refusal(rootstock, "eth_getBalance", _STRANGER, tag) == state


async def test_a_single_call_with_invalid_parameters_has_http_status_400_and_a_batch_has_not(
    rootstock: RunningRootstock,
) -> None:
    call = {"jsonrpc": "2.0", "id": 1, "method": "eth_getBlockByNumber", "params": ["safe", False]}
    await rootstock.client.post(call)
    assert rootstock.client.status == 400
    await rootstock.client.post([call])
    assert rootstock.client.status == 200
    await rootstock.client.call("eth_blockNumber")
    assert rootstock.client.status == 200


async def test_a_batch_of_more_than_fifty_calls_is_refused_as_a_whole(rootstock: RunningRootstock) -> None:
    call = {"jsonrpc": "2.0", "id": 1, "method": "eth_blockNumber", "params": []}
    assert len(await rootstock.client.post([call] * 50)) == 50
    answer = await rootstock.client.post([call] * 51)
    assert (
        answer["error"]["message"] == "Cannot dispatch batch requests. 50 is the max number of supported batch requests"
    )
    assert rootstock.client.status == 400


async def test_a_state_by_hash_is_that_of_the_height_unless_the_block_must_be_canonical(
    rootstock: RunningRootstock,
) -> None:
    await rootstock.client.send(legacy(rootstock.taker, 0))
    rootstock.node.mine()
    account, old = "0x" + rootstock.taker.address.hex(), (await rootstock.block())["hash"]
    count = "eth_getTransactionCount"
    strict = {"blockHash": old, "requireCanonical": "true"}
    assert await rootstock.client.call(count, account, strict) == "0x1"
    rootstock.node.reorganise(1, keep_transactions=False)
    assert await rootstock.client.call(count, account, {"blockHash": old}) == "0x0"
    message = f"Block with hash {old} is not canonical and it is required"
    assert await refusal(rootstock, count, account, strict) == (-32600, message)
    unknown = {"blockHash": "0x" + "11" * 32, "requireCanonical": "true"}
    assert (await refusal(rootstock, count, account, unknown))[0] == -32600


async def test_a_boolean_in_a_block_reference_is_an_internal_error(rootstock: RunningRootstock) -> None:
    reference = {"blockHash": (await rootstock.block())["hash"], "requireCanonical": True}
    expected = (-32603, "Internal server error")
    assert await refusal(rootstock, "eth_getBalance", _STRANGER, reference) == expected


async def test_a_message_with_the_prices_of_eip_1559_is_refused(rootstock: RunningRootstock) -> None:
    code, message = await refusal(rootstock, "eth_call", {"to": _STRANGER, "maxFeePerGas": "0x1"}, "latest")
    assert code == -32602
    assert message.startswith('Unrecognized field "maxFeePerGas"')


async def test_a_message_may_send_more_than_its_sender_has(rootstock: RunningRootstock) -> None:
    """rskj compares a message's value with no balance, so that a program has to do it itself."""
    message = {"from": _STRANGER, "to": "0x" + "66" * 20, "value": hex(START_WEI)}
    assert await rootstock.client.call("eth_call", message, "latest") == "0x"
    assert await rootstock.client.call("eth_estimateGas", message) == "0x5208"


async def test_a_revert_is_an_error_with_its_data_and_a_failure_is_an_empty_answer(rootstock: RunningRootstock) -> None:
    await rootstock.client.send(
        legacy(
            rootstock.taker,
            0,
            to=DETERMINISTIC_FACTORY,
            value=0,
            data=deployment_call(HTLC_SALT, htlc_init_code()),
            gas=2_000_000,
        )
    )
    rootstock.node.mine()
    with pytest.raises(NodeError, match="VM Exception while processing transaction: ") as refused:
        await rootstock.client.call("eth_call", {"to": "0x" + HTLC_ADDRESS.hex(), "data": "0x12345678"}, "latest")
    assert (refused.value.code, refused.value.data) == (-32015, "0x")
    endless = {"data": "0x5b600056", "gas": hex(100_000)}
    assert await rootstock.client.call("eth_call", endless, "latest") == "0x"
    assert await rootstock.client.call("eth_estimateGas", endless) == hex(6_800_000)


async def test_logs_of_unknown_blocks_are_empty_and_of_too_many_blocks_refused(rootstock: RunningRootstock) -> None:
    assert await rootstock.client.call("eth_getLogs", {"blockHash": "0x" + "11" * 32}) == []
    assert await rootstock.client.call("eth_getLogs", {"fromBlock": "0x99", "toBlock": "0x100"}) == []
    rootstock.node.mine(2)
    assert await rootstock.client.call("eth_getLogs", {"fromBlock": "0x0", "toBlock": "0x99"}) == []
    both = {"blockHash": "0x" + "11" * 32, "fromBlock": "0x0"}
    assert (await refusal(rootstock, "eth_getLogs", both))[1] == "Cannot specify both blockHash and fromBlock/toBlock"


async def test_new_heads_are_announced_with_rootstocks_hashes(rootstock: RunningRootstock) -> None:
    async with aiohttp.ClientSession() as session, session.ws_connect(rootstock.url) as socket:
        for subscription in ("logs", "newHeads"):
            await socket.send_json({"jsonrpc": "2.0", "id": 1, "method": "eth_subscribe", "params": [subscription]})
        assert "error" in orjson.loads((await socket.receive()).data)
        assert orjson.loads((await socket.receive()).data)["result"]
        rootstock.node.mine()
        head = orjson.loads((await socket.receive()).data)["params"]["result"]
    assert head["hash"] == (await rootstock.block())["hash"]
    assert "baseFeePerGas" not in head
