"""The faults and the transfers of a chaos run. The seed alone determines them, before the run."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import Enum
from typing import Final

from layer2 import Layer2ProtocolType

__all__ = ["CHAINS", "DIRECTIONS", "PARTIES", "Event", "Fault", "Schedule", "Wish", "schedule"]

PARTIES: Final = ("taker", "provider")
CHAINS: Final = ("BOB", "ROOTSTOCK")
DIRECTIONS: Final = (
    (Layer2ProtocolType.BOB, Layer2ProtocolType.LIGHTNING),
    (Layer2ProtocolType.LIGHTNING, Layer2ProtocolType.BOB),
    (Layer2ProtocolType.BOB, Layer2ProtocolType.ROOTSTOCK),
    (Layer2ProtocolType.ROOTSTOCK, Layer2ProtocolType.BOB),
)
_AMOUNTS: Final = (10_000, 95_000)
_LONGEST_AWAY: Final = 4.0
_DEEPEST: Final = 3
"""Blocks; less than the distance of four to the finalized head of a local network."""


class Fault(Enum):
    """One kind of event."""

    KILL = "kill"
    """SIGKILL to a party's process; it is started again after the event's seconds."""
    FREEZE = "freeze"
    """SIGSTOP to a party's process, and SIGCONT after the seconds."""
    FREEZE_NODE = "freeze_node"
    """SIGSTOP to a process of the network, and SIGCONT after the seconds."""
    STOP_LIGHTNING = "stop_lightning"
    """A party's Lightning node is killed, and started again after the seconds."""
    DISK_FULL = "disk_full"
    """A party's process cannot write to files for the event's seconds."""
    REORGANISE = "reorganise"
    """Blocks of a chain are replaced; their transactions return to the pool."""
    FORGET = "forget"
    """Blocks of a chain are replaced; their transactions are forgotten (simnet only)."""
    CHAIN_DOWN = "chain_down"
    """A chain's node resets every connection for the seconds (simnet only)."""
    LOSE_REPLIES = "lose_replies"
    """A chain's node accepts the next transactions without an answer (simnet only)."""
    AWAY = "away"
    """A party is killed, and restarted shortly before the deadline shown to it; all clocks move (simnet only)."""


_NEEDS_SIMNET: Final = frozenset({Fault.FORGET, Fault.CHAIN_DOWN, Fault.LOSE_REPLIES, Fault.AWAY})
_WEIGHTS: Final = {
    Fault.KILL: 6,
    Fault.FREEZE: 3,
    Fault.FREEZE_NODE: 2,
    Fault.STOP_LIGHTNING: 3,
    Fault.DISK_FULL: 3,
    Fault.REORGANISE: 4,
    Fault.FORGET: 2,
    Fault.CHAIN_DOWN: 2,
    Fault.LOSE_REPLIES: 1,
    Fault.AWAY: 1,
}


@dataclass(frozen=True, slots=True)
class Event:
    """One fault."""

    at: float
    """Seconds from the beginning."""
    fault: Fault
    target: str
    """A party or a chain; empty if the fault has no target."""
    seconds: float = 0.0
    depth: int = 0
    """Blocks of a reorganisation."""
    pick: int = 0
    """Selects one of the processes of a network."""

    def __str__(self) -> str:
        more = f" {self.seconds:.1f} s" if self.seconds else f" {self.depth} blocks" if self.depth else ""
        return f"{self.at:6.1f} {self.fault.value} {self.target}{more}"


@dataclass(frozen=True, slots=True)
class Wish:
    """One transfer, requested repeatedly with its key until it has ended."""

    at: float
    key: str
    source: Layer2ProtocolType
    destination: Layer2ProtocolType
    amount: int


@dataclass(frozen=True, slots=True)
class Schedule:
    """All events and transfers of a run, in the order of their times."""

    seed: int
    seconds: float
    events: tuple[Event, ...]
    wishes: tuple[Wish, ...]


def schedule(seed: int, seconds: float, network: str, *, transfers: int, every: float) -> Schedule:
    """The schedule of a seed. The same arguments give the same schedule.

    Args:
        seconds: the duration of faults.
        network: ``simnet`` or ``devnet``.
        transfers: the number of transfers, all requested in the first four fifths of the time.
        every: average seconds between two events.
    """
    rng = random.Random(seed)
    faults = [fault for fault in Fault if network == "simnet" or fault not in _NEEDS_SIMNET]
    weights = [_WEIGHTS[fault] for fault in faults]
    events, at = list[Event](), rng.uniform(1.0, 2.0)
    while at < seconds:
        (fault,) = rng.choices(faults, weights)
        events.append(_event(rng, at, fault))
        at += rng.uniform(0.5, 1.5) * every
    wishes = []
    for number in range(transfers):
        source, destination = DIRECTIONS[(number + seed) % len(DIRECTIONS)]
        when, amount = rng.uniform(0.0, 0.8 * seconds), rng.randrange(*_AMOUNTS)
        wishes.append(Wish(when, f"{seed}-{number}", source, destination, amount))
    return Schedule(seed, seconds, tuple(events), tuple(sorted(wishes, key=lambda wish: wish.at)))


def _event(rng: random.Random, at: float, fault: Fault) -> Event:
    target = rng.choice(CHAINS if fault in _OF_CHAINS else PARTIES)
    seconds = 0.0 if fault in _AT_ONCE else rng.uniform(0.2, _LONGEST_AWAY)
    depth = rng.randint(1, _DEEPEST) if fault in (Fault.REORGANISE, Fault.FORGET) else 0
    return Event(at, fault, "" if fault is Fault.FREEZE_NODE else target, seconds, depth, rng.randrange(1_000))


_OF_CHAINS: Final = frozenset({Fault.REORGANISE, Fault.FORGET, Fault.CHAIN_DOWN, Fault.LOSE_REPLIES})
_AT_ONCE: Final = frozenset({Fault.REORGANISE, Fault.FORGET, Fault.LOSE_REPLIES, Fault.AWAY})
