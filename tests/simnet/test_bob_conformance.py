"""The simnet's BOB node answers a fixed series of calls as recorded op-geth does."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from layer2.local.simnet.clock import SimClock
from layer2.local.simnet.evm.methods import EvmMethods
from layer2.local.simnet.evm.node import EvmNode
from layer2.local.simnet.evm.rpc import EvmRpcServer
from layer2.local.simnet.faults import FaultSwitch
from simnet.bob_conversation import SENDER, BobConversation

_RECORD = Path(__file__).parent / "recorded_op_geth" / "conversation.json"
_RECORDED: dict[str, Any] = json.loads(_RECORD.read_text())

_DEPOSIT = "0x7e"
_OPERATOR_FEES = {"operatorFeeScalar", "operatorFeeConstant"}
"""op-geth includes them only if they are not zero, so a record of a devnet with fees may contain them."""

# The signed transactions are the same, so these values must be equal. Others must have the same form.
_EQUAL = {
    "accessList", "address", "chainId", "contractAddress", "data", "from", "gas", "gasLimit", "gasUsed", "input",
    "difficulty", "extraData", "logIndex", "maxFeePerGas", "maxPriorityFeePerGas", "miner", "nonce", "r", "s",
    "removed", "requestsHash", "sha3Uncles", "status", "to", "topics", "transactionHash", "type", "uncles",
    "v", "value", "withdrawals", "yParity", "jsonrpc", "id", "code", "http_status",
    "codeHash", "key", "proof", "storageHash",
}  # fmt: skip
_BLOCK_FIELDS_WITH_DEPOSIT = {"gasUsed", "size"}

_KNOWN_DIFFERENCES = {
    "client version": "the simnet names itself",
    "call: panic": "Solidity's panics are not named; Vyper has none",
    "estimate: panic": "Solidity's panics are not named; Vyper has none",
    "send: cut": "py-evm has another message for bytes that are not RLP",
}


def _hear(answers: dict[str, Any], name: str) -> Any:
    return _without_deposits(answers[name])


def _without_deposits(value: Any) -> Any:
    """Remove the deposit transaction with which each block of op-geth begins; the simnet's blocks have none."""
    if isinstance(value, list):
        kept = [item for item in value if not (isinstance(item, dict) and item.get("type") == _DEPOSIT)]
        return [_without_deposits(item) for item in kept]
    if isinstance(value, dict):
        return {key: _without_deposits(item) for key, item in value.items() if key not in _OPERATOR_FEES}
    return value


def _likeness(value: Any, key: str = "", *, in_block: bool = False) -> Any:
    """The part of an answer that must be equal: values that the calls determine, otherwise keys and forms."""
    if isinstance(value, dict):
        is_block = "stateRoot" in value
        return {name: _likeness(item, name, in_block=is_block) for name, item in value.items()}
    if key in _EQUAL and not (in_block and key in _BLOCK_FIELDS_WITH_DEPOSIT):
        return value
    if isinstance(value, list):
        forms = [_likeness(item) for item in value]
        return [form for index, form in enumerate(forms) if form not in forms[:index]]
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int | float):
        return "number"
    if key == "message":
        return re.sub(r"\d+", "N", value)
    return _form(value)


def _form(text: str) -> str:
    if not text.startswith("0x"):
        return text
    digits = len(text) - 2
    return f"{digits // 2} bytes" if digits in (16, 40, 64, 512) else "hex"


@pytest.fixture(scope="module")
def ours() -> dict[str, Any]:
    return asyncio.run(_hold())


async def _hold() -> dict[str, Any]:
    clock = SimClock.manual(1_800_000_000)
    node = EvmNode({SENDER.address: 10**19}, clock)
    server = EvmRpcServer(node, EvmMethods(node, lambda: None), FaultSwitch(), clock)

    async def mine(blocks: int) -> None:
        node.mine(blocks)

    async def reorganise(depth: int) -> None:
        node.reorganise(depth, keep_transactions=True)

    url = await server.start()
    try:
        async with aiohttp.ClientSession() as session:
            return await BobConversation(url, session, mine, reorganise).hold()
    finally:
        await server.stop()


def test_both_records_have_the_same_calls(ours: dict[str, Any]) -> None:
    assert ours.keys() == _RECORDED.keys()
    assert len(ours) > 90


@pytest.mark.parametrize("name", sorted(_RECORDED.keys() - _KNOWN_DIFFERENCES.keys()))
def test_an_answer_is_like_op_geths(name: str, ours: dict[str, Any]) -> None:
    assert _likeness(_hear(ours, name)) == _likeness(_hear(_RECORDED, name))


@pytest.mark.parametrize("name", sorted(_KNOWN_DIFFERENCES))
def test_a_listed_difference_still_exists(name: str, ours: dict[str, Any]) -> None:
    assert _likeness(_hear(ours, name)) != _likeness(_hear(_RECORDED, name))


def test_likeness_sees_a_missing_key_another_form_and_another_error() -> None:
    receipt = {"status": "0x1", "blockHash": "0x" + "12" * 32}
    assert _likeness(receipt) == _likeness(receipt | {"blockHash": "0x" + "34" * 32})
    assert _likeness(receipt) != _likeness(receipt | {"status": "0x0"})
    assert _likeness(receipt) != _likeness(receipt | {"blockHash": "0x12"})
    assert _likeness(receipt) != _likeness({"status": "0x1"})
    assert _likeness({"message": "balance 5"}) != _likeness({"message": "nonce 5"})
