"""``python -m layer2.testing.explore``: explore the pairs, and optionally hunt the mutants."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor

from layer2.testing.explore.mutants import MUTANTS, hunt
from layer2.testing.explore.results import Caught, summary
from layer2.testing.explore.scenario import scenarios
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
                print(result, flush=True)
            print(summary(results))
            is_good = not any(result.findings for result in results)
        if options.mutants or options.only_mutants:
            missed = 0
            for caught in pool.map(_hunted, range(len(MUTANTS))):
                print(caught, flush=True)
                missed += caught.finding is None
            print(f"{len(MUTANTS)} mutants, {missed} missed")
            is_good = is_good and not missed
    return 0 if is_good else 1


def _hunted(number: int) -> Caught:
    # A mutant contains functions, which cannot be pickled.
    return hunt(MUTANTS[number])


if __name__ == "__main__":
    sys.exit(main())
