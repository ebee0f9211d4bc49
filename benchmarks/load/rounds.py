"""Rounds of everything that is compared, in turn."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Awaitable, Callable, Mapping

__all__ = ["Round", "medians", "progress"]

Round = Callable[[], Awaitable[float]]
"""Does something for a while and returns how many of it a second it did."""


async def medians(rounds: int, ways: Mapping[str, Round], *, are_warm: bool = False) -> dict[str, float]:
    """Each way's rate in its median round. One round of each warms up; then they alternate."""
    if not are_warm:
        for way in ways.values():
            await way()
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            rates[name].append(await way())
    return {name: statistics.median(found) for name, found in rates.items()}


def progress(line: str) -> None:
    """Tell who waits."""
    print(line, file=sys.stderr)
