"""Changes that violate a rule of the machines: in what a machine sees or decides, or in a function that it calls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeAlias

from layer2.legs.timelock_settings import TimelockSettings
from layer2.legs.views import LegState, LegView, Release, Verb
from layer2.swap_rules import decisions, machine, provider_machine, taker_machine
from layer2.swap_rules.machine import Act, LegEnd, Manner, Observed, Order, Step, Swap
from layer2.swap_rules.outlook import Outlook
from layer2.swap_rules.states import (
    ProviderAgreed,
    ProviderCollecting,
    ProviderCounterFunded,
    ProviderCounterFunding,
    ProviderRefunding,
    ProviderReleased,
    ProviderReleasing,
    State,
    TakerAbandoned,
    TakerAgreed,
    TakerCollecting,
    TakerCompleted,
    TakerFunded,
    TakerFunding,
    TakerRefunding,
)
from layer2.terms.documents import Terms

__all__ = [
    "Change", "Patch", "abandons_silence", "answer", "back_by", "both", "collects_uncollected", "collects_unpaid",
    "collects_without_intent", "deciding", "ends_as_released", "ends_when_arrived", "final_collect", "final_return",
    "funds_in_releasing", "funds_late", "latest_known", "leaves_source", "needs_other_node",
    "never", "once", "pays_again", "pending_destination", "pending_source", "provider", "releases_funded",
    "releases_in_refunding", "reveals_in_refunding", "reveals_late", "reveals_unpaid", "seeing", "shown_to_taker",
    "signs_only_funded", "silence_is_over", "silent_destination", "stops_at_begin", "stops_late", "taker",
    "takes_both", "voids_at_deadline", "waits_for_source", "without_void",
]  # fmt: skip

Function: TypeAlias = Callable[..., Any]
Change: TypeAlias = Callable[[Function], Function]
"""Makes the changed function from the real one."""
Patch: TypeAlias = tuple[object, str, Change]
"""Module or class, attribute, change."""

_FUND_SOURCE, _FUND = Act(Verb.FUND, LegEnd.SOURCE), Act(Verb.FUND, LegEnd.DESTINATION)
_REVEAL, _COLLECT = Act(Verb.COLLECT, LegEnd.DESTINATION), Act(Verb.COLLECT, LegEnd.SOURCE)


def seeing(change: Callable[[Swap, State, Observed], Observed]) -> Change:
    """A change of what the machine sees."""

    def changed(real: Function) -> Function:
        return lambda swap, state, observed: real(swap, state, change(swap, state, observed))

    return changed


def deciding(change: Callable[[Swap, State, Observed, Step], Step]) -> Change:
    """A change of what the machine decides."""

    def changed(real: Function) -> Function:
        return lambda swap, state, observed: change(swap, state, observed, real(swap, state, observed))

    return changed


def taker(change: Change) -> tuple[Patch, ...]:
    """The change of the taker's machine."""
    return ((decisions, "taker_step", change),)


def provider(change: Change) -> tuple[Patch, ...]:
    """The change of the provider's machine."""
    return ((decisions, "provider_step", change),)


def answer(value: object) -> Change:
    """Replace a function by one that always returns the value."""
    return lambda real: lambda *given, **named: value


def both(name: str, change: Change) -> tuple[Patch, ...]:
    """The change of a function in both machines."""
    return ((taker_machine, name, change), (provider_machine, name, change))


def _view(view: LegView | None, seen: LegState, **changes: Any) -> LegView | None:
    """The view, changed if it shows that state."""
    return replace(view, **changes) if view is not None and view.state is seen else view


def _views(seen: Observed, shown: LegState, **changes: Any) -> Observed:
    source, destination = _view(seen.source, shown, **changes), _view(seen.destination, shown, **changes)
    return replace(seen, source=source, destination=destination)


# Wrong observations.


def pending_destination(swap: Swap, state: State, seen: Observed) -> Observed:
    """A pending destination looks funded to the taker."""
    if not isinstance(state, TakerFunded):
        return seen
    return replace(seen, destination=_view(seen.destination, LegState.PENDING, state=LegState.FUNDED))


def pending_source(swap: Swap, state: State, seen: Observed) -> Observed:
    """A pending source looks funded to the provider."""
    if not isinstance(state, ProviderAgreed):
        return seen
    return replace(seen, source=_view(seen.source, LegState.PENDING, state=LegState.FUNDED))


def final_collect(swap: Swap, state: State, seen: Observed) -> Observed:
    """Every claim looks final."""
    return _views(seen, LegState.COLLECTED, final=True)


def final_return(swap: Swap, state: State, seen: Observed) -> Observed:
    """Every refund looks final."""
    return _views(seen, LegState.RETURNED, final=True, over=True)


def silent_destination(swap: Swap, state: State, seen: Observed) -> Observed:
    """An unreadable destination looks refunded to the provider."""
    if (
        seen.destination is not None
        or seen.source is None
        or not isinstance(state, ProviderCounterFunded | ProviderRefunding)
    ):
        return seen
    return replace(seen, destination=LegView(LegState.RETURNED, seen.source.clock, final=True, over=True))


# Wrong decisions.


def reveals_late(swap: Swap, state: State, seen: Observed, step: Step) -> Step:
    """The taker reveals although it is too late."""
    funded = seen.destination is not None and seen.destination.state is LegState.FUNDED
    if isinstance(state, TakerFunded) and funded and isinstance(step.state, TakerRefunding):
        return Step(TakerCollecting(None, None, False, None), (Order(_REVEAL, Manner.NEW),))
    return step


def reveals_in_refunding(swap: Swap, state: State, seen: Observed, step: Step) -> Step:
    """The taker reveals while it refunds."""
    funded = seen.destination is not None and seen.destination.state is LegState.FUNDED
    if isinstance(state, TakerRefunding) and funded and not isinstance(step.state, TakerCollecting):
        return Step(TakerCollecting(None, None, False, None), (Order(_REVEAL, Manner.NEW),))
    return step


def stops_late(swap: Swap, state: State, seen: Observed, step: Step) -> Step:
    """The taker stops collecting after ``collect_by``."""
    is_late = seen.now > swap.terms.collect_by
    return replace(step, orders=()) if isinstance(state, TakerCollecting) and is_late else step


def stops_at_begin(swap: Swap, state: State, seen: Observed, step: Step) -> Step:
    """The provider stops collecting after the last safe moment to begin."""
    until = swap.terms.source.collect_until(None, swap.terms.issued_at, swap.settings)
    is_late = until is not None and seen.now > until
    return replace(step, orders=()) if isinstance(state, ProviderCollecting) and is_late else step


def once(verb: Verb) -> Change:
    """An act that the node lost is never sent again."""

    def decide(swap: Swap, state: State, seen: Observed, step: Step) -> Step:
        kept = tuple(one for one in step.orders if one.act.verb is not verb or one.manner is Manner.NEW)
        return replace(step, orders=kept)

    return deciding(decide)


def never(verb: Verb) -> Change:
    """Acts of this kind are never ordered."""

    def decide(swap: Swap, state: State, seen: Observed, step: Step) -> Step:
        return replace(step, orders=tuple(one for one in step.orders if one.act.verb is not verb))

    return deciding(decide)


def needs_other_node(swap: Swap, state: State, seen: Observed, step: Step) -> Step:
    """Without one of its nodes, the party does nothing."""
    return step if seen.source is not None and seen.destination is not None else Step(state)


def funds_late(swap: Swap, state: State, seen: Observed, step: Step) -> Step:
    """The provider funds although it has decided to release."""
    funded = seen.source is not None and seen.source.state is LegState.FUNDED
    if isinstance(state, ProviderAgreed) and funded and isinstance(step.state, ProviderReleasing):
        return Step(ProviderCounterFunding(None), (Order(_FUND, Manner.NEW),))
    return step


def funds_in_releasing(swap: Swap, state: State, seen: Observed, step: Step) -> Step:
    """The provider funds while it releases."""
    funded = seen.source is not None and seen.source.state is LegState.FUNDED
    if isinstance(state, ProviderReleasing) and funded and _FUND not in seen.acts:
        return Step(ProviderCounterFunding(None), (Order(_FUND, Manner.NEW),))
    return step


def collects_unpaid(swap: Swap, state: State, seen: Observed, step: Step) -> Step:
    """The provider collects without having paid."""
    if not isinstance(state, ProviderAgreed | ProviderReleasing) or seen.source is None:
        return step
    known = any(view is not None and view.preimage for view in (seen.source, seen.destination))
    if known and seen.source.state is LegState.FUNDED:
        return Step(ProviderCollecting(None, None, False), (Order(_COLLECT, Manner.NEW),))
    return step


def collects_uncollected(swap: Swap, state: State, seen: Observed, step: Step) -> Step:
    """The provider collects before its own funding was collected."""
    source = seen.source
    known = source is not None and source.preimage is not None and source.state is LegState.FUNDED
    if isinstance(state, ProviderCounterFunded) and known:
        return Step(ProviderCollecting(None, None, False), (Order(_COLLECT, Manner.NEW),))
    return step


def takes_both(swap: Swap, state: State, seen: Observed, step: Step) -> Step:
    """The provider takes its funding back while it collects the source."""
    view, end = seen.destination, LegEnd.DESTINATION
    past = view is not None and view.state is LegState.FUNDED and swap.leg(end).is_past(view.clock)
    if isinstance(state, ProviderCollecting) and past:
        return replace(step, orders=(*step.orders, *machine.order(swap, seen, Act(Verb.RECLAIM, end))))
    return step


def releases_funded(swap: Swap, state: State, seen: Observed, step: Step) -> Step:
    """The provider releases after it may have funded."""
    if isinstance(state, ProviderCounterFunding) and seen.now > swap.terms.counter_fund_by:
        orders = provider_machine._release_orders(swap, seen)
        return Step(ProviderReleasing(None, None, ""), orders)
    return step


def releases_in_refunding(swap: Swap, state: State, seen: Observed, step: Step) -> Step:
    """The provider releases before its refund is final."""
    if isinstance(state, ProviderRefunding) and isinstance(step.state, ProviderRefunding):
        return Step(ProviderReleasing(None, None, ""), provider_machine._release_orders(swap, seen))
    return step


def ends_as_released(swap: Swap, state: State, seen: Observed, step: Step) -> Step:
    """The provider ends while its money is locked."""
    return Step(ProviderReleased(None, None, "")) if isinstance(state, ProviderCounterFunded) else step


def ends_when_arrived(swap: Swap, state: State, seen: Observed, step: Step) -> Step:
    """The taker ends at the finality of the terms."""
    view = seen.destination
    if isinstance(state, TakerCollecting) and view is not None and view.state is LegState.COLLECTED:
        return Step(TakerCompleted(None, None))
    return step


def abandons_silence(swap: Swap, state: State, seen: Observed, step: Step) -> Step:
    """The taker abandons a funding that its node does not show."""
    none = seen.source is not None and seen.source.state is LegState.NONE
    if isinstance(state, TakerFunding) and none and seen.now > swap.terms.fund_by:
        return Step(TakerAbandoned(""))
    return step


def reveals_unpaid(swap: Swap, state: State, seen: Observed, step: Step) -> Step:
    """The taker reveals before its own funding."""
    funded = seen.destination is not None and seen.destination.state is LegState.FUNDED
    if isinstance(state, TakerAgreed) and funded:
        return Step(TakerCollecting(None, None, False, None), (Order(_REVEAL, Manner.NEW),))
    return step


def pays_again(swap: Swap, state: State, seen: Observed, step: Step) -> Step:
    """The taker repeats a payment that may have been sent."""
    silent = seen.source is not None and seen.source.state is LegState.NONE
    if isinstance(state, TakerFunding) and silent and seen.is_out(_FUND_SOURCE) and not step.orders:
        return Step(state, (Order(_FUND_SOURCE, Manner.AGAIN),))
    return step


def collects_without_intent(real: Function) -> Function:
    """The provider enters collecting without an intent to collect."""

    def changed(swap: Swap, state: State, observed: Observed) -> Step:
        return Step(ProviderCollecting(None, None, has_arrived=False), settled=False)

    return changed


def silence_is_over(real: Function) -> Function:
    """A funding that the node does not show counts as over."""

    def changed(swap: Swap, observed: Observed, end: LegEnd) -> bool:
        view = observed.source if end is LegEnd.SOURCE else observed.destination
        unseen = view is not None and view.state is LegState.NONE
        return unseen or bool(real(swap, observed, end))

    return changed


def voids_at_deadline(real: Function) -> Function:
    """A missing funding is voided only at its deadline."""

    def changed(swap: Swap, observed: Observed, end: LegEnd) -> tuple[Order, ...]:
        view = observed.source if end is LegEnd.SOURCE else observed.destination
        orders: tuple[Order, ...] = real(swap, observed, end)
        if view is not None and not swap.leg(end).is_past(view.clock):
            return tuple(one for one in orders if one.act.verb is not Verb.VOID)
        return orders

    return changed


def signs_only_funded(real: Function) -> Function:
    """The provider signs no release for a wrong output."""

    def changed(swap: Swap, observed: Observed) -> tuple[Order, ...]:
        pending = observed.source is not None and observed.source.state is LegState.PENDING
        cosigned = swap.terms.source.release is Release.COSIGNED
        orders: tuple[Order, ...] = real(swap, observed)
        return () if pending and cosigned else orders

    return changed


def waits_for_source(real: Function) -> Function:
    """A payment that may have been sent is over only after the source's refund, and not at the source's deadline."""

    def changed(swap: Swap, state: State, observed: Observed) -> Step:
        source = observed.source
        past = source is not None and swap.terms.source.is_past(source.clock) and not machine.is_over(source)
        step: Step = real(swap, state, observed)
        return Step(state) if past and isinstance(step.state, ProviderReleasing) else step

    return changed


def leaves_source(real: Function) -> Function:
    """The taker of a third-party payment never takes the source back."""

    def changed(swap: Swap, state: State, observed: Observed) -> Step:
        step: Step = real(swap, state, observed)
        return replace(step, orders=())

    return changed


def back_by(kind: type[State], value: Callable[[Terms, TimelockSettings], int | None]) -> Change:
    """A provider in a state sees another deadline."""

    def changed(real: Function) -> Function:
        def shown(state: State, terms: Terms, rules: TimelockSettings) -> int | None:
            return value(terms, rules) if isinstance(state, kind) else real(state, terms, rules)

        return shown

    return changed


def shown_to_taker(kind: type[State], value: Callable[[Terms], int | None]) -> Change:
    """A taker in a state sees another deadline."""

    def changed(real: Function) -> Function:
        def shown(state: State, terms: Terms, rules: TimelockSettings, planned_until: int = 0) -> Outlook:
            found: Outlook = real(state, terms, rules, planned_until)
            return replace(found, deadline=value(terms)) if isinstance(state, kind) else found

        return shown

    return changed


def latest_known(real: Function) -> Function:
    """The latest bound replaces the earliest one."""

    def shown(terms: Terms, rules: TimelockSettings) -> int:
        leg = terms.destination
        known = leg.known(terms.issued_at, leg.clock_at_issue(terms.issued_at), rules)
        return int(terms.issued_at + known.latest(rules.bitcoin))

    return shown


def without_void(real: Function) -> Function:
    """No funding is ever voided."""

    def changed(swap: Swap, observed: Observed, end: LegEnd) -> tuple[Order, ...]:
        return tuple(one for one in real(swap, observed, end) if one.act.verb is not Verb.VOID)

    return changed
