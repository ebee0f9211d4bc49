"""Whole swaps at concurrency 1, 10, 100 and 1,000, compared with bare lnd.

Starts a devnet with four channels in a temporary directory and stops it at the end. ``QUICK=1`` runs smaller rounds.
The provider runs in a process of its own, the taker in this process. Bare lnd is measured first, on the same two nodes.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from figures import Figure
from load.network import run_on_devnet
from load.rounds import progress
from whole_swaps.bare import Bare, plain_nodes
from whole_swaps.counting import RequestCounts
from whole_swaps.directions import DIRECTIONS, measure_direction
from whole_swaps.network import Effort, node_addresses, opened

from layer2 import Layer2ProtocolType
from layer2.local.network import LocalNetwork

PACKAGES: Final = ("aiohttp", "orjson", "SQLAlchemy", "coincurve")
"""The packages whose versions are printed."""
CHANNELS: Final = 4
"""lnd allows 483 payments in flight in one channel."""


async def measure(network: LocalNetwork, directory: Path, effort: Effort) -> list[Figure]:
    """Measure every row of the table."""
    counts = RequestCounts(directory / "taker-requests", node_addresses(network))
    counts.install()
    bare: list[Bare] = []
    async with plain_nodes(network) as (taker, provider):
        for source, _ in DIRECTIONS:
            progress("bare lnd ...")
            payer, payee = (taker, provider) if source is Layer2ProtocolType.LIGHTNING else (provider, taker)
            bare.append(await Bare.measure(payer, payee, effort.payments))
    found: list[Figure] = []
    for number, (direction, beside) in enumerate(zip(DIRECTIONS, bare, strict=True)):
        # New parties for each direction, so that swaps that did not complete do not slow the others.
        async with opened(network, directory / f"parties-{number}", counts) as parties:
            found += await measure_direction(parties, direction, effort, beside)
    return found


def effort_asked() -> Effort:
    """Read the effort from the environment."""
    if os.environ.get("QUICK") == "1":
        swaps, payments = {1: 2, 20: 20, 100: 100}, {1: 3, 20: 20, 100: 100}
        return Effort(swaps, payments, seconds=8.0, few=20, waiting=10)
    swaps, payments = {1: 5, 10: 30, 100: 100, 1_000: 1_000}, {1: 10, 10: 50, 100: 300, 1_000: 1_000}
    return Effort(swaps, payments, seconds=100.0, few=10, waiting=100)


def main() -> None:
    effort = effort_asked()
    run_on_devnet(
        "bench-swaps", PACKAGES, lambda network, directory: measure(network, directory, effort), channels=CHANNELS
    )


if __name__ == "__main__":
    main()
