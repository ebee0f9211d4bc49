"""The breadth-first search over every reachable state of a scenario, and the backward search from its ends."""

from __future__ import annotations

import gc
import time
from array import array
from collections.abc import Iterator
from typing import Final, TypeAlias

from layer2.legs.views import Side, Verb
from layer2.swap_rules.machine import LegEnd
from layer2.testing.explore.checks import (
    World,
    needs_dead_node,
    provider_act_problem,
    provider_problem,
    taker_act_problem,
    taker_problem,
)
from layer2.testing.explore.clock import REGION_NAMES, Region
from layer2.testing.explore.parties import Answer, Party
from layer2.testing.explore.results import Finding, Result
from layer2.testing.explore.scenario import Scenario, Setup
from layer2.testing.explore.world import BLOCKED, Who

__all__ = ["explore"]

_BITS: Final = (4, 14, 14, 14, 14, 2, 2, 2)
_SHIFTS: Final = tuple(sum(_BITS[:place]) for place in range(len(_BITS)))
_MASKS: Final = tuple((1 << bits) - 1 for bits in _BITS)
_REGION, _SOURCE, _DESTINATION, _TAKER, _PROVIDER, _PUBLIC, _TAKER_DEAD, _PROVIDER_DEAD = range(len(_BITS))
_NEXT_REGION: Final = 1 << _SHIFTS[_REGION]


def _fields(*places: int) -> int:
    return sum(_MASKS[place] << _SHIFTS[place] for place in places)


_FOR_TAKER: Final = _fields(_REGION, _SOURCE, _DESTINATION, _TAKER, _PUBLIC, _TAKER_DEAD)
"""The fields on which a taker's turn depends."""
_FOR_PROVIDER: Final = _fields(_REGION, _SOURCE, _DESTINATION, _PROVIDER, _PUBLIC, _PROVIDER_DEAD)
_Step: TypeAlias = tuple[str, int, bool]
"""A label, the difference to the packed state, and whether the step is benign."""


def explore(scenario: Scenario, *, setup: Setup | None = None, only_first: bool = False) -> Result:
    """Visit every state of a scenario.

    Args:
        setup: the scenario's setup, if the caller needs its parties afterwards.
        only_first: stop at the first finding.
    """
    search = _Search(setup or Setup(scenario), only_first)
    # A search makes millions of small objects without cycles; garbage collection would take a quarter of its time.
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        return search.run()
    finally:
        if was_enabled:
            gc.enable()


class _Search:
    def __init__(self, setup: Setup, only_first: bool) -> None:
        self.setup, self.only_first = setup, only_first
        scenario = self.scenario = setup.scenario
        self.source, self.destination = self.setup.source, self.setup.destination
        self.taker = self.setup.taker if scenario.taker is Who.HONEST else None
        self.provider = self.setup.provider if scenario.provider is Who.HONEST else None
        self.is_foreign = scenario.pair.is_foreign
        self.result = Result(scenario)
        self.worlds: list[int] = []
        self.index: dict[int, int] = {}
        self.parents = array("l")
        self.labels: list[str] = []
        self.benign_from, self.benign_to = array("l"), array("l")
        self._what: set[str] = set()
        self._turns: dict[tuple[bool, int], tuple[list[_Step], list[tuple[str, str]]]] = {}
        self._problems: dict[tuple[bool, int], str | None] = {}
        self._quiet: dict[tuple[bool, int], bool] = {}
        self._views: dict[int, int] = {}
        self._legs: dict[tuple[int, ...], list[_Step]] = {}

    def run(self) -> Result:
        began = time.process_time()
        legs, parties = (self.source, self.destination), (self.setup.taker, self.setup.provider)
        source, destination, taker, provider = (one.start() for one in (*legs, *parties))
        start = World(0, source, destination, taker, provider, 0, 0, 0)
        self._visit(_pack(start), -1, "the terms are agreed")
        place, transitions = 0, 0
        while place < len(self.worlds) and not (self.only_first and self.result.findings):
            transitions += self._expand(place)
            place += 1
        if place == len(self.worlds):
            self._find_traps()
        self.result.transitions = transitions
        self.result.states = len(self.worlds)
        self.result.seconds = time.process_time() - began
        self.result.inputs = self.setup.taker.calls + self.setup.provider.calls
        return self.result

    def _visit(self, packed: int, parent: int, label: str) -> int:
        """Record a new state."""
        place = self.index[packed] = len(self.worlds)
        self.worlds.append(packed)
        self.parents.append(parent)
        self.labels.append(label)
        for is_taker, mask in ((True, _FOR_TAKER), (False, _FOR_PROVIDER)):
            key = (is_taker, packed & mask)
            if key not in self._problems:
                self._problems[key] = self._problem(is_taker, _unpack(packed))
            if (problem := self._problems[key]) is not None:
                self._report(problem, place)
        return place

    def _problem(self, is_taker: bool, world: World) -> str | None:
        if is_taker and self.taker is not None:
            facts = self.taker.facts[world.taker]
            return taker_problem(world, facts, self.source, self.destination, self.is_foreign)
        if not is_taker and self.provider is not None:
            return provider_problem(world, self.provider.facts[world.provider], self.source, self.destination)
        return None

    def _expand(self, place: int) -> int:
        packed, index = self.worlds[place], self.index
        count = 0
        for steps in self._steps(packed, place):
            count += len(steps)
            for label, difference, is_benign in steps:
                after = packed + difference
                reached = index.get(after)
                if reached is None:
                    reached = self._visit(after, place, label)
                if is_benign:
                    self.benign_from.append(place)
                    self.benign_to.append(reached)
        return count

    def _steps(self, packed: int, place: int) -> Iterator[list[_Step]]:
        world = _unpack(packed)
        if (later := self._time(packed, world)) is not None:
            yield [later]
        yield self._nature(world)
        for is_taker, party, mask in ((True, self.taker, _FOR_TAKER), (False, self.provider, _FOR_PROVIDER)):
            if party is None:
                continue
            key = (is_taker, packed & mask)
            if (turns := self._turns.get(key)) is None:
                turns = self._turns[key] = self._turn(party, world)
            for problem, label in turns[1]:
                self._report(problem, place, label)
            yield turns[0]
        yield self._hostile(world)
        if self.scenario.nodes_die and not world.taker_dead and not world.provider_dead:
            yield self._deaths()
        if self.scenario.public and world.public < 2:
            yield [("another swap makes the preimage public", _difference(_PUBLIC, world.public, 2), False)]

    def _deaths(self) -> list[_Step]:
        steps = []
        for dead, end in ((1, "source"), (2, "destination")):
            if self.taker is not None:
                steps.append((f"the taker's {end} node fails permanently", dead << _SHIFTS[_TAKER_DEAD], False))
            if self.provider is not None:
                steps.append((f"the provider's {end} node fails permanently", dead << _SHIFTS[_PROVIDER_DEAD], False))
        return steps

    def _time(self, packed: int, world: World) -> _Step | None:
        """The start of the next region, after due transactions are included and acts by a shown deadline are done."""
        region = world.region
        if region == Region.OVER:
            return None
        source = self.source.advance(world.source, region)
        destination = self.destination.advance(world.destination, region)
        if source == BLOCKED or destination == BLOCKED:
            return None
        for is_taker, party, number, mask in (
            (True, self.taker, world.taker, _FOR_TAKER),
            (False, self.provider, world.provider, _FOR_PROVIDER),
        ):
            if party is not None and party.facts[number].obliged_from <= region:
                key = (is_taker, packed & mask)
                if key not in self._quiet:
                    self._quiet[key] = party.answer(number, region, *self._newest(party, world)).is_quiet
                if not self._quiet[key]:
                    return None
        difference = _difference(_SOURCE, world.source, source) + _difference(
            _DESTINATION, world.destination, destination
        )
        return f"time: {REGION_NAMES[region + 1]}", difference + _NEXT_REGION, True

    def _nature(self, world: World) -> list[_Step]:
        by_provider = self.provider is not None and self.provider.facts[world.provider].accepts
        by_taker = self.taker is not None and self.taker.facts[world.taker].accepts
        key = (world.region, world.source, world.destination, by_provider, by_taker)
        if (steps := self._legs.get(key)) is None:
            steps = self._legs[key] = []
            for place, leg, number, accepted in (
                (_SOURCE, self.source, world.source, by_provider),
                (_DESTINATION, self.destination, world.destination, by_taker),
            ):
                for move in leg.env(number, world.region, accepted):
                    steps.append((move.label, _difference(place, number, move.after), move.is_benign))
        return steps

    def _hostile(self, world: World) -> list[_Step]:
        key = (world.region, world.source, world.destination, -1, world.public)
        if (steps := self._legs.get(key)) is not None:
            return steps
        steps = self._legs[key] = []
        knows, payer, payee = bool(world.public), Side.PAYER, Side.PAYEE
        moves: list[tuple[int, Side, bool]] = []
        if self.taker is None:
            moves += [(_SOURCE, payer, True), (_DESTINATION, payee, True)]
        elif self.is_foreign:
            moves += [(_DESTINATION, payee, True)]
        if self.provider is None:
            moves += [(_SOURCE, payee, knows), (_DESTINATION, payer, knows)]
        for place, side, knows in moves:
            leg, number = (self.source, world.source) if place == _SOURCE else (self.destination, world.destination)
            for move in leg.hostile(number, world.region, side, knows):
                shown = _difference(_PUBLIC, 0, 1) if move.shows and not world.public else 0
                difference = _difference(place, number, move.after) + shown
                steps.append((f"the hostile {side.value}: {move.label}", difference, False))
        return steps

    def _turn(self, party: Party, world: World) -> tuple[list[_Step], list[tuple[str, str]]]:
        """The next steps of a party, and the problems with them."""
        is_taker = party is self.taker
        number = world.taker if is_taker else world.provider
        facts = party.facts[number]
        steps: list[_Step] = []
        problems: list[tuple[str, str]] = []
        for source, destination, note in self._reads(party, world):
            answer = party.answer(number, world.region, source, destination)
            if answer.is_quiet:
                continue
            for act in answer.new_acts:
                problem = (
                    taker_act_problem(world, facts, act, self.destination, self.is_foreign)
                    if is_taker
                    else provider_act_problem(world, facts, act, self.source, self.destination)
                )
                if problem is not None:
                    problems.append((problem, answer.label + note))
            if answer.repeats:
                problems.append((f"the {party.role} sends a payment twice", answer.label + note))
            steps += self._done(is_taker, world, answer, note)
        return steps, problems

    def _done(self, is_taker: bool, world: World, answer: Answer, note: str) -> list[_Step]:
        label, steps = answer.label + note, []
        place, number = (_TAKER, world.taker) if is_taker else (_PROVIDER, world.provider)
        journaled = _difference(place, number, answer.journaled)
        if not answer.sends:
            return [(label, journaled, not note)]
        leaving = _difference(place, number, answer.leaving)
        if any(sent.may_crash for sent in answer.sends):
            steps.append((f"{label}; it stops before sending", journaled, False))
            steps.append((f"{label}; it stops when it may have sent, but has not", leaving, False))
        source, destination, shown = world.source, world.destination, 0
        for sent in answer.sends:
            if sent.act.end is LegEnd.SOURCE:
                source = self.source.send(source, world.region, sent.act.verb)
            else:
                destination = self.destination.send(destination, world.region, sent.act.verb)
                if is_taker and sent.act.verb is Verb.COLLECT and not world.public:
                    shown = _difference(_PUBLIC, 0, 1)
        legs = _difference(_SOURCE, world.source, source) + _difference(_DESTINATION, world.destination, destination)
        steps.append((label, leaving + legs + shown, not note))
        return steps

    def _newest(self, party: Party, world: World) -> tuple[int, int]:
        """The newest state that a party's working nodes show."""
        dead = world.taker_dead if party is self.taker else world.provider_dead
        source = 0 if dead == 1 else self._seen(party, world, LegEnd.SOURCE, lags=False)
        return source, 0 if dead == 2 else self._seen(party, world, LegEnd.DESTINATION, lags=False)

    def _reads(self, party: Party, world: World) -> list[tuple[int, int, str]]:
        """What a party's nodes may show at one turn: the newest state, none on one or both sides, or an old one."""
        dead = world.taker_dead if party is self.taker else world.provider_dead
        source, destination = self._newest(party, world)
        reads = [(source, destination, "")]
        if dead == 0:
            reads.append((0, destination, " (its source node does not answer)"))
            reads.append((source, 0, " (its destination node does not answer)"))
            reads.append((0, 0, " (neither of its nodes answers)"))
        if dead != 1 and self.source.can_lag(world.source, world.region):
            lagging = self._seen(party, world, LegEnd.SOURCE, lags=True)
            reads.append((lagging, destination, " (its source node is behind)"))
        if dead != 2 and self.destination.can_lag(world.destination, world.region):
            lagging = self._seen(party, world, LegEnd.DESTINATION, lags=True)
            reads.append((source, lagging, " (its destination node is behind)"))
        return reads

    def _seen(self, party: Party, world: World, end: LegEnd, *, lags: bool) -> int:
        is_source, is_taker, public = end is LegEnd.SOURCE, party is self.taker, world.public == 2
        number = world.source if is_source else world.destination
        key = number << 8 | world.region << 4 | is_source << 3 | is_taker << 2 | lags << 1 | public
        if (known := self._views.get(key)) is None:
            leg = self.source if is_source else self.destination
            seen = leg.see(number, world.region, party.sides[end], lags, public)
            known = self._views[key] = party.seen_number(seen)
        return known

    def _find_traps(self) -> None:
        """Search backward from the ends over benign steps: a state that is not reached is a trap."""
        starts = array("l", bytes(self.parents.itemsize * (len(self.worlds) + 1)))
        for reached in self.benign_to:
            starts[reached + 1] += 1
        for place in range(len(self.worlds)):
            starts[place + 1] += starts[place]
        backward = array("l", bytes(self.parents.itemsize * len(self.benign_to)))
        filled = array("l", starts)
        for place, reached in zip(self.benign_from, self.benign_to, strict=True):
            backward[filled[reached]] = place
            filled[reached] += 1
        found = bytearray(len(self.worlds))
        open_ends = []
        for place, packed in enumerate(self.worlds):
            if self._is_end(_unpack(packed)):
                found[place] = 1
                open_ends.append(place)
        while open_ends:
            end = open_ends.pop()
            for before in backward[starts[end] : starts[end + 1]]:
                if not found[before]:
                    found[before] = 1
                    open_ends.append(before)
        for place in range(len(self.worlds)):
            if not found[place]:
                world = _unpack(self.worlds[place])
                stuck = " and ".join(
                    party.facts[number].name
                    for party, number in ((self.taker, world.taker), (self.provider, world.provider))
                    if party is not None and not party.facts[number].is_final
                )
                self._report(f"no way leads to an end: {stuck}", place)

    def _is_end(self, world: World) -> bool:
        """Whether every honest party has ended, or needs attention for an allowed reason."""
        is_end = True
        for party, number, dead in (
            (self.taker, world.taker, world.taker_dead),
            (self.provider, world.provider, world.provider_dead),
        ):
            if party is None or party.facts[number].is_final:
                continue
            reason = party.attention(number, world.region, *self._newest(party, world))
            if reason is None:
                # Without a node a party cannot continue, and need not if it has no money in the swap.
                is_end = is_end and bool(dead) and not party.facts[number].funded
                continue
            self.result.attention[f"{party.facts[number].name}: {reason}"] += 1
            payer = self.source if party is self.taker else self.destination
            forgotten = payer.is_forgotten(world.source if party is self.taker else world.destination)
            if not forgotten and not (dead and needs_dead_node(party.facts[number], dead, self.destination)):
                is_end = False
        return is_end

    def _report(self, what: str, place: int, last: str | None = None) -> None:
        if what in self._what:
            return
        self._what.add(what)
        story = [last] if last is not None else []
        while place > 0:
            story.append(self.labels[place])
            place = self.parents[place]
        self.result.findings.append(Finding(what, tuple(reversed(story))))


def _difference(place: int, before: int, after: int) -> int:
    return (after - before) << _SHIFTS[place]


def _pack(world: World) -> int:
    packed = 0
    for value, shift in zip(world, _SHIFTS, strict=True):
        packed |= value << shift
    return packed


def _unpack(packed: int) -> World:
    # Unrolled, because it is called for every state.
    return World(
        packed & 15,
        packed >> 4 & 16383,
        packed >> 18 & 16383,
        packed >> 32 & 16383,
        packed >> 46 & 16383,
        packed >> 60 & 3,
        packed >> 62 & 3,
        packed >> 64 & 3,
    )
