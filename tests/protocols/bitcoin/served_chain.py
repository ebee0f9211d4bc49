"""simnet's Bitcoin node behind its Esplora server, for tests of the client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from layer2.local.simnet.bitcoin.esplora import esplora_application
from layer2.local.simnet.bitcoin.node import BitcoinNode
from layer2.net.client_settings import ConnectionPoolConfig
from layer2.protocols.bitcoin.source.esplora import Esplora
from layer2.protocols.bitcoin.source.http import HttpNode


@asynccontextmanager
async def served(node: BitcoinNode) -> AsyncIterator[str]:
    """Serve the node on loopback, and return the address."""
    runner = web.AppRunner(esplora_application(node))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def esplora_of(node: BitcoinNode) -> AsyncIterator[Esplora]:
    """A source that reads the node through its server."""
    async with served(node) as url:
        source = Esplora(HttpNode(url, ConnectionPoolConfig(), 5.0))
        try:
            yield source
        finally:
            await source.aclose()
