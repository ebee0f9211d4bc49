"""Transfers whose parties keep their journals on a PostgreSQL server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from layer2 import BTC, TransferState
from layer2.journal.copying import move
from layer2.journal.place import JournalPlace
from layer2.journal.sql_journal import SqlJournal
from layer2.local import simnet
from networks.conftest import steering
from networks.mining import BitcoinMiner
from networks.parties import ProviderProcess
from networks.swaps import DIRECTIONS, Swaps
from postgres_server import Server, server

__all__ = ["server"]

URL = "LAYER2_JOURNAL__URL"
REGISTER = "LAYER2_JOURNAL__REGISTER_FILE"
PROVIDER_JOURNAL = "provider-journal.sqlite"
BOTH = ("bob_to_lightning", "lightning_to_bob")


Urls = dict[str, str]


@pytest_asyncio.fixture
async def urls(server: Server) -> Urls:
    return {"taker": await server.journal(), "provider": await server.journal()}


@pytest_asyncio.fixture
async def swaps(tmp_path: Path) -> AsyncIterator[Swaps]:
    """The parties, whose provider is not started."""
    network = simnet.up(tmp_path / "network", with_parent=True)
    process = ProviderProcess(network, tmp_path / "provider")
    try:
        async with steering(network) as control:
            yield Swaps(network, control, process, tmp_path, BitcoinMiner(control))
    finally:
        process.kill()
        simnet.down(tmp_path / "network")


async def test_transfers_complete_though_the_server_ends_every_connection_in_between(
    swaps: Swaps, urls: Urls, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(URL, urls["provider"])
    swaps.provider.start()
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
    await check(urls, 2)


async def test_transfers_that_are_open_move_with_their_journals_to_postgresql_and_complete(
    swaps: Swaps, urls: Urls, monkeypatch: pytest.MonkeyPatch
) -> None:
    swaps.provider.start()
    await swaps.hold_finality()
    async with swaps.manager() as layers:
        open_transfers = [await swaps.begin(layers, direction) for direction in BOTH]
    swaps.provider.kill()
    for place, party in ((swaps.config().journal.path, "taker"), (PROVIDER_JOURNAL, "provider")):
        await move(JournalPlace(swaps.provider.directory / place), JournalPlace.of(urls[party]))
    monkeypatch.setenv(URL, urls["provider"])
    # Each journal keeps its register.
    monkeypatch.setenv(REGISTER, str(swaps.provider.directory / f"{PROVIDER_JOURNAL}.register"))
    swaps.provider.start()
    taker = {"url": urls["taker"], "register_file": f"{swaps.config().journal.path}.register"}
    async with swaps.manager(journal=taker) as layers, swaps.quick_finality():
        for transfer_id in open_transfers:
            await layers.wait_for_transfer_async(transfer_id)
        assert [each.state for each in await layers.list_transfers_async()] == [TransferState.COMPLETED] * 2
    await check(urls, 2)


async def check(urls: Urls, swaps: int) -> None:
    for url in urls.values():
        journal = await SqlJournal.open(url)
        assert len(await journal.list()) == swaps
        assert await journal.problems() == []
        await journal.aclose()
