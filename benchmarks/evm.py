"""The EVM client compared with web3.py, httpx, aiohttp and wrk, on op-geth, in one run.

Starts a devnet in a temporary directory and stops it at the end. ``QUICK=1`` runs fewer and shorter rounds,
``SOAK=1`` adds ten minutes of cancelled calls. The compared programs alternate in rounds, and each rate is that of the
median round, because other programs share the machine.
"""

from __future__ import annotations

import os
from pathlib import Path

import aiohttp
from evm_client.cancellations import measure_cancellations, measure_soak
from evm_client.memory import measure_memory
from evm_client.network import Bench, Effort, opened
from evm_client.sends import measure_sends, measure_signing
from evm_client.statuses import measure_statuses
from figures import Figure
from load.network import run_on_devnet
from load.rounds import progress

from layer2.local.network import LocalNetwork

PACKAGES = ("aiohttp", "orjson", "coincurve", "web3", "httpx", "eth-account")
"""The packages whose versions are printed: our dependencies and the peers."""


async def measure(network: LocalNetwork, directory: Path, effort: Effort) -> list[Figure]:
    """Measure every row of the table."""
    async with aiohttp.ClientSession() as session, opened(network, directory / "journal.sqlite") as bob:
        bench = Bench(network, directory, bob, session)
        await bench.automatic_blocks(False)
        found: list[Figure] = []
        for what, rows in (
            ("memory", measure_memory),
            ("statuses", measure_statuses),
            ("submissions", measure_sends),
            ("signing", measure_signing),
            ("cancellations", measure_cancellations),
            ("soak", measure_soak),
        ):
            progress(f"{what} ...")
            found += await rows(bench, effort)
        return found


def effort_asked() -> Effort:
    """Read the effort from the environment."""
    soak = 600.0 if os.environ.get("SOAK") == "1" else 0.0
    if os.environ.get("QUICK") == "1":
        return Effort(rounds=1, seconds=0.25, sends=1000, storm_seconds=5, soak_seconds=soak, is_quick=True)
    return Effort(rounds=5, seconds=0.5, sends=2000, storm_seconds=60, soak_seconds=soak, is_quick=False)


def main() -> None:
    effort = effort_asked()
    run_on_devnet("bench-evm", PACKAGES, lambda network, directory: measure(network, directory, effort))


if __name__ == "__main__":
    main()
