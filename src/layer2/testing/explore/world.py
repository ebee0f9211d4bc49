"""The explorer's interface of a leg: its possible changes, their actors, and what a party's node shows of it.

A leg's state is a tuple of small ints. The search uses only the number that represents it. Every result depends only on
the number and the region, and is cached.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, NamedTuple, TypeAlias

from layer2.legs.leg import Leg
from layer2.legs.views import ActStatus, LegView, Side, Verb
from layer2.testing.explore.clock import Clock

__all__ = ["BLOCKED", "Fate", "LegState", "LegWorld", "Move", "Seen", "Who"]

LegState: TypeAlias = tuple[Any, ...]
"""Small ints; each kind defines its own."""
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


@dataclass(frozen=True, slots=True)
class Seen:
    """What a party's node shows of a leg, and of the party's acts on it."""

    view: LegView | None
    statuses: dict[Verb, ActStatus] = field(default_factory=dict)


class LegWorld(ABC):
    """One leg between two parties, with the numbers of its states."""

    def __init__(self, leg: Leg, end: str, clock: Clock, payer: Who, payee: Who) -> None:
        self.leg, self.end, self.clock = leg, end, clock
        self.payer, self.payee = payer, payee
        self.begin, self.deadline = clock.begin[end], clock.deadline[end]
        self.states: list[LegState] = []
        self._numbers: dict[LegState, int] = {}
        self._env: dict[tuple[int, int, bool], tuple[Move, ...]] = {}
        self._advanced: dict[tuple[int, int], int] = {}
        self._sent: dict[tuple[int, int, Verb], int] = {}

    def number(self, state: LegState) -> int:
        """The number of a state."""
        known = self._numbers.get(state)
        if known is None:
            known = self._numbers[state] = len(self.states)
            self.states.append(state)
        return known

    def env(self, number: int, region: int, accepted: bool) -> tuple[Move, ...]:
        """The possible changes by chains and nodes.

        Args:
            accepted: an honest payee has acted on the funding. At *latest*, it can then no longer be reorganised away.
        """
        key = (number, region, accepted)
        if (known := self._env.get(key)) is None:
            known = self._env[key] = tuple(
                move for move in self._world_moves(self.states[number], region, accepted) if move.after != number
            )
        return known

    def hostile(self, number: int, region: int, side: Side, knows: bool) -> tuple[Move, ...]:
        """The possible acts of a hostile party.

        Args:
            knows: whether it knows the preimage.
        """
        moves = self._hostile_moves(self.states[number], region, side, knows)
        return tuple(move for move in moves if move.after != number)

    def advance(self, number: int, region: int) -> int:
        """The leg when the region ends, or ``BLOCKED``."""
        key = (number, region)
        if (known := self._advanced.get(key)) is None:
            state = self._advance(self.states[number], region)
            known = self._advanced[key] = BLOCKED if state is None else self.number(state)
        return known

    def send(self, number: int, region: int, verb: Verb) -> int:
        """The leg after an honest party has sent an act to its node."""
        key = (number, region, verb)
        if (known := self._sent.get(key)) is None:
            known = self._sent[key] = self.number(self._send(self.states[number], region, verb))
        return known

    def see(self, number: int, region: int, side: Side, lags: bool, public: bool) -> Seen:
        """What a party's node shows.

        Args:
            lags: the node only shows what is final.
            public: another swap has made the preimage public on this layer.
        """
        return self._see(self.states[number], region, side, lags, public)

    @abstractmethod
    def start(self) -> int:
        """The leg before any act."""

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
    def _world_moves(self, state: LegState, region: int, accepted: bool) -> list[Move]: ...

    @abstractmethod
    def _hostile_moves(self, state: LegState, region: int, side: Side, knows: bool) -> list[Move]: ...

    @abstractmethod
    def _advance(self, state: LegState, region: int) -> LegState | None: ...

    @abstractmethod
    def _send(self, state: LegState, region: int, verb: Verb) -> LegState: ...

    @abstractmethod
    def _see(self, state: LegState, region: int, side: Side, lags: bool, public: bool) -> Seen: ...
