"""The explorer's interface of a leg: its possible changes, their actors, and what a party's node shows of it.

The search uses only the number that represents a leg's state. Every result depends only on the number and the region,
and is cached.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable
from enum import IntEnum
from functools import cache
from typing import Generic, NamedTuple, TypeVar

from layer2.legs.leg import Leg
from layer2.legs.views import ActStatus, LegView, Side, Verb
from layer2.testing.explore.clock import Clock

__all__ = ["BLOCKED", "Fate", "LegWorld", "Move", "Numbered", "Seen", "Who"]

S = TypeVar("S", bound=Hashable)
BLOCKED = -1
"""The region cannot end yet: something that was sent in time must be included, or become final, first."""


class Who(IntEnum):
    """Whether a party follows the machine."""

    HONEST = 0
    HOSTILE = 1


class Fate(IntEnum):
    """Where a leg's money is."""

    NOWHERE = 0
    """The payer has it: nothing was funded, or it was refunded."""
    HELD = 1
    PAID = 2
    """The payee has it."""


class Move(NamedTuple):
    """A possible change of a leg."""

    label: str
    after: int
    """The leg's number afterwards."""
    is_benign: bool = False
    """Whether it happens without interference."""
    shows: bool = False
    """Whether it reveals the preimage."""


class Seen(NamedTuple):
    """What a party's node shows of a leg, and of the party's acts on it."""

    view: LegView
    statuses: tuple[tuple[Verb, ActStatus], ...]

    def status(self, verb: Verb) -> ActStatus:
        """The status of the act."""
        return dict(self.statuses).get(verb, ActStatus.UNSEEN)


class Numbered(Generic[S]):
    """Distinct values, and the number of each: 0 for the first."""

    def __init__(self, first: S) -> None:
        self.values = [first]
        self._numbers = {first: 0}

    def __getitem__(self, number: int) -> S:
        return self.values[number]

    def number(self, value: S) -> int:
        """The number of a value, which is added if it is new."""
        if (known := self._numbers.get(value)) is None:
            known = self._numbers[value] = len(self.values)
            self.values.append(value)
        return known


class LegWorld(ABC, Generic[S]):
    """One leg between two parties, with the numbers of its states.

    Args:
        start: the state before any act, which has the number 0.
    """

    def __init__(self, start: S, leg: Leg, end: str, clock: Clock, payer: Who, payee: Who) -> None:
        self.states = Numbered(start)
        self.leg, self.end, self.clock = leg, end, clock
        self.payer, self.payee = payer, payee
        self.begin, self.deadline = clock.begin[end], clock.deadline[end]
        self.env: Callable[[int, int, bool], tuple[Move, ...]] = cache(self._env)
        """The possible changes by chains and nodes, by number, region, and whether an honest payee has acted on the
        funding. At *latest*, it can then no longer be reorganised away."""
        self.advance: Callable[[int, int], int] = cache(self._advanced)
        """The leg when the region ends, or ``BLOCKED``."""
        self.send: Callable[[int, int, Verb], int] = cache(self._sent)
        """The leg after an honest party has sent an act to its node."""

    def hostile(self, number: int, region: int, side: Side, knows: bool) -> tuple[Move, ...]:
        """The possible acts of a hostile party.

        Args:
            knows: whether it knows the preimage.
        """
        moves = self._hostile_moves(self.states[number], region, side, knows)
        return tuple(move for move in moves if move.after != number)

    def see(self, number: int, region: int, side: Side, lags: bool, public: bool) -> Seen:
        """What a party's node shows.

        Args:
            lags: the node only shows what is final.
            public: another swap has made the preimage public on this layer.
        """
        return self._see(self.states[number], region, side, lags, public)

    @abstractmethod
    def can_lag(self, number: int, region: int) -> bool:
        """Whether a lagging node shows something else than the newest state."""

    @abstractmethod
    def fate(self, number: int) -> Fate:
        """Where the money is, finally."""

    @abstractmethod
    def fate_now(self, number: int) -> Fate:
        """Where the money is in the newest state."""

    @abstractmethod
    def may_land(self, number: int, region: int) -> bool:
        """Whether an honest payer's funding may still hold money later."""

    @abstractmethod
    def is_forgotten(self, number: int) -> bool:
        """Whether the payer's node has lost the payment permanently."""

    @abstractmethod
    def is_wrong(self, number: int) -> bool:
        """Whether the funding does not match the terms, so that a payee must not rely on it."""

    @abstractmethod
    def was_funded(self, number: int) -> bool:
        """Whether an honest payer's funding was sent."""

    @abstractmethod
    def was_released(self, number: int) -> bool:
        """Whether an honest payee has begun to return it."""

    @abstractmethod
    def is_unsettled(self, number: int, verb: Verb) -> bool:
        """Whether an honest party's act was sent, and its effect is not final."""

    def has_more(self, number: int) -> bool:
        """Whether there is more money in the leg than the funding, or some after its end."""
        return False

    @abstractmethod
    def _world_moves(self, now: S, region: int, accepted: bool) -> list[Move]: ...

    @abstractmethod
    def _hostile_moves(self, now: S, region: int, side: Side, knows: bool) -> list[Move]: ...

    @abstractmethod
    def _advance(self, now: S, region: int) -> S | None: ...

    @abstractmethod
    def _send(self, now: S, region: int, verb: Verb) -> S: ...

    @abstractmethod
    def _see(self, now: S, region: int, side: Side, lags: bool, public: bool) -> Seen: ...

    def _move(self, label: str, after: S, *, is_benign: bool = False, shows: bool = False) -> Move:
        return Move(f"{self.end}: {label}", self.states.number(after), is_benign, shows)

    def _env(self, number: int, region: int, accepted: bool) -> tuple[Move, ...]:
        moves = self._world_moves(self.states[number], region, accepted)
        return tuple(move for move in moves if move.after != number)

    def _advanced(self, number: int, region: int) -> int:
        state = self._advance(self.states[number], region)
        return BLOCKED if state is None else self.states.number(state)

    def _sent(self, number: int, region: int, verb: Verb) -> int:
        return self.states.number(self._send(self.states[number], region, verb))
