"""What doctor finds at Bitcoin's sources and in the wallet."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from layer2.cli.bitcoin_diagnosis import coin_findings, source_findings
from layer2.cli.findings import Finding, Level
from layer2.config import BitcoinSection
from layer2.formats.bitcoin_block import decode_block
from layer2.local.simnet.bitcoin.node import BitcoinNode
from layer2.local.simnet.clock import SimClock
from layer2.model.money import Balance
from layer2.ports.clock import SystemClock
from protocols.bitcoin.served_chain import served

CORE = "/Satoshi:28.1.0/"
NO_METHOD = {"code": -32601, "message": "Method not found"}


@pytest.fixture
def chain() -> BitcoinNode:
    node = BitcoinNode(SimClock(None))
    node.mine_history(5, 600)
    return node


def rpc(node: BitcoinNode, **changes: Any) -> Mapping[str, Any]:
    """What Bitcoin Core answers for this chain, with some answers changed; None is a missing method."""
    blocks = node.chain.blocks
    raw = {each.block.header.id: each.block for each in blocks}
    first = blocks[1].block.transactions[0]
    answers = {
        "getbestblockhash": blocks[-1].block.header.id,
        "getblockheader": lambda name, verbose: (
            {"height": [*raw].index(name), "confirmations": 1} if verbose else raw[name].header.encode().hex()
        ),
        "getblockhash": lambda height: blocks[height].block.header.id,
        "getblock": lambda name, _: node.chain.blocks[[*raw].index(name)].block.encode().hex(),
        "getrawtransaction": lambda tx_id, _: {"hex": first.encode().hex(), "blockhash": blocks[1].block.header.id},
        "getblockchaininfo": {"blocks": 5, "headers": 5, "initialblockdownload": False, "pruned": False},
        "getmempoolinfo": {"size": 0, "mempoolminfee": 0.00001},
        "getnetworkinfo": {"subversion": CORE},
        "estimatesmartfee": {"feerate": 0.0001, "blocks": 2},
    }
    return answers | changes


@asynccontextmanager
async def node_of(answers: Mapping[str, Any]) -> AsyncIterator[str]:
    """Serve the answers of a JSON-RPC node, and return its address."""

    async def handle(request: web.Request) -> web.Response:
        call = json.loads(await request.read())
        answer = answers.get(call["method"])
        if answer is None:
            return web.json_response({"result": None, "error": NO_METHOD, "id": 1}, status=404)
        result = answer(*call["params"]) if callable(answer) else answer
        if isinstance(result, dict) and "code" in result:
            return web.json_response({"result": None, "error": result, "id": 1}, status=500)
        return web.json_response({"result": result, "error": None, "id": 1})

    application = web.Application()
    application.router.add_post("/", handle)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        host, port = runner.addresses[0][:2]
        yield f"http://user:secret@{host}:{port}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def peer() -> AsyncIterator[str]:
    """Something that accepts connections."""
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        host, port = server.sockets[0].getsockname()
        yield f"{host}:{port}"


def section(**values: Any) -> BitcoinSection:
    return BitcoinSection(network="regtest", seed_file=Path("seed"), **values)


async def found_at(answers: Mapping[str, Any], **values: Any) -> dict[str, Finding]:
    async with node_of(answers) as url, peer() as filters:
        table = section(**{"rpc_url": url, "filter_peer": filters} | values)
        findings = await source_findings(table, SystemClock())
    assert all("secret" not in each.text for each in findings)
    return {each.subject.removeprefix("BITCOIN "): each for each in findings}


async def test_a_synced_node_of_one_s_own_has_no_finding_but_that_it_was_not_tried(chain: BitcoinNode) -> None:
    found = await found_at(rpc(chain))
    warned = {subject for subject, each in found.items() if each.level is not Level.OK}
    assert warned == {"not verified"}
    assert "Satoshi:28.1.0" in found["not verified"].text
    assert "withhold but not invent" in found["trust"].text
    assert found["tip"].text.startswith("height 5")
    assert found["mempool"].text == "it accepts 1 sat/vB and more"
    assert "it shows no mempool" in found["filter peer"].text


async def test_btcd_was_tried_and_states_no_minimum_of_its_mempool(chain: BitcoinNode) -> None:
    versions = {"btcdjsonrpcapi": {"versionstring": "1.3.0"}}
    changes: Mapping[str, Any] = {"getnetworkinfo": None, "version": versions, "getmempoolinfo": {"size": 0}}
    found = await found_at(rpc(chain, **changes, getblockchaininfo={"blocks": 5, "headers": 5, "pruned": False}))
    assert {each.level for each in found.values()} == {Level.OK}
    assert found["tried with"].text == "btcd (JSON-RPC 1.3.0): btcd was tried, on regtest"
    assert "mempool" not in found


@pytest.mark.parametrize(
    ("changes", "subject", "text"),
    [
        pytest.param(
            {"getblockchaininfo": {"blocks": 5, "headers": 9, "pruned": False}}, "sync", "is behind", id="behind"
        ),
        pytest.param(
            {"getblockchaininfo": {"blocks": 5, "headers": 5, "pruned": True, "pruneheight": 3}},
            "blocks",
            "lacks the blocks below height 3",
            id="pruned",
        ),
        pytest.param(
            {"getrawtransaction": {"code": -5, "message": "No such mempool transaction. Use -txindex"}},
            "txindex",
            "no index of transactions",
            id="without an index",
        ),
        pytest.param(
            {"getmempoolinfo": {"mempoolminfee": 0.003}},
            "mempool",
            "nothing below 300 sat/vB, and max_fee_rate is 200 sat/vB",
            id="full mempool",
        ),
        pytest.param(
            {"estimatesmartfee": {"feerate": 0.00250}}, "fees", "250 sat/vB for 2 blocks", id="estimate above the cap"
        ),
    ],
)
async def test_what_is_wrong_with_a_node_is_found_with_its_remedy(
    chain: BitcoinNode, changes: Mapping[str, Any], subject: str, text: str
) -> None:
    found = await found_at(rpc(chain, **changes))
    assert found[subject].level is Level.WARN
    assert text in found[subject].text
    assert found[subject].remedy


async def test_an_old_newest_block_is_found() -> None:
    node = BitcoinNode(SimClock(None))
    node.mine_history(5, 600)
    clock = SystemClock()

    class Later(SystemClock):
        def now(self) -> float:
            return clock.now() + 3 * 3600

    async with served(node) as url:
        found = {each.subject: each for each in await source_findings(section(esplora_url=url), Later())}
    assert found["BITCOIN tip"].level is Level.WARN
    assert "3 h" in found["BITCOIN tip"].text


async def test_a_peer_that_is_down_is_found_although_the_node_answers(chain: BitcoinNode) -> None:
    found = await found_at(rpc(chain), filter_peer="127.0.0.1:1")
    assert found["filter peer"].level is Level.FAIL
    assert "accepts no connection" in found["filter peer"].text
    assert found["tip"].level is Level.OK


async def test_a_node_that_is_down_does_not_hide_the_peer(chain: BitcoinNode) -> None:
    found = await found_at(rpc(chain), rpc_url="http://127.0.0.1:1")
    assert found["source"].level is Level.FAIL
    assert found["filter peer"].level is Level.OK


async def test_esplora_s_trust_is_stated_and_that_no_public_server_was_tried(chain: BitcoinNode) -> None:
    async with served(chain) as url:
        found = {each.subject: each for each in await source_findings(section(esplora_url=url), SystemClock())}
    assert "it can hide or delay blocks and payments" in found["BITCOIN trust"].text
    assert found["BITCOIN not verified"].level is Level.WARN
    assert "BITCOIN filter peer" not in found


async def test_a_wallet_without_coins_is_a_finding_and_held_coins_are_counted(chain: BitcoinNode) -> None:
    first = decode_block(chain.chain.blocks[1].block.encode()).transactions[0]
    held = {f"{first.id}:0": "swap:00", "00" * 32 + ":1": "send:rent"}
    async with served(chain) as url:
        coins, holds = await coin_findings(section(esplora_url=url), Balance(0), "bcrt1qmine", held)
    assert (coins.level, coins.remedy) == (Level.WARN, "send bitcoin to bcrt1qmine, or receive a transfer first")
    assert holds.text == f"{first.outputs[0].amount:,} sat in 2 coins: 1 for sends, 1 for swaps"
    assert [each.level for each in await coin_findings(section(esplora_url=url), Balance(5), "", {})] == [Level.OK]
