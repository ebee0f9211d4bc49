"""Answers that are too large: no download continues without a caller, and memory stays within the limits."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest
from aiohttp import web

from layer2.errors import BadAnswer
from layer2.net.client_settings import ConnectionPoolConfig
from layer2.protocols.evm.rpc.http_exchange import DEFAULT_RESPONSE_BYTES
from layer2.protocols.evm.rpc.json_rpc import JsonRpc
from protocols.evm.scripted_node import Calls, echoes, scripted_node

LIMIT = 1_000_000
CHUNK = b" " * 10_000
OTHER_MEMORY = LIMIT // 2
"""What the connections and the request themselves may take while an answer is read."""


@dataclass
class FloodingNode:
    """Answers every request with more bytes than the client accepts."""

    url: str = ""
    sizes: list[int] = field(default_factory=list)
    """How many calls each request had."""
    downloads: int = 0
    """Answers that are being sent now."""
    slow: bool = False
    """Send so slowly that only the client can end the answer within a test."""
    most_memory: int = 0
    """The most bytes that Python had allocated when a request arrived."""
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    idle: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while no answer is being sent."""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        calls = orjson.loads(await request.read())
        self.sizes.append(len(calls) if isinstance(calls, list) else 1)
        if tracemalloc.is_tracing():
            self.most_memory = max(self.most_memory, tracemalloc.get_traced_memory()[0])
        self.downloads += 1
        self.idle.clear()
        self.arrived.set()
        response = web.StreamResponse()
        try:
            await response.prepare(request)
            sent = 0
            while sent <= LIMIT:
                chunk = CHUNK[:1] if self.slow else CHUNK
                await response.write(chunk)
                sent += len(chunk)
                if self.slow:
                    await asyncio.sleep(0.01)
        except ConnectionResetError:
            pass
        finally:
            self.downloads -= 1
            if not self.downloads:
                self.idle.set()
        return response


@asynccontextmanager
async def flooding_node() -> AsyncIterator[FloodingNode]:
    node = FloodingNode()
    application = web.Application()
    application.router.add_post("/", node.answer)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    node.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield node
    finally:
        await runner.cleanup()


@asynccontextmanager
async def client_of(url: str, *, connections: int = 4, limit: int | None = LIMIT) -> AsyncIterator[JsonRpc]:
    pool = ConnectionPoolConfig(max_connections=connections, max_response_bytes=limit, retry_seconds=0.0)
    client = JsonRpc(url, protocol="BOB", pool=pool, timeout=30)
    try:
        yield client
    finally:
        await client.aclose()


@contextmanager
def traced_memory() -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
    finally:
        tracemalloc.stop()


async def cancelled(tasks: list[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_downloads_end_with_their_last_caller_though_another_call_of_the_batch_was_settled() -> None:
    async with flooding_node() as node, client_of(node.url) as client:
        calls = [asyncio.create_task(client.call("m", number)) for number in range(2)]
        # The batch is refused, then the first call alone: it is settled, and the second call is still asked for.
        await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
        node.slow = True
        assert isinstance(calls[0].exception(), BadAnswer)
        node.arrived.clear()
        await asyncio.wait_for(node.arrived.wait(), 5)
        assert node.sizes == [2, 1, 1]
        await cancelled(calls[1:])
        await asyncio.wait_for(node.idle.wait(), 5)
        assert not client._under_way
        assert node.sizes == [2, 1, 1]


async def test_a_part_of_a_batch_is_not_asked_for_when_its_callers_have_left() -> None:
    refused = asyncio.Event()
    proceed = asyncio.Event()

    async def script(calls: Calls) -> web.Response:
        if len(calls) == 4:
            return web.Response(status=413)
        refused.set()
        await proceed.wait()
        return web.Response(body=echoes(calls), content_type="application/json")

    async with scripted_node(script) as node:
        client = node.client()
        calls = [asyncio.create_task(client.call("m", number)) for number in range(4)]
        await asyncio.wait_for(refused.wait(), 5)
        await cancelled(calls[2:])
        proceed.set()
        assert await asyncio.gather(*calls[:2]) == [0, 1]
        while client._under_way:
            await asyncio.wait(client._under_way)
        assert node.sizes == [4, 2]


async def test_a_call_that_the_node_wants_alone_is_not_asked_for_when_its_caller_has_left() -> None:
    proceed = asyncio.Event()

    async def script(calls: Calls) -> web.Response:
        if len(calls) == 1:
            await proceed.wait()
            return web.Response(body=echoes(calls), content_type="application/json")
        error = {"code": -32003, "message": "response too large"}
        answers = [{"jsonrpc": "2.0", "id": call["id"], "error": error} for call in calls]
        return web.Response(body=orjson.dumps(answers), content_type="application/json")

    async with scripted_node(script) as node:
        client = node.client()
        calls = [asyncio.create_task(client.call("m", number)) for number in range(2)]
        while len(node.requests) < 2:
            await node.arrival()
        await cancelled(calls[1:])
        proceed.set()
        assert await calls[0] == 0
        while client._under_way:
            await asyncio.wait(client._under_way)
        assert node.sizes == [2, 1]


async def test_one_batch_holds_at_most_one_answer_in_memory_however_often_it_is_divided() -> None:
    async with flooding_node() as node, client_of(node.url) as client:
        with traced_memory():
            before = tracemalloc.get_traced_memory()[0]
            results = await asyncio.gather(*[client.call("m", n) for n in range(32)], return_exceptions=True)
        assert all(isinstance(result, BadAnswer) for result in results)
        assert node.sizes == [32, *[size for size in node.sizes[1:] if size <= 16]]
        assert node.most_memory - before < OTHER_MEMORY


async def test_memory_is_limited_by_the_connections_for_any_number_of_calls() -> None:
    connections = 3
    async with flooding_node() as node, client_of(node.url, connections=connections) as client:
        with traced_memory():
            before = tracemalloc.get_traced_memory()[0]
            results = await asyncio.gather(*[client.call("m", n) for n in range(400)], return_exceptions=True)
        assert all(isinstance(result, BadAnswer) for result in results)
        assert node.most_memory - before < connections * (LIMIT + OTHER_MEMORY)


@pytest.mark.parametrize("item", [b"{}", b"[]", b"[[[]]]", b'{"a":{}}'])
async def test_an_answer_of_more_objects_than_any_node_sends_is_refused_before_it_is_decoded(
    item: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = b'{"jsonrpc":"2.0","id":1,"result":[' + b",".join([item] * 300_000) + b"]}"
    monkeypatch.delattr("layer2.protocols.evm.rpc.answers.orjson")
    async with scripted_node(lambda calls: body) as node:
        with pytest.raises(BadAnswer, match="more than 200000 objects and lists"):
            await node.client(max_response_bytes=10_000_000).call("m")


async def test_a_full_block_of_receipts_is_accepted_by_default() -> None:
    # 60 million gas in transfers of a token; a receipt with one log takes 1.7 KB.
    receipt = {"logsBloom": "0x" + "00" * 256, "logs": [{"topics": ["0x" + "11" * 32] * 3, "data": "0x" + "22" * 300}]}
    receipts = [receipt] * (60_000_000 // 40_000)
    body = orjson.dumps({"jsonrpc": "2.0", "id": 1, "result": receipts})
    assert 2_000_000 < len(body) < DEFAULT_RESPONSE_BYTES
    async with scripted_node(lambda calls: body) as node, client_of(node.url, limit=None) as client:
        assert await client.call("m") == receipts


async def test_the_default_limit_refuses_what_is_longer() -> None:
    body = b" " * (DEFAULT_RESPONSE_BYTES + 1)
    async with scripted_node(lambda calls: body) as node, client_of(node.url, limit=None) as client:
        with pytest.raises(BadAnswer, match=f"longer than {DEFAULT_RESPONSE_BYTES} bytes"):
            await client.call("m")
