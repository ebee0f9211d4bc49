"""The breadth-first search over every reachable state of a scenario, and the backward search from its ends."""

from __future__ import annotations

import gc
import time
from array import array
from collections.abc import Callable, Iterator
from functools import cache
from typing import Final, TypeAlias

from layer2.legs.views import Side, Verb
from layer2.swap_rules.machine import LegEnd
from layer2.testing.explore.checks import (
    World,
    may_restore,
    needs_dead_node,
    provider_act_problem,
    provider_problem,
    taker_act_problem,
    taker_problem,
)
from layer2.testing.explore.clock import REGION_NAMES, Region
from layer2.testing.explore.parties import CRASHABLE, Answer, Facts, Party
from layer2.testing.explore.results import Finding, Result
from layer2.testing.explore.scenario import Scenario, Setup
from layer2.testing.explore.world import BLOCKED, Fate, Who

__all__ = ["explore"]

_BITS: Final = (4, 14, 14, 14, 14, 2, 2, 2)
_SHIFTS: Final = tuple(sum(_BITS[:place]) for place in range(len(_BITS)))
_MASKS: Final = tuple((1 << bits) - 1 for bits in _BITS)
_REGION, _SOURCE, _DESTINATION, _TAKER, _PROVIDER, _PUBLIC, _TAKER_DEAD, _PROVIDER_DEAD = range(len(_BITS))
_NEXT_REGION: Final = 1 << _SHIFTS[_REGION]


def _fields(*places: int) -> int:
    return sum(_MASKS[place] << _SHIFTS[place] for place in places)


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


class _Role:
    """An honest party in the search, and what was computed for each of its views of the world."""

    def __init__(self, party: Party, place: int, dead_place: int) -> None:
        self.party, self.place = party, place
        self._dead_place = dead_place
        self.is_taker = party.role == "taker"
        self.mask = _fields(_REGION, _SOURCE, _DESTINATION, place, _PUBLIC, dead_place)
        """The fields on which the party's turn depends, and what is wrong for it."""
        self.problems: dict[int, str | None] = {}
        self.turns: dict[int, tuple[list[_Step], list[tuple[str, str]]]] = {}
        self.quiet: dict[int, bool] = {}

    def facts(self, world: World) -> Facts:
        """The facts of its journal."""
        return self.party.facts[world[self.place]]

    def dies(self, dead: int) -> int:
        """The difference if one of its nodes fails permanently."""
        return dead << _SHIFTS[self._dead_place]

    def dead(self, world: World) -> int:
        """As ``World.taker_dead``."""
        return world[self._dead_place]


class _Search:
    def __init__(self, setup: Setup, only_first: bool) -> None:
        self.setup, self.only_first = setup, only_first
        scenario = self.scenario = setup.scenario
        self.source, self.destination = self.setup.source, self.setup.destination
        self.roles: list[_Role] = []
        if scenario.taker is Who.HONEST:
            self.roles.append(_Role(setup.taker, _TAKER, _TAKER_DEAD))
        if scenario.provider is Who.HONEST:
            self.roles.append(_Role(setup.provider, _PROVIDER, _PROVIDER_DEAD))
        self.is_foreign = scenario.pair.is_foreign
        self.result = Result(scenario)
        self.worlds: list[int] = []
        self.index: dict[int, int] = {}
        self.parents = array("l")
        self.labels: list[str] = []
        self.benign_from, self.benign_to = array("l"), array("l")
        self._what: set[str] = set()
        self._seen: Callable[[Party, LegEnd, int, int, bool, bool], int] = cache(self._see)
        self._legs: dict[tuple[int, ...], list[_Step]] = {}

    def run(self) -> Result:
        began = time.process_time()
        # Every part begins with its first state, which has the number 0.
        self._visit(0, -1, "the terms are agreed")
        is_complete = self._expand_from(0)
        if is_complete and self.scenario.old_copy:
            first = len(self.worlds)
            self._restore_old_copies()
            is_complete = self._expand_from(first)
        if is_complete:
            self._find_traps()
        self.result.states = len(self.worlds)
        self.result.seconds = time.process_time() - began
        self.result.inputs = self.setup.taker.calls + self.setup.provider.calls
        return self.result

    def _expand_from(self, place: int) -> bool:
        """Expand all states from a place on; return False if a finding ended it."""
        while place < len(self.worlds):
            if self.only_first and self.result.findings:
                return False
            self.result.transitions += self._expand(place)
            place += 1
        return True

    def _restore_old_copies(self) -> None:
        """From every state so far, replace the journal of one party by each of its earlier versions.

        Only now are all versions known that lead to a journal. The versions after an old copy are not replaced again.
        """
        for role in self.roles:
            copies = cache(role.party.old_copies)
            for place in range(len(self.worlds)):
                packed = self.worlds[place]
                world = _unpack(packed)
                facts = role.facts(world)
                if facts.is_old or any(other.facts(world).is_old for other in self.roles):
                    continue
                for number in copies(world[role.place]):
                    copy = role.party.facts[number]
                    if not may_restore(world, copy, self.source, self.destination, is_taker=role.is_taker):
                        continue
                    after = packed + _difference(role.place, world[role.place], number)
                    if after not in self.index:
                        self._visit(after, place, f"the journal is replaced by an old copy: {copy.name}")

    def _visit(self, packed: int, parent: int, label: str) -> int:
        """Record a new state."""
        place = self.index[packed] = len(self.worlds)
        self.worlds.append(packed)
        self.parents.append(parent)
        self.labels.append(label)
        for role in self.roles:
            key = packed & role.mask
            if key not in role.problems:
                role.problems[key] = self._problem(role, _unpack(packed))
            if (problem := role.problems[key]) is not None:
                self._report(problem, place)
        return place

    def _problem(self, role: _Role, world: World) -> str | None:
        if role.is_taker:
            return taker_problem(world, role.facts(world), self.source, self.destination, self.is_foreign)
        return provider_problem(world, role.facts(world), self.source, self.destination)

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
        for role in self.roles:
            key = packed & role.mask
            if (turns := role.turns.get(key)) is None:
                turns = role.turns[key] = self._turn(role, world)
            for problem, label in turns[1]:
                self._report(problem, place, label)
            yield turns[0]
        yield self._hostile(world)
        if self.scenario.nodes_die and not world.taker_dead and not world.provider_dead:
            yield self._deaths()
        if self.scenario.public and world.public < 2:
            yield [("another swap makes the preimage public", _difference(_PUBLIC, world.public, 2), False)]

    def _deaths(self) -> list[_Step]:
        return [
            (f"the {role.party.role}'s {end} node fails permanently", role.dies(dead), False)
            for dead, end in ((1, "source"), (2, "destination"))
            for role in self.roles
        ]

    def _time(self, packed: int, world: World) -> _Step | None:
        """The start of the next region, after due transactions are included and acts by a shown deadline are done."""
        region = world.region
        if region == Region.OVER:
            return None
        source = self.source.advance(world.source, region)
        destination = self.destination.advance(world.destination, region)
        if source == BLOCKED or destination == BLOCKED:
            return None
        for role in self.roles:
            if role.facts(world).obliged_from <= region:
                key = packed & role.mask
                if key not in role.quiet:
                    answer = role.party.answer(world[role.place], region, *self._newest(role, world))
                    role.quiet[key] = answer.is_quiet
                if not role.quiet[key]:
                    return None
        legs = self._to(world, source, destination)
        return f"time: {REGION_NAMES[region + 1]}", legs + _NEXT_REGION, True

    def _to(self, world: World, source: int, destination: int) -> int:
        """The difference between two states of the legs."""
        return _difference(_SOURCE, world.source, source) + _difference(_DESTINATION, world.destination, destination)

    def _nature(self, world: World) -> list[_Step]:
        by_taker, by_provider = (
            any(role.is_taker is is_taker and role.facts(world).accepts for role in self.roles)
            for is_taker in (True, False)
        )
        key = (world.region, world.source, world.destination, by_provider, by_taker)
        if (steps := self._legs.get(key)) is None:
            steps = self._legs[key] = []
            for place, leg, accepted in (
                (_SOURCE, self.source, by_provider),
                (_DESTINATION, self.destination, by_taker),
            ):
                for move in leg.env(world[place], world.region, accepted):
                    steps.append((move.label, _difference(place, world[place], move.after), move.is_benign))
        return steps

    def _hostile(self, world: World) -> list[_Step]:
        key = (world.region, world.source, world.destination, -1, world.public)
        if (steps := self._legs.get(key)) is not None:
            return steps
        steps = self._legs[key] = []
        knows, payer, payee = bool(world.public), Side.PAYER, Side.PAYEE
        moves: list[tuple[int, Side, bool]] = []
        if self.scenario.taker is Who.HOSTILE:
            moves += [(_SOURCE, payer, True), (_DESTINATION, payee, True)]
        elif self.is_foreign:
            moves += [(_DESTINATION, payee, True)]
        if self.scenario.provider is Who.HOSTILE:
            moves += [(_SOURCE, payee, knows), (_DESTINATION, payer, knows)]
        for place, side, knows in moves:
            leg = self.source if place == _SOURCE else self.destination
            for move in leg.hostile(world[place], world.region, side, knows):
                shown = _difference(_PUBLIC, 0, 1) if move.shows and not world.public else 0
                difference = _difference(place, world[place], move.after) + shown
                steps.append((f"the hostile {side.value}: {move.label}", difference, False))
        return steps

    def _turn(self, role: _Role, world: World) -> tuple[list[_Step], list[tuple[str, str]]]:
        """The next steps of a party, and the problems with them."""
        party, facts = role.party, role.facts(world)
        steps: list[_Step] = []
        problems: list[tuple[str, str]] = []
        for source, destination, note in self._reads(role, world):
            answer = party.answer(world[role.place], world.region, source, destination)
            if answer.is_quiet:
                continue
            for act in answer.new_acts:
                problem = (
                    taker_act_problem(world, facts, act, self.source, self.destination, self.is_foreign)
                    if role.is_taker
                    else provider_act_problem(world, facts, act, self.source, self.destination)
                )
                if problem is not None:
                    problems.append((problem, answer.label + note))
            if answer.repeats:
                problems.append((f"the {party.role} sends a payment twice", answer.label + note))
            steps += self._done(role, world, answer, note)
        return steps, problems

    def _done(self, role: _Role, world: World, answer: Answer, note: str) -> list[_Step]:
        label, number = answer.label + note, world[role.place]
        journaled = _difference(role.place, number, answer.journaled)
        if not answer.sends:
            return [(label, journaled, not note)]
        leaving, steps = _difference(role.place, number, answer.leaving), []
        if any(act in CRASHABLE for act in answer.sends):
            steps.append((f"{label}; it stops before sending", journaled, False))
            steps.append((f"{label}; it stops when it may have sent, but has not", leaving, False))
        source, destination, shown = world.source, world.destination, 0
        for act in answer.sends:
            if act.end is LegEnd.SOURCE:
                source = self.source.send(source, world.region, act.verb)
            else:
                destination = self.destination.send(destination, world.region, act.verb)
                if role.is_taker and act.verb is Verb.COLLECT and not world.public:
                    shown = _difference(_PUBLIC, 0, 1)
        steps.append((label, leaving + self._to(world, source, destination) + shown, not note))
        return steps

    def _newest(self, role: _Role, world: World) -> tuple[int, int]:
        """The newest state that a party's working nodes show."""
        return self._read(role, world, LegEnd.SOURCE), self._read(role, world, LegEnd.DESTINATION)

    def _reads(self, role: _Role, world: World) -> Iterator[tuple[int, int, str]]:
        """What a party's nodes may show at one turn: the newest state, none on one or both sides, or an old one."""
        source, destination = self._newest(role, world)
        yield source, destination, ""
        if role.dead(world) == 0:
            yield 0, destination, " (its source node does not answer)"
            yield source, 0, " (its destination node does not answer)"
            yield 0, 0, " (neither of its nodes answers)"
        if role.dead(world) != 1 and self.source.can_lag(world.source, world.region):
            lagging = self._read(role, world, LegEnd.SOURCE, lags=True)
            yield lagging, destination, " (its source node is behind)"
        if role.dead(world) != 2 and self.destination.can_lag(world.destination, world.region):
            lagging = self._read(role, world, LegEnd.DESTINATION, lags=True)
            yield source, lagging, " (its destination node is behind)"

    def _read(self, role: _Role, world: World, end: LegEnd, *, lags: bool = False) -> int:
        number, dead = (world.source, 1) if end is LegEnd.SOURCE else (world.destination, 2)
        if role.dead(world) == dead:
            return 0
        return self._seen(role.party, end, number, world.region, lags, world.public == 2)

    def _see(self, party: Party, end: LegEnd, number: int, region: int, lags: bool, public: bool) -> int:
        leg = self.source if end is LegEnd.SOURCE else self.destination
        return party.seen.number(leg.see(number, region, party.sides[end], lags, public))

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
                facts = [role.facts(world) for role in self.roles]
                stuck = " and ".join(one.name for one in facts if not one.is_final)
                self._report(f"no way leads to an end: {stuck}", place)

    def _is_end(self, world: World) -> bool:
        """Whether every honest party has ended, or needs attention for an allowed reason."""
        is_end = True
        for role in self.roles:
            facts, dead = role.facts(world), role.dead(world)
            if facts.is_final:
                # What others paid must be taken back first, unless the node for it has failed.
                is_held = self.source.fate(world.source) is Fate.HELD or self.source.has_more(world.source)
                is_end = is_end and not (facts.by_others and is_held and dead != 1)
                continue
            reason = role.party.attention(world[role.place], world.region, *self._newest(role, world))
            if reason is None:
                # Without a node a party cannot continue, and need not if it has no money in the swap.
                is_end = is_end and bool(dead) and not facts.funded
                continue
            self.result.attention[f"{facts.name}: {reason}"] += 1
            forgotten = (
                self.source.is_forgotten(world.source)
                if role.is_taker
                else self.destination.is_forgotten(world.destination)
            )
            if not forgotten and not (dead and needs_dead_node(facts, dead, self.destination)):
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
