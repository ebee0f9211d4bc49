"""Durable transitions of the journal compared with DBOS, and the time that a standby needs to take over.

It starts a PostgreSQL server of its own. Both databases are on the disk of the temporary directory, with fsync.
``QUICK=1`` makes fewer transitions.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path
from typing import Final

from durable.take_over import measure_take_over
from durable.transitions import Effort, measure_transitions
from figures import Figure, machine, show
from load.rounds import progress

from postgres_server import Server

PACKAGES: Final = ("SQLAlchemy", "psycopg")
"""The packages whose versions are printed."""


async def measure(directory: Path, effort: Effort, take_overs: int, found: list[Figure]) -> None:
    """Add every row of the table to ``found``, as soon as it is measured."""
    server = await asyncio.to_thread(Server)
    try:
        async for figure in measure_transitions(directory, server, effort):
            found.append(figure)  # noqa: PERF401 - an extension would lose them in a failure
        progress("take-over ...")
        async for figure in measure_take_over(server, take_overs):
            found.append(figure)  # noqa: PERF401 - an extension would lose them in a failure
    finally:
        await asyncio.to_thread(server.close)


def main() -> None:
    is_quick = os.environ.get("QUICK") == "1"
    effort = {1: 20, 100: 2, 1_000: 2} if is_quick else {1: 50, 100: 8, 1_000: 8}
    found: list[Figure] = []
    try:
        with tempfile.TemporaryDirectory(prefix="layer2-bench-") as directory:
            asyncio.run(measure(Path(directory), effort, 1 if is_quick else 5, found))
    finally:
        # What was measured before a failure took minutes.
        load = ", ".join(f"{number:.1f}" for number in os.getloadavg())
        show(f"{machine(*PACKAGES)}; load {load} (1, 5 and 15 minutes)", found)


if __name__ == "__main__":
    main()
