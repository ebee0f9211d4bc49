"""``python -m layer2.testing.explore``: explore the pairs, and optionally hunt the mutants."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor

from layer2.testing.explore.mutants import MUTANTS, Caught, hunt
from layer2.testing.explore.report import attention_lines, mutant_lines, run_line, story_lines, total_line
from layer2.testing.explore.results import Finding, Result
from layer2.testing.explore.scenario import Scenario, scenarios
from layer2.testing.explore.search import explore
from layer2.testing.explore.swaps import PAIRS


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the findings; return 1 if there is one, or if a mutant was missed."""
    parser = argparse.ArgumentParser(prog="layer2.testing.explore", description=__doc__)
    parser.add_argument("--pair", choices=sorted(PAIRS), help="only this pair of kinds")
    parser.add_argument("--mutants", action="store_true", help="also violate each rule in turn")
    parser.add_argument("--only-mutants", action="store_true", help="only violate each rule in turn")
    parser.add_argument("--short", action="store_true", help="explore only what the tests explore")
    parser.add_argument("--jobs", type=int, default=2, help="number of processes (default: 2)")
    options = parser.parse_args(arguments)
    is_good = True
    with ProcessPoolExecutor(options.jobs) as pool:
        if not options.only_mutants:
            results = []
            for result in pool.map(explore, scenarios(options.pair, is_short=options.short)):
                results.append(result)
                _print_run(result)
                is_good = is_good and not result.findings
            print("\n".join(attention_lines(results)))
            print(total_line(results))
        if options.mutants or options.only_mutants:
            missed = 0
            for number, caught in enumerate(pool.map(_hunted, range(len(MUTANTS)))):
                # A mutant contains functions, which cannot be pickled.
                print("\n".join(mutant_lines(Caught(MUTANTS[number], *caught))), flush=True)
                missed += caught[0] is None
            print(f"{len(MUTANTS)} mutants, {missed} missed")
            is_good = is_good and not missed
    return 0 if is_good else 1


def _hunted(number: int) -> tuple[Scenario | None, Finding | None, float]:
    caught = hunt(MUTANTS[number])
    return caught.scenario, caught.finding, caught.seconds


def _print_run(result: Result) -> None:
    print(run_line(result), flush=True)
    for finding in result.findings:
        print("\n".join(story_lines(finding)), flush=True)


if __name__ == "__main__":
    sys.exit(main())
