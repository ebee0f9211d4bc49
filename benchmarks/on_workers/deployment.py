"""A provider in one process or with workers, and its taker in this process, on one simnet."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import aiohttp
from whole_swaps.network import cpu_seconds

from layer2 import Layer2Manager
from layer2.cli.demo_workers import settings_for_many
from layer2.config.sections import TemporalSection
from layer2.journal.sql_journal import SqlJournal
from layer2.local.network import LocalNetwork, LocalNetworkControl
from layer2.local.parties import LocalProvider, LocalWorker, taker_config
from layer2.local.programs import entered
from layer2.local.servers import TemporalServer
from layer2.ports.journal import Role
from layer2.workers.connection import Temporal
from postgres_server import Server

__all__ = ["Deployment", "Machine", "deployed"]

_PLACES: Final = 10_000
_CALL_MILLISECONDS: Final = 120_000
_WITH_WORKERS: Final = ("-m", "layer2.provider.process", "--engine", "temporal")
_LOOK_AGAIN_SECONDS: Final = 0.1


@dataclass(frozen=True, slots=True)
class Machine:
    """What every deployment shares."""

    network: LocalNetwork
    postgres: Server
    temporal: TemporalServer
    directory: Path


@dataclass
class Deployment:
    """A provider with its journal, and a taker."""

    machine: Machine
    layers: Layer2Manager
    control: LocalNetworkControl
    journal: SqlJournal
    """The provider's, to read it."""
    temporal: Temporal | None
    """None: one process carries out the swaps."""
    settings: Mapping[str, object]
    provider: LocalProvider
    identity: Path
    running: AsyncExitStack
    workers: list[LocalWorker] = field(default_factory=list)

    async def add_worker(self) -> None:
        """Start one more worker, and wait until it works."""
        name = str(len(self.workers) + 1)
        directory = self.machine.directory / f"worker-{name}"
        worker = LocalWorker(name, self.machine.network, directory, self.identity, **self.settings)
        self.workers.append(await self.running.enter_async_context(entered(worker)))

    async def all_ended(self) -> None:
        """Wait until every swap of the provider is final."""
        while await self.journal.open_versions(Role.PROVIDER):  # noqa: ASYNC110 - it changes in other processes
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)

    def processor_time(self) -> dict[str, float]:
        """Seconds of every kind of process until now. The provider's part is its process and its workers."""
        (simnet,) = self.machine.network.process_ids
        front = cpu_seconds(self.provider.process_id)
        return {
            "provider": front + sum(cpu_seconds(each.process_id) for each in self.workers),
            "front": front,
            "taker": cpu_seconds(os.getpid()),
            "temporal": cpu_seconds(self.machine.temporal.process_id),
            "simnet": cpu_seconds(simnet),
        }


@asynccontextmanager
async def deployed(machine: Machine, name: str, *, with_workers: bool) -> AsyncIterator[Deployment]:
    """Start a provider and open its taker, both with new journals.

    Args:
        name: of the directory for its files.
        with_workers: whether workers carry out its swaps; none of them is started.
    """
    place = machine.directory / name
    await asyncio.to_thread(place.mkdir)
    url = await machine.postgres.journal()
    section = TemporalSection(address=machine.temporal.address, task_queue="bench")
    settings = settings_for_many(url, section)
    program = {"program": _WITH_WORKERS} if with_workers else {}
    provider = LocalProvider(machine.network, place / "provider", **program, **settings)  # type: ignore[arg-type]
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(entered(provider))
        config = taker_config(machine.network, place / "taker", (provider.table,)).model_copy(
            update={
                "bitcoin": None,
                "rootstock": None,
                "max_concurrency": _PLACES,
                "default_timeout_ms": _CALL_MILLISECONDS,
            }
        )
        session = await stack.enter_async_context(aiohttp.ClientSession())
        layers = await stack.enter_async_context(Layer2Manager(config))
        await layers.initialize_all_async()
        journal = await SqlJournal.open(url)
        stack.push_async_callback(journal.aclose)
        running = await stack.enter_async_context(AsyncExitStack())
        yield Deployment(
            machine,
            layers,
            LocalNetworkControl(machine.network.control_url, session),
            journal,
            await Temporal.connect(section) if with_workers else None,
            settings,
            provider,
            place / "provider" / "identity",
            running,
        )
