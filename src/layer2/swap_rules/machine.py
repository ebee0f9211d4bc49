"""What both machines share: what they see, what they order, and when an act may be sent again.

A machine is a pure function: ``(swap, state, observed) -> Step``. It gets one fresh read of each leg and of its own
acts, so a restart is only the next step. It concludes nothing from silence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import assert_never

from layer2.legs.leg import Leg
from layer2.legs.timelock_settings import TimelockSettings
from layer2.legs.views import ActStatus, LegState, LegView, Verb
from layer2.swap_rules.states import State
from layer2.terms.documents import Terms

__all__ = [
    "Act",
    "ActView",
    "LegEnd",
    "Manner",
    "Observed",
    "Order",
    "Step",
    "Swap",
    "funding_is_over",
    "holds_money",
    "is_funding_out",
    "is_over",
    "next_time",
    "order",
    "take_back",
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


@dataclass(frozen=True, slots=True)
class ActView:
    """What is known of an act that has an intent in the journal."""

    status: ActStatus
    """Of its last attempt, as its layer shows it now."""
    is_out: bool
    """Whether an attempt may have left this process. An intent is journaled as such before its first byte leaves, so
    False is certain, also after a crash."""


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
    """What a machine knows of a swap besides its state. It never changes."""

    terms: Terms
    settings: TimelockSettings
    made_preimage: bool
    """Taker: the preimage is its own. False where the terms pay a third party's invoice, and for a provider."""

    def leg(self, end: LegEnd) -> Leg:
        """The leg at that end."""
        return self.terms.source if end is LegEnd.SOURCE else self.terms.destination


@dataclass(frozen=True, slots=True)
class Observed:
    """What a party's own nodes showed just now."""

    now: int
    """Unix seconds, wall time."""
    source: LegView | None
    """None: the node could not be read now. Nothing follows from that."""
    destination: LegView | None
    acts: Mapping[Act, ActView]
    """Every act that has an intent."""

    def is_out(self, act: Act) -> bool:
        """Whether the act may have left this process."""
        view = self.acts.get(act)
        return view is not None and view.is_out


@dataclass(frozen=True, slots=True)
class Step:
    """What a machine decided: the state to journal, the acts to perform then, and when to look again."""

    state: State
    orders: tuple[Order, ...] = ()
    wake_at: int | None = None
    """Unix seconds, wall time: look again by then even if nothing changes."""
    event: str | None = None
    """Why the state changed, for the journal and for logs; None where it did not."""
    settled: bool = True
    """False: another step can follow at once from what was observed."""


def order(swap: Swap, observed: Observed, act: Act) -> tuple[Order, ...]:
    """Order an act unless it is under way: a new one if there was none or it failed, the same if the node lost it.

    A leg is never funded by a second act: that the first failed is no reason for another. A funding that is not
    repeatable is sent again only if it surely never left.
    """
    view = observed.acts.get(act)
    if view is None:
        return (Order(act, Manner.NEW),)
    funding = act.verb is Verb.FUND
    match view.status:
        case ActStatus.UNSEEN:
            blocked = funding and view.is_out and not swap.leg(act.end).is_repeatable
            return () if blocked else (Order(act, Manner.AGAIN),)
        case ActStatus.FAILED:
            return () if funding else (Order(act, Manner.NEW),)
        case ActStatus.UNDER_WAY | ActStatus.DONE:
            return ()
        case _:
            assert_never(view.status)


def take_back(swap: Swap, observed: Observed, end: LegEnd) -> tuple[Order, ...]:
    """The payer's acts on a leg that is not wanted any more: reclaim what is locked, void what may still be locked.

    A funding that is not there when the time to collect is over is voided then, and not at its deadline: what is
    locked in spite of that is reclaimed in time.
    """
    leg, view = swap.leg(end), observed.source if end is LegEnd.SOURCE else observed.destination
    if view is None or not leg.payer_reclaims or view.over:
        return ()
    orders: tuple[Order, ...] = ()
    if holds_money(view) and (leg.is_past(view.clock) or view.returnable):
        orders += order(swap, observed, Act(Verb.RECLAIM, end))
    is_open = not leg.lapses and view.state in (LegState.NONE, LegState.PENDING)
    if is_open and observed.now > swap.terms.collect_by and is_funding_out(observed, end):
        orders += order(swap, observed, Act(Verb.VOID, end))
    return orders


def is_funding_out(observed: Observed, end: LegEnd) -> bool:
    """Whether this party's funding of the leg may have left."""
    return observed.is_out(Act(Verb.FUND, end))


def is_over(view: LegView | None) -> bool:
    """Whether a read shows that the money went back for good."""
    return view is not None and view.state is LegState.RETURNED and (view.over or view.final)


def funding_is_over(swap: Swap, observed: Observed, end: LegEnd) -> bool:
    """Payer: whether its funding can never hold money again, by what the node shows and what the journal knows.

    That a node knows nothing of a payment that may have left means nothing: only a message about the payment ends it.
    """
    view = observed.source if end is LegEnd.SOURCE else observed.destination
    if view is None:
        return False
    if is_over(view):
        return True
    if view.state is not LegState.NONE:
        return False
    act = observed.acts.get(Act(Verb.FUND, end))
    if act is None or not act.is_out:
        return view.over
    if act.status is ActStatus.FAILED:
        return True
    return view.over and swap.leg(end).is_repeatable


def holds_money(view: LegView) -> bool:
    """Whether a read shows money in the leg, final or not."""
    return view.state in (LegState.PENDING, LegState.FUNDED)


def next_time(now: int, *times: int | None) -> int | None:
    """The first of the times that is still to come."""
    return min((time for time in times if time is not None and time > now), default=None)


def time_on(observed: Observed, view: LegView) -> int:
    """The later of wall time and the leg's own clock: for what must not be done too late."""
    return max(observed.now, view.clock.chain_time)
