"""An honest party: an abstract journal, and the real machine, which is called once for every distinct input.

The journal is the machine's state and, for each act, whether it has an intent and whether it may have been sent. A
crash omits the rest of a turn. It can happen at three points: after the intent is journaled, after it is journaled as
leaving, and after it is sent without an answer.

The journal may be replaced once by an old copy of itself: an earlier version of the same run, which is marked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import cache
from typing import Final, NamedTuple

from layer2.legs.views import ActStatus, LegState, LegView, Side, Verb
from layer2.swap_rules import decisions, outlook
from layer2.swap_rules.machine import Act, ActView, LegEnd, Observed, Order, Swap
from layer2.swap_rules.states import (
    ProviderAgreed,
    ProviderCollecting,
    ProviderCounterFunded,
    ProviderCounterFunding,
    ProviderRefunding,
    State,
    TakerAbandoned,
    TakerAgreed,
    TakerCollecting,
    TakerFunded,
    TakerFunding,
    TakerState,
)
from layer2.testing.explore.clock import Clock
from layer2.testing.explore.questions import Question, plain_state
from layer2.testing.explore.world import Numbered, Seen

__all__ = ["Answer", "Facts", "Party", "Posture"]

_SOURCE, _DESTINATION = LegEnd.SOURCE, LegEnd.DESTINATION
_ACTS: Final = {
    "taker": (
        Act(Verb.FUND, _SOURCE),
        Act(Verb.COLLECT, _DESTINATION),
        Act(Verb.RECLAIM, _SOURCE),
        Act(Verb.VOID, _SOURCE),
        Act(Verb.RELEASE, _DESTINATION),
    ),
    "provider": (
        Act(Verb.FUND, _DESTINATION),
        Act(Verb.COLLECT, _SOURCE),
        Act(Verb.RELEASE, _SOURCE),
        Act(Verb.RECLAIM, _DESTINATION),
        Act(Verb.VOID, _DESTINATION),
    ),
}
_CRASHABLE: Final = frozenset(
    {Act(Verb.FUND, _SOURCE), Act(Verb.COLLECT, _DESTINATION), Act(Verb.FUND, _DESTINATION), Act(Verb.RELEASE, _SOURCE)}
)
"""Acts whose repetition is not harmless, or that reveal something."""


class Posture(IntEnum):
    """What the journal shows of an intent's delivery."""

    ABSENT = 0
    INTENDED = 1
    OUT = 2


class Answer(NamedTuple):
    """A machine's decision for one input."""

    label: str
    journaled: int
    """The party after the step is journaled and before anything is sent."""
    leaving: int
    """The party after all acts are journaled as leaving."""
    sends: tuple[Act, ...] = ()
    is_quiet: bool = True
    """Whether nothing changes and nothing is sent."""
    new_acts: tuple[Act, ...] = ()
    repeats: bool = False
    """Whether a payment that may have been sent is sent again."""
    is_crashable: bool = False
    """Whether a stop before or while it sends makes a difference."""


class _Journal(NamedTuple):
    state: State
    postures: tuple[int, ...]
    is_old: bool = False
    """Whether it was an old copy."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the checks and the search use of a party's journal."""

    state: State
    name: str
    is_final: bool
    obliged_from: int
    """The region by whose end the party must have acted, from the deadline that it sees; 99 without one."""
    has_deadline: bool
    funded: bool
    """Whether its funding may have been sent."""
    accepts: bool
    """Whether it relies on the other party's funding."""
    signed: bool
    """Whether its release may have been sent."""
    by_others: bool
    """Whether others pay the source of this taker."""
    is_old: bool
    """Whether the journal was an old copy."""
    is_journaled: bool
    """Whether the journal shows its funding."""
    has_collect: bool
    """Whether the journal shows its claim."""


class Party:
    """An honest party in one swap."""

    def __init__(self, role: str, swap: Swap, clock: Clock) -> None:
        self.role, self.swap, self.clock = role, swap, clock
        self._swaps = (swap, replace(swap, from_old_copy=True))
        self.acts = _ACTS[role]
        self.sides = {
            _SOURCE: Side.PAYER if role == "taker" else Side.PAYEE,
            _DESTINATION: Side.PAYEE if role == "taker" else Side.PAYER,
        }
        first = _Journal(TakerAgreed() if role == "taker" else ProviderAgreed(), (Posture.ABSENT,) * len(self.acts))
        self.facts = [self._facts(first)]
        """By the journal's number; 0 is the journal when the terms are agreed."""
        self.seen: Numbered[Seen | None] = Numbered(None)
        """What nodes show; 0 means that the node cannot be read."""
        self.attention: Callable[[int, int, int, int], str | None] = cache(self._attention)
        """What needs attention, or None. The arguments are those of ``answer``."""
        self._journals = Numbered(first)
        self._answers: dict[tuple[int, int, int, int], Answer] = {}
        self._before: dict[int, set[int]] = {0: {0}}
        """For each journal, the versions from which one write leads to it, and itself."""

    @property
    def calls(self) -> int:
        """The number of distinct inputs of the machine so far."""
        return len(self._answers)

    def answer(self, number: int, region: int, source: int, destination: int) -> Answer:
        """The machine's next step.

        Args:
            number: the journal's.
            source, destination: the numbers of what the nodes show.
        """
        key = (number, region, source, destination)
        if (known := self._answers.get(key)) is None:
            known = self._answers[key] = self._ask(*key)
        return known

    def questions(self) -> Iterator[Question]:
        """All inputs of the machine so far, with its decisions."""
        for key in self._answers:
            journal, observed = self._journals[key[0]], self._observed(*key)
            step = decisions.next_step(self._swap_of(journal), journal.state, observed)
            yield Question.of(journal.state, observed, step)

    def old_copies(self, number: int) -> tuple[int, ...]:
        """The journals that an old copy may leave: itself, and every version from which the answers so far lead to it,
        each marked."""
        found, open_ends = {number}, [number]
        while open_ends:
            new = self._before.get(open_ends.pop(), set()) - found
            found |= new
            open_ends += new
        last = self._journals[number]
        copies = [self._journals[one] for one in sorted(found)]
        # No act is ever removed from a journal, so versions of other runs are left out.
        fitting = [one for one in copies if all(a <= b for a, b in zip(one.postures, last.postures, strict=True))]
        return tuple(self._number(one._replace(is_old=True)) for one in fitting)

    def _swap_of(self, journal: _Journal) -> Swap:
        return self._swaps[journal.is_old]

    def _attention(self, number: int, region: int, source: int, destination: int) -> str | None:
        journal, observed = self._journals[number], self._observed(number, region, source, destination)
        return outlook.attention(self._swap_of(journal), journal.state, observed)

    def _ask(self, number: int, region: int, source: int, destination: int) -> Answer:
        journal = self._journals[number]
        observed = self._observed(number, region, source, destination)
        step = decisions.next_step(self._swap_of(journal), journal.state, observed)
        orders = [order for order in step.orders if self._can_prepare(order, journal, observed)]
        if len(orders) != len(step.orders):
            # The preimage is unknown: the engine journals nothing of the step.
            return Answer(f"{self.role} cannot prepare a claim", number, number)
        state = plain_state(step.state)
        intended, leaving = list(journal.postures), list(journal.postures)
        for order in orders:
            place = self.acts.index(order.act)
            intended[place] = max(intended[place], Posture.INTENDED)
            leaving[place] = Posture.OUT
        done = ", ".join(f"{order.act.verb.value} {order.act.end.value}" for order in orders)
        changed = "" if state == journal.state else f" -> {state.name}"
        label = f"{self.role}{changed}{': ' + done if done else ''}"
        new = tuple(o.act for o in orders if journal.postures[self.acts.index(o.act)] == Posture.ABSENT)
        written = self._number(_Journal(state, tuple(intended), journal.is_old))
        sent = self._number(_Journal(state, tuple(leaving), journal.is_old))
        self._before.setdefault(written, {written}).add(number)
        self._before.setdefault(sent, {sent}).update((number, written))
        return Answer(
            label,
            written,
            sent,
            tuple(order.act for order in orders),
            state == journal.state and not orders,
            new,
            any(self._repeats(order.act, journal) for order in orders),
            any(order.act in _CRASHABLE for order in orders),
        )

    def _repeats(self, act: Act, journal: _Journal) -> bool:
        is_out = journal.is_old or journal.postures[self.acts.index(act)] == Posture.OUT
        return act.verb is Verb.FUND and is_out and self.swap.leg(act.end).kind == "lightning"

    def _can_prepare(self, order: Order, journal: _Journal, observed: Observed) -> bool:
        if order.act.verb is not Verb.COLLECT or self.swap.made_preimage:
            return True
        if journal.postures[self.acts.index(order.act)] != Posture.ABSENT:
            return True
        return any(view is not None and view.preimage for view in (observed.source, observed.destination))

    def _observed(self, number: int, region: int, source: int, destination: int) -> Observed:
        journal = self._journals[number]
        seen = {_SOURCE: self.seen[source], _DESTINATION: self.seen[destination]}
        acts: dict[Act, ActView] = {}
        for act, posture in zip(self.acts, journal.postures, strict=True):
            if posture != Posture.ABSENT:
                acts[act] = ActView(_status(seen[act.end], act.verb, posture), posture == Posture.OUT)
        shown = {end: None if one is None else one.view for end, one in seen.items()}
        own = self.acts[0].end
        if self.acts[0] not in acts and not self.swap.leg(own).lapses:
            shown[own] = _without_inputs(shown[own])
        return Observed(self.clock.now[region], shown[_SOURCE], shown[_DESTINATION], acts)

    def _number(self, journal: _Journal) -> int:
        number = self._journals.number(journal)
        if number == len(self.facts):
            self.facts.append(self._facts(journal))
        return number

    def _facts(self, journal: _Journal) -> Facts:
        state, terms, rules, is_old = journal.state, self.swap.terms, self.swap.settings, journal.is_old
        by_others = self.swap.funded_by_others
        shown = outlook.outlook(state, terms, rules, funded_by_others=by_others, from_old_copy=is_old).deadline
        if isinstance(state, TakerState):
            collects = isinstance(state, TakerCollecting)
            # From an old copy it may have begun to collect.
            collects |= is_old and isinstance(state, TakerAgreed | TakerFunding | TakerFunded)
            obliged = shown if collects and self.swap.made_preimage else None
        else:
            obliged = outlook.must_be_back_by(state, terms, rules, from_old_copy=is_old)
        paying = ProviderCounterFunding | ProviderCounterFunded | ProviderRefunding | ProviderCollecting
        return Facts(
            state=state,
            name=f"{self.role} {state.name}",
            is_final=state.is_final,
            obliged_from=99 if obliged is None else self.clock.region_of(obliged),
            has_deadline=shown is not None,
            # The payment of others counts once the taker has seen it.
            funded=not isinstance(state, TakerAgreed | TakerFunding | TakerAbandoned)
            if by_others
            else is_old or journal.postures[0] == Posture.OUT,
            accepts=is_old or isinstance(state, paying | TakerCollecting),
            signed=self.role == "provider" and journal.postures[2] == Posture.OUT,
            by_others=by_others,
            is_old=is_old,
            is_journaled=journal.postures[0] != Posture.ABSENT,
            has_collect=journal.postures[1] != Posture.ABSENT,
        )


def _without_inputs(view: LegView | None) -> LegView | None:
    """The view of a party that does not know the inputs of its funding, and so not that they are spent."""
    is_voided = view is not None and view.state is LegState.NONE and view.over
    return replace(view, over=False) if view is not None and is_voided else view


def _status(seen: Seen | None, verb: Verb, posture: int) -> ActStatus:
    """The status as the engine reads it: an act that was certainly not sent is unseen, an unreadable one under way."""
    if posture != Posture.OUT:
        return ActStatus.UNSEEN
    if seen is None:
        return ActStatus.UNDER_WAY
    return seen.status(verb)
