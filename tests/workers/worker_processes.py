"""Worker processes of a party."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from temporalio.client import Client

from forking import PARENT, Forked, fork
from layer2.workers.connection import Temporal
from networks.waiting import until
from postgres_server import Server
from temporal_server import TemporalServer

__all__ = ["Workers", "connected", "in_environment", "shared_by_workers"]


def shared_by_workers(server: Server, temporal: TemporalServer, queue: str) -> dict[str, str]:
    """The variables of a new journal and of a queue, which all processes of a party share."""
    return {
        "LAYER2_TEMPORAL__ADDRESS": temporal.address,
        "LAYER2_TEMPORAL__TASK_QUEUE": queue,
        "LAYER2_JOURNAL__URL": asyncio.run(server.journal()),
    }


@contextmanager
def in_environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set variables while the block runs."""
    with pytest.MonkeyPatch.context() as patch:
        for variable, value in variables.items():
            patch.setenv(variable, value)
        yield


@dataclass
class Workers:
    """Workers with one configuration. Their logs are beside it."""

    config_file: Path
    environment: Mapping[str, str]
    running: dict[str, Forked] = field(default_factory=dict)

    def workflows(self, client: Client) -> Temporal:
        """The workflows that these workers carry out."""
        return Temporal(client, self.environment["LAYER2_TEMPORAL__TASK_QUEUE"])

    async def start(self, *names: str) -> None:
        """Start workers, and wait until they work."""
        for name in names:
            with self.log(name).open("ab") as log, in_environment(self.environment):
                arguments = [str(self.config_file), "--ready-file", str(self._ready(name)), "--with-parent", PARENT]
                self.running[name] = fork("layer2.cli.worker", arguments, output=log)
        for name in names:

            async def works(name: str = name) -> bool:
                assert self.running[name].poll() is None, self.log(name).read_text()
                return self._ready(name).exists()

            await until(works, f"{name} works")

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to a worker."""
        os.kill(self.running[name].pid, number)

    def kill(self) -> None:
        """Kill all workers."""
        for worker in self.running.values():
            worker.kill()
            worker.wait(30)
        self.running.clear()

    def log(self, name: str) -> Path:
        """The log of a worker."""
        return self.config_file.with_name(f"{name}.log")

    def identity(self, name: str) -> str:
        """The name of a worker in histories, as it announces it."""
        return str(json.loads(self._ready(name).read_text())["worker"])

    def _ready(self, name: str) -> Path:
        return self.config_file.with_name(f"{name}.json")

    def versions(self, name: str) -> int:
        """The number of versions of swaps that a worker wrote or read."""
        lines = self.log(name).read_text().splitlines()
        return sum(json.loads(line)["event"] == "swap_changed" for line in lines if line.startswith("{"))


async def connected(temporal: TemporalServer) -> Client:
    """A client of the server, once it has started."""
    found: list[Client] = []

    async def is_up() -> bool:
        try:
            found.append(await Client.connect(temporal.address))
        except RuntimeError:
            return False
        return True

    await until(is_up, "the Temporal server is up")
    return found[0]
