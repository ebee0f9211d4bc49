"""The reason of a failed transaction from a trace. ``tests/networks/test_fees.py`` reads traces of real nodes."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from layer2.contracts.erc20 import transfer_call
from layer2.contracts.test_token import TEST_TOKEN_ADDRESS
from layer2.errors import BadAnswer, NodeRefused
from layer2.formats.evm_abi import encode_words
from layer2.formats.evm_address import to_checksum
from layer2.model.transactions import TxState
from layer2.protocols.evm.requests import EvmTransactionRequest
from layer2.protocols.evm.rpc.node import EvmNode
from layer2.protocols.evm.sending.traces import failure_reason
from protocols.evm.bob_network import BobNetwork
from protocols.evm.scripted_node import Calls, scripted_node

PANIC = "0x4e487b71" + encode_words(0x11).hex()


async def reason_of(trace: Any) -> str | None:
    def script(calls: Calls) -> bytes:
        assert calls[0]["method"] == "debug_traceTransaction"
        return orjson.dumps({"jsonrpc": "2.0", "id": calls[0]["id"], "result": trace})

    async with scripted_node(script) as scripted:
        return await failure_reason(EvmNode(scripted.client(), "BOB"), bytes(32))


@pytest.mark.parametrize(
    ("trace", "reason"),
    [
        ({"type": "CALL", "output": "0x"}, None),
        ({"error": "execution reverted"}, "no reason given"),
        ({"error": "execution reverted", "output": PANIC}, "panic 0x11: arithmetic overflow or underflow"),
        ({"error": "out of gas"}, "out of gas"),
    ],
)
async def test_a_trace_contains_the_reason(trace: dict[str, str], reason: str | None) -> None:
    assert await reason_of(trace) == reason


@pytest.mark.parametrize("trace", [None, [], "0x", {"error": 3}, {"error": "execution reverted", "output": "0xzz"}])
async def test_an_invalid_trace_is_a_bad_answer(trace: Any) -> None:
    with pytest.raises(BadAnswer, match="debug_traceTransaction"):
        await reason_of(trace)


async def test_a_node_that_does_not_trace_is_an_error(bob: BobNetwork) -> None:
    taker = await bob.client("taker")
    data = transfer_call(b"\x05" * 20, 2**255)
    status = await taker.submit_transaction_async(
        EvmTransactionRequest(to=to_checksum(TEST_TOKEN_ADDRESS), data=data, gas_limit=100_000)
    )
    assert (await taker.wait_for_status_async(status.tx_id)).state is TxState.FAILED
    with pytest.raises(NodeRefused, match="debug_traceTransaction"):
        await taker.failure_reason_async(status.tx_id)
