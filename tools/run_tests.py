"""Runs the whole suite: ``make test``.

The suite includes real nodes if Go is installed; they are built once. Without Go, one line names the tests that did not
run and how to run them; with ``CI=true`` this is a failure. The suite runs in two processes. Arguments are passed to
pytest; ``make coverage`` passes those for branch coverage.
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


class Kinds:
    """Counts the tests that ran, by kind."""

    def __init__(self) -> None:
        self._ran: Counter[str] = Counter()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """One test's call has ended."""
        if report.when == "call":
            self._ran[kind_of(report)] += 1

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the counts."""
        counts = ", ".join(f"{self._ran[kind]:,} on {kind}" for kind in _KINDS)
        terminalreporter.line(f"tests that ran: {counts}")


def kind_of(report: pytest.TestReport) -> str:
    """The kind of a test, from its marks and its directory."""
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
    """Build the real nodes if possible; otherwise print which tests do not run.

    Raises:
        SystemExit: in CI, which requires real nodes.
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
    # The tests start hundreds of Python processes, and without its files each would compile the library again.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    build_nodes()
    return int(pytest.main(["-n", "2", "--dist", "loadgroup", *arguments], plugins=[Kinds()]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
