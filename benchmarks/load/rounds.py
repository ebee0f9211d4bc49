"""Alternating rounds of the compared programs."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Awaitable, Callable, Mapping

__all__ = ["Round", "medians", "progress"]

Round = Callable[[], Awaitable[float]]
"""Runs for a while and returns its rate per second."""


async def medians(rounds: int, ways: Mapping[str, Round], *, are_warm: bool = False) -> dict[str, float]:
    """The rate of each contender in its median round. Each has one warm-up round; then they alternate."""
    if not are_warm:
        for way in ways.values():
            await way()
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            rates[name].append(await way())
    return {name: statistics.median(found) for name, found in rates.items()}


def progress(line: str) -> None:
    """Print progress to stderr."""
    print(line, file=sys.stderr)
