"""Transfers of a taker that Temporal workers carry out, on a real Temporal server and PostgreSQL."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from forked_simnet import running_simnet
from layer2.journal.sql_journal import SqlJournal
from layer2.local.network import LocalNetwork
from layer2.model.transactions import SwapId
from layer2.ports.journal import Role
from networks.conftest import steering
from networks.mining import BitcoinMiner
from networks.parties import ProviderProcess
from networks.swaps import Swaps
from networks.waiting import until
from postgres_server import Server, server
from temporal_server import TemporalServer, temporal
from workers.test_temporal import BOTH, payloads
from workers.worker_processes import Workers, connected, shared_by_workers

__all__ = ["server", "temporal"]


@dataclass
class Deployment:
    """A taker with workers, and a provider in one process."""

    network: LocalNetwork
    provider: ProviderProcess
    workers: Workers

    @property
    def tables(self) -> Mapping[str, Any]:
        """What the configuration of the taker's programs has in addition to that of a single process."""
        variables = self.workers.environment
        return {
            "temporal": {
                "address": variables["LAYER2_TEMPORAL__ADDRESS"],
                "task_queue": variables["LAYER2_TEMPORAL__TASK_QUEUE"],
            },
            "journal": {"url": variables["LAYER2_JOURNAL__URL"]},
        }


@pytest.fixture(scope="module")
def running(server: Server, temporal: TemporalServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """The network and its provider, without a worker of the taker."""
    directory = tmp_path_factory.mktemp("taker")
    environment = shared_by_workers(server, temporal, directory.name)
    with running_simnet(directory / "network") as network:
        provider = ProviderProcess(network, directory / "provider")
        provider.start()
        yield Deployment(network, provider, Workers(directory / "layer2.toml", environment))
        provider.kill()


@pytest.fixture
def deployment(running: Deployment) -> Iterator[Deployment]:
    """The same. Its workers end with the test."""
    yield running
    running.workers.kill()


@pytest_asyncio.fixture
async def swaps(deployment: Deployment) -> AsyncIterator[Swaps]:
    async with steering(deployment.network) as control:
        directory = deployment.workers.config_file.parent
        swaps = Swaps(deployment.network, control, deployment.provider, directory, BitcoinMiner(control))
        assert swaps.config_file == deployment.workers.config_file
        yield swaps


async def test_programs_start_transfers_and_workers_carry_them_out_although_one_is_killed(
    deployment: Deployment, swaps: Swaps, temporal: TemporalServer
) -> None:
    client = await connected(temporal)
    await deployment.workers.start("first", "second")
    async with AsyncExitStack() as stack, swaps.quick_finality():
        one, other = [await stack.enter_async_context(swaps.manager(**deployment.tables)) for _ in range(2)]
        transfer_ids = [await swaps.begin(layers, direction) for layers in (one, other) for direction in BOTH]

        async def have_worked() -> bool:
            return all(deployment.workers.versions(name) for name in ("first", "second"))

        await until(have_worked, "both workers have had turns")
        deployment.workers.signal("first", signal.SIGKILL)
        # Each program follows the transfers of the other, too. A wait returns the proof of a transfer that completed.
        await asyncio.gather(*(one.wait_for_transfer_async(each) for each in transfer_ids))
        await asyncio.gather(*(other.wait_for_transfer_async(each) for each in transfer_ids))
    journal = await SqlJournal.open(deployment.workers.environment["LAYER2_JOURNAL__URL"])
    try:
        assert await journal.problems() == []
        assert not await journal.open_versions(Role.TAKER)
        for transfer_id in transfer_ids:
            verbs = [each.verb for each in await journal.intents(SwapId(transfer_id))]
            assert sorted(verbs) == ["collect", "fund"]
            history = await deployment.workers.workflows(client).workflow(SwapId(transfer_id)).fetch_history()
            values = list(payloads(json.loads(history.to_json())))
            assert {each for each in values if isinstance(each, str)} == {transfer_id}
    finally:
        await journal.aclose()
