"""Mutants of the taker's machine."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from layer2.legs.lightning import LightningLeg
from layer2.legs.timelock_settings import TimelockSettings
from layer2.legs.views import LegState, Verb
from layer2.model.transactions import Finality
from layer2.swap_rules import machine, outlook, provider_machine, taker_machine
from layer2.swap_rules.machine import Act, LegEnd, Manner, Observed, Order, Step, Swap
from layer2.swap_rules.outlook import Outlook
from layer2.swap_rules.states import (
    State,
    TakerAbandoned,
    TakerAgreed,
    TakerCollecting,
    TakerCompleted,
    TakerFunded,
    TakerFunding,
    TakerRefunded,
    TakerRefunding,
)
from layer2.terms.documents import Terms
from layer2.testing.explore.mutation import (
    CHAINS,
    CHAINS_PROVIDER,
    DEAD,
    Mutants,
    final_collect,
    final_return,
    needs_other_node,
    once,
    run,
    shows,
)

__all__ = ["TAKER"]

TAKER: Final = Mutants("taker_step")
_FUND: Final = Act(Verb.FUND, LegEnd.SOURCE)
_REVEAL: Final = Step(
    TakerCollecting(None, None, has_arrived=False, final_at=None),
    (Order(Act(Verb.COLLECT, LegEnd.DESTINATION), Manner.NEW),),
)
_outlook, _paid_for_stranger = outlook.outlook, taker_machine._paid_for_stranger

TAKER.seeing("completed at the newest block", CHAINS)(final_collect)
TAKER.seeing("refunded at the newest block", CHAINS)(final_return)
TAKER.deciding("collect once and never again (taker)", CHAINS_PROVIDER, CHAINS)(once(Verb.COLLECT))
TAKER.deciding("no refund while the destination's node is dead", DEAD)(needs_other_node)


@TAKER.seeing("collect a destination that is pending", CHAINS_PROVIDER)
def _pending_destination(swap: Swap, state: State, seen: Observed) -> Observed:
    view = seen.destination
    if not isinstance(state, TakerFunded) or view is None or view.state is not LegState.PENDING:
        return seen
    return replace(seen, destination=replace(view, state=LegState.FUNDED))


@TAKER.deciding("reveal after collect_by", CHAINS_PROVIDER)
def _reveals_late(swap: Swap, state: State, seen: Observed, step: Step) -> Step:
    is_late = isinstance(state, TakerFunded) and isinstance(step.state, TakerRefunding)
    return _REVEAL if is_late and shows(seen.destination, LegState.FUNDED) else step


@TAKER.deciding("reveal while refunding", CHAINS_PROVIDER)
def _reveals_in_refunding(swap: Swap, state: State, seen: Observed, step: Step) -> Step:
    is_refunding = isinstance(state, TakerRefunding) and not isinstance(step.state, TakerCollecting)
    return _REVEAL if is_refunding and shows(seen.destination, LegState.FUNDED) else step


@TAKER.deciding("reveal before its own funding", CHAINS_PROVIDER)
def _reveals_unpaid(swap: Swap, state: State, seen: Observed, step: Step) -> Step:
    return _REVEAL if isinstance(state, TakerAgreed) and shows(seen.destination, LegState.FUNDED) else step


@TAKER.calling(
    "collect a payment in bad parts", run("evm-lightning", "provider"), place=LightningLeg, function="problem"
)
def _no_problem(*anything: object) -> None:
    return None


@TAKER.deciding("completed when arrived", run("evm-evm", finality=Finality.LATEST))
def _ends_when_arrived(swap: Swap, state: State, seen: Observed, step: Step) -> Step:
    is_collected = isinstance(state, TakerCollecting) and shows(seen.destination, LegState.COLLECTED)
    return Step(TakerCompleted(None, None)) if is_collected else step


@TAKER.deciding("stop collecting after collect_by", CHAINS_PROVIDER)
def _stops_late(swap: Swap, state: State, seen: Observed, step: Step) -> Step:
    is_late = seen.now > swap.terms.collect_by
    return replace(step, orders=()) if isinstance(state, TakerCollecting) and is_late else step


@TAKER.deciding("return the destination while collecting", run("evm-lightning", "provider"))
def _returns_in_collecting(swap: Swap, state: State, seen: Observed, step: Step) -> Step:
    may_be_held = isinstance(state, TakerCollecting) and shows(seen.destination, LegState.FUNDED)
    return Step(state, machine.order(swap, seen, taker_machine.RELEASE)) if may_be_held else step


@TAKER.deciding("abandon a funding that the node does not show", CHAINS)
def _abandons_silence(swap: Swap, state: State, seen: Observed, step: Step) -> Step:
    is_silent = shows(seen.source, LegState.NONE) and seen.now > swap.terms.fund_by
    return Step(TakerAbandoned("")) if isinstance(state, TakerFunding) and is_silent else step


@TAKER.calling("silence ends a payment (taker)", run("lightning-evm"), place=taker_machine, function="funding_is_over")
def _unseen_source_is_over(swap: Swap, observed: Observed, end: LegEnd) -> bool:
    return shows(observed.source, LegState.NONE) or machine.funding_is_over(swap, observed, end)


@TAKER.calling("a forgotten payment never ends", run("lightning-evm"), place=taker_machine, function="_is_forgotten")
def _never_forgotten(swap: Swap, observed: Observed) -> bool:
    return False


@TAKER.deciding("repeat a payment that may have been sent", run("lightning-evm"))
def _pays_again(swap: Swap, state: State, seen: Observed, step: Step) -> Step:
    is_silent = shows(seen.source, LegState.NONE) and seen.is_out(_FUND)
    if isinstance(state, TakerFunding) and is_silent and not step.orders:
        return Step(state, (Order(_FUND, Manner.AGAIN),))
    return step


@TAKER.calling("never take the source back", CHAINS_PROVIDER, place=taker_machine, function="take_back")
def _never_takes_back(swap: Swap, observed: Observed, end: LegEnd) -> tuple[Order, ...]:
    return ()


@TAKER.calling(
    "leave the source after a third party was paid",
    run("evm-lightning(foreign)", "provider"),
    place=taker_machine,
    function="_paid_for_stranger",
)
def _leaves_source(swap: Swap, state: TakerCollecting, observed: Observed) -> Step:
    return replace(_paid_for_stranger(swap, state, observed), orders=())


@TAKER.calling("show D as the taker's deadline", CHAINS_PROVIDER, CHAINS, place=outlook, function="outlook")
def _shows_destination(state: State, terms: Terms, rules: TimelockSettings, **more: bool) -> Outlook:
    real = _outlook(state, terms, rules, **more)
    if isinstance(state, TakerCollecting):
        return replace(real, deadline=terms.destination.refundable_from)
    return real


@TAKER.calling("show no deadline while funded", CHAINS, place=outlook, function="outlook")
def _shows_nothing(state: State, terms: Terms, rules: TimelockSettings, **more: bool) -> Outlook:
    real = _outlook(state, terms, rules, **more)
    return replace(real, deadline=None) if isinstance(state, TakerFunded) else real


# Mutants of a source that others fund.

_BY_OTHERS: Final = run("bitcoin-evm", funded_by_others=True)


@TAKER.deciding("leave a late payment of others", _BY_OTHERS)
def _leaves_late(swap: Swap, state: State, seen: Observed, step: Step) -> Step:
    return Step(state) if isinstance(state, TakerAbandoned) else step


@TAKER.deciding("leave what others pay again", _BY_OTHERS)
def _leaves_second(swap: Swap, state: State, seen: Observed, step: Step) -> Step:
    return Step(state) if isinstance(state, TakerCompleted | TakerRefunded) else step


@TAKER.calling("take back what others pay once", _BY_OTHERS, place=machine, function="_reclaim")
def _reclaims_once(swap: Swap, observed: Observed, end: LegEnd) -> tuple[Order, ...]:
    return machine.order(swap, observed, Act(Verb.RECLAIM, end))


@TAKER.seeing("reveal although others paid again", _BY_OTHERS)
def _sees_one_payment(swap: Swap, state: State, seen: Observed) -> Observed:
    if not isinstance(state, TakerFunded | TakerCollecting) or seen.source is None:
        return seen
    return replace(seen, source=replace(seen.source, has_more=False))


@TAKER.seeing("reveal without reading the source that others fund", _BY_OTHERS)
def _remembers_source(swap: Swap, state: State, seen: Observed) -> Observed:
    if not isinstance(state, TakerFunded) or seen.source is not None or seen.destination is None:
        return seen
    return replace(seen, source=replace(seen.destination, state=LegState.FUNDED, preimage=None))


@TAKER.calling(
    "wait forever for a payment of others that vanished", _BY_OTHERS, place=taker_machine, function="funding_is_over"
)
def _never_over(swap: Swap, observed: Observed, end: LegEnd) -> bool:
    is_missing = shows(observed.source, LegState.NONE) and end is LegEnd.SOURCE
    return not is_missing and machine.funding_is_over(swap, observed, end)


@TAKER.deciding("wait for the payment of others forever", _BY_OTHERS)
def _always_waits(swap: Swap, state: State, seen: Observed, step: Step) -> Step:
    return Step(state) if isinstance(state, TakerFunding) and isinstance(step.state, TakerAbandoned) else step


# Mutants of both machines.


def _without_void(swap: Swap, observed: Observed, end: LegEnd) -> tuple[Order, ...]:
    return tuple(one for one in machine.take_back(swap, observed, end) if one.act.verb is not Verb.VOID)


def _voids_at_deadline(swap: Swap, observed: Observed, end: LegEnd) -> tuple[Order, ...]:
    view = observed.source if end is LegEnd.SOURCE else observed.destination
    is_early = view is not None and not swap.leg(end).is_past(view.clock)
    return (_without_void if is_early else machine.take_back)(swap, observed, end)


for _name, _run, _changed in (
    ("never void its own output", run("bitcoin-evm"), _without_void),
    ("void at the deadline", run("evm-bitcoin", "taker"), _voids_at_deadline),
):
    TAKER.add(_name, _run, patches=((taker_machine, "take_back", _changed), (provider_machine, "take_back", _changed)))
