"""Durable transitions of the journal on SQLite and PostgreSQL, compared with steps of DBOS on the same database."""

from __future__ import annotations

import asyncio
import json
import secrets
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Final

from figures import Figure, alone, faster
from load.rounds import progress
from sqlalchemy import make_url

from layer2.journal.sql_journal import SqlJournal
from layer2.model.transactions import SwapId
from layer2.ports.journal import Intent, Role, SwapRecord
from postgres_server import Server

__all__ = ["measure_transitions"]

_PEER: Final = ["dbos==3.4.0", "psycopg[binary]"]
_AIMED_AT: Final = 1_000
_AIMS: Final = {"SQLite": 15.0, "PostgreSQL": 10.0}
_ACT: Final = {"raw": "00" * 150}
_STATE: Final = {"state": "funding", "deadline": 1_900_000_000, "tx_id": "0x" + "11" * 32}
_PEER_SECONDS: Final = 600

Effort = Mapping[int, int]
"""The number of transitions of each swap, by the number of swaps at the same time."""


async def measure_transitions(directory: Path, server: Server, effort: Effort) -> AsyncIterator[Figure]:
    """Measure ours and the peer, one after the other, on each database."""
    environment = await asyncio.to_thread(_install_peer, directory)
    for database, aim in _AIMS.items():
        progress(f"transitions on {database} ...")
        places = {writers: _place(directory, server, database, f"ours-{writers}") for writers in effort}
        ours = {writers: await _ours(places[writers], writers, steps) for writers, steps in effort.items()}
        peer = None
        if environment is not None:
            progress(f"transitions of DBOS on {database} ...")
            place = _place(directory, server, database, "dbos")
            peer = await asyncio.to_thread(_peer, environment, place, effort)
        for writers, rate in ours.items():
            name = f"durable transitions on {database} at concurrency {writers}"
            if peer is None:
                yield alone(f"{name} (DBOS could not be installed)", "per s", rate)
            else:
                wanted = aim if writers == _AIMED_AT else None
                yield faster(f"{name}, against {_PEER[0]}", "per s", rate, peer[writers], aim=wanted)


def _place(directory: Path, server: Server, database: str, name: str) -> str:
    return server.create() if database == "PostgreSQL" else str(directory / f"{name}.sqlite")


async def _ours(place: str, writers: int, steps: int) -> float:
    """Transitions per second. The creation of a swap counts as one."""
    journal = await SqlJournal.open(place)

    async def writer() -> None:
        record = await journal.create(_new_swap())
        for number in range(1, steps + 1):
            record = await journal.advance(
                record,
                state=_STATE,
                is_final=number == steps,
                event="advanced",
                now=number,
                intents=[Intent(number, "fund" if number == 1 else "collect", "source", _ACT)],
            )

    try:
        start = time.perf_counter()
        await asyncio.gather(*[writer() for _ in range(writers)])
        return writers * (1 + steps) / (time.perf_counter() - start)
    finally:
        await journal.aclose()


def _new_swap() -> SwapRecord:
    return SwapRecord(
        swap_id=SwapId(secrets.token_hex(16)),
        role=Role.PROVIDER,
        state={"state": "planned"},
        payment_hash=secrets.token_bytes(32),
        request={"amount": "100000"},
        quote_id=secrets.token_hex(16),
        access=secrets.token_bytes(32),
        created_at=0,
        updated_at=0,
    )


def _install_peer(directory: Path) -> Path | None:
    """The interpreter of an environment with DBOS; None if it cannot be installed.

    It is an environment of this run, because DBOS's requirements are not those of the library.
    """
    environment = directory / "dbos-environment"
    python = environment / "bin" / "python"
    uv = [sys.executable, "-m", "uv"]
    try:
        for command in (
            [*uv, "venv", "--quiet", "--python", sys.executable, str(environment)],
            [*uv, "pip", "install", "--quiet", "--only-binary", ":all:", "--python", str(python), *_PEER],
        ):
            subprocess.run(command, check=True, stdin=subprocess.DEVNULL, timeout=_PEER_SECONDS)  # noqa: S603  # uv
    except (OSError, subprocess.SubprocessError) as error:
        progress(f"{_PEER[0]} could not be installed: {type(error).__name__}")
        return None
    return python


def _peer(python: Path, place: str, effort: Effort) -> dict[int, float]:
    """DBOS's transitions per second by the number of writers."""
    is_server = place.startswith("postgresql://")
    url = make_url(place).set(drivername="postgresql+psycopg") if is_server else make_url(f"sqlite:///{place}")
    script = Path(__file__).with_name("dbos_peer.py")
    arguments = [url.render_as_string(hide_password=False), json.dumps(dict(effort)), json.dumps(_ACT)]
    done = subprocess.run(  # noqa: S603  # the script beside this file
        [str(python), str(script), *arguments],
        check=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        timeout=_PEER_SECONDS,
    )
    return {int(writers): float(rate) for writers, rate in json.loads(done.stdout.splitlines()[-1]).items()}
