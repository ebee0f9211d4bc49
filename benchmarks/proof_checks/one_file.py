"""Checks the proof on standard input, and prints its processor seconds and the memory that it added. Linux only."""

from __future__ import annotations

import json
import sys
import time
from contextlib import suppress
from pathlib import Path

from layer2.errors import Layer2Error
from layer2.proofs import ProofPolicy, Requirement, TransferProof, check_proof

CONTRACT = bytes.fromhex("44" * 20)
"""The contract of the test suite's locks on Rootstock."""
POLICY = ProofPolicy(Requirement.NOTHING, contracts={33: frozenset({CONTRACT})})


def resident(field: str) -> float:
    """A line of the process's status, in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    [line] = [each for each in lines if each.startswith(f"{field}:")]
    return int(line.split()[1]) / 1024


def main() -> None:
    data = sys.stdin.buffer.read()
    # Resets the peak, which otherwise includes the start of the interpreter.
    Path("/proc/self/clear_refs").write_text("5")
    before, start = resident("VmRSS"), time.process_time()
    with suppress(Layer2Error):
        check_proof(TransferProof.from_bytes(data), POLICY)
    seconds = time.process_time() - start
    print(json.dumps({"seconds": seconds, "mebibytes": resident("VmHWM") - before}))


if __name__ == "__main__":
    main()
