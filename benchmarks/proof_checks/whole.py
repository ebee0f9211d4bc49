"""Whole proofs, from the bytes of the file to the report, without a node; their size; and the command line."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from figures import Figure, alone, within

from layer2.legs.invoices import decoded_once
from layer2.proofs import OFFLINE, ProofOutcome, TransferProof, check_proof
from proof_checks.effort import Effort, cpu_seconds
from proof_checks.storage import deep_proof
from proofs import made_bitcoin, made_proofs, made_statements

__all__ = ["measure_command", "measure_sizes", "measure_whole"]

CPU_AIM = 250.0
"""Microseconds: 4,000 proofs per second on one core."""
SIZE_AIM = 6_000.0
START_AIM = 200.0
RECEIPTS = 1_000
_UNDECIDED: Final = 4
"""The exit status for a proof that holds, and whose header is unknown."""


def measure_whole(effort: Effort) -> list[Figure]:
    """Measure the check of each kind of proof. Each file is new to the verifier: no invoice is known from before."""
    files = {
        "BOB to Lightning": made_proofs.to_lightning().to_bytes(),
        "Lightning to BOB": made_proofs.to_bob().to_bytes(),
        "Bitcoin to Lightning": made_bitcoin.from_bitcoin().to_bytes(),
        "BOB to Lightning, by storage": deep_proof().to_bytes(),
        "BOB to Lightning, with a statement": made_statements.stated(made_proofs.to_lightning()).to_bytes(),
    }
    spent = cpu_seconds(effort, {what: _checks(data) for what, data in files.items()})
    found: list[Figure] = []
    for number, (what, seconds) in enumerate(zip(files, spent, strict=True)):
        name = f"whole proofs checked, {what}"
        found.append(within(f"{name}, each", "us of processor", 1e6 * seconds, aim=None if number else CPU_AIM))
        found.append(alone(name, "proofs/s of a core", 1 / seconds))
    return found


def measure_sizes(effort: Effort) -> list[Figure]:
    """Measure a file with a receipt proof. It does not depend on the effort."""
    found = []
    for receipts, aim in ((5, None), (RECEIPTS, SIZE_AIM)):
        data = made_proofs.to_lightning(neighbours=receipts - 1).to_bytes()
        what = f"size of a proof, in a block of {receipts:,} receipts"
        found.append(within(what, "bytes", len(data), aim=aim))
        found.append(alone(f"{what}, gzipped", "bytes", len(gzip.compress(data))))
    return found


def measure_command(effort: Effort) -> list[Figure]:
    """Measure ``layer2 proof verify`` in a new process."""
    with TemporaryDirectory(prefix="layer2-bench-") as directory:
        file = made_proofs.to_lightning().save(Path(directory) / "transfer.json")
        starts = [_start(file, made_proofs.PROVIDER_KEY.hex()) for _ in range(effort.starts)]
    wall, processor = min(wall for wall, _ in starts), min(processor for _, processor in starts)
    what = f"layer2 proof verify, the best of {effort.starts} starts"
    return [
        within(what, "ms", 1e3 * wall, aim=START_AIM),
        alone(f"{what}, processor", "ms of processor", 1e3 * processor),
    ]


def _checks(data: bytes) -> Callable[[], int]:
    def check() -> int:
        for _ in range(20):
            decoded_once.cache_clear()
            report = check_proof(TransferProof.from_bytes(data), OFFLINE)
            if report.outcome is not ProofOutcome.COMPLETED:
                raise SystemExit("a completed transfer is not seen as one")
        return 20

    return check


def _start(file: Path, provider: str) -> tuple[float, float]:
    """Wall time and processor time of one run, in seconds."""
    layer2 = Path(sys.executable).with_name("layer2")
    program = [str(layer2), "proof", "verify", str(file), "--provider", provider]
    before, began = os.times(), time.perf_counter()
    done = subprocess.run(program, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)  # noqa: S603  # beside this interpreter
    wall, after = time.perf_counter() - began, os.times()
    if done.returncode != _UNDECIDED:
        raise SystemExit(f"layer2 proof verify ended with {done.returncode}: {done.stderr.decode()}")
    processor = after.children_user + after.children_system - before.children_user - before.children_system
    return wall, processor
