"""The Bitcoin client compared with BDK alone on the same chain, and what swaps on chain cost, in one run.

Starts a simnet in a process of its own and stops it at the end. ``QUICK=1`` takes fewer coins and rounds. The compared
programs alternate in rounds, and each rate is that of the median round, because other programs share the machine.
"""

from __future__ import annotations

import os
from pathlib import Path

from bitcoin_client.costs import cost_figures
from bitcoin_client.network import Bench, Effort, opened
from bitcoin_client.observation import measure_observation
from bitcoin_client.proofs import measure_claims, measure_proofs
from bitcoin_client.wallet import measure_payments, measure_sync
from figures import Figure
from load.network import run_on_simnet
from load.rounds import progress

from layer2.local.network import LocalNetwork

PACKAGES = ("aiohttp", "bdkpython", "coincurve", "py-bitcoinkernel")
"""The packages whose versions are printed: our dependencies and the peer."""


async def measure(network: LocalNetwork, directory: Path, effort: Effort) -> list[Figure]:
    """Measure every row of the table."""
    found: list[Figure] = []
    async with (
        opened(network, network.taker, directory / "taker") as taker,
        opened(network, network.provider, directory / "provider") as provider,
        Bench.on(network, directory, taker, provider) as bench,
    ):
        for what, rows in (
            ("sync", measure_sync),
            ("payments", measure_payments),
            ("observation", measure_observation),
        ):
            progress(f"{what} ...")
            found += await rows(bench, effort)
    progress("claims and proofs ...")
    found += await measure_claims(effort)
    found += await measure_proofs(effort)
    return found + cost_figures()


def effort_asked() -> Effort:
    """Read the effort from the environment."""
    if os.environ.get("QUICK") == "1":
        return Effort(rounds=3, addresses=100, payments=40, seconds=0.5, outputs=1_000, blocks=4)
    return Effort(rounds=7, addresses=400, payments=100, seconds=2.0, outputs=1_000, blocks=20)


def main() -> None:
    effort = effort_asked()
    run_on_simnet("bench-bitcoin", PACKAGES, lambda network, directory: measure(network, directory, effort))


if __name__ == "__main__":
    main()
