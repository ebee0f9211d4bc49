"""The benchmark of swaps counts every request to a node and every swap that it starts. No time is measured here."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from layer2.local import simnet
from layer2.local.parties import LocalProvider

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
COUNTING = runpy.run_path(str(BENCHMARKS / "whole_swaps" / "counting.py"))
RequestCounts, Requests = COUNTING["RequestCounts"], COUNTING["Requests"]
OTHER = "127.0.0.1:9"


@pytest.fixture
async def server() -> Any:
    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path == "/socket":
            socket = web.WebSocketResponse()
            await socket.prepare(request)
            await socket.send_str("a head")
            await socket.close()
            return socket
        return web.Response(body=await request.read())

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    async with TestServer(app, host="127.0.0.1") as server:
        yield server


async def test_every_request_and_every_call_of_a_batch_is_counted_for_another_reader(
    tmp_path: Path, server: TestServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aiohttp.ClientSession, "__init__", aiohttp.ClientSession.__init__)
    addresses = [OTHER, f"127.0.0.1:{server.port}"]
    RequestCounts(tmp_path / "counts", addresses).install()
    reader = RequestCounts(tmp_path / "counts", addresses)
    call = {"id": 1, "method": "eth_call", "params": ["method"]}
    async with aiohttp.ClientSession() as session:
        await (await session.post(server.make_url("/"), json=call)).read()
        assert reader.read() == [Requests(0, 0), Requests(1, 1)]
        await (await session.post(server.make_url("/"), json=[call, call, call])).read()
        await (await session.get(server.make_url("/v1/invoices"))).read()
        async with session.ws_connect(server.make_url("/socket")) as socket:
            await socket.receive()
        async with aiohttp.ClientSession(trace_configs=[aiohttp.TraceConfig()]) as other:
            await (await other.get(server.make_url("/"))).read()
    assert reader.read() == [Requests(0, 0), Requests(5, 4)]


async def test_a_request_to_another_address_is_not_counted(
    tmp_path: Path, server: TestServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aiohttp.ClientSession, "__init__", aiohttp.ClientSession.__init__)
    counts = RequestCounts(tmp_path / "counts", [OTHER])
    counts.install()
    async with aiohttp.ClientSession() as session:
        await (await session.get(server.make_url("/"))).read()
    assert counts.read() == [Requests(0, 0)]


def test_a_provider_that_counts_serves_like_any_other(tmp_path: Path) -> None:
    network = simnet.up(tmp_path / "network", with_parent=True)
    try:
        address = network.bob.rpc_url.rpartition("/")[2]
        counts = RequestCounts(tmp_path / "counts", [address])
        program = (str(BENCHMARKS / "whole_swaps" / "counted_provider.py"), str(tmp_path / "counts"), address)
        with LocalProvider(network, tmp_path / "provider", program=program) as provider:
            assert provider.table["url"].startswith("http://127.0.0.1:")
            (requests,) = counts.read()
            assert requests.http > 0
            assert requests.calls > 0
    finally:
        simnet.down(tmp_path / "network")


def test_a_swap_that_was_not_accepted_counts_in_the_percentile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
    rounds = runpy.run_path(str(BENCHMARKS / "whole_swaps" / "rounds.py"))
    found = rounds["Round"](asked=100, acceptances=[100.0, *[1.0] * 98, 50.0])
    assert [found.acceptance(share) for share in (0.5, 0.98, 0.99)] == [1.0, 50.0, 100.0]
    assert rounds["Round"](asked=3, acceptances=[2.0]).acceptance(0.99) == 2.0


def test_costs_are_shared_by_the_swaps_that_arrived(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
    rounds = runpy.run_path(str(BENCHMARKS / "whole_swaps" / "rounds.py"))
    found = rounds["Round"](asked=100, arrived=40, completed=40, seconds=10.0)
    assert (found.rate, found.each(80.0)) == (4.0, 2.0)
    assert rounds["Round"](asked=100).each(80.0) == 80.0
