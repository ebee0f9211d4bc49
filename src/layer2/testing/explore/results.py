"""The results of the explorer, each with its text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from layer2.testing.explore.scenario import Scenario

__all__ = ["Caught", "Finding", "Result", "summary"]


@dataclass(frozen=True, slots=True)
class Finding:
    """A violation, and the shortest story that leads to it."""

    what: str
    story: tuple[str, ...]

    def __str__(self) -> str:
        moves = [f"    {number:>3}. {move}" for number, move in enumerate(self.story, 1)]
        return "\n".join([f"  WRONG: {self.what}", *moves])


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

    def __str__(self) -> str:
        run = (
            f"{self.scenario.name:<62} {self.states:>9,} states {self.transitions:>11,} transitions "
            f"{self.inputs:>7,} inputs {self.seconds:>6.1f} s"
        )
        return "\n".join([run, *map(str, self.findings)])


@dataclass(frozen=True, slots=True)
class Caught:
    """How a mutant was found."""

    name: str
    scenario: Scenario | None
    """None if it was not found."""
    finding: Finding | None
    seconds: float

    def __str__(self) -> str:
        if self.scenario is None or self.finding is None:
            return f"MISSED  {self.name}"
        return (
            f"caught  {self.name:<52} {self.seconds:>5.1f} s  {self.scenario.name}\n"
            f"        {self.finding.what}, after {len(self.finding.story)} moves"
        )


def summary(results: Sequence[Result]) -> str:
    """The states that need attention, by reason, and the sums over all runs."""
    attention = sum((one.attention for one in results), Counter[str]())
    lines = [f"  {states:>9,}  {reason}" for reason, states in sorted(attention.items())]
    if lines:
        lines.insert(0, "needs attention (states):")
    lines.append(
        f"{len(results)} runs, {sum(one.states for one in results):,} states, "
        f"{sum(one.transitions for one in results):,} transitions, "
        f"{sum(one.seconds for one in results):.0f} s of one core, "
        f"{sum(len(one.findings) for one in results)} findings"
    )
    return "\n".join(lines)
