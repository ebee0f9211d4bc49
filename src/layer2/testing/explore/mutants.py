"""Mutants of the machines: each violates one rule, and the explorer has to find every one.

A mutant changes only what a machine sees or decides, or one function that it calls. A finding therefore shows that the
rule is needed.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from typing import Final
from unittest.mock import patch

from layer2.testing.explore.mutation import Mutant
from layer2.testing.explore.old_copy_mutants import OLD_COPY
from layer2.testing.explore.provider_mutants import PROVIDER
from layer2.testing.explore.results import Caught
from layer2.testing.explore.search import explore
from layer2.testing.explore.swaps import PAIRS
from layer2.testing.explore.taker_mutants import TAKER

__all__ = ["MUTANTS", "hunt"]


def _on_bitcoin(mutant: Mutant) -> tuple[Mutant, ...]:
    """The same violation with a Bitcoin output as source, and as destination, of a mutant of two EVM legs."""
    if any(scenario.pair.name != "evm-evm" for scenario in mutant.runs):
        return ()
    return tuple(
        Mutant(f"{mutant.name} ({pair})", mutant.patches, tuple(replace(one, pair=PAIRS[pair]) for one in mutant.runs))
        for pair in ("bitcoin-evm", "evm-bitcoin")
    )


_EACH: Final = (*TAKER.all, *PROVIDER.all, *OLD_COPY)
MUTANTS: Final = (*_EACH, *(moved for mutant in _EACH for moved in _on_bitcoin(mutant)))


def hunt(mutant: Mutant) -> Caught:
    """Explore with the mutant until there is a finding."""
    seconds = 0.0
    with ExitStack() as stack:
        for place, name, instead in mutant.patches:
            stack.enter_context(patch.object(place, name, instead))
        for scenario in mutant.runs:
            result = explore(scenario, only_first=True)
            seconds += result.seconds
            if result.findings:
                return Caught(mutant.name, scenario, result.findings[0], seconds)
    return Caught(mutant.name, None, None, seconds)
