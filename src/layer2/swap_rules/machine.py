"""What both machines share: what they see, what they order, and when an act may be sent again.

A machine is a pure function: ``(swap, state, observed) -> Step``. It is given one fresh read of each leg and of
its own acts, so a restart is nothing but the next step. It never concludes anything from silence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import assert_never

from layer2.swap_rules.legs import ActStatus, LegState, LegView, Verb
from layer2.swap_rules.states import State
from layer2.swap_rules.timelocks import TimelockSettings
from layer2.terms import EvmLeg, Leg, Terms

__all__ = [
    "Act",
    "LegEnd",
    "Manner",
    "Observed",
    "Order",
    "Step",
    "Swap",
    "holds_money",
    "is_collected",
    "next_time",
    "order",
    "time_on",
]


class LegEnd(Enum):
    """The side of the swap that a leg is on."""

    SOURCE = "source"
    DESTINATION = "destination"


@dataclass(frozen=True, slots=True)
class Act:
    """Something that a party does to a leg."""

    verb: Verb
    end: LegEnd

    @property
    def key(self) -> str:
        """The intent's key in the journal; later attempts add ``.2``, ``.3`` and so on."""
        return f"{self.verb.value}.{self.end.value}"


class Manner(Enum):
    """How an act is to be performed."""

    NEW = "new"
    """Prepare it, journal it together with the state, perform it."""
    AGAIN = "again"
    """Perform the last journaled attempt once more, byte for byte."""


@dataclass(frozen=True, slots=True)
class Order:
    """An act and how to perform it."""

    act: Act
    manner: Manner


@dataclass(frozen=True, slots=True)
class Swap:
    """What a machine knows of a swap besides its state; the same for ever."""

    terms: Terms
    settings: TimelockSettings
    made_preimage: bool
    """Taker: the preimage is its own. False where the terms pay somebody else's invoice, and for a provider."""

    def leg(self, end: LegEnd) -> Leg:
        return self.terms.source if end is LegEnd.SOURCE else self.terms.destination


@dataclass(frozen=True, slots=True)
class Observed:
    """What a party's own nodes said just now."""

    now: int
    """Unix seconds, wall time."""
    source: LegView | None
    """None: the node could not be read now. Nothing follows from that."""
    destination: LegView | None
    acts: Mapping[Act, ActStatus]
    """The last attempt of every act that has an intent."""
    sent: frozenset[Act] = frozenset()
    """Acts of which an attempt surely left this process, whatever was answered. After a crash it is not known of an
    act whether it did."""
    unsent: frozenset[Act] = frozenset()
    """Acts that this process journaled and surely did not send: there was no connection. A restart forgets it."""


@dataclass(frozen=True, slots=True)
class Step:
    """What a machine decided: the state to journal, the acts to perform then, and when to look again."""

    state: State
    orders: tuple[Order, ...] = ()
    wake_at: int | None = None
    """Unix seconds, wall time: look again by then even if nothing changes."""
    event: str | None = None
    """Why the state changed, for the journal and for people; None where it did not."""
    settled: bool = True
    """False: another step can follow at once from what was observed."""


def order(swap: Swap, observed: Observed, act: Act) -> tuple[Order, ...]:
    """Order an act if it is not under way: anew if it never was or has failed, again if the node lost it.

    Never for a second funding of a leg: that it failed is not a reason to fund once more. And a Lightning payment is
    repeated only by the process that knows it was never sent, because lnd would pay again after a failure that nobody
    here has heard of.
    """
    status = observed.acts.get(act)
    funding = act.verb is Verb.FUND
    match status:
        case None:
            return (Order(act, Manner.NEW),)
        case ActStatus.UNSEEN:
            if funding and not isinstance(swap.leg(act.end), EvmLeg) and act not in observed.unsent:
                return ()
            return (Order(act, Manner.AGAIN),)
        case ActStatus.FAILED:
            return () if funding else (Order(act, Manner.NEW),)
        case ActStatus.UNDER_WAY | ActStatus.DONE:
            return ()
        case _:
            assert_never(status)


def holds_money(view: LegView) -> bool:
    """Whether a read shows money in the leg, final or not."""
    return view.state in (LegState.PENDING, LegState.FUNDED)


def is_collected(view: LegView | None) -> bool:
    """Whether a read shows that the preimage is out."""
    return view is not None and (view.state is LegState.COLLECTED or view.preimage is not None)


def next_time(now: int, *times: int) -> int | None:
    """The first of the times that is still to come."""
    return min((time for time in times if time > now), default=None)


def time_on(observed: Observed, view: LegView) -> int:
    """The later of wall time and the leg's own clock: for what must not be done too late."""
    return max(observed.now, view.clock.chain_time)
