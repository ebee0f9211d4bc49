"""Several front ends of a provider behind a load balancer, as processes on one journal, with workers."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from temporalio.service import RPCError

from forked_simnet import running_simnet
from layer2 import BTC, Layer2ProtocolType
from layer2.errors import NodeUnreachable, Outcome
from layer2.model.transactions import SwapId
from layer2.net.client_settings import ConnectionPoolConfig
from layer2.provider_client import ProviderClient, ProviderEndpoint
from layer2.swap_rules.agreement import SwapRequest
from layer2.terms.transfers import TransferRequest
from networks.conftest import steering
from networks.mining import BitcoinMiner
from networks.misbehaving import dies
from networks.parties import ProviderProcess
from networks.swaps import Swaps
from networks.waiting import until
from postgres_server import Server, server
from temporal_server import TemporalServer, temporal
from workers.test_temporal import BOTH, Deployment, all_complete, start
from workers.worker_processes import Workers, connected, in_environment, shared_by_workers

__all__ = ["server", "temporal"]

TOKEN = b"\x05" * 32
REQUEST = TransferRequest(BTC, 50_000, Layer2ProtocolType.LIGHTNING, Layer2ProtocolType.BOB)


@pytest.fixture(scope="module")
def deployment(
    server: Server, temporal: TemporalServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    """A provider whose first front end serves."""
    directory = tmp_path_factory.mktemp("fronts")
    environment = shared_by_workers(server, temporal, directory.name)
    with running_simnet(directory / "network") as network:
        asyncio.run(connected(temporal))
        front = ProviderProcess(network, directory / "first", options=("--engine", "temporal"))
        made = Deployment(network, front, Workers(front.directory / "provider.toml", environment))
        begin(made, front)
        yield made
        made.workers.kill()
        front.kill()


def begin(deployment: Deployment, front: ProviderProcess, fault: str | None = None) -> None:
    """Start a front end on the journal and the Temporal server of the deployment."""
    with in_environment(deployment.workers.environment):
        front.start(fault)


@pytest.fixture
def second(deployment: Deployment, tmp_path: Path) -> Iterator[ProviderProcess]:
    """Another front end, which the test starts."""
    identity = str(deployment.front.directory / "identity")
    front = ProviderProcess(
        deployment.network, tmp_path / "second", {"identity_key_file": identity}, options=("--engine", "temporal")
    )
    yield front
    front.kill()


@asynccontextmanager
async def balanced(*urls: str) -> AsyncIterator[tuple[str, list[str]]]:
    """A load balancer that sends each request to the next server. Its URL, and the paths with their servers."""
    turns, seen = itertools.cycle(urls), list[str]()

    async def forward(request: web.Request) -> web.Response:
        url = next(turns)
        seen.append(f"{request.method} {request.path.split('/')[2]} {urls.index(url)}")
        headers = {name: request.headers[name] for name in ("Authorization", "Content-Type") if name in request.headers}
        body = await request.read()
        async with session.request(request.method, url + request.path, data=body, headers=headers) as answer:
            return web.Response(body=await answer.read(), status=answer.status, content_type="application/json")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", forward)
    runner = web.AppRunner(app)
    await runner.setup()
    async with aiohttp.ClientSession() as session:
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            yield f"http://127.0.0.1:{runner.addresses[0][1]}", seen
        finally:
            await runner.cleanup()


async def test_transfers_complete_though_each_request_reaches_another_front_end(
    deployment: Deployment, second: ProviderProcess, tmp_path: Path
) -> None:
    begin(deployment, second)
    await deployment.workers.start("worker")
    async with steering(deployment.network) as control, balanced(deployment.front.url, second.url) as (url, seen):
        front = ProviderProcess(deployment.network, deployment.front.directory)
        front.url, front.identity_key = url, deployment.front.identity_key
        swaps = Swaps(deployment.network, control, front, tmp_path, BitcoinMiner(control))
        async with swaps.manager() as layers, swaps.quick_finality():
            for _ in range(3):
                await all_complete(layers, await start(swaps, layers, *BOTH))
    quotes = [each[-1] for each in seen if each.startswith("POST quotes")]
    swap_posts = [each[-1] for each in seen if each.startswith("POST swaps")]
    assert set(quotes) | set(swap_posts) == {"0", "1"}
    acts = await deployment.acts()
    assert all(len([one for one in intents if one.verb == "fund"]) <= 1 for _, *intents in acts.values())


async def test_a_swap_whose_front_end_was_killed_right_after_its_commit_is_carried_on_by_the_others(
    deployment: Deployment, second: ProviderProcess, temporal: TemporalServer
) -> None:
    begin(deployment, second, dies("accepted"))
    key = bytes.fromhex(second.identity_key)
    clients = [
        ProviderClient(ProviderEndpoint("provider", each.url, key), ConnectionPoolConfig(), 10_000)
        for each in (deployment.front, second)
    ]
    try:
        first, dying = clients
        quote = await first.quote(REQUEST)
        swap_id, access_hash = SwapId(os.urandom(16).hex()), hashlib.sha256(TOKEN).digest()
        account = deployment.network.taker.evm_address
        request = SwapRequest(swap_id, quote.quote.quote_id, os.urandom(32), "", account, access_hash)
        with pytest.raises(NodeUnreachable) as silent:
            await dying.open_swap(request, quote)
        assert silent.value.outcome is Outcome.UNKNOWN
        await second.died()
        # No request about this swap has reached the other front end.
        handle = deployment.workers.workflows(await connected(temporal)).workflow(swap_id)

        async def is_started() -> bool:
            try:
                await handle.describe()
            except RPCError:
                return False
            return True

        await until(is_started, "its workflow is started")
        terms = await first.open_swap(request, quote)
        assert terms.terms.swap_id == swap_id
        assert (await first.swap_status(swap_id, TOKEN))["state"] == "agreed"
        async with (
            aiohttp.ClientSession() as session,
            session.get(
                f"{deployment.front.url}/v1/swaps/{swap_id}/events", headers={"Authorization": f"Bearer {TOKEN.hex()}"}
            ) as events,
        ):
            assert events.status == 200
            assert b"event: swap" in await events.content.read(64)
    finally:
        for client in clients:
            await client.aclose()
