"""Processor time and requests of each swap on simnet, for work on these costs. It needs no real nodes.

``PYTHONPATH=benchmarks python -m whole_swaps.on_simnet COUNT`` runs that many swaps at once in each direction. The
times are of this machine; the ratio of two runs says more than either.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path
from typing import Final

from load.rounds import progress

from layer2.local import simnet
from layer2.local.network import LocalNetwork
from whole_swaps.counting import RequestCounts
from whole_swaps.directions import DIRECTIONS
from whole_swaps.network import NODES, cpu_seconds, node_addresses, opened
from whole_swaps.rounds import run_round

_CHANNELS: Final = 4
_BLOCK_SECONDS: Final = 1.0
_SECONDS: Final = 1_000.0
"""The time limit of a round, which ends a run that hangs."""


async def measure(network: LocalNetwork, directory: Path, count: int) -> None:
    """Print the costs of each direction."""
    (process,) = network.process_ids
    counts = RequestCounts(directory / "taker-requests", node_addresses(network))
    counts.install()
    for number, direction in enumerate(DIRECTIONS):
        async with opened(network, directory / f"parties-{number}", counts) as parties:
            before = cpu_seconds(process)
            one = await run_round(parties, direction, concurrency=count, count=count, seconds=_SECONDS)
            nodes = one.each(cpu_seconds(process) - before) * 1_000
            requests = ", ".join(
                f"{one.each(each.http):.1f} to {node}" for node, each in zip(NODES, one.requests, strict=True)
            )
            progress(
                f"{' to '.join(layer.value for layer in direction)}, {count} at once: {one.completed} completed; "
                f"each {one.each(one.cpu_seconds) * 1_000:.1f} ms of both parties, {nodes:.1f} ms of simnet; "
                f"requests: {requests}"
            )


def main() -> None:
    count = int(sys.argv[1])
    with tempfile.TemporaryDirectory(prefix="layer2-bench-") as place:
        directory = Path(place)
        network = simnet.up(
            directory / "network", automatic="timer", block_time=_BLOCK_SECONDS, channels=_CHANNELS, with_parent=True
        )
        try:
            asyncio.run(measure(network, directory, count))
        finally:
            simnet.down(directory / "network")


if __name__ == "__main__":
    main()
