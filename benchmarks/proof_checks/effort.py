"""The effort of a run, and processor time, which other programs on the machine disturb less than wall time."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

__all__ = ["Effort", "cpu_seconds"]


@dataclass(frozen=True, slots=True)
class Effort:
    """How long to measure."""

    rounds: int
    seconds: float
    """Processor time of a round."""
    starts: int
    """Starts of the command line."""
    proofs: int
    """Proofs of an audit."""


def cpu_seconds(effort: Effort, ways: Mapping[str, Callable[[], int]]) -> Sequence[float]:
    """The processor seconds of one item for each way, in its median round. The rounds alternate after one warm-up.

    Args:
        ways: each processes some items, and returns how many.
    """
    # The collector would otherwise walk the modules of the test suite and of the peers, which no verifier has.
    gc.collect()
    gc.freeze()
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for round_number in range(effort.rounds + 1):
        for name, way in ways.items():
            done, start = 0, time.process_time()
            while (used := time.process_time() - start) < effort.seconds:
                done += way()
            if round_number:
                spent[name].append(used / done)
    return [median(found) for found in spent.values()]
