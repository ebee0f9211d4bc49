"""``layer2 proof audit`` for a folder of many proofs, each of another payment."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from figures import Figure, alone

from proof_checks.effort import Effort
from proofs import made_audits, made_proofs, made_statements

__all__ = ["measure_audit"]


def measure_audit(effort: Effort) -> list[Figure]:
    """Measure one audit from the start of the program to its end. The policy accepts each proof by its statement."""
    with TemporaryDirectory(prefix="layer2-bench-") as directory:
        for number in range(effort.proofs):
            made_statements.stated(made_audits.completed(number)).save(Path(directory) / f"{number:05}.json")
        wall, processor = _audited(directory)
    cores = len(os.sched_getaffinity(0))
    what = f"layer2 proof audit, {effort.proofs:,} proofs with statements"
    return [
        alone(f"{what}, on {cores} cores", "proofs/s", effort.proofs / wall),
        alone(f"{what}, each", "us of processor", 1e6 * processor / effort.proofs),
    ]


def _audited(directory: str) -> tuple[float, float]:
    """Wall time and processor time, in seconds."""
    layer2 = Path(sys.executable).with_name("layer2")
    program = [str(layer2), "proof", "audit", directory, "--provider", made_proofs.PROVIDER_KEY.hex()]
    program += ["--network", "regtest", "--token", f"60808:0x{made_proofs.TOKEN.hex()}:8", "--requires", "stated"]
    before, began = os.times(), time.perf_counter()
    done = subprocess.run(program, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)  # noqa: S603  # beside this interpreter
    wall, after = time.perf_counter() - began, os.times()
    if done.returncode:
        raise SystemExit(f"layer2 proof audit ended with {done.returncode}: {done.stderr.decode()}")
    processor = after.children_user + after.children_system - before.children_user - before.children_system
    return wall, processor
