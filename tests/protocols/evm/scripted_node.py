"""An HTTP server that answers JSON-RPC with the answers of a test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson
from aiohttp import web

from layer2.net.client_settings import ConnectionPoolConfig
from layer2.protocols.evm.rpc.json_rpc import JsonRpc

__all__ = ["Calls", "Change", "ScriptedNode", "balanced", "echoes", "scripted_node"]

Calls = list[dict[str, Any]]
Script = Callable[[Calls], Awaitable[web.StreamResponse] | web.StreamResponse | bytes]

Change = Callable[[Calls, list[dict[str, Any]]], None]


@dataclass
class ScriptedNode:
    """``script`` receives the calls of a request and returns the body or the whole response."""

    url: str
    script: Script
    requests: list[Calls] = field(default_factory=list)
    clients: list[JsonRpc] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    async def arrival(self) -> None:
        """Wait for the next request."""
        await asyncio.wait_for(self.arrived.wait(), 5)
        self.arrived.clear()

    @property
    def sizes(self) -> list[int]:
        """The number of calls in each request."""
        return [len(calls) for calls in self.requests]

    def client(
        self,
        *,
        timeout: float = 5.0,
        max_response_bytes: int = 1_000_000,
        connections: int = 4,
        retry_seconds: float = 0.0,
        **pool_settings: Any,
    ) -> JsonRpc:
        """A client of this node; by default each call is one attempt."""
        pool = ConnectionPoolConfig(
            max_connections=connections,
            max_response_bytes=max_response_bytes,
            retry_seconds=retry_seconds,
            **pool_settings,
        )
        client = JsonRpc(self.url, protocol="BOB", pool=pool, timeout=timeout)
        self.clients.append(client)
        return client


def echoes(calls: Calls) -> bytes:
    """Answer each call with its first argument."""
    answers = [{"jsonrpc": "2.0", "id": call["id"], "result": call["params"][0]} for call in calls]
    return orjson.dumps(answers if len(answers) > 1 else answers[0])


@asynccontextmanager
async def scripted_node(script: Script = echoes) -> AsyncIterator[ScriptedNode]:
    async def handle(request: web.Request) -> web.StreamResponse:
        body = orjson.loads(await request.read())
        calls: Calls = body if isinstance(body, list) else [body]
        node.requests.append(calls)
        node.arrived.set()
        answer = node.script(calls)
        if isinstance(answer, bytes):
            return web.Response(body=answer, content_type="application/json")
        return answer if isinstance(answer, web.StreamResponse) else await answer

    application = web.Application(client_max_size=32 * 1024 * 1024)
    application.router.add_post("/", handle)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    node = ScriptedNode(f"http://127.0.0.1:{runner.addresses[0][1]}", script)
    try:
        yield node
    finally:
        for client in node.clients:
            await client.aclose()
        await runner.cleanup()


@asynccontextmanager
async def balanced(url: str, change: Change) -> AsyncIterator[ScriptedNode]:
    """A node behind a load balancer. ``change`` may replace the node's answers."""
    async with aiohttp.ClientSession() as session:

        async def script(calls: Calls) -> web.Response:
            async with session.post(url, json=calls) as response:
                answers = orjson.loads(await response.read())
            change(calls, answers)
            return web.json_response(answers if len(calls) > 1 else answers[0])

        async with scripted_node(script) as scripted:
            yield scripted
