"""Nodes that lag, lie, or send broken answers; and errors that do not show the node's keys."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest

from layer2.contracts.htlc import HTLC_ADDRESS, LOCKED
from layer2.errors import (
    BadAnswer,
    FormatError,
    NodeError,
    NodeRefused,
    NodeUnreachable,
    Outcome,
    ProofUndecided,
    WrongNetwork,
)
from layer2.formats.evm_address import to_checksum
from layer2.legs.views import ActStatus, Side, Verb
from layer2.local.simnet.evm.answers import block_answer
from layer2.local.simnet.evm.chain import BOB_CHAIN_ID
from layer2.model.money import ETH
from layer2.model.transactions import Preimage
from layer2.net.client_settings import ConnectionPoolConfig
from layer2.protocols.evm.chain.heads import HeadWatcher
from layer2.protocols.evm.locks.events import LockEvents
from layer2.protocols.evm.requests import EvmTransactionRequest
from layer2.protocols.evm.rpc.batches import SEND
from layer2.protocols.evm.rpc.json_rpc import JsonRpc
from layer2.protocols.evm.rpc.node import EvmNode
from protocols.evm.bob_network import BobNetwork
from protocols.evm.scripted_node import Calls, balanced, scripted_node


def answering(answer: Callable[[dict[str, Any]], object]) -> Callable[[Calls], bytes]:
    def script(calls: Calls) -> bytes:
        answers = [{"jsonrpc": "2.0", "id": call["id"], "result": answer(call)} for call in calls]
        return orjson.dumps(answers if len(answers) > 1 else answers[0])

    return script


async def test_a_node_whose_newest_block_is_below_a_finalized_one_lags_and_is_not_believed(bob: BobNetwork) -> None:
    bob.node.mine(5)
    numbers = {"latest": 5, "safe": 4, "finalized": 3}

    def answer(call: dict[str, Any]) -> object:
        if call["method"] == "eth_chainId":
            return hex(BOB_CHAIN_ID)
        block = bob.node.chain.block_by_number(numbers[call["params"][0]])
        assert block is not None
        return block_answer(block, full_transactions=False)

    async with scripted_node(answering(answer)) as scripted:
        watcher = HeadWatcher(EvmNode(scripted.client(), "BOB"), BOB_CHAIN_ID, 1.0)
        assert (await watcher.read()).latest.number == 5
        numbers = {"latest": 3, "safe": 2, "finalized": 1}
        assert (await watcher.read()).latest.number == 3, "a reorganisation down to the finalized block is one"
        numbers = {"latest": 5, "safe": 4, "finalized": 3}
        await watcher.read()
        numbers = {"latest": 2, "safe": 2, "finalized": 1}
        with pytest.raises(BadAnswer, match="newest block is 2, and block 3 was finalized before"):
            await watcher.read()
        numbers = {"latest": 5, "safe": 5, "finalized": 4}
        assert (await watcher.read()).finalized.number == 4, "it is believed again once it has caught up"
        await watcher.aclose()


@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.parametrize("there", ["nothing", "another block"])
async def test_no_events_from_a_node_without_the_block_is_not_no_event(bob: BobNetwork, place: str, there: str) -> None:
    bob.node.mine(2)
    known = block_answer(bob.node.chain.head, full_transactions=False)
    bob.node.reorganise(1, keep_transactions=True)
    other = bob.node.chain.block_by_number(bob.node.chain.head.number - 1)
    assert other is not None
    wrong = None if there == "nothing" else block_answer(other, full_transactions=False)
    answers: list[object] = []

    def answer(call: dict[str, Any]) -> object:
        return [] if call["method"] == "eth_getLogs" else answers.pop(0)

    async with scripted_node(answering(answer)) as scripted:
        node = EvmNode(scripted.client(), "BOB")
        events = LockEvents(node, bob.settings())
        answers = [known, known, known]
        head = await node.block(other.number)
        assert head is not None
        assert await events.locked_by(b"\x01" * 20, b"\x02" * 32, head) == []
        assert len(scripted.requests) == 2, "the block is asked for together with the events, so of the same node"
        around = ["eth_getBlockByNumber", "eth_getLogs", "eth_getBlockByNumber"]
        assert [call["method"] for call in scripted.requests[1]] == around, "a node answers a batch in its order"
        answers = [wrong, known] if place == "before" else [known, wrong]
        with pytest.raises(BadAnswer, match=f"does not have block {head.number}"):
            await events.locked_by(b"\x01" * 20, b"\x02" * 32, head)


async def test_an_event_of_a_block_that_was_not_asked_for_is_caught(bob: BobNetwork) -> None:
    bob.node.mine(2)
    known = block_answer(bob.node.chain.head, full_transactions=False)
    payer, payment_hash = b"\x01" * 20, b"\x02" * 32
    topics = [LOCKED, b"\x03" * 32, payment_hash, payer.rjust(32, b"\x00")]
    log = {
        "address": to_checksum(HTLC_ADDRESS).lower(),
        "topics": ["0x" + topic.hex() for topic in topics],
        "data": "0x" + "00" * 160,
        "transactionHash": "0x" + "04" * 32,
        "blockHash": "0x" + "05" * 32,
        "blockNumber": hex(bob.node.chain.head.number + 1),
        "logIndex": "0x0",
        "transactionIndex": "0x0",
        "removed": False,
    }
    script = answering(lambda call: [log] if call["method"] == "eth_getLogs" else known)
    async with scripted_node(script) as scripted:
        node = EvmNode(scripted.client(), "BOB")
        head = await node.block(bob.node.chain.head.number)
        assert head is not None
        with pytest.raises(BadAnswer, match="does not match the search"):
            await LockEvents(node, bob.settings()).locked_by(payer, payment_hash, head)


@pytest.mark.parametrize("result", [None, "0x", "0x1234", 5, True, {}, [], "0x" + "zz" * 32])
async def test_an_answer_to_a_send_that_is_not_a_hash_leaves_its_outcome_unknown(result: object) -> None:
    async with scripted_node(answering(lambda call: result)) as scripted:
        with pytest.raises(BadAnswer) as error:
            await EvmNode(scripted.client(), "BOB").send(b"\x02")
        assert error.value.outcome is Outcome.UNKNOWN
        assert error.value.operation == SEND
        assert scripted.url in error.value.message


@asynccontextmanager
async def wire(answer: bytes, *, keep_open: bool = False) -> AsyncIterator[str]:
    """A server that answers every request with these bytes, including the headers."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        if keep_open:
            await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://user:secret@127.0.0.1:{server.sockets[0].getsockname()[1]}/v3/key-in-path?token=key-in-query"


async def asked(url: str, method: str, *, limit: int = 100_000, timeout: float = 5.0) -> NodeError:
    pool = ConnectionPoolConfig(max_response_bytes=limit, retry_seconds=0.0)
    client = JsonRpc(url, protocol="BOB", pool=pool, timeout=timeout)
    with pytest.raises(NodeError) as error:
        await client.call(method, "0x00")
    await client.aclose()
    return error.value


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
HTML = b"<html><body>502 Bad Gateway</body></html>"
BOMB = zlib.compressobj(9, zlib.DEFLATED, 31)
GZIP = BOMB.compress(b'{"jsonrpc":"2.0","id":1,"result":"' + b"0" * 30_000_000) + BOMB.flush()

WRONG_ON_THE_WIRE: dict[str, tuple[bytes, type[NodeError], str]] = {
    "truncated": (HEAD + b'Content-Length: 90\r\n\r\n{"jsonrpc":"2.0","id":1,"res', NodeUnreachable, "ended early"),
    "cut chunk": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n40\r\n{", NodeUnreachable, "ended early"),
    "no http": (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", NodeUnreachable, "connection broke"),
    "nothing": (b"", NodeUnreachable, "connection broke"),
    "html": (HEAD + b"Content-Length: %d\r\n\r\n" % len(HTML) + HTML, BadAnswer, "not JSON"),
    "proxy": (
        b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: %d\r\n\r\n" % len(HTML) + HTML,
        NodeUnreachable,
        "HTTP 502",
    ),
    "bomb": (
        HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(GZIP) + GZIP,
        BadAnswer,
        "longer than 100000",
    ),
    "no gzip": (HEAD + b"Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello", NodeUnreachable, "ended early"),
    "long header": (HEAD + b"X: " + b"y" * 100_000 + b"\r\n\r\n", NodeUnreachable, "connection broke"),
}


@pytest.mark.parametrize("case", WRONG_ON_THE_WIRE)
@pytest.mark.parametrize("method", ["eth_blockNumber", SEND])
async def test_what_is_wrong_on_the_wire_is_a_typed_error_with_the_method_and_without_keys(
    case: str, method: str
) -> None:
    answer, kind, problem = WRONG_ON_THE_WIRE[case]
    async with wire(answer) as url:
        error = await asked(url, method)
    assert type(error) is kind
    assert problem in error.message
    assert method in error.message
    assert error.outcome is (Outcome.UNKNOWN if method == SEND else Outcome.NOT_SENT)
    shown = repr(error) + str(error) + repr(error.__cause__) + repr(error.__dict__)
    assert "http://127.0.0.1:" in shown
    assert not any(secret in shown for secret in ("user", "secret", "key-in-path", "key-in-query"))


async def test_a_gzip_bomb_is_not_unpacked_beyond_the_limit() -> None:
    assert len(GZIP) < 100_000
    async with wire(HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(GZIP) + GZIP) as url:
        error = await asked(url, "m", limit=len(GZIP) + 1_000)
    assert "longer than" in error.message


async def test_headers_that_never_end_are_not_an_answer_in_time() -> None:
    async with wire(b"HTTP/1.1 200 OK\r\nX: ", keep_open=True) as url:
        error = await asked(url, "m", timeout=0.1)
    assert isinstance(error, NodeUnreachable)
    assert "no answer within 0.1 s" in error.message


async def test_a_node_that_repeats_what_it_was_sent_shows_no_preimage_in_our_errors() -> None:
    raw = b"\x02" + bytes(range(0x41, 0x80)) * 3

    def script(calls: Calls) -> bytes:
        message = f"invalid transaction {calls[0]['params'][0]}, try again"
        return orjson.dumps({"id": calls[0]["id"], "error": {"code": -32000, "message": message}})

    async with scripted_node(script) as scripted:
        with pytest.raises(NodeRefused, match=r"invalid transaction .*\.\., try again") as error:
            await EvmNode(scripted.client(), "BOB").send(raw)
        assert raw.hex()[:64] not in str(error.value) + repr(error.value) + error.value.node_message


async def test_more_than_a_word_of_storage_is_a_bad_answer() -> None:
    async with scripted_node(answering(lambda call: "0x" + "ff" * 33)) as scripted:
        with pytest.raises(BadAnswer, match="at most 32 bytes, not 33"):
            await EvmNode(scripted.client(), "BOB").storage(b"\x01" * 20, 1)


async def test_a_lock_in_a_final_block_that_one_of_several_nodes_has_not_seen_is_not_called_failed(
    bob: BobNetwork,
) -> None:
    lags = False

    def change(calls: Calls, answers: list[dict[str, Any]]) -> None:
        if lags and any(call["method"] == "eth_getTransactionReceipt" for call in calls):
            for answer in answers:
                answer["result"] = None

    async with balanced(bob.url, change) as scripted:
        client = await bob.client("taker", rpc_url=scripted.url)
        act = await client.legs.prepare(Verb.FUND, bob.htlc(Preimage(b"\x07" * 32)))
        await client.legs.perform(act)
        bob.node.mine()
        bob.node.set_finality(bob.node.chain.head.number, bob.node.chain.head.number)
        assert await client.legs.act_status(act) is ActStatus.DONE
        lags = True
        with pytest.raises(BadAnswer, match="has not seen block"):
            await client.legs.act_status(act)
        await client.aclose()


@pytest.mark.parametrize("wrong", [{"gas_limit": 21_000.5}, {"gas_limit": -1}, {"data": "0x00"}, {"value": 1.5}])
def test_a_request_with_an_invalid_number_or_invalid_bytes_is_refused_at_once(wrong: dict[str, Any]) -> None:
    with pytest.raises(FormatError, match="EVM transaction"):
        EvmTransactionRequest(to="0x" + "05" * 20, **wrong)


async def test_on_another_chain_nothing_is_called_dropped_failed_or_over(bob: BobNetwork) -> None:
    is_elsewhere = False

    def change(calls: Calls, answers: list[dict[str, Any]]) -> None:
        if not is_elsewhere:
            return
        for call, answer in zip(calls, answers, strict=True):
            match call["method"]:
                case "eth_chainId":
                    answer["result"] = "0x1"
                case "eth_getTransactionReceipt" | "eth_getTransactionByHash":
                    answer["result"] = None
                case "eth_getTransactionCount":
                    answer["result"] = "0xff"

    async with balanced(bob.url, change) as scripted:
        client = await bob.client("taker", rpc_url=scripted.url)
        bob.maker.set_enabled(False)
        htlc = bob.htlc(Preimage(b"\x07" * 32))
        await client.legs.observe(htlc, Side.PAYER)
        act = await client.legs.prepare(Verb.FUND, htlc)
        await client.legs.perform(act)
        tx_id = await client.transfer_asset_async(ETH, 1, "0x" + "05" * 20)
        is_elsewhere = True
        asking: tuple[Awaitable[object], ...] = (
            client.legs.act_status(act),
            client.get_transaction_status_async(tx_id),
            client.legs.observe(htlc, Side.PAYER),
        )
        for asked in asking:
            with pytest.raises(WrongNetwork, match="is on chain 1"):
                await asked
        await client.aclose()


@pytest.mark.parametrize("is_left", [False, True])
async def test_a_proof_is_final_by_the_heads_of_the_node_that_has_its_block(bob: BobNetwork, is_left: bool) -> None:
    lags = False

    def change(calls: Calls, answers: list[dict[str, Any]]) -> None:
        if lags and any(call["params"][0] == hex(height) for call in calls if call["params"]):
            for call, answer in zip(calls, answers, strict=True):
                if call["params"][0] in {"safe", "finalized"}:
                    answer["result"] = genesis

    async with balanced(bob.url, change) as scripted:
        taker, provider = await bob.client("taker", rpc_url=scripted.url), await bob.client("provider")
        htlc, preimage = bob.htlc(Preimage(b"\x07" * 32)), Preimage(b"\x07" * 32)
        await taker.legs.perform(await taker.legs.prepare(Verb.FUND, htlc))
        await provider.legs.perform(await provider.legs.prepare(Verb.COLLECT, htlc, preimage))
        evidence = await taker.legs.evidence(htlc, Side.PAYER)
        assert evidence is not None
        height = bob.node.chain.head.number
        first = bob.node.chain.block_by_number(0)
        assert first is not None
        genesis = block_answer(first, full_transactions=False)
        if is_left:
            bob.node.set_finality(0, 0)
            bob.node.reorganise(1, keep_transactions=False)
        bob.node.set_finality(height, height)
        assert await taker.verify_proof_async(evidence) is not is_left
        lags = True
        with pytest.raises(ProofUndecided):
            await taker.verify_proof_async(evidence)
        await taker.aclose()
