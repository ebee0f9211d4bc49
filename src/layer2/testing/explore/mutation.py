"""How a mutant is made: a change of what a machine sees or decides, or of a function that it calls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, TypeAlias, TypeVar

from layer2.legs.views import LegState, LegView, Verb
from layer2.model.transactions import Finality
from layer2.swap_rules import decisions
from layer2.swap_rules.machine import Manner, Observed, Step, Swap
from layer2.swap_rules.states import State
from layer2.testing.explore.scenario import Scenario
from layer2.testing.explore.swaps import PAIRS
from layer2.testing.explore.world import Who

__all__ = [
    "CHAINS",
    "CHAINS_PROVIDER",
    "CHAINS_TAKER",
    "DEAD",
    "Mutant",
    "Mutants",
    "final_collect",
    "final_return",
    "needs_other_node",
    "once",
    "run",
    "shows",
]

Machine: TypeAlias = Callable[[Swap, State, Observed], Step]
Sees: TypeAlias = Callable[[Swap, State, Observed], Observed]
Decides: TypeAlias = Callable[[Swap, State, Observed, Step], Step]
Patch: TypeAlias = tuple[object, str, object]
"""Module or class, attribute, and what replaces it."""
F = TypeVar("F", bound=Callable[..., object])


def run(pair: str, who: str = "honest", *, finality: Finality = Finality.FINALIZED, **more: bool) -> Scenario:
    """The scenario in which a party is hostile: ``taker``, ``provider``, or none."""
    taker = Who.HOSTILE if who == "taker" else Who.HONEST
    provider = Who.HOSTILE if who == "provider" else Who.HONEST
    return Scenario(PAIRS[pair], finality, taker, provider, **more)


CHAINS: Final = run("evm-evm")
CHAINS_TAKER: Final = run("evm-evm", "taker")
CHAINS_PROVIDER: Final = run("evm-evm", "provider")
DEAD: Final = run("evm-evm", nodes_die=True)


@dataclass(frozen=True, slots=True)
class Mutant:
    """One violated rule."""

    name: str
    patches: tuple[Patch, ...]
    runs: tuple[Scenario, ...]
    """The scenarios to explore, at least one of which has to show the violation."""


class Mutants:
    """The mutants of one party's machine. Each method takes the mutant's name and the scenarios that show it."""

    def __init__(self, machine: str) -> None:
        self._machine = machine
        self._real: Machine = getattr(decisions, machine)
        self.all: list[Mutant] = []

    def seeing(self, name: str, *runs: Scenario) -> Callable[[Sees], Sees]:
        """Add a change of what the machine sees."""

        def add(change: Sees) -> Sees:
            def changed(swap: Swap, state: State, observed: Observed) -> Step:
                return self._real(swap, state, change(swap, state, observed))

            self.add(name, *runs, patches=((decisions, self._machine, changed),))
            return change

        return add

    def deciding(self, name: str, *runs: Scenario) -> Callable[[Decides], Decides]:
        """Add a change of what the machine decides."""

        def add(change: Decides) -> Decides:
            def changed(swap: Swap, state: State, observed: Observed) -> Step:
                return change(swap, state, observed, self._real(swap, state, observed))

            self.add(name, *runs, patches=((decisions, self._machine, changed),))
            return change

        return add

    def calling(self, name: str, *runs: Scenario, place: object, function: str) -> Callable[[F], F]:
        """Add a mutant in which another function is called instead of that one in a module or class."""

        def add(instead: F) -> F:
            self.add(name, *runs, patches=((place, function, instead),))
            return instead

        return add

    def add(self, name: str, *runs: Scenario, patches: tuple[Patch, ...]) -> None:
        """Add a mutant."""
        self.all.append(Mutant(name, patches, runs))


def shows(view: LegView | None, state: LegState) -> bool:
    """Whether a read shows that state."""
    return view is not None and view.state is state


def final_collect(swap: Swap, state: State, seen: Observed) -> Observed:
    """Every claim looks final."""
    return _with_final(seen, LegState.COLLECTED, is_over=False)


def final_return(swap: Swap, state: State, seen: Observed) -> Observed:
    """Every refund looks final."""
    return _with_final(seen, LegState.RETURNED, is_over=True)


def _with_final(seen: Observed, state: LegState, *, is_over: bool) -> Observed:
    source, destination = (
        replace(view, final=True, over=view.over or is_over) if view is not None and view.state is state else view
        for view in (seen.source, seen.destination)
    )
    return replace(seen, source=source, destination=destination)


def needs_other_node(swap: Swap, state: State, seen: Observed, step: Step) -> Step:
    """Without one of its nodes, the party does nothing."""
    return step if seen.source is not None and seen.destination is not None else Step(state)


def once(verb: Verb) -> Decides:
    """An act that the node lost is never sent again."""

    def decide(swap: Swap, state: State, seen: Observed, step: Step) -> Step:
        kept = tuple(one for one in step.orders if one.act.verb is not verb or one.manner is Manner.NEW)
        return replace(step, orders=kept)

    return decide
