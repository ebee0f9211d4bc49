"""Proofs of transfers: the speed of their check, their size, and the cost of hostile files. ``make bench-proofs``.

Needs no node of a layer; the page needs Node.js and Chromium. ``QUICK=1`` runs fewer and shorter rounds. Costs are
processor time, because other programs share the machine. The file is not called ``proofs.py``: a package of the test
suite, which makes the proofs, has that name.
"""

from __future__ import annotations

import os

from figures import Figure, machine, show
from load.rounds import progress
from proof_checks.batches import measure_audit
from proof_checks.effort import Effort
from proof_checks.hostile import measure_hostile
from proof_checks.page import measure_page
from proof_checks.receipts import measure_receipts
from proof_checks.storage import measure_storage
from proof_checks.whole import measure_command, measure_sizes, measure_whole

PACKAGES = ("coincurve", "safe-pysha3", "rfc8785", "trie", "rlp")
"""The packages whose versions are printed: our dependencies and the peers."""


def main() -> None:
    quick = os.environ.get("QUICK") == "1"
    effort = Effort(1, 0.25, starts=3, proofs=500) if quick else Effort(9, 0.5, starts=20, proofs=10_000)
    found: list[Figure] = []
    for what, measure in (
        ("receipts", measure_receipts),
        ("whole proofs", measure_whole),
        ("sizes", measure_sizes),
        ("storage", measure_storage),
        ("the command", measure_command),
        ("an audit", measure_audit),
        ("hostile files", measure_hostile),
        ("the page", measure_page),
    ):
        progress(f"{what} ...")
        found += measure(effort)
    load = ", ".join(f"{number:.1f}" for number in os.getloadavg())
    show(f"{machine(*PACKAGES)}; load {load} (1, 5 and 15 minutes)", found)


if __name__ == "__main__":
    main()
