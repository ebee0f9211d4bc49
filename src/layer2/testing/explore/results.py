"""The results of a run of the explorer."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from layer2.testing.explore.scenario import Scenario

__all__ = ["Finding", "Result"]


@dataclass(frozen=True, slots=True)
class Finding:
    """A violation, and the shortest story that leads to it."""

    what: str
    story: tuple[str, ...]


@dataclass(slots=True)
class Result:
    """The result of one run."""

    scenario: Scenario
    states: int = 0
    transitions: int = 0
    seconds: float = 0.0
    inputs: int = 0
    """Distinct inputs of the machines."""
    findings: list[Finding] = field(default_factory=list)
    attention: Counter[str] = field(default_factory=Counter)
    """States that need attention, by state and reason."""
