"""Import times, less the start of bare Python. Run by ``make bench-imports``.

Every number is the median over fresh interpreters. After one warm-up run each, they run in turn, so that load on the
machine affects all of them alike.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from figures import machine, show, within

RUNS = 15
BARE = "pass"
CASES = (
    # name, code, aim in milliseconds over bare Python
    ("import layer2", "import layer2", 80),
    ("layer2.proofs", "from layer2 import TransferProof, check_proof", None),
    ("Layer2Config", "from layer2 import Layer2Config", None),
    ("Layer2Manager", "from layer2 import Layer2Manager", 450),
)


def milliseconds(code: str) -> float:
    """The run time of a fresh interpreter, in milliseconds."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-I", "-c", code], check=True)  # noqa: S603  # this interpreter, code from above
    return (time.perf_counter() - began) * 1000


def main() -> None:
    codes = [BARE, *(code for _, code, _ in CASES)]
    for code in codes:
        milliseconds(code)
    taken: dict[str, list[float]] = {code: [] for code in codes}
    for _ in range(RUNS):
        for code in codes:
            taken[code].append(milliseconds(code))
    medians = {code: statistics.median(values) for code, values in taken.items()}
    bare = medians[BARE]
    found = [within(name, "ms over bare Python", medians[code] - bare, aim=aim) for name, code, aim in CASES]
    show(f"{machine('aiohttp', 'pydantic')}; bare Python {bare:.0f} ms; median of {RUNS}", found)


if __name__ == "__main__":
    main()
