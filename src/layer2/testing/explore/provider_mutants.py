"""Mutants of the provider's machine."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from layer2.legs.lightning import LightningLeg
from layer2.legs.timelock_settings import TimelockSettings
from layer2.legs.views import LegState, LegView, Release, Verb
from layer2.swap_rules import machine, outlook, provider_machine
from layer2.swap_rules.machine import Act, LegEnd, Manner, Observed, Order, Step, Swap
from layer2.swap_rules.states import (
    ProviderAgreed,
    ProviderCollecting,
    ProviderCounterFunded,
    ProviderCounterFunding,
    ProviderRefunding,
    ProviderReleased,
    ProviderReleasing,
    ProviderState,
    State,
)
from layer2.terms.documents import Terms
from layer2.testing.explore.mutation import (
    CHAINS_TAKER,
    DEAD,
    Mutants,
    final_collect,
    final_return,
    needs_other_node,
    once,
    run,
    shows,
)

__all__ = ["PROVIDER"]

PROVIDER: Final = Mutants("provider_step")
_DESTINATION: Final = LegEnd.DESTINATION
_FUND: Final = Act(Verb.FUND, _DESTINATION)
_COLLECTING: Final = ProviderCollecting(None, None, has_arrived=False)
_PAY: Final = Step(ProviderCounterFunding(None), (Order(_FUND, Manner.NEW),))
_COLLECT: Final = Step(_COLLECTING, (Order(Act(Verb.COLLECT, LegEnd.SOURCE), Manner.NEW),))
_counter_funding, _release_orders = provider_machine._counter_funding, provider_machine._release_orders
_must_be_back_by = outlook.must_be_back_by

PROVIDER.seeing("released at the newest block", CHAINS_TAKER)(final_return)
PROVIDER.seeing("provider completed at the newest block", CHAINS_TAKER)(final_collect)
PROVIDER.deciding("collect once and never again (provider)", CHAINS_TAKER)(once(Verb.COLLECT))
PROVIDER.deciding("reclaim once and never again", CHAINS_TAKER)(once(Verb.RECLAIM))
PROVIDER.deciding("no refund while the source's node is dead", DEAD)(needs_other_node)


@PROVIDER.seeing("fund on a pending source", CHAINS_TAKER)
def _pending_source(swap: Swap, state: State, seen: Observed) -> Observed:
    view = seen.source
    if not isinstance(state, ProviderAgreed) or view is None or view.state is not LegState.PENDING:
        return seen
    return replace(seen, source=replace(view, state=LegState.FUNDED))


@PROVIDER.seeing("an unreadable leg counts as refunded", CHAINS_TAKER)
def _silent_destination(swap: Swap, state: State, seen: Observed) -> Observed:
    is_paid = isinstance(state, ProviderCounterFunded | ProviderRefunding)
    if not is_paid or seen.destination is not None or seen.source is None:
        return seen
    return replace(seen, destination=LegView(LegState.RETURNED, seen.source.clock, final=True, over=True))


@PROVIDER.deciding("fund after counter_fund_by", run("evm-bitcoin", "taker"))
def _funds_late(swap: Swap, state: State, seen: Observed, step: Step) -> Step:
    is_released = isinstance(state, ProviderAgreed) and isinstance(step.state, ProviderReleasing)
    return _PAY if is_released and shows(seen.source, LegState.FUNDED) else step


@PROVIDER.deciding("fund while releasing", run("bitcoin-evm", "taker"), CHAINS_TAKER)
def _funds_in_releasing(swap: Swap, state: State, seen: Observed, step: Step) -> Step:
    is_unpaid = isinstance(state, ProviderReleasing) and _FUND not in seen.acts
    return _PAY if is_unpaid and shows(seen.source, LegState.FUNDED) else step


@PROVIDER.calling("fund on a wrong held payment", run("lightning-evm", "taker"), place=LightningLeg, function="problem")
def _no_problem(*anything: object) -> None:
    return None


@PROVIDER.deciding("release while its own funding may be collected", CHAINS_TAKER)
def _releases_funded(swap: Swap, state: State, seen: Observed, step: Step) -> Step:
    if isinstance(state, ProviderCounterFunding) and seen.now > swap.terms.counter_fund_by:
        return Step(ProviderReleasing(None, None, ""), _release_orders(swap, seen))
    return step


@PROVIDER.deciding("release while refunding", CHAINS_TAKER)
def _releases_in_refunding(swap: Swap, state: State, seen: Observed, step: Step) -> Step:
    if isinstance(state, ProviderRefunding) and isinstance(step.state, ProviderRefunding):
        return Step(ProviderReleasing(None, None, ""), _release_orders(swap, seen))
    return step


@PROVIDER.deciding("end as released with money locked", CHAINS_TAKER)
def _ends_as_released(swap: Swap, state: State, seen: Observed, step: Step) -> Step:
    return Step(ProviderReleased(None, None, "")) if isinstance(state, ProviderCounterFunded) else step


@PROVIDER.calling(
    "silence ends a payment (provider)",
    run("evm-lightning", "taker"),
    place=provider_machine,
    function="funding_is_over",
)
def _unseen_destination_is_over(swap: Swap, observed: Observed, end: LegEnd) -> bool:
    return shows(observed.destination, LegState.NONE) or machine.funding_is_over(swap, observed, end)


@PROVIDER.calling(
    "wait for the refund of the source",
    run("evm-lightning", "taker"),
    place=provider_machine,
    function="_counter_funding",
)
def _waits_for_source(swap: Swap, state: ProviderCounterFunding, observed: Observed) -> Step:
    """A payment that may have been sent is over only after the source's refund, and not at the source's deadline."""
    source = observed.source
    past = source is not None and swap.terms.source.is_past(source.clock) and not machine.is_over(source)
    step = _counter_funding(swap, state, observed)
    return Step(state) if past and isinstance(step.state, ProviderReleasing) else step


@PROVIDER.deciding("collect without its own payment", run("evm-evm", "taker", public=True))
def _collects_unpaid(swap: Swap, state: State, seen: Observed, step: Step) -> Step:
    known = any(view is not None and view.preimage for view in (seen.source, seen.destination))
    is_unpaid = isinstance(state, ProviderAgreed | ProviderReleasing)
    return _COLLECT if is_unpaid and known and shows(seen.source, LegState.FUNDED) else step


@PROVIDER.deciding("collect before its own funding is collected", run("evm-evm", "taker", public=True))
def _collects_uncollected(swap: Swap, state: State, seen: Observed, step: Step) -> Step:
    source = seen.source
    known = source is not None and source.preimage is not None and source.state is LegState.FUNDED
    return _COLLECT if isinstance(state, ProviderCounterFunded) and known else step


@PROVIDER.calling("enter collecting without the intent", CHAINS_TAKER, place=provider_machine, function="_collect")
def _collects_without_intent(swap: Swap, state: ProviderState, observed: Observed) -> Step:
    return Step(_COLLECTING, settled=False)


@PROVIDER.deciding("stop collecting after must_begin(S)", CHAINS_TAKER)
def _stops_at_begin(swap: Swap, state: State, seen: Observed, step: Step) -> Step:
    until = swap.terms.source.collect_until(None, swap.terms.issued_at, swap.settings)
    is_late = until is not None and seen.now > until
    return replace(step, orders=()) if isinstance(state, ProviderCollecting) and is_late else step


@PROVIDER.deciding("never take the destination back", CHAINS_TAKER)
def _never_reclaims(swap: Swap, state: State, seen: Observed, step: Step) -> Step:
    return replace(step, orders=tuple(one for one in step.orders if one.act.verb is not Verb.RECLAIM))


@PROVIDER.calling(
    "keep a wrong output", run("bitcoin-evm", "taker"), place=provider_machine, function="_release_orders"
)
def _signs_only_funded(swap: Swap, observed: Observed) -> tuple[Order, ...]:
    is_cosigned = swap.terms.source.release is Release.COSIGNED
    return () if is_cosigned and shows(observed.source, LegState.PENDING) else _release_orders(swap, observed)


@PROVIDER.deciding("take the destination back while collecting", CHAINS_TAKER)
def _takes_both(swap: Swap, state: State, seen: Observed, step: Step) -> Step:
    view = seen.destination
    past = view is not None and view.state is LegState.FUNDED and swap.leg(_DESTINATION).is_past(view.clock)
    if isinstance(state, ProviderCollecting) and past:
        return replace(step, orders=(*step.orders, *machine.order(swap, seen, Act(Verb.RECLAIM, _DESTINATION))))
    return step


@PROVIDER.calling("show S as the provider's deadline", CHAINS_TAKER, place=outlook, function="must_be_back_by")
def _back_at_source(
    state: ProviderState, terms: Terms, rules: TimelockSettings, *, from_old_copy: bool = False
) -> int | None:
    if isinstance(state, ProviderCollecting):
        return terms.source.refundable_from
    return _must_be_back_by(state, terms, rules, from_old_copy=from_old_copy)


@PROVIDER.calling("show no deadline while counter-funded", CHAINS_TAKER, place=outlook, function="must_be_back_by")
def _back_at_no_time(
    state: ProviderState, terms: Terms, rules: TimelockSettings, *, from_old_copy: bool = False
) -> int | None:
    if isinstance(state, ProviderCounterFunded):
        return None
    return _must_be_back_by(state, terms, rules, from_old_copy=from_old_copy)


@PROVIDER.calling(
    "show the latest known(D) where blocks count",
    run("bitcoin-lightning", "taker"),
    place=outlook,
    function="_begin_by",
)
def _latest_known(terms: Terms, rules: TimelockSettings) -> int:
    leg = terms.destination
    known = leg.known(terms.issued_at, leg.clock_at_issue(terms.issued_at), rules)
    return terms.issued_at + known.latest(rules.bitcoin)


@PROVIDER.calling("nothing needs attention", DEAD, place=outlook, function="attention")
def _no_attention(swap: Swap, state: State, observed: Observed) -> None:
    return None
