"""The results of a benchmark: a table for people, and JSON for programs in the last line.

Every file ``benchmarks/NAME.py`` is one benchmark, run by ``make bench-NAME``.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

__all__ = ["Figure", "alone", "as_json", "at_most", "faster", "machine", "show", "within"]


@dataclass(frozen=True, slots=True)
class Figure:
    """One measurement, made by ``faster``, ``at_most``, ``within`` or ``alone``, which define the aim."""

    name: str
    unit: str
    ours: float
    peer: float | None
    """The peer's result in the same run; None without a peer."""
    ratio: float | None
    """``ours / peer``."""
    aim: float | None
    aim_text: str
    met: bool | None
    """None without an aim."""


def faster(name: str, unit: str, ours: float, peer: float, *, aim: float | None = None) -> Figure:
    """A rate, compared with a peer's.

    Args:
        unit: the rate's unit; more is better.
        aim: the smallest acceptable ratio.
    """
    ratio = ours / peer
    text = "" if aim is None else f">= {aim:g} x"
    return Figure(name, unit, ours, peer, ratio, aim, text, None if aim is None else ratio >= aim)


def at_most(name: str, unit: str, ours: float, peer: float, *, aim: float) -> Figure:
    """A cost, compared with a peer's; less is better.

    Args:
        aim: the largest acceptable ratio.
    """
    ratio = ours / peer
    return Figure(name, unit, ours, peer, ratio, aim, f"<= {aim:g} x", ratio <= aim)


def within(name: str, unit: str, ours: float, *, peer: float | None = None, aim: float | None = None) -> Figure:
    """A cost; less is better.

    Args:
        aim: the largest acceptable value of ``ours``.
    """
    text = "" if aim is None else f"<= {aim:g} {unit}"
    ratio = None if peer is None else ours / peer
    return Figure(name, unit, ours, peer, ratio, aim, text, None if aim is None else ours <= aim)


def alone(name: str, unit: str, ours: float) -> Figure:
    """A number without a comparison."""
    return Figure(name, unit, ours, None, None, None, "", None)


def as_json(figures: Sequence[Figure]) -> str:
    """All figures in one line."""
    rows = [
        {
            "name": figure.name,
            "unit": figure.unit,
            "ours": _rounded(figure.ours),
            "peer": _rounded(figure.peer),
            "ratio": _rounded(figure.ratio),
            "aim": figure.aim,
            "met": figure.met,
        }
        for figure in figures
    ]
    return json.dumps({"figures": rows}, allow_nan=False)


def machine(*packages: str) -> str:
    """Describe the machine: processor, cores, Python, the versions of these packages, and whether the run was quick."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    processor = f"{len(models)} x {models[0]}" if models else platform.machine()
    versions = [f"{package} {metadata.version(package)}" for package in packages]
    quick = ["QUICK=1"] if os.environ.get("QUICK") == "1" else []
    return ", ".join([processor, platform.system(), f"Python {platform.python_version()}", *versions, *quick])


def show(title: str, figures: Sequence[Figure], *, console: Console | None = None) -> None:
    """Print the table in Markdown, followed by the line of JSON."""
    console = Console(width=200) if console is None else console
    table = Table(box=box.MARKDOWN)
    for heading in ("what", "unit", "ours", "peer", "ratio", "aim", "met"):
        table.add_column(heading, justify="right" if heading in {"ours", "peer", "ratio"} else "left")
    for figure in figures:
        met = "" if figure.met is None else ("yes" if figure.met else "no")
        numbers = [_shown(number) for number in (figure.ours, figure.peer, figure.ratio)]
        table.add_row(figure.name, figure.unit, *numbers, figure.aim_text, met)
    console.print(f"{title}\n", markup=False, highlight=False, soft_wrap=True)
    console.print(table)
    console.print()
    console.print(as_json(figures), markup=False, highlight=False, soft_wrap=True)


def _rounded(number: float | None) -> float | None:
    return None if number is None else float(f"{number:.4g}")


def _shown(number: float | None) -> str:
    if number is None:
        return ""
    return f"{number:,.0f}" if abs(number) >= 100 else f"{number:.3g}"
