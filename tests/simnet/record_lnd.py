"""Records real lnd's answers for the conformance test of the simulated nodes.

This is not a test. Run it with the directory of the devnet's programs when lnd's version changes:
``PYTHONPATH=src:tests python tests/simnet/record_lnd.py DIRECTORY_OF_PROGRAMS``
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any

import aiohttp

from layer2.formats.segwit_address import decode_script
from layer2.local.devnet.bitcoin import FIRST_BLOCKS, BitcoinNode
from layer2.local.devnet.lightning import Lnd
from layer2.local.processes import stop
from simnet.lightning_client import Client
from simnet.lightning_conversations import CONVERSATIONS

RECORD = Path(__file__).parent / "recorded_lnd" / "conversation.json"
PERMISSIONS = [
    *("info:read", "peers:read", "onchain:read", "macaroon:read"),
    *(f"{entity}:{action}" for entity in ("invoices", "offchain", "message") for action in ("read", "write")),
]
"""The permissions for all calls in the conversations."""


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


async def _reached(name: str, number: int) -> None:
    # lnd does not report the number of open streams, and does not answer a stream before its first message.
    await asyncio.sleep(1)


async def _has_htlcs(client: Client) -> bool:
    (channel,) = (await client.get("/v1/channels"))["channels"]
    return bool(channel["pending_htlcs"])


async def _record(programs: Path, directory: Path) -> None:
    children = []
    ports = _free_ports(8)
    async with aiohttp.ClientSession() as session:
        try:
            bitcoin = BitcoinNode(programs / "btcd", directory / "btcd", (ports[0], ports[7]), session)
            children.append(bitcoin.start())
            await bitcoin.wait_until_answering()
            height = await bitcoin.generate(FIRST_BLOCKS)
            taker, provider = (
                Lnd(name, programs / "lnd", directory / name, (ports[at], ports[at + 1], ports[at + 2]), session)
                for name, at in (("taker", 1), ("provider", 4))
            )
            children += [taker.start(bitcoin), provider.start(bitcoin)]
            for node in (taker, provider):
                await node.wait_until_answering()
                await node.wait_until_synced(height)
                await node.bake_macaroon(PERMISSIONS)
            scripts = [decode_script(await node.new_address(), "bcrt") for node in (taker, provider)]
            await bitcoin.fund(scripts, 10**9, reward=1)

            async def mine(blocks: int) -> int:
                height = await bitcoin.generate(blocks)
                for node in (taker, provider):
                    await node.wait_until_synced(height)
                return height

            await mine(1)
            await taker.wait_until_funded(10**9)
            await taker.connect(provider)
            await taker.open_channel(provider, 10_000_000, 5_000_000)
            await mine(6)
            for payer, payee in ((taker, provider), (provider, taker)):
                # lnd does not report when its graph is complete, or when its channels are quiet.
                while await payer.pay(await payee.create_invoice(1000, "probe")) != "SUCCEEDED":  # noqa: ASYNC110 - lnd sends no event
                    await asyncio.sleep(0.2)
            for node in (taker, provider):
                while await _has_htlcs(Client(node.description(), session)):  # noqa: ASYNC110 - lnd sends no event
                    await asyncio.sleep(0.2)

            async def stop_provider() -> None:
                provider.kill()
                await taker.wait_until_lost(provider)
                while not await taker.has_inactive_channel():  # noqa: ASYNC110 - lnd sends no event
                    await asyncio.sleep(0.05)

            heard: dict[str, Any] = {}
            for conversation in CONVERSATIONS:
                pays, is_paid = (Client(node.description(), session) for node in (taker, provider))
                heard |= await conversation(pays, is_paid, mine, asyncio.sleep, _reached, stop_provider).hold()
            version = (await Client(taker.description(), session).get("/v1/getinfo"))["version"]
            record = {"lnd": version, "answers": heard}
            RECORD.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")
        finally:
            stop([child.record for child in children], grace=10)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        asyncio.run(asyncio.wait_for(_record(Path(sys.argv[1]), Path(name)), 300))
