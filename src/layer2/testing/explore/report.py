"""The explorer's output: a line for each run, the shortest story for each finding, and the table of mutants."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from layer2.testing.explore.mutants import Caught
from layer2.testing.explore.results import Finding, Result

__all__ = ["attention_lines", "mutant_lines", "run_line", "story_lines", "total_line"]


def run_line(result: Result) -> str:
    """States, transitions and seconds of one run."""
    return (
        f"{result.scenario.name:<62} {result.states:>9,} states {result.transitions:>11,} transitions "
        f"{result.inputs:>7,} inputs {result.seconds:>6.1f} s"
    )


def story_lines(finding: Finding) -> Iterator[str]:
    """What is wrong, and the moves that lead to it."""
    yield f"  WRONG: {finding.what}"
    for number, move in enumerate(finding.story, 1):
        yield f"    {number:>3}. {move}"


def attention_lines(results: Iterable[Result]) -> Iterator[str]:
    """The states that need attention, by reason."""
    found: Counter[str] = Counter()
    for result in results:
        found.update(result.attention)
    if found:
        yield "needs attention (states):"
    for reason, states in sorted(found.items()):
        yield f"  {states:>9,}  {reason}"


def total_line(results: Iterable[Result]) -> str:
    """The sums over all runs."""
    all_results = list(results)
    return (
        f"{len(all_results)} runs, {sum(one.states for one in all_results):,} states, "
        f"{sum(one.transitions for one in all_results):,} transitions, "
        f"{sum(one.seconds for one in all_results):.0f} s of one core, "
        f"{sum(len(one.findings) for one in all_results)} findings"
    )


def mutant_lines(caught: Caught) -> Iterator[str]:
    """How a mutant was found."""
    if caught.scenario is None or caught.finding is None:
        yield f"MISSED  {caught.mutant.name}"
        return
    yield f"caught  {caught.mutant.name:<52} {caught.seconds:>5.1f} s  {caught.scenario.name}"
    yield f"        {caught.finding.what}, after {len(caught.finding.story)} moves"
