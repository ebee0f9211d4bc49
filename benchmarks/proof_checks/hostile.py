"""Files that are made to cost much, each checked in a new process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from figures import Figure, within

from proof_checks.effort import Effort
from proofs.hostile_files import HOSTILE_FILES

__all__ = ["measure_hostile"]

CPU_AIM = 0.2
MEMORY_AIM = 50.0
_PROGRAM = Path(__file__).with_name("one_file.py")


def measure_hostile(effort: Effort) -> list[Figure]:
    """Measure every file; the rows are of the worst ones."""
    costs = {name: _cost(made(), effort.rounds) for name, (_, made) in HOSTILE_FILES.items()}
    slowest = max(costs, key=lambda name: costs[name][0])
    largest = max(costs, key=lambda name: costs[name][1])
    return [
        within(
            f"the slowest of {len(costs)} hostile files: {slowest}", "s of processor", costs[slowest][0], aim=CPU_AIM
        ),
        within(f"the most memory for one of them: {largest}", "MiB", costs[largest][1], aim=MEMORY_AIM),
    ]


def _cost(data: bytes, rounds: int) -> tuple[float, float]:
    """Processor seconds, of the best of some runs, and MiB."""
    runs = []
    for _ in range(rounds):
        done = subprocess.run([sys.executable, str(_PROGRAM)], input=data, stdout=subprocess.PIPE, check=True)  # noqa: S603  # this interpreter
        runs.append(json.loads(done.stdout))
    return min(run["seconds"] for run in runs), min(run["mebibytes"] for run in runs)
