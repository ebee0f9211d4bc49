"""The figures in the document stand where the generator puts them, and come from full runs. No time is measured."""

from __future__ import annotations

import json
import runpy
from datetime import UTC, datetime
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
DOCS = runpy.run_path(str(BENCHMARKS / "docs.py"))
DAY = datetime(2026, 11, 24, tzinfo=UTC)
TABLE = ["| what | unit | ours | peer | ratio | aim | met |", "|---|---|---|---|---|---|---|"]
ROW = {"name": "reads", "unit": "calls/s", "ours": 30.0, "peer": 10.0, "ratio": 3.0, "aim": 2, "met": True}
PAGE = "before\n<!-- bench-evm -->\nold\n<!-- end of bench-evm -->\nafter\n"


def printed(title: str = "2 x a processor", rows: int = 1) -> str:
    table = [*TABLE, *["| reads | calls/s | 30 | 10 | 3 | >= 2 x | yes |"] * rows]
    return "\n".join([title, "", *table, "", json.dumps({"figures": [ROW] * rows})])


def test_every_benchmark_has_its_place_in_the_document() -> None:
    assert {path.stem for path in BENCHMARKS.glob("*.py")} == {*DOCS["NAMES"], "docs"}
    page = DOCS["PAGE"].read_text(encoding="utf-8")
    for name in DOCS["NAMES"]:
        DOCS["replaced"](page, name, "")


def test_new_figures_replace_the_old_ones_and_leave_the_text() -> None:
    section = DOCS["section"]("evm", printed(), DAY)
    page = DOCS["replaced"](PAGE, "evm", section)
    assert page == PAGE.replace("old", section)
    assert section.splitlines()[0] == ("Run on 2026-11-24 by `make bench-evm`: 2 x a processor. 1 of 1 aims met.")
    assert section.splitlines()[2:4] == TABLE
    assert DOCS["replaced"](page, "evm", section) == page


@pytest.mark.parametrize(
    "output",
    [
        "",
        "BOB: starting",
        printed(title="2 x a processor, QUICK=1"),
        printed(rows=0),
        printed().replace("| reads | calls/s | 30 | 10 | 3 | >= 2 x | yes |\n", ""),
        printed() + "\nand something after it",
    ],
    ids=["nothing", "it failed early", "a quick run", "no figures", "a row is missing", "it failed late"],
)
def test_an_incomplete_run_is_refused(output: str) -> None:
    with pytest.raises(SystemExit):
        DOCS["section"]("evm", output, DAY)


@pytest.mark.parametrize("page", ["", PAGE + PAGE, "<!-- end of bench-evm -->\n<!-- bench-evm -->\n"])
def test_a_page_without_one_place_for_them_is_refused(page: str) -> None:
    with pytest.raises(SystemExit):
        DOCS["replaced"](page, "evm", "new")
