"""Clients that open connections and do not use them, or send slowly."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from layer2.provider import connections, request_bodies
from layer2.provider.http import create_app
from layer2.provider.server import serving
from provider.made_providers import world

MOST = 20
HEADER = b"POST /v1/quotes HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n"


@pytest.fixture
async def url(tmp_path: Path) -> AsyncIterator[str]:
    async with world(tmp_path) as made:
        async with serving(create_app(made.provider), "127.0.0.1", 0, most_connections=MOST) as url:
            yield url
        made.engine.close()


async def opened(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, port = url.removeprefix("http://").split(":")
    return await asyncio.open_connection(host, int(port))


async def test_idle_connections_keep_no_request_from_being_answered(url: str) -> None:
    idle = [await opened(url) for _ in range(3 * MOST)]
    async with aiohttp.ClientSession() as session:
        for _ in range(3):
            async with session.get(f"{url}/v1/info", headers={"Connection": "close"}) as response:
                assert response.status == 200
    for _, writer in idle:
        writer.close()


@pytest.mark.parametrize("sent", [b"", HEADER], ids=["nothing", "half a header"])
async def test_a_connection_without_a_request_is_closed(url: str, sent: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "_REQUEST_SECONDS", 0.05)
    reader, writer = await opened(url)
    writer.write(sent)
    async with asyncio.timeout(5):
        assert await reader.read() == b""
    writer.close()


async def test_a_body_that_does_not_arrive_is_refused(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_bodies, "_BODY_SECONDS", 0.05)
    reader, writer = await opened(url)
    writer.write(HEADER + b"Connection: close\r\n\r\n{")
    async with asyncio.timeout(5):
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408 ")
    assert json.loads(body)["error"]["code"] == "too_slow"
    writer.close()


async def test_a_request_that_is_being_answered_is_not_closed(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "_REQUEST_SECONDS", 0.05)
    reader, writer = await opened(url)
    writer.write(HEADER + b"\r\n{")
    busy = [await opened(url) for _ in range(2 * MOST)]
    await asyncio.sleep(0.2)
    body = json.dumps({"asset": "BTC", "amount": "100000", "source": "BOB", "destination": "LIGHTNING"}).encode()
    writer.write(body[1:].ljust(99))
    async with asyncio.timeout(5):
        assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
    for _, each in (*busy, (reader, writer)):
        each.close()
