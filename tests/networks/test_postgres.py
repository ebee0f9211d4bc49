"""Transfers whose parties keep their journals on a PostgreSQL server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from layer2 import BTC, TransferState
from layer2.journal.sql_journal import SqlJournal
from layer2.local import simnet
from networks.conftest import steering
from networks.mining import BitcoinMiner
from networks.parties import ProviderProcess
from networks.swaps import DIRECTIONS, Swaps
from postgres_server import Server

BOTH = ("bob_to_lightning", "lightning_to_bob")


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest_asyncio.fixture
async def urls(server: Server) -> dict[str, str]:
    return {"taker": await server.journal(), "provider": await server.journal()}


@pytest_asyncio.fixture
async def swaps(urls: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Swaps]:
    network = simnet.up(tmp_path / "network", with_parent=True)
    process = ProviderProcess(network, tmp_path / "provider")
    monkeypatch.setenv("LAYER2_JOURNAL__URL", urls["provider"])
    try:
        process.start()
        async with steering(network) as control:
            yield Swaps(network, control, process, tmp_path, BitcoinMiner(control))
    finally:
        process.kill()
        simnet.down(tmp_path / "network")


async def test_transfers_complete_though_the_server_ends_every_connection_in_between(
    swaps: Swaps, urls: dict[str, str], server: Server
) -> None:
    async with swaps.manager(journal={"url": urls["taker"]}) as layers, swaps.quick_finality():
        transfers = [
            asyncio.create_task(layers.cross_layer_transfer_async(BTC, 20_000, *DIRECTIONS[each], max_fee=1_000))
            for each in BOTH
        ]
        while not all(each.done() for each in transfers):
            server.terminate_connections()
            await asyncio.wait(transfers, timeout=0.2)
        await asyncio.gather(*transfers)
        assert [each.state for each in await layers.list_transfers_async()] == [TransferState.COMPLETED] * 2
    for url in urls.values():
        journal = await SqlJournal.open(url)
        assert len(await journal.list()) == 2
        assert await journal.problems() == []
        await journal.aclose()
