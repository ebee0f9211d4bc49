"""A second provider process waits, and takes over when the first one ends or hangs."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import pytest_asyncio
from psycopg import sql
from sqlalchemy import make_url

from forking import PARENT, Forked, fork
from layer2.provider_client import ProviderClient
from networks.parties import ProviderProcess
from networks.waiting import until
from postgres_server import Server, server
from provider.test_process import TOKEN, client_of, network, open_swap, process

__all__ = ["network", "process", "server"]


@dataclass
class Member:
    """One process of a provider."""

    process: Forked
    ready: Path
    log: Path

    def events(self) -> list[str]:
        """The events of its log."""
        lines = self.log.read_text().splitlines()
        return [json.loads(line)["event"] for line in lines if line.startswith("{")]

    async def serves(self) -> str:
        """Wait until it serves; return its address."""

        async def is_ready() -> bool:
            assert self.process.poll() is None, self.log.read_text()
            return self.ready.exists()

        await until(is_ready, "it serves")
        url: str = json.loads(self.ready.read_text())["url"]
        return url

    async def stands_by(self) -> None:
        """Wait until it waits for the other one."""

        async def is_waiting() -> bool:
            assert self.process.poll() is None, self.log.read_text()
            return "standing_by" in self.events()

        await until(is_waiting, "it stands by")


Starts = Callable[[str], Member]


@pytest_asyncio.fixture(params=["sqlite", "postgres"])
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return str(tmp_path / "shared.db")
    server: Server = request.getfixturevalue("server")
    return await server.journal()


@pytest.fixture
def starts(process: ProviderProcess, place: str, tmp_path: Path) -> Iterator[Starts]:
    """Starts a process of the provider, by its name."""
    process.kill()
    variable = "LAYER2_JOURNAL__URL" if "://" in place else "LAYER2_JOURNAL__PATH"
    with ExitStack() as ending:

        def start(name: str) -> Member:
            ready, log = tmp_path / f"{name}.json", tmp_path / f"{name}.log"
            arguments = [str(process.directory / "provider.toml"), "--standby", "--ready-file", str(ready)]
            with log.open("wb") as output:
                started = fork(
                    "layer2.provider.process",
                    [*arguments, "--with-parent", PARENT],
                    output=output,
                    environment=os.environ | {variable: place, "LAYER2_LISTEN_PORT": "0"},
                )
            ending.callback(started.wait)
            ending.callback(started.kill)
            return Member(started, ready, log)

        yield start


def client_at(process: ProviderProcess, url: str) -> ProviderClient:
    return client_of(replace(process, url=url))


async def test_when_the_active_process_is_killed_the_other_one_has_its_swaps(
    process: ProviderProcess, starts: Starts
) -> None:
    first = starts("first")
    client = client_at(process, await first.serves())
    request, _ = await open_swap(client, process)
    await client.aclose()
    second = starts("second")
    await second.stands_by()
    assert "serving" not in second.events()
    first.process.kill()
    client = client_at(process, await second.serves())
    assert (await client.swap_status(request.swap_id, TOKEN))["state"] == "agreed"
    await client.aclose()


async def test_one_that_stands_by_can_be_stopped(starts: Starts) -> None:
    first = starts("first")
    await first.serves()
    second = starts("second")
    await second.stands_by()
    second.process.terminate()
    assert second.process.wait(10) == 0
    assert first.ready.exists()


@pytest.mark.parametrize("place", ["postgres"], indirect=True)
async def test_a_process_that_was_stopped_is_replaced_and_ends_when_it_wakes(
    process: ProviderProcess, starts: Starts
) -> None:
    first = starts("first")
    await first.serves()
    second = starts("second")
    await second.stands_by()
    os.kill(first.process.pid, signal.SIGSTOP)
    try:
        client = client_at(process, await second.serves())
        request, _ = await open_swap(client, process)
    finally:
        os.kill(first.process.pid, signal.SIGCONT)
    assert first.process.wait(30) == 1
    assert "[journal_busy] another process has taken over" in first.log.read_text()
    assert (await client.swap_status(request.swap_id, TOKEN))["state"] == "agreed"
    await client.aclose()


@pytest.mark.parametrize("place", ["postgres"], indirect=True)
async def test_one_that_stands_by_outlives_an_outage_of_the_server(server: Server, place: str, starts: Starts) -> None:
    first = starts("first")
    await first.serves()
    second = starts("second")
    await second.stands_by()
    allow, name = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}"), sql.Identifier(make_url(place).database or "")
    server.run(allow.format(name, sql.SQL("false")))

    async def has_noticed() -> bool:
        return second.process.poll() is not None or "cannot be locked" in second.log.read_text()

    await until(has_noticed, "it notices that the server refuses")
    first.process.kill()
    server.run(allow.format(name, sql.SQL("true")))
    await second.serves()
