"""Writes the figures of ``docs/benchmarks.md`` from full runs. The text around them is kept.

``make bench-docs`` runs every benchmark. ``python benchmarks/docs.py evm`` runs only the named ones, and
``evm=FILE`` uses the output of an earlier run. The tables are between ``<!-- bench-evm -->`` and
``<!-- end of bench-evm -->``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

PAGE: Final = Path(__file__).parents[1] / "docs" / "benchmarks.md"
NAMES: Final = (
    "evm",
    "lightning",
    "bitcoin",
    "swaps",
    "sleeping",
    "durability",
    "workers",
    "async",
    "imports",
    "proof",
)


def markers(name: str) -> tuple[str, str]:
    """The markers around a benchmark's figures."""
    return f"<!-- bench-{name} -->", f"<!-- end of bench-{name} -->"


def section(name: str, output: str, day: datetime) -> str:
    """Convert the output of one run for the page.

    Raises:
        SystemExit: the run did not finish, or was a quick one.
    """
    lines = output.splitlines()
    table = [line.strip() for line in lines if line.startswith("|")]
    try:
        rows = json.loads(lines[-1])["figures"]
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise SystemExit(f"bench-{name} did not finish: its last line is not JSON with figures") from error
    # The table has a heading and a separator above its rows.
    if not rows or len(table) != len(rows) + 2:
        raise SystemExit(f"bench-{name} printed {len(rows)} figures and {len(table)} lines of a table")
    if "QUICK=1" in lines[0]:
        raise SystemExit(f"bench-{name} was a quick run; the page needs full runs")
    missed = [row["name"] for row in rows if row["met"] is False]
    aims = sum(row["met"] is not None for row in rows)
    told = [f"Run on {day:%Y-%m-%d} by `make bench-{name}`: {lines[0]}. {aims - len(missed)} of {aims} aims met."]
    return "\n".join([*told, "", *table])


def replaced(page: str, name: str, text: str) -> str:
    """Return the page with these figures in place of the previous ones.

    Raises:
        SystemExit: the page does not have exactly one place for them.
    """
    start, end = markers(name)
    if page.count(start) != 1 or page.count(end) != 1 or page.index(end) < page.index(start):
        raise SystemExit(f"the page needs exactly one {start}, followed by exactly one {end}")
    before, rest = page.split(start)
    return f"{before}{start}\n{text}\n{end}{rest.split(end)[1]}"


def run(name: str) -> str:
    """Return the output of a full run."""
    environment = {key: value for key, value in os.environ.items() if key != "QUICK"}
    program = [sys.executable, str(Path(__file__).with_name(f"{name}.py"))]
    done = subprocess.run(program, env=environment, stdout=subprocess.PIPE, text=True)  # noqa: S603  # beside this file
    if done.returncode:
        raise SystemExit(f"bench-{name} failed")
    return done.stdout


def main(asked: list[str]) -> None:
    for each in asked or NAMES:
        name, _, file = each.partition("=")
        if name not in NAMES:
            raise SystemExit(f"unknown benchmark {name}; expected one of {', '.join(NAMES)}")
        output = Path(file).read_text(encoding="utf-8") if file else run(name)
        day = datetime.fromtimestamp(Path(file).stat().st_mtime, UTC) if file else datetime.now(UTC)
        page = replaced(PAGE.read_text(encoding="utf-8"), name, section(name, output, day))
        PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
