"""A provider on Temporal workers, and its transfers."""

from __future__ import annotations

import asyncio
import base64
import json
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from forked_simnet import running_simnet
from layer2 import Layer2Manager, TransferState
from layer2.journal.sql_journal import SqlJournal
from layer2.local.network import LocalNetwork
from layer2.model.transactions import SwapId
from layer2.ports.journal import Delivery, Role
from networks.parties import ProviderProcess
from networks.swaps import Swaps
from networks.waiting import until
from postgres_server import Server
from temporal_server import TemporalServer
from workers.worker_processes import Workers, connected, in_environment, shared_by_workers

__all__ = ["BOTH", "Deployment", "all_complete", "deployed", "payloads", "start"]

BOTH: Final = ("bob_to_lightning", "lightning_to_bob")


@dataclass
class Deployment:
    """A provider: its front end, its workers and its journal."""

    network: LocalNetwork
    front: ProviderProcess
    workers: Workers

    def begin(self, front: ProviderProcess, fault: str | None = None) -> None:
        """Start a front end on the journal and the Temporal server of the deployment."""
        with in_environment(self.workers.environment):
            front.start(fault)

    async def stop_between_acts(self, name: str) -> None:
        """Stop a worker while no act is leaving: no other worker sends a payment that a stopped one may have sent."""

        async def is_stopped() -> bool:
            self.workers.signal(name, signal.SIGSTOP)
            intents = [each for _, *ones in (await self.acts()).values() for each in ones]
            if any(each.delivery is Delivery.LEAVING for each in intents):
                self.workers.signal(name, signal.SIGCONT)
                return False
            return True

        await until(is_stopped, f"{name} is stopped")

    async def all_ended(self) -> None:
        """Wait until every swap of the provider is final."""
        journal = await SqlJournal.open(self.workers.environment["LAYER2_JOURNAL__URL"])

        async def are_final() -> bool:
            return not await journal.open_versions(Role.PROVIDER)

        try:
            await until(are_final, "the swaps of the provider are final")
        finally:
            await journal.aclose()

    async def acts(self) -> Mapping[SwapId, Sequence[Any]]:
        """The version and the intents of every swap of the provider."""
        journal = await SqlJournal.open(self.workers.environment["LAYER2_JOURNAL__URL"])
        try:
            assert await journal.problems() == []
            records = await journal.list(role=Role.PROVIDER)
            return {each.swap_id: [each.version, *await journal.intents(each.swap_id)] for each in records}
        finally:
            await journal.aclose()


@contextmanager
def deployed(server: Server, temporal: TemporalServer, directory: Path) -> Iterator[Deployment]:
    """A provider whose front end serves, without a worker."""
    environment = shared_by_workers(server, temporal, directory.name)
    with running_simnet(directory / "network") as network:
        asyncio.run(connected(temporal))
        front = ProviderProcess(network, directory / "provider", options=("--engine", "temporal"))
        made = Deployment(network, front, Workers(front.directory / "provider.toml", environment))
        made.begin(front)
        yield made
        made.workers.kill()
        front.kill()


async def start(swaps: Swaps, layers: Layer2Manager, *directions: str) -> list[str]:
    """Start transfers; return their ids."""
    return [await swaps.begin(layers, direction) for direction in directions]


async def all_complete(layers: Layer2Manager, transfer_ids: Sequence[str]) -> None:
    await asyncio.gather(*(layers.wait_for_transfer_async(each) for each in transfer_ids))
    states: dict[str, TransferState] = {each.transfer_id: each.state for each in await layers.list_transfers_async()}
    assert [states[each] for each in transfer_ids] == [TransferState.COMPLETED] * len(transfer_ids)


def payloads(part: Any) -> Iterator[Any]:
    """Every value that a history contains."""
    if isinstance(part, list):
        for each in part:
            yield from payloads(each)
    elif isinstance(part, dict):
        if "metadata" in part and "data" in part:
            yield json.loads(base64.b64decode(part["data"]))
        for each in part.values():
            yield from payloads(each)
