"""The common part of both machines: their input, their orders, and the rules for repeating an act.

A machine is a pure function: ``(swap, state, observed) -> Step``. Its input is a fresh read of each leg and of its own
acts, so a restart is simply the next step. It draws no conclusion from missing data.
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
    "is_journaled",
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
    """An act of a party on a leg."""

    verb: Verb
    end: LegEnd


@dataclass(frozen=True, slots=True)
class ActView:
    """What is known of an act that has an intent in the journal."""

    status: ActStatus
    """The status of its last attempt, as its layer shows it now."""
    is_out: bool
    """Whether an attempt may have been sent. The journal records this before the first byte leaves, so False is certain
    even after a crash."""


class Manner(Enum):
    """How to perform an act."""

    NEW = "new"
    """Prepare it, journal it together with the state, and perform it."""
    AGAIN = "again"
    """Perform the last journaled attempt again, byte for byte."""


@dataclass(frozen=True, slots=True)
class Order:
    """An act and how to perform it."""

    act: Act
    manner: Manner


@dataclass(frozen=True, slots=True)
class Swap:
    """The constant input of a machine: everything about a swap except its state."""

    terms: Terms
    settings: TimelockSettings
    made_preimage: bool
    """Taker: it made the preimage. False if the terms pay a third party's invoice, and for a provider."""
    funded_by_others: bool = False
    """Taker: others pay the source, at any time and any number of times. The taker has no act for it, and cannot void
    it."""
    from_old_copy: bool = False
    """Whether the journal was replaced by an old copy of itself since the terms were agreed. An act that it does not
    show, or shows as not sent, may have been performed."""

    def leg(self, end: LegEnd) -> Leg:
        """The leg at that end."""
        return self.terms.source if end is LegEnd.SOURCE else self.terms.destination


@dataclass(frozen=True, slots=True)
class Observed:
    """A fresh read of a party's nodes."""

    now: int
    """Unix seconds, wall time."""
    source: LegView | None
    """None if the node could not be read. No conclusion follows from None."""
    destination: LegView | None
    acts: Mapping[Act, ActView]
    """Every act that has an intent in the journal."""

    @property
    def views(self) -> Mapping[LegEnd, LegView | None]:
        """The views of both legs."""
        return {LegEnd.SOURCE: self.source, LegEnd.DESTINATION: self.destination}

    def is_out(self, act: Act) -> bool:
        """Whether the act may have been sent, according to the journal."""
        view = self.acts.get(act)
        return view is not None and view.is_out


@dataclass(frozen=True, slots=True)
class Step:
    """A machine's decision: the state to journal, the acts to perform after that, and when to observe again."""

    state: State
    orders: tuple[Order, ...] = ()
    wake_at: int | None = None
    """Unix seconds of wall time at which to observe again even if nothing changes."""
    event: str | None = None
    """Why the state changed, for the journal and for logs; None if it did not."""
    settled: bool = True
    """False: another step can follow at once from the same observation."""


def order(swap: Swap, observed: Observed, act: Act) -> tuple[Order, ...]:
    """Order an act unless it is under way: a new act if there was none or it failed, the same act if the node lost it.

    A leg is never funded by a second act, even if the first failed. A funding that is not repeatable is sent again only
    if it was certainly never sent. From an old copy of the journal nothing is funded.
    """
    if act.verb is Verb.FUND and swap.from_old_copy:
        return ()
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
    """The payer's acts on an obsolete leg: reclaim what is locked, and void what may still be locked.

    A funding that is missing at the end of the time to collect is voided then, and not at its deadline. If it is locked
    after all, it is reclaimed in time.
    """
    leg, view = swap.leg(end), observed.source if end is LegEnd.SOURCE else observed.destination
    if view is None or not leg.payer_reclaims or (view.over and not view.has_more):
        return ()
    orders: tuple[Order, ...] = ()
    if (holds_money(view) or view.has_more) and (leg.is_past(view.clock) or view.returnable):
        orders += _reclaim(swap, observed, end)
    # Only the journal knows the inputs of a funding, so one that it does not show cannot be voided.
    is_open = not leg.lapses and view.state in (LegState.NONE, LegState.PENDING) and is_journaled(observed, end)
    if is_open and observed.now > swap.terms.collect_by and is_funding_out(swap, observed, end):
        orders += order(swap, observed, Act(Verb.VOID, end))
    return orders


def _reclaim(swap: Swap, observed: Observed, end: LegEnd) -> tuple[Order, ...]:
    act = Act(Verb.RECLAIM, end)
    known = observed.acts.get(act)
    if swap.funded_by_others and known is not None and known.status is ActStatus.DONE:
        # This money arrived after the last refund was made.
        return (Order(act, Manner.NEW),)
    return order(swap, observed, act)


def is_journaled(observed: Observed, end: LegEnd) -> bool:
    """Whether the journal shows this party's funding of the leg."""
    return Act(Verb.FUND, end) in observed.acts


def is_funding_out(swap: Swap, observed: Observed, end: LegEnd) -> bool:
    """Whether this party's funding of the leg may have been sent. An old copy of the journal never excludes it."""
    if swap.funded_by_others and end is LegEnd.SOURCE:
        return False
    return swap.from_old_copy or observed.is_out(Act(Verb.FUND, end))


def is_over(view: LegView | None) -> bool:
    """Whether a read shows that the refund is final."""
    return view is not None and view.state is LegState.RETURNED and (view.over or view.final)


def funding_is_over(swap: Swap, observed: Observed, end: LegEnd) -> bool:
    """Payer: whether its funding can never hold money again, according to the node and the journal.

    A node that does not know a payment that may have been sent proves nothing: only a reported failure ends it. A
    source that the taker cannot void is never over: others fund it, or an old copy of the journal does not show its
    inputs. From the deadline on, what still arrives can be taken back at once.
    """
    view = observed.source if end is LegEnd.SOURCE else observed.destination
    if view is None:
        return False
    if is_over(view):
        return True
    if view.state is not LegState.NONE:
        return False
    leg, act = swap.leg(end), observed.acts.get(Act(Verb.FUND, end))
    if end is LegEnd.SOURCE and _cannot_void(swap, observed, end):
        return leg.is_past(view.clock)
    if not is_funding_out(swap, observed, end):
        return view.over
    if act is not None and act.status is ActStatus.FAILED:
        return True
    return view.over and leg.is_repeatable


def _cannot_void(swap: Swap, observed: Observed, end: LegEnd) -> bool:
    """Whether the leg's funding neither lapses nor can be voided by its payer."""
    is_unknown = swap.from_old_copy and not is_journaled(observed, end) and not swap.leg(end).lapses
    return is_unknown or swap.funded_by_others


def holds_money(view: LegView) -> bool:
    """Whether a read shows money in the leg, final or not."""
    return view.state in (LegState.PENDING, LegState.FUNDED)


def next_time(now: int, *times: int | None) -> int | None:
    """The earliest of the times after ``now``, or None."""
    return min((time for time in times if time is not None and time > now), default=None)


def time_on(observed: Observed, view: LegView) -> int:
    """The later of wall time and the leg's clock, for acts that must not be late."""
    return max(observed.now, view.clock.chain_time)
