"""The source over JSON-RPC, with the answers of Bitcoin Core and of btcd.

Sources of the answers: Core's rpc/protocol.h, rpc/rawtransaction.cpp and rpc/blockchain.cpp; btcd's rpcserver.go and
mempool/mempool.go. The suite of both networks runs the source with a real btcd.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from layer2.errors import AuthenticationFailed, BadAnswer, NodeRefused, NodeUnreachable, Outcome, TransactionError
from layer2.formats.bitcoin_transaction import OutPoint
from layer2.net.client_settings import ConnectionPoolConfig
from layer2.protocols.bitcoin.source.http import HttpNode
from layer2.protocols.bitcoin.source.json_rpc import BitcoinRpc
from simnet.bitcoin.coins import reward_of, spend, started_node

NODE = started_node()
PAYMENT = spend(reward_of(NODE), [50_000])


def refused(code: int, message: str) -> tuple[int, dict[str, object]]:
    return 500, {"result": None, "error": {"code": code, "message": message}, "id": 1}


def answered(result: object) -> tuple[int, dict[str, object]]:
    return 200, {"result": result, "error": None, "id": 1}


@asynccontextmanager
async def scripted(
    answers: Mapping[str, tuple[int, object]], *, retry_seconds: float = 2.0
) -> AsyncIterator[BitcoinRpc]:
    """A source of a node that answers each method as the test wants."""

    async def serve(request: web.Request) -> web.Response:
        method = (await request.json())["method"]
        status, body = answers.get(method, refused(-32601, "Method not found"))
        return web.Response(status=status, text=body if isinstance(body, str) else json.dumps(body))

    application = web.Application()
    application.router.add_post("/", serve)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    source = BitcoinRpc(
        HttpNode(f"http://user:secret@{host}:{port}", ConnectionPoolConfig(retry_seconds=retry_seconds), 5.0)
    )
    try:
        yield source
    finally:
        await source.aclose()
        await runner.cleanup()


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (-27, "Transaction already in block chain"),
        (-27, "Transaction outputs already in utxo set"),
        (-26, "txn-already-in-mempool"),
        (-26, "txn-already-known"),
        (-26, "TX rejected: already have transaction in mempool 00"),
        (-27, "TX rejected: transaction already exists in blockchain"),
    ],
)
async def test_a_transaction_that_the_node_has_counts_as_sent(code: int, message: str) -> None:
    async with scripted({"sendrawtransaction": refused(code, message)}) as source:
        await source.broadcast(PAYMENT)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (-26, "txn-mempool-conflict"),
        (-26, "insufficient fee, rejecting replacement"),
        (-25, "bad-txns-inputs-missingorspent"),
        (-26, "mempool min fee not met"),
        # btcd names the conflict with a word that its answer to a known transaction has, too.
        (-26, "TX rejected: output already spent in mempool: output=00:0, tx=11"),
        (-25, "TX rejected: orphan transaction 00 references outputs of unknown or fully-spent transaction 11"),
        (-22, "TX decode failed"),
    ],
)
async def test_a_transaction_that_the_node_does_not_take_is_rejected(code: int, message: str) -> None:
    async with scripted({"sendrawtransaction": refused(code, message)}) as source:
        with pytest.raises(TransactionError) as caught:
            await source.broadcast(PAYMENT)
        assert (caught.value.outcome, caught.value.tx_id) == (Outcome.REJECTED, PAYMENT.id)
        assert message in caught.value.message


async def test_a_busy_node_leaves_a_transaction_unknown() -> None:
    async with scripted({"sendrawtransaction": (503, "Work queue depth exceeded")}) as source:
        with pytest.raises(NodeUnreachable) as caught:
            await source.broadcast(PAYMENT)
        assert caught.value.outcome is Outcome.UNKNOWN


async def test_a_read_of_a_busy_node_is_repeated_until_it_answers() -> None:
    answers: dict[str, tuple[int, object]] = {"getblockhash": (503, "503 Too busy.  Try again later.")}
    async with scripted(answers) as source:
        asked = asyncio.create_task(source.block_hash(7))
        await asyncio.sleep(0.05)
        answers["getblockhash"] = answered("11" * 32)
        assert await asked == bytes.fromhex("11" * 32)


async def test_a_read_of_a_node_that_stays_busy_fails_as_unreachable() -> None:
    async with scripted({"getblockhash": (503, "503 Too busy.  Try again later.")}, retry_seconds=0.2) as source:
        with pytest.raises(NodeUnreachable, match="Too busy"):
            await source.block_hash(7)


async def test_a_node_that_starts_judges_no_transaction() -> None:
    async with scripted({"sendrawtransaction": refused(-28, "Loading block index...")}) as source:
        with pytest.raises(NodeRefused) as caught:
            await source.broadcast(PAYMENT)
        assert not isinstance(caught.value, TransactionError)


async def test_a_node_that_prunes_is_named_with_what_to_do() -> None:
    async with scripted({"getblock": refused(-1, "Block not available (pruned data)")}) as source:
        with pytest.raises(NodeRefused) as caught:
            await source.block(bytes(32))
        assert caught.value.code == "pruned"
        assert "not pruned" in (caught.value.remedy or "")


async def test_a_missing_transaction_height_or_method_is_not_an_error() -> None:
    answers = {
        "getrawtransaction": refused(-5, "No such mempool or blockchain transaction"),
        "getblockhash": refused(-8, "Block height out of range"),
    }
    async with scripted(answers) as source:
        assert await source.find(bytes(32)) is None
        assert await source.block_hash(1_000_000) is None
        assert await source.call("getindexinfo") is None
    async with scripted({"getblockhash": refused(-1, "Block number out of range")}) as source:
        assert await source.block_hash(1_000_000) is None


async def test_a_transaction_in_a_block_that_left_the_chain_is_unconfirmed() -> None:
    header = NODE.chain.blocks[5].block.header
    found = {"hex": PAYMENT.encode().hex(), "blockhash": header.id}
    for confirmations, height in ((3, 5), (-1, None)):
        described = {"height": 5, "confirmations": confirmations}
        answers = {"getrawtransaction": answered(found), "getblockheader": answered(described)}
        async with scripted(answers) as source:
            located = await source.find(PAYMENT.hash)
            assert located is not None
            assert (None if located.block is None else located.block.height) == height


async def test_another_transaction_than_the_one_asked_for_is_a_bad_answer() -> None:
    async with scripted({"getrawtransaction": answered({"hex": PAYMENT.encode().hex()})}) as source:
        with pytest.raises(BadAnswer):
            await source.find(bytes(32))


@pytest.mark.parametrize(
    ("answers", "rate"),
    [
        ({"estimatesmartfee": answered({"feerate": 0.0002, "blocks": 2})}, 20_000),
        ({"estimatesmartfee": answered({"errors": ["Insufficient data or no feerate found"], "blocks": 0})}, 1_000),
        ({"estimatefee": answered(0.00005)}, 5_000),
        ({"estimatefee": refused(-1, "not enough blocks have been observed")}, 1_000),
        ({"estimatesmartfee": answered({"feerate": 0.000001, "blocks": 2})}, 1_000),
    ],
    ids=["core", "core without data", "btcd", "btcd without data", "below what nodes relay"],
)
async def test_the_fee_rate_is_that_of_the_node(answers: Mapping[str, tuple[int, object]], rate: int) -> None:
    async with scripted(answers) as source:
        assert await source.fee_rate(2) == rate


async def test_the_mempool_is_read_once_and_what_left_it_is_forgotten() -> None:
    script = PAYMENT.outputs[0].script
    answers = {
        "getrawmempool": answered([PAYMENT.id]),
        "getrawtransaction": answered(PAYMENT.encode().hex()),
    }
    async with scripted(answers) as source:
        assert await source.unconfirmed([script], []) == [PAYMENT]
        assert await source.unconfirmed([b"\x51\x51"], []) == []
        del answers["getrawtransaction"]
        assert await source.unconfirmed([], [PAYMENT.inputs[0].prevout]) == [PAYMENT]
        assert await source.unconfirmed([], [OutPoint(bytes(32), 0)]) == []
        answers["getrawmempool"] = answered([])
        assert await source.unconfirmed([script], []) == []


@pytest.mark.parametrize("body", ["", "[]", "{}", '{"result": 1}', '{"result": null, "error": 5, "id": 1}', "<html>"])
async def test_a_malformed_answer_is_a_typed_error(body: str) -> None:
    async with scripted({"getbestblockhash": (200, body)}) as source:
        with pytest.raises((BadAnswer, NodeRefused)):
            await source.tip()


async def test_a_wrong_password_is_named_and_not_shown() -> None:
    async with scripted({"getbestblockhash": (401, "")}) as source:
        with pytest.raises(AuthenticationFailed) as caught:
            await source.tip()
        assert "secret" not in str(caught.value)
