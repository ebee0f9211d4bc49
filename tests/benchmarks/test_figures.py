"""What benchmarks print: a table, and a last line that programs read. No time is measured here."""

from __future__ import annotations

import json
import runpy
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

FIGURES = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "figures" / "__init__.py"))
KEYS = ["name", "unit", "ours", "peer", "ratio", "aim", "met"]


def printed(*figures: Any) -> list[str]:
    output = StringIO()
    FIGURES["show"]("made-up [numbers]", figures, console=Console(file=output, width=160))
    return output.getvalue().splitlines()


def last_line(*figures: Any) -> list[dict[str, Any]]:
    return list(json.loads(printed(*figures)[-1])["figures"])


def test_the_last_line_is_json_with_exactly_the_agreed_keys() -> None:
    rows = last_line(
        FIGURES["faster"]("statuses", "calls/s", 12_345.678, 1_000.0, aim=10),
        FIGURES["within"]("import", "ms", 81.0, aim=80),
        FIGURES["within"]("import of another", "ms", 50.0, peer=100.0),
        FIGURES["alone"]("memory", "MiB", 17.0),
    )
    assert [list(row) for row in rows] == [KEYS] * 4
    assert [list(row.values()) for row in rows] == [
        ["statuses", "calls/s", 12350.0, 1000.0, 12.35, 10, True],
        ["import", "ms", 81.0, None, None, 80, False],
        ["import of another", "ms", 50.0, 100.0, 0.5, None, None],
        ["memory", "MiB", 17.0, None, None, None, None],
    ]


@pytest.mark.parametrize(("ours", "met"), [(35.0, True), (34.9, False)])
def test_a_rate_meets_its_aim_from_that_multiple_of_the_peer_on(ours: float, met: bool) -> None:
    assert FIGURES["faster"]("sends", "calls/s", ours, 10.0, aim=3.5).met is met


@pytest.mark.parametrize(("ours", "met"), [(80.0, True), (80.1, False)])
def test_a_cost_meets_its_aim_up_to_that_value(ours: float, met: bool) -> None:
    assert FIGURES["within"]("import", "ms", ours, aim=80).met is met


@pytest.mark.parametrize(("ours", "met"), [(12.0, True), (12.1, False)])
def test_a_cost_meets_its_aim_up_to_that_multiple_of_the_peer(ours: float, met: bool) -> None:
    figure = FIGURES["at_most"]("requests", "requests", ours, 10.0, aim=1.2)
    assert (figure.met, figure.aim_text) == (met, "<= 1.2 x")


def test_the_table_is_markdown_with_a_row_for_each_figure() -> None:
    lines = printed(FIGURES["faster"]("statuses", "calls/s", 12_345.678, 1_000.0, aim=10))
    assert lines[0] == "made-up [numbers]"
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    assert cells[0] == ["what", "unit", "ours", "peer", "ratio", "aim", "met"]
    assert cells[2] == ["statuses", "calls/s", "12,346", "1,000", "12.3", ">= 10 x", "yes"]


def test_a_long_last_line_is_not_broken() -> None:
    figures = [FIGURES["faster"](f"figure number {number}", "calls/s", 2.0, 1.0) for number in range(50)]
    assert len(last_line(*figures)) == 50


def test_the_machine_is_named_with_its_python_and_the_versions_asked_for() -> None:
    text = FIGURES["machine"]("aiohttp")
    assert "Python 3." in text
    assert ", aiohttp 3." in text
