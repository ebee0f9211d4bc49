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
    has_unknown_funding,
    known_by,
    may_restore,
    needs_dead_node,
    provider_act_problem,
    provider_problem,
    taker_act_problem,
    taker_problem,
)
from layer2.testing.explore.clock import REGION_NAMES, Region
from layer2.testing.explore.packing import (
    ACCEPTED,
    DESTINATION,
    NEXT_REGION,
    OF_LEGS,
    PROVIDER,
    PROVIDER_DEAD,
    PUBLIC,
    REGION,
    SOURCE,
    TAKER,
    TAKER_DEAD,
    difference,
    fields,
    unpack,
)
from layer2.testing.explore.parties import Answer, Facts, Party
from layer2.testing.explore.results import Finding, Result
from layer2.testing.explore.scenario import Scenario, Setup
from layer2.testing.explore.world import BLOCKED, Fate, Who

__all__ = ["explore"]

_OF_HOSTILE: Final = OF_LEGS | fields(PUBLIC)
"""The fields on which the possible acts of a hostile party depend."""
_Step: TypeAlias = tuple[str, int, bool]
"""A label, the difference to the packed state, and whether the step is benign."""
_Read: TypeAlias = tuple[int, int, str]
"""What a party's nodes show of the source and the destination, and a note if it is not the newest state."""


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
        self.mask = fields(REGION, SOURCE, DESTINATION, place, PUBLIC, dead_place)
        """The fields on which the party's turn depends, and what is wrong for it."""
        self.sees = fields(REGION, SOURCE, DESTINATION, PUBLIC, dead_place)
        """The fields on which what its nodes show depends."""
        self.reads: dict[int, list[_Read]] = {}
        self.problems: dict[int, str | None] = {}
        self.turns: dict[int, tuple[list[_Step], list[tuple[str, str]]]] = {}
        self.quiet: dict[int, bool] = {}

    def facts(self, world: World) -> Facts:
        """The facts of its journal."""
        return self.party.facts[world[self.place]]

    def dies(self, dead: int) -> int:
        """The difference if one of its nodes fails permanently."""
        return difference(self._dead_place, 0, dead)

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
            self.roles.append(_Role(setup.taker, TAKER, TAKER_DEAD))
        if scenario.provider is Who.HONEST:
            self.roles.append(_Role(setup.provider, PROVIDER, PROVIDER_DEAD))
        self.is_foreign = scenario.pair.is_foreign
        self.result = Result(scenario)
        self.worlds: list[int] = []
        self.index: dict[int, int] = {}
        self.parents = array("l")
        self.labels: list[str] = []
        self.benign_from, self.benign_to = array("l"), array("l")
        self._what: set[str] = set()
        self._seen: Callable[[Party, LegEnd, int, int, bool, bool], int] = cache(self._see)
        self._by_nature: dict[int, list[_Step]] = {}
        self._by_hostile: dict[int, list[_Step]] = {}

    def run(self) -> Result:
        began = time.process_time()
        # Every part begins with its first state, which has the number 0.
        self._visit(0, -1, "the terms are agreed")
        is_complete = self._expand_from(0)
        normal = len(self.worlds)
        for happens, fails in (
            (self.scenario.old_copy, self._restore_old_copies),
            (self.scenario.nodes_die, self._kill_nodes),
        ):
            if is_complete and happens:
                first = len(self.worlds)
                fails(normal)
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

    def _restore_old_copies(self, count: int) -> None:
        """From each of the first states, replace the journal of one party by each of its earlier versions.

        Only now are all versions known that lead to a journal. The versions after an old copy are not replaced again.
        """
        for role in self.roles:
            copies = cache(role.party.old_copies)
            for place in range(count):
                packed = self.worlds[place]
                world = unpack(packed)
                for number in copies(world[role.place]):
                    copy = role.party.facts[number]
                    if not may_restore(world, copy, self.source, self.destination, is_taker=role.is_taker):
                        continue
                    after = packed + difference(role.place, world[role.place], number)
                    if after not in self.index:
                        self._visit(after, place, f"the journal is replaced by an old copy: {copy.name}")

    def _kill_nodes(self, count: int) -> None:
        """In each of the first states, one node of one party fails permanently."""
        for place in range(count):
            for role in self.roles:
                for dead, end in ((1, "source"), (2, "destination")):
                    after = self.worlds[place] + role.dies(dead)
                    self._visit(after, place, f"the {role.party.role}'s {end} node fails permanently")
                    self.result.transitions += 1

    def _visit(self, packed: int, parent: int, label: str) -> int:
        """Record a new state."""
        place = self.index[packed] = len(self.worlds)
        self.worlds.append(packed)
        self.parents.append(parent)
        self.labels.append(label)
        for role in self.roles:
            key = packed & role.mask
            if key not in role.problems:
                role.problems[key] = self._problem(role, unpack(packed))
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
            for label, change, is_benign in steps:
                after = packed + change
                reached = index.get(after)
                if reached is None:
                    reached = self._visit(after, place, label)
                if is_benign:
                    self.benign_from.append(place)
                    self.benign_to.append(reached)
        return count

    def _steps(self, packed: int, place: int) -> Iterator[list[_Step]]:
        world = unpack(packed)
        if (later := self._time(packed, world)) is not None:
            yield [later]
        yield self._nature(packed, world)
        for role in self.roles:
            key = packed & role.mask
            if (turns := role.turns.get(key)) is None:
                turns = role.turns[key] = self._turn(role, packed, world)
            for problem, label in turns[1]:
                self._report(problem, place, label)
            yield turns[0]
        yield self._hostile(packed, world)
        if self.scenario.public and world.public < 2:
            yield [("another swap makes the preimage public", difference(PUBLIC, world.public, 2), False)]

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
            facts = role.facts(world)
            if region == known_by(facts) and not facts.is_final and self._has_unknown_funding(world, facts):
                return None
            if facts.obliged_from <= region:
                key = packed & role.mask
                if key not in role.quiet:
                    answer = role.party.answer(world[role.place], region, *self._newest(role, packed, world))
                    role.quiet[key] = answer.is_quiet
                if not role.quiet[key]:
                    return None
        legs = self._to(world, source, destination)
        return f"time: {REGION_NAMES[region + 1]}", legs + NEXT_REGION, True

    def _has_unknown_funding(self, world: World, facts: Facts) -> bool:
        return has_unknown_funding(world, facts, self.source, self.destination)

    def _to(self, world: World, source: int, destination: int) -> int:
        """The difference between two states of the legs."""
        return difference(SOURCE, world.source, source) + difference(DESTINATION, world.destination, destination)

    def _nature(self, packed: int, world: World) -> list[_Step]:
        by_taker = by_provider = False
        for role in self.roles:
            if role.facts(world).accepts:
                if role.is_taker:
                    by_taker = True
                else:
                    by_provider = True
        key = (packed & OF_LEGS) + ACCEPTED * (by_taker + 2 * by_provider)
        if (steps := self._by_nature.get(key)) is None:
            steps = self._by_nature[key] = []
            for place, leg, accepted in (
                (SOURCE, self.source, by_provider),
                (DESTINATION, self.destination, by_taker),
            ):
                for move in leg.env(world[place], world.region, accepted):
                    steps.append((move.label, difference(place, world[place], move.after), move.is_benign))
        return steps

    def _hostile(self, packed: int, world: World) -> list[_Step]:
        key = packed & _OF_HOSTILE
        if (steps := self._by_hostile.get(key)) is not None:
            return steps
        steps = self._by_hostile[key] = []
        knows, payer, payee = bool(world.public), Side.PAYER, Side.PAYEE
        moves: list[tuple[int, Side, bool]] = []
        if self.scenario.taker is Who.HOSTILE:
            moves += [(SOURCE, payer, True), (DESTINATION, payee, True)]
        elif self.is_foreign:
            moves += [(DESTINATION, payee, True)]
        if self.scenario.provider is Who.HOSTILE:
            moves += [(SOURCE, payee, knows), (DESTINATION, payer, knows)]
        for place, side, knows in moves:
            leg = self.source if place == SOURCE else self.destination
            for move in leg.hostile(world[place], world.region, side, knows):
                shown = difference(PUBLIC, 0, 1) if move.shows and not world.public else 0
                change = difference(place, world[place], move.after) + shown
                steps.append((f"the hostile {side.value}: {move.label}", change, False))
        return steps

    def _turn(self, role: _Role, packed: int, world: World) -> tuple[list[_Step], list[tuple[str, str]]]:
        """The next steps of a party, and the problems with them."""
        party, facts = role.party, role.facts(world)
        steps: list[_Step] = []
        problems: list[tuple[str, str]] = []
        number, region = world[role.place], world.region
        for source, destination, note in self._reads(role, packed, world):
            answer = party.answer(number, region, source, destination)
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
        if not facts.is_final and self._has_unknown_funding(world, facts):
            steps.append(self._spend_coins(role, world))
        return steps, problems

    def _spend_coins(self, role: _Role, world: World) -> _Step:
        """The owner of the wallet spends all its coins, also those of a funding that the old copy does not show."""
        source, destination = world.source, world.destination
        if role.is_taker:
            source = self.source.send(source, world.region, Verb.VOID)
        else:
            destination = self.destination.send(destination, world.region, Verb.VOID)
        return f"the {role.party.role} spends all coins of its wallet", self._to(world, source, destination), True

    def _done(self, role: _Role, world: World, answer: Answer, note: str) -> list[_Step]:
        label, number = answer.label + note, world[role.place]
        journaled = difference(role.place, number, answer.journaled)
        if not answer.sends:
            return [(label, journaled, not note)]
        leaving, steps = difference(role.place, number, answer.leaving), []
        if answer.is_crashable:
            steps.append((f"{label}; it stops before sending", journaled, False))
            steps.append((f"{label}; it stops when it may have sent, but has not", leaving, False))
        source, destination, shown = world.source, world.destination, 0
        for act in answer.sends:
            if act.end is LegEnd.SOURCE:
                source = self.source.send(source, world.region, act.verb)
            else:
                destination = self.destination.send(destination, world.region, act.verb)
                if role.is_taker and act.verb is Verb.COLLECT and not world.public:
                    shown = difference(PUBLIC, 0, 1)
        steps.append((label, leaving + self._to(world, source, destination) + shown, not note))
        return steps

    def _newest(self, role: _Role, packed: int, world: World) -> tuple[int, int]:
        """The newest state that a party's working nodes show."""
        source, destination, _ = self._reads(role, packed, world)[0]
        return source, destination

    def _reads(self, role: _Role, packed: int, world: World) -> list[_Read]:
        """What a party's nodes may show at one turn: the newest state, none on one or both sides, or an old one."""
        key = packed & role.sees
        if (reads := role.reads.get(key)) is not None:
            return reads
        source, destination = self._read(role, world, LegEnd.SOURCE), self._read(role, world, LegEnd.DESTINATION)
        reads = role.reads[key] = [(source, destination, "")]
        if role.dead(world) == 0:
            reads.append((0, destination, " (its source node does not answer)"))
            reads.append((source, 0, " (its destination node does not answer)"))
            reads.append((0, 0, " (neither of its nodes answers)"))
        if role.dead(world) != 1 and self.source.can_lag(world.source, world.region):
            lagging = self._read(role, world, LegEnd.SOURCE, lags=True)
            reads.append((lagging, destination, " (its source node is behind)"))
        if role.dead(world) != 2 and self.destination.can_lag(world.destination, world.region):
            lagging = self._read(role, world, LegEnd.DESTINATION, lags=True)
            reads.append((source, lagging, " (its destination node is behind)"))
        return reads

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
            if self._is_end(packed, unpack(packed)):
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
                world = unpack(self.worlds[place])
                facts = [role.facts(world) for role in self.roles]
                stuck = " and ".join(one.name for one in facts if not one.is_final)
                self._report(f"no way leads to an end: {stuck}", place)

    def _is_end(self, packed: int, world: World) -> bool:
        """Whether every honest party has ended, or needs attention for an allowed reason."""
        is_end = True
        for role in self.roles:
            facts, dead = role.facts(world), role.dead(world)
            if facts.is_final:
                # What others paid must be taken back first, unless the node for it has failed.
                is_held = self.source.fate(world.source) is Fate.HELD or self.source.has_more(world.source)
                is_end = is_end and not (facts.by_others and is_held and dead != 1)
                continue
            reason = role.party.attention(world[role.place], world.region, *self._newest(role, packed, world))
            if reason is None:
                # Without a node a party cannot continue, and need not if it has no money in the swap.
                is_end = is_end and bool(dead) and not facts.funded
                continue
            self.result.attention[f"{facts.name}{', a node dead' if dead else ''}: {reason}"] += 1
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
