"""Well-formed wrong answers: another block, another receipt, contradicting heads."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from layer2.errors import BadAnswer, FormatError
from layer2.local.simnet.evm.answers import block_answer
from layer2.local.simnet.evm.chain import BOB_CHAIN_ID
from layer2.model.transactions import Finality
from layer2.protocols.evm.chain.heads import HeadWatcher
from layer2.protocols.evm.rpc.answers import BatchRefused, read_answers
from layer2.protocols.evm.rpc.node import EvmNode, SlotProof
from protocols.evm.bob_network import BobNetwork
from protocols.evm.scripted_node import Calls, scripted_node

HASH = bytes(range(32))
HEX_HASH = "0x" + HASH.hex()

RECEIPT = {
    "transactionHash": HEX_HASH,
    "blockHash": HEX_HASH,
    "blockNumber": "0x5",
    "transactionIndex": "0x0",
    "status": "0x1",
    "gasUsed": "0x5208",
    "effectiveGasPrice": "0x2",
}


async def answered(result: object, ask: Callable[[EvmNode], Awaitable[Any]]) -> Any:
    def script(calls: Calls) -> bytes:
        return orjson.dumps([{"jsonrpc": "2.0", "id": call["id"], "result": result} for call in calls])

    async with scripted_node(script) as scripted:
        return await ask(EvmNode(scripted.client(), "BOB"))


async def test_a_receipts_fee_is_execution_l1_data_and_operators_part() -> None:
    fields = RECEIPT | {"l1Fee": "0x64", "operatorFeeScalar": "0xf4240", "operatorFeeConstant": "0x7"}
    receipt = await answered(fields, lambda node: node.receipt(HASH))
    assert receipt.fee == 21_000 * 2 + 100 + 21_000 + 7
    receipt = await answered(fields | {"daFootprintGasScalar": "0x190"}, lambda node: node.receipt(HASH))
    assert receipt.fee == 21_000 * 2 + 100 + 21_000 * 10**6 * 100 + 7, "Jovian"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"transactionHash": "0x" + "11" * 32}, "another transaction"),
        ({"status": "0x2"}, "status"),
        ({"status": None}, "status"),
        ({"gasUsed": 21_000}, "gasUsed"),
        ({"gasUsed": "0x05208"}, "gasUsed"),
        ({"blockNumber": None}, "blockNumber"),
        ({"blockHash": "0x00"}, "blockHash"),
        ({"blockHash": "0x" + "2 " * 32}, "blockHash"),
        ({"blockHash": ["0x" + "22" * 32]}, "an object or a list"),
        ({"l1Fee": "-0x1"}, "l1Fee"),
        ({"l1Fee": ""}, "l1Fee"),
        ({"l1Fee": {}}, "an object or a list"),
        ({"operatorFeeScalar": 0}, "operatorFeeScalar"),
    ],
)
async def test_a_receipt_that_cannot_be_right_is_a_bad_answer(change: dict[str, object], problem: str) -> None:
    with pytest.raises(BadAnswer, match=problem):
        await answered(RECEIPT | change, lambda node: node.receipt(HASH))


@pytest.mark.parametrize("result", [[], "0x", 5, True, {}])
@pytest.mark.parametrize(
    "ask",
    [
        lambda node: node.block(Finality.LATEST),
        lambda node: node.receipt(HASH),
        lambda node: node.knows_transaction(HASH),
        lambda node: node.expect_chain(1),
        lambda node: node.send(b"\x02"),
    ],
    ids=["block", "receipt", "transaction", "chain id", "send"],
)
async def test_an_answer_of_another_type_is_a_bad_answer(
    result: object, ask: Callable[[EvmNode], Awaitable[Any]]
) -> None:
    with pytest.raises(BadAnswer):
        await answered(result, ask)


@pytest.mark.parametrize("result", [None, {}, [5], [{}], [{"topics": "0x"}]])
async def test_logs_of_another_form_are_a_bad_answer(result: object) -> None:
    with pytest.raises(BadAnswer):
        await answered(result, lambda node: node.logs(b"\x01" * 20, [HASH], 0, 1))


PROOF = {
    "address": "0x" + "01" * 20,
    "accountProof": ["0xc0", "0xc1"],
    "storageProof": [{"key": "0x0", "value": "0x2", "proof": ["0xc2"]}],
}


def slot_proof(node: EvmNode) -> Awaitable[SlotProof]:
    return node.slot_proof(b"\x01" * 20, HASH, HASH)


async def test_a_slots_proof_is_read_with_the_nodes_of_both_tries() -> None:
    assert await answered(PROOF, slot_proof) == SlotProof(2, (b"\xc0", b"\xc1"), (b"\xc2",))


@pytest.mark.parametrize(
    "result",
    [
        None,
        {},
        PROOF | {"accountProof": None},
        PROOF | {"accountProof": "0xc0"},
        PROOF | {"accountProof": [5]},
        PROOF | {"accountProof": ["c0"]},
        PROOF | {"accountProof": ["0xc"]},
        PROOF | {"storageProof": []},
        PROOF | {"storageProof": [{"value": "0x2", "proof": []}] * 2},
        PROOF | {"storageProof": ["0xc0"]},
        PROOF | {"storageProof": [{"value": "0x2"}]},
        PROOF | {"storageProof": [{"value": "0x2", "proof": {}}]},
        PROOF | {"storageProof": [{"proof": []}]},
        PROOF | {"storageProof": [{"value": "0x02", "proof": []}]},
        PROOF | {"storageProof": [{"value": 2, "proof": []}]},
        PROOF | {"storageProof": [{"value": "0x1" + "0" * 64, "proof": []}]},
    ],
)
async def test_a_slots_proof_of_another_form_is_a_bad_answer(result: object) -> None:
    with pytest.raises(BadAnswer, match="eth_getProof"):
        await answered(result, slot_proof)


async def test_no_block_where_a_head_should_be_is_a_bad_answer() -> None:
    with pytest.raises(BadAnswer, match="no finalized block"):
        await answered(None, lambda node: node.head(Finality.FINALIZED))


async def test_a_header_that_does_not_hash_to_its_hash_is_a_bad_answer(bob: BobNetwork) -> None:
    block = block_answer(bob.node.chain.head, full_transactions=False)
    assert (await answered(block, lambda node: node.head(Finality.LATEST))).number == 1
    for change in ({"timestamp": "0x5"}, {"hash": HEX_HASH}, {"receiptsRoot": HEX_HASH}):
        with pytest.raises(BadAnswer, match="do not hash"):
            await answered(block | change, lambda node: node.head(Finality.LATEST))


async def test_another_block_than_the_one_asked_for_is_a_bad_answer(bob: BobNetwork) -> None:
    block = block_answer(bob.node.chain.head, full_transactions=False)
    with pytest.raises(BadAnswer, match="another block"):
        await answered(block, lambda node: node.block(HASH))
    with pytest.raises(BadAnswer, match="another block"):
        await answered(block, lambda node: node.block(2))


async def test_heads_that_contradict_each_other_are_a_bad_answer(bob: BobNetwork) -> None:
    bob.node.mine(3)
    blocks = {
        name: block_answer(block, full_transactions=False)
        for name, number in (("latest", 2), ("safe", 3), ("finalized", 1))
        if (block := bob.node.chain.block_by_number(number)) is not None
    }

    def answer(call: dict[str, Any]) -> object:
        return hex(BOB_CHAIN_ID) if call["method"] == "eth_chainId" else blocks[call["params"][0]]

    def script(calls: Calls) -> bytes:
        return orjson.dumps([{"jsonrpc": "2.0", "id": call["id"], "result": answer(call)} for call in calls])

    async with scripted_node(script) as scripted:
        with pytest.raises(BadAnswer, match="finalized 1, safe 3, latest 2"):
            await HeadWatcher(EvmNode(scripted.client(), "BOB"), BOB_CHAIN_ID, 1.0).read()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda children: (
        st.lists(children, max_size=4)
        | st.dictionaries(st.sampled_from(["jsonrpc", "id", "result", "error", "code", "message", "data"]), children)
    ),
    max_leaves=12,
)


@given(
    json_values | st.lists(st.dictionaries(st.sampled_from(["id", "result", "error"]), json_values)), st.integers(1, 3)
)
@example([{"id": None, "error": {"code": []}}], 1)
@settings(max_examples=60)
def test_for_any_json_each_call_has_one_answer_or_the_whole_is_refused(body: object, count: int) -> None:
    ids = list(range(1, count + 1))
    try:
        answers = read_answers(orjson.dumps(body), ids)
    except (BatchRefused, FormatError):
        return
    assert len(answers) == count


@given(st.binary(max_size=60))
def test_any_bytes_raise_only_the_two_errors(body: bytes) -> None:
    with contextlib.suppress(BatchRefused, FormatError):
        assert len(read_answers(body, [1, 2])) == 2
