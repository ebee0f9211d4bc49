"""The changes that make a rule of the machines not hold: what a machine sees, what it decides, or whom it asks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeAlias

from layer2.legs.views import LegState, LegView, Release, Verb
from layer2.swap_rules import decisions, machine, provider_machine, taker_machine
from layer2.swap_rules.machine import Act, LegEnd, Manner, Observed, Order, Step, Swap
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

__all__ = [
    "Change", "Patch", "abandons_silence", "answer", "back_by", "both", "collects_uncollected", "collects_unpaid",
    "collects_without_intent", "deciding", "ends_as_released", "ends_when_arrived", "final_collect", "final_return",
    "funds_in_releasing", "funds_late", "hidden_from_taker", "latest_known", "leaves_source", "needs_other_node",
    "never", "once", "pays_again", "pending_destination", "pending_source", "provider", "releases_funded",
    "releases_in_refunding", "reveals_in_refunding", "reveals_late", "reveals_unpaid", "seeing", "shown_to_taker",
    "signs_only_funded", "silence_is_over", "silent_destination", "stops_at_begin", "stops_late", "taker",
    "takes_both", "voids_at_deadline", "waits_for_source", "without_void",
]  # fmt: skip

Machine: TypeAlias = Callable[[Swap, Any, Observed], Step]
Change: TypeAlias = Callable[[Any], Any]
"""Makes the changed function from the real one."""
Patch: TypeAlias = tuple[Any, str, Change]
"""Module or class, attribute, change."""

_FUND_SOURCE, _FUND = Act(Verb.FUND, LegEnd.SOURCE), Act(Verb.FUND, LegEnd.DESTINATION)
_REVEAL, _COLLECT = Act(Verb.COLLECT, LegEnd.DESTINATION), Act(Verb.COLLECT, LegEnd.SOURCE)


def seeing(change: Callable[[Swap, State, Observed], Observed]) -> Change:
    """The machine sees something else."""

    def changed(real: Machine) -> Machine:
        return lambda swap, state, observed: real(swap, state, change(swap, state, observed))

    return changed


def deciding(change: Callable[[Swap, State, Observed, Step], Step]) -> Change:
    """The machine decides something else."""

    def changed(real: Machine) -> Machine:
        return lambda swap, state, observed: change(swap, state, observed, real(swap, state, observed))

    return changed


def taker(change: Change) -> tuple[Patch, ...]:
    return ((decisions, "taker_step", change),)


def provider(change: Change) -> tuple[Patch, ...]:
    return ((decisions, "provider_step", change),)


def constant(value: Any) -> Change:
    return lambda real: value


def answer(value: Any) -> Change:
    return lambda real: lambda *given, **named: value


def both(name: str, change: Change) -> tuple[Patch, ...]:
    return ((taker_machine, name, change), (provider_machine, name, change))


def _view(view: LegView | None, seen: LegState, **changes: Any) -> LegView | None:
    """A view with changes where it shows that state."""
    return replace(view, **changes) if view is not None and view.state is seen else view


# What a machine wrongly sees.


def pending_destination(swap: Swap, state: State, seen: Observed) -> Observed:
    if not isinstance(state, TakerFunded):
        return seen
    return replace(seen, destination=_view(seen.destination, LegState.PENDING, state=LegState.FUNDED))


def pending_source(swap: Swap, state: State, seen: Observed) -> Observed:
    if not isinstance(state, ProviderAgreed):
        return seen
    return replace(seen, source=_view(seen.source, LegState.PENDING, state=LegState.FUNDED))


def final_collect(swap: Swap, state: State, seen: Observed) -> Observed:
    return replace(
        seen,
        source=_view(seen.source, LegState.COLLECTED, final=True),
        destination=_view(seen.destination, LegState.COLLECTED, final=True),
    )


def final_return(swap: Swap, state: State, seen: Observed) -> Observed:
    return replace(
        seen,
        source=_view(seen.source, LegState.RETURNED, final=True, over=True),
        destination=_view(seen.destination, LegState.RETURNED, final=True, over=True),
    )


def silent_destination(swap: Swap, state: State, seen: Observed) -> Observed:
    if (
        seen.destination is not None
        or seen.source is None
        or not isinstance(state, ProviderCounterFunded | ProviderRefunding)
    ):
        return seen
    return replace(seen, destination=LegView(LegState.RETURNED, seen.source.clock, final=True, over=True))


# What a machine wrongly decides.


def reveals_late(swap: Swap, state: State, seen: Observed, step: Step) -> Step:
    funded = seen.destination is not None and seen.destination.state is LegState.FUNDED
    if isinstance(state, TakerFunded) and funded and isinstance(step.state, TakerRefunding):
        return Step(TakerCollecting(None, None, False, None), (Order(_REVEAL, Manner.NEW),))
    return step


def reveals_in_refunding(swap: Swap, state: State, seen: Observed, step: Step) -> Step:
    funded = seen.destination is not None and seen.destination.state is LegState.FUNDED
    if isinstance(state, TakerRefunding) and funded and not isinstance(step.state, TakerCollecting):
        return Step(TakerCollecting(None, None, False, None), (Order(_REVEAL, Manner.NEW),))
    return step


def stops_late(swap: Swap, state: State, seen: Observed, step: Step) -> Step:
    is_late = seen.now > swap.terms.collect_by
    return replace(step, orders=()) if isinstance(state, TakerCollecting) and is_late else step


def stops_at_begin(swap: Swap, state: State, seen: Observed, step: Step) -> Step:
    until = swap.terms.source.collect_until(None, swap.terms.issued_at, swap.settings)
    is_late = until is not None and seen.now > until
    return replace(step, orders=()) if isinstance(state, ProviderCollecting) and is_late else step


def once(verb: Verb) -> Change:
    """An act that the node lost is not sent again."""

    def decide(swap: Swap, state: State, seen: Observed, step: Step) -> Step:
        kept = tuple(one for one in step.orders if one.act.verb is not verb or one.manner is Manner.NEW)
        return replace(step, orders=kept)

    return deciding(decide)


def never(verb: Verb) -> Change:
    def decide(swap: Swap, state: State, seen: Observed, step: Step) -> Step:
        return replace(step, orders=tuple(one for one in step.orders if one.act.verb is not verb))

    return deciding(decide)


def needs_other_node(swap: Swap, state: State, seen: Observed, step: Step) -> Step:
    return step if seen.source is not None and seen.destination is not None else Step(state)


def funds_late(swap: Swap, state: State, seen: Observed, step: Step) -> Step:
    funded = seen.source is not None and seen.source.state is LegState.FUNDED
    if isinstance(state, ProviderAgreed) and funded and isinstance(step.state, ProviderReleasing):
        return Step(ProviderCounterFunding(None), (Order(_FUND, Manner.NEW),))
    return step


def funds_in_releasing(swap: Swap, state: State, seen: Observed, step: Step) -> Step:
    funded = seen.source is not None and seen.source.state is LegState.FUNDED
    if isinstance(state, ProviderReleasing) and funded and _FUND not in seen.acts:
        return Step(ProviderCounterFunding(None), (Order(_FUND, Manner.NEW),))
    return step


def collects_unpaid(swap: Swap, state: State, seen: Observed, step: Step) -> Step:
    if not isinstance(state, ProviderAgreed | ProviderReleasing) or seen.source is None:
        return step
    known = any(view is not None and view.preimage for view in (seen.source, seen.destination))
    if known and seen.source.state is LegState.FUNDED:
        return Step(ProviderCollecting(None, None, False), (Order(_COLLECT, Manner.NEW),))
    return step


def collects_uncollected(swap: Swap, state: State, seen: Observed, step: Step) -> Step:
    source = seen.source
    known = source is not None and source.preimage is not None and source.state is LegState.FUNDED
    if isinstance(state, ProviderCounterFunded) and known:
        return Step(ProviderCollecting(None, None, False), (Order(_COLLECT, Manner.NEW),))
    return step


def takes_both(swap: Swap, state: State, seen: Observed, step: Step) -> Step:
    """Takes the party's own funding back while the other party's is collected."""
    view, end = seen.destination, LegEnd.DESTINATION
    past = view is not None and view.state is LegState.FUNDED and swap.leg(end).is_past(view.clock)
    if isinstance(state, ProviderCollecting) and past:
        return replace(step, orders=(*step.orders, *machine.order(swap, seen, Act(Verb.RECLAIM, end))))
    return step


def releases_funded(swap: Swap, state: State, seen: Observed, step: Step) -> Step:
    if isinstance(state, ProviderCounterFunding) and seen.now > swap.terms.counter_fund_by:
        orders = provider_machine._release_orders(swap, seen)
        return Step(ProviderReleasing(None, None, ""), orders)
    return step


def releases_in_refunding(swap: Swap, state: State, seen: Observed, step: Step) -> Step:
    if isinstance(state, ProviderRefunding) and isinstance(step.state, ProviderRefunding):
        return Step(ProviderReleasing(None, None, ""), provider_machine._release_orders(swap, seen))
    return step


def ends_as_released(swap: Swap, state: State, seen: Observed, step: Step) -> Step:
    return Step(ProviderReleased(None, None, "")) if isinstance(state, ProviderCounterFunded) else step


def ends_when_arrived(swap: Swap, state: State, seen: Observed, step: Step) -> Step:
    view = seen.destination
    if isinstance(state, TakerCollecting) and view is not None and view.state is LegState.COLLECTED:
        return Step(TakerCompleted(None, None))
    return step


def abandons_silence(swap: Swap, state: State, seen: Observed, step: Step) -> Step:
    none = seen.source is not None and seen.source.state is LegState.NONE
    if isinstance(state, TakerFunding) and none and seen.now > swap.terms.fund_by:
        return Step(TakerAbandoned(""))
    return step


def reveals_unpaid(swap: Swap, state: State, seen: Observed, step: Step) -> Step:
    funded = seen.destination is not None and seen.destination.state is LegState.FUNDED
    if isinstance(state, TakerAgreed) and funded:
        return Step(TakerCollecting(None, None, False, None), (Order(_REVEAL, Manner.NEW),))
    return step


def pays_again(swap: Swap, state: State, seen: Observed, step: Step) -> Step:
    silent = seen.source is not None and seen.source.state is LegState.NONE
    if isinstance(state, TakerFunding) and silent and seen.is_out(_FUND_SOURCE) and not step.orders:
        return Step(state, (Order(_FUND_SOURCE, Manner.AGAIN),))
    return step


def collects_without_intent(real: Any) -> Any:
    def changed(swap: Swap, state: Any, observed: Observed) -> Step:
        return Step(ProviderCollecting(None, None, has_arrived=False), settled=False)

    return changed


def silence_is_over(real: Any) -> Any:
    def changed(swap: Swap, observed: Observed, end: LegEnd) -> bool:
        view = observed.source if end is LegEnd.SOURCE else observed.destination
        unseen = view is not None and view.state is LegState.NONE
        return unseen or bool(real(swap, observed, end))

    return changed


def voids_at_deadline(real: Any) -> Any:
    def changed(swap: Swap, observed: Observed, end: LegEnd) -> Any:
        view = observed.source if end is LegEnd.SOURCE else observed.destination
        orders = real(swap, observed, end)
        if view is not None and not swap.leg(end).is_past(view.clock):
            return tuple(one for one in orders if one.act.verb is not Verb.VOID)
        return orders

    return changed


def signs_only_funded(real: Any) -> Any:
    def changed(swap: Swap, observed: Observed) -> Any:
        pending = observed.source is not None and observed.source.state is LegState.PENDING
        cosigned = swap.terms.source.release is Release.COSIGNED
        return () if pending and cosigned else real(swap, observed)

    return changed


def waits_for_source(real: Any) -> Any:
    """A payment that may have left is over only when the source went back, and not at the source's deadline."""

    def changed(swap: Swap, state: Any, observed: Observed) -> Step:
        source = observed.source
        past = source is not None and swap.terms.source.is_past(source.clock) and not machine.is_over(source)
        step: Step = real(swap, state, observed)
        return Step(state) if past and isinstance(step.state, ProviderReleasing) else step

    return changed


def leaves_source(real: Any) -> Any:
    def changed(swap: Swap, state: Any, observed: Observed) -> Step:
        step: Step = real(swap, state, observed)
        return replace(step, orders=())

    return changed


def back_by(kind: type[Any], value: Callable[[Any, Any], int | None]) -> Change:
    """Another deadline is shown to a provider in a state."""

    def changed(real: Any) -> Any:
        def shown(state: Any, terms: Any, rules: Any) -> int | None:
            return value(terms, rules) if isinstance(state, kind) else real(state, terms, rules)

        return shown

    return changed


def shown_to_taker(real: Any) -> Any:
    def shown(state: Any, terms: Any, rules: Any, planned_until: int = 0) -> Any:
        found = real(state, terms, rules, planned_until)
        is_collecting = isinstance(state, TakerCollecting)
        return replace(found, deadline=terms.destination.refundable_from) if is_collecting else found

    return shown


def hidden_from_taker(real: Any) -> Any:
    def shown(state: Any, terms: Any, rules: Any, planned_until: int = 0) -> Any:
        found = real(state, terms, rules, planned_until)
        return replace(found, deadline=None) if isinstance(state, TakerFunded) else found

    return shown


def latest_known(real: Any) -> Any:
    def shown(terms: Any, rules: Any) -> int:
        leg = terms.destination
        known = leg.known(terms.issued_at, leg.clock_at_issue(terms.issued_at), rules)
        return int(terms.issued_at + known.latest(rules.bitcoin))

    return shown


def without_void(real: Any) -> Any:
    def changed(swap: Swap, observed: Observed, end: LegEnd) -> Any:
        return tuple(one for one in real(swap, observed, end) if one.act.verb is not Verb.VOID)

    return changed
