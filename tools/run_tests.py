"""Runs the whole suite: ``make test``.

Real nodes are part of it wherever there is a Go that can build them: they are built once, with a line of progress.
Where there is none, one line says what was not run and how to get it; with ``CI=true`` that is a failure. Arguments
are pytest's; without any, everything runs in two processes, with branch coverage.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from pathlib import Path
from typing import Final

import pytest

from layer2.errors import Layer2Error
from layer2.local import devnet

ROOT: Final = Path(__file__).parent.parent
_RULES: Final = frozenset({"contracts", "explore", "formats", "proofs", "swap_rules"})
_KINDS: Final = ("pure rules", "machinery", "both parties on simnet", "real nodes")
_COVERAGE: Final = ("--cov", "--cov-branch", "--cov-report=term:skip-covered")


class Kinds:
    """Counts the tests that ran, by what they run on."""

    def __init__(self) -> None:
        self._ran: Counter[str] = Counter()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """One test's call has ended."""
        if report.when == "call":
            self._ran[kind_of(report)] += 1

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say how many there were."""
        counts = ", ".join(f"{self._ran[kind]:,} on {kind}" for kind in _KINDS)
        terminalreporter.line(f"tests that ran: {counts}")


def kind_of(report: pytest.TestReport) -> str:
    """What a test ran on, by its marks and its folder."""
    folder = Path(report.nodeid.partition("::")[0]).parts[1]
    if _is_marked(report):
        return "real nodes"
    if folder in ("networks", "chaos"):
        return "both parties on simnet"
    return "pure rules" if folder in _RULES else "machinery"


def _is_marked(report: pytest.TestReport) -> bool:
    # The keyword is the mark's name, and the name of the directory of the devnet's own tests.
    return "xdist_group" in report.keywords and "devnet" in report.keywords


def build_nodes() -> None:
    """Build the real nodes where that can be done; say what is not run where it cannot.

    Raises:
        SystemExit: in CI, where real nodes must be part of the run.
    """
    try:
        devnet.install(lambda line: print(f"devnet: {line}", file=sys.stderr, flush=True))
    except Layer2Error as error:
        if os.environ.get("CI") == "true":
            raise SystemExit(f"real nodes must be part of the tests in CI: {error}") from error
        print(f"without real nodes (all tests marked devnet): {error}", file=sys.stderr, flush=True)


def main(arguments: list[str]) -> int:
    """Run pytest and return its exit status."""
    os.chdir(ROOT)
    build_nodes()
    options = ["-n", "2", "--dist", "loadgroup", *_COVERAGE]
    return int(pytest.main([*options, *arguments], plugins=[Kinds()]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
