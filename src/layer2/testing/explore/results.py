"""What a run of the explorer found."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from layer2.testing.explore.scenario import Scenario

__all__ = ["Finding", "Result"]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that must not be, and the shortest story that leads there."""

    what: str
    story: tuple[str, ...]


@dataclass(slots=True)
class Result:
    """What one run found."""

    scenario: Scenario
    states: int = 0
    transitions: int = 0
    seconds: float = 0.0
    inputs: int = 0
    """Distinct inputs that the machines were asked on."""
    findings: list[Finding] = field(default_factory=list)
    attention: Counter[str] = field(default_factory=Counter)
    """States that need a human, by state and reason."""
