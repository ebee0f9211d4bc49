"""Durable transitions of the journal, compared with steps of DBOS on SQLite."""

from __future__ import annotations

import asyncio
import json
import secrets
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from figures import Figure, alone, faster
from load.rounds import progress

from layer2.model.transactions import SwapId
from layer2.ports.journal import Intent, Role, SwapRecord
from layer2.journal.sql_journal import SqlJournal
from whole_swaps.network import Effort

__all__ = ["measure_transitions"]

_PEER: Final = "dbos==3.4.0"
_AIMED_AT: Final = 1_000
_AIM: Final = 15.0
_ACT: Final = {"raw": "00" * 150}
_STATE: Final = {"state": "funding", "deadline": 1_900_000_000, "tx_id": "0x" + "11" * 32}
_PEER_SECONDS: Final = 300


async def measure_transitions(directory: Path, effort: Effort) -> list[Figure]:
    """Measure ours, then the peer in a process of its own."""
    ours = {writers: await _ours(directory, writers, steps) for writers, steps in effort.transitions.items()}
    progress("transitions of DBOS ...")
    peer = await asyncio.to_thread(_peer, directory, effort)
    found: list[Figure] = []
    for writers, rate in ours.items():
        name = f"durable transitions on SQLite at concurrency {writers}"
        if peer is None:
            found.append(alone(f"{name} (DBOS could not be installed)", "per s", rate))
        else:
            aim = _AIM if writers == _AIMED_AT else None
            found.append(faster(f"{name}, against {_PEER}", "per s", rate, peer[writers], aim=aim))
    return found


async def _ours(directory: Path, writers: int, steps: int) -> float:
    """Transitions per second. The creation of a swap counts as one."""
    journal = await SqlJournal.open(directory / f"transitions-{writers}.sqlite")

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


def _peer(directory: Path, effort: Effort) -> dict[int, float] | None:
    """DBOS's transitions per second by the number of writers; None if it cannot be installed.

    It is installed into an environment of this run, because its requirements are not those of the library.
    """
    environment = directory / "dbos-environment"
    python = environment / "bin" / "python"
    uv = [sys.executable, "-m", "uv"]
    try:
        for command in (
            [*uv, "venv", "--quiet", "--python", sys.executable, str(environment)],
            [*uv, "pip", "install", "--quiet", "--only-binary", ":all:", "--python", str(python), _PEER],
        ):
            subprocess.run(command, check=True, stdin=subprocess.DEVNULL, timeout=_PEER_SECONDS)  # noqa: S603  # uv
    except (OSError, subprocess.SubprocessError) as error:
        progress(f"{_PEER} could not be installed: {type(error).__name__}")
        return None
    script = Path(__file__).with_name("dbos_peer.py")
    asked = json.dumps(dict(effort.transitions))
    done = subprocess.run(  # noqa: S603  # the script beside this file
        [str(python), str(script), str(directory / "dbos.sqlite"), asked, json.dumps(_ACT)],
        check=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        timeout=_PEER_SECONDS,
    )
    return {int(writers): float(rate) for writers, rate in json.loads(done.stdout.splitlines()[-1]).items()}
