"""Mutants of the rules for a swap whose journal is an old copy."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from layer2.legs.timelock_settings import TimelockSettings
from layer2.legs.views import LegState, Verb
from layer2.model.transactions import Finality
from layer2.swap_rules import machine, outlook, provider_machine, taker_machine
from layer2.swap_rules.machine import Act, LegEnd, Manner, Observed, Order, Step, Swap
from layer2.swap_rules.outlook import Outlook
from layer2.swap_rules.states import (
    ProviderAgreed,
    ProviderCounterFunding,
    ProviderState,
    State,
    TakerAgreed,
    TakerFunded,
    TakerFunding,
    TakerState,
)
from layer2.terms.documents import Terms
from layer2.testing.explore.mutation import Mutants, run, shows

__all__ = ["OLD_COPY"]

_TAKER: Final = Mutants("taker_step")
_PROVIDER: Final = Mutants("provider_step")
_CHAINS: Final = run("evm-evm", "provider", old_copy=True)
_PAID_CHAINS: Final = run("evm-evm", "taker", old_copy=True)
_FROM_LIGHTNING: Final = run("lightning-evm", "provider", old_copy=True)
_TO_LIGHTNING: Final = run("evm-lightning", "taker", old_copy=True)
_FROM_BITCOIN: Final = run("bitcoin-evm", "provider", old_copy=True)
_TO_BITCOIN: Final = run("lightning-bitcoin", "taker", old_copy=True)
_taker_agreed, _provider_agreed = taker_machine._agreed, provider_machine._agreed
_paid_before, _is_forgotten = taker_machine._paid_before, taker_machine._is_forgotten
_may_have_shown, _no_more_waiting = taker_machine._may_have_shown, provider_machine._no_more_waiting
_cannot_void, _without_funding = machine._cannot_void, provider_machine._without_funding
_from_old_copy, _must_be_back_by = outlook._from_old_copy, outlook.must_be_back_by
_FUND: Final = {LegEnd.SOURCE: Act(Verb.FUND, LegEnd.SOURCE), LegEnd.DESTINATION: Act(Verb.FUND, LegEnd.DESTINATION)}


def _complete(swap: Swap) -> Swap:
    """The swap as if its journal were complete."""
    return replace(swap, from_old_copy=False)


def _funds_by_journal(swap: Swap, observed: Observed, end: LegEnd) -> bool:
    return observed.is_out(_FUND[end])


def _order(swap: Swap, observed: Observed, act: Act) -> tuple[Order, ...]:
    return machine.order(_complete(swap), observed, act)


def _take_back(swap: Swap, observed: Observed, end: LegEnd) -> tuple[Order, ...]:
    """Also voids an output whose inputs the journal does not show."""
    view = observed.source if end is LegEnd.SOURCE else observed.destination
    orders = machine.take_back(swap, observed, end)
    is_open = view is not None and view.state is LegState.NONE and not swap.leg(end).lapses
    if is_open and not orders and observed.now > swap.terms.collect_by and _FUND[end] not in observed.acts:
        return machine.order(swap, observed, Act(Verb.VOID, end))
    return orders


@_TAKER.deciding("old copy: fund again (taker)", _CHAINS)
def _taker_funds(swap: Swap, state: State, seen: Observed, step: Step) -> Step:
    is_missing = isinstance(state, TakerFunding) and _FUND[LegEnd.SOURCE] not in seen.acts
    again = is_missing and swap.from_old_copy and shows(seen.source, LegState.NONE) and seen.now <= swap.terms.fund_by
    return Step(state, (Order(_FUND[LegEnd.SOURCE], Manner.NEW),)) if again else step


@_PROVIDER.deciding("old copy: fund again (provider)", _PAID_CHAINS)
def _provider_funds(swap: Swap, state: State, seen: Observed, step: Step) -> Step:
    is_missing = isinstance(state, ProviderCounterFunding) and _FUND[LegEnd.DESTINATION] not in seen.acts
    again = is_missing and swap.from_old_copy and shows(seen.destination, LegState.NONE)
    return Step(state, (Order(_FUND[LegEnd.DESTINATION], Manner.NEW),)) if again else step


@_TAKER.calling("old copy: agree as if nothing was done (taker)", _CHAINS, place=taker_machine, function="_agreed")
def _taker_agrees(swap: Swap, state: TakerAgreed, observed: Observed) -> Step:
    return _taker_agreed(_complete(swap), state, observed)


@_PROVIDER.calling(
    "old copy: agree as if nothing was done (provider)", _PAID_CHAINS, place=provider_machine, function="_agreed"
)
def _provider_agrees(swap: Swap, state: ProviderAgreed, observed: Observed) -> Step:
    return _provider_agreed(_complete(swap), state, observed)


@_TAKER.calling(
    "old copy: abandon a stranger's paid invoice",
    run("evm-lightning(foreign)", "provider", public=True, old_copy=True),
    place=taker_machine,
    function="_paid_before",
)
def _abandons_paid(swap: Swap, state: TakerState, observed: Observed) -> Step | None:
    return _paid_before(_complete(swap), state, observed)


@_TAKER.calling("old copy: give the source up", _CHAINS, place=taker_machine, function="_only_collects")
def _gives_up(swap: Swap, observed: Observed) -> bool:
    return False


@_TAKER.calling("old copy: an intended claim was not sent", _CHAINS, place=taker_machine, function="_may_have_shown")
def _shown_by_journal(swap: Swap, observed: Observed) -> bool:
    return _may_have_shown(_complete(swap), observed)


@_TAKER.calling(
    "old copy: a forgotten payment was not collected",
    _FROM_LIGHTNING,
    place=taker_machine,
    function="_is_forgotten",
)
def _forgets_unseen(swap: Swap, observed: Observed) -> bool:
    return _is_forgotten(_complete(swap), observed)


@_PROVIDER.calling(
    "old copy: wait forever (provider)",
    _TO_BITCOIN,
    place=provider_machine,
    function="_no_more_waiting",
)
def _always_waits(swap: Swap, observed: Observed) -> str | None:
    return None if swap.from_old_copy else _no_more_waiting(swap, observed)


@_PROVIDER.calling(
    "old copy: wait forever for a removed output",
    _TO_BITCOIN,
    place=provider_machine,
    function="_without_funding",
)
def _waits_for_removed(swap: Swap, state: ProviderState, observed: Observed) -> Step | None:
    return _without_funding(swap, state, observed) if isinstance(state, ProviderCounterFunding) else None


@_PROVIDER.calling(
    "old copy: a collected source proves nothing",
    _TO_BITCOIN,
    place=provider_machine,
    function="_without_funding",
)
def _proves_nothing(swap: Swap, state: ProviderState, observed: Observed) -> Step | None:
    is_collected = shows(observed.source, LegState.COLLECTED)
    return None if is_collected else _without_funding(swap, state, observed)


@_TAKER.calling(
    "old copy: end without a read of the destination",
    run("bitcoin-evm", "provider", finality=Finality.LATEST, funded_by_others=True, old_copy=True),
    place=taker_machine,
    function="_may_have_collected",
)
def _ends_unread(swap: Swap, observed: Observed) -> bool:
    return False


@_TAKER.calling("old copy: wait forever (taker)", _FROM_BITCOIN, place=machine, function="_cannot_void")
def _voids_any(swap: Swap, observed: Observed, end: LegEnd) -> bool:
    return _cannot_void(_complete(swap), observed, end)


@_TAKER.calling("old copy: show no time to collect by", _CHAINS, place=outlook, function="_from_old_copy")
def _shows_provider(state: State, terms: Terms, rules: TimelockSettings, **more: bool) -> Outlook:
    real = _from_old_copy(state, terms, rules, **more)
    waits = isinstance(state, TakerAgreed | TakerFunding | TakerFunded)
    return replace(real, deadline=terms.source.refundable_from) if waits else real


@_PROVIDER.calling("old copy: show no deadline while agreed", _PAID_CHAINS, place=outlook, function="must_be_back_by")
def _back_at_no_time(
    state: ProviderState, terms: Terms, rules: TimelockSettings, *, from_old_copy: bool = False
) -> int | None:
    return _must_be_back_by(state, terms, rules)


for _name, _scenario, _place, _function, _changed in (
    ("pay an intended payment", _TO_LIGHTNING, provider_machine, "order", _order),
    ("abandon what was not sent", _CHAINS, taker_machine, "is_funding_out", _funds_by_journal),
    ("release what was not sent", _PAID_CHAINS, provider_machine, "is_funding_out", _funds_by_journal),
    (
        "silence ends a missing payment (taker)",
        _FROM_LIGHTNING,
        machine,
        "is_funding_out",
        _funds_by_journal,
    ),
    (
        "silence ends a missing payment (provider)",
        _TO_LIGHTNING,
        machine,
        "is_funding_out",
        _funds_by_journal,
    ),
    ("void an unknown funding (taker)", _FROM_BITCOIN, taker_machine, "take_back", _take_back),
    ("void an unknown funding (provider)", _TO_BITCOIN, provider_machine, "take_back", _take_back),
):
    _TAKER.add(f"old copy: {_name}", _scenario, patches=((_place, _function, _changed),))

OLD_COPY: Final = (*_TAKER.all, *_PROVIDER.all)
