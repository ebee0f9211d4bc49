"""The provider's decisions: pay or release (once), collect the source after paying, and take back its own money.

From an old copy of the journal, the provider behaves as if it had paid.
"""

from __future__ import annotations

from dataclasses import replace
from typing import assert_never

from layer2.errors import Layer2Error
from layer2.legs.views import LegState, LegView, Release, Verb
from layer2.swap_rules.machine import (
    Act,
    LegEnd,
    Manner,
    Observed,
    Order,
    Step,
    Swap,
    funding_is_over,
    holds_money,
    is_funding_out,
    is_journaled,
    is_over,
    next_time,
    order,
    take_back,
    time_on,
)
from layer2.swap_rules.states import (
    ProviderAgreed,
    ProviderCollecting,
    ProviderCompleted,
    ProviderCounterFunded,
    ProviderCounterFunding,
    ProviderLost,
    ProviderRefunding,
    ProviderReleased,
    ProviderReleasing,
    ProviderState,
)
from layer2.swap_rules.timelocks import needed_on_source

__all__ = ["decline_provider", "provider_step"]

FUND = Act(Verb.FUND, LegEnd.DESTINATION)
COLLECT = Act(Verb.COLLECT, LegEnd.SOURCE)
RELEASE = Act(Verb.RELEASE, LegEnd.SOURCE)


def provider_step(swap: Swap, state: ProviderState, observed: Observed) -> Step:
    """Decide the provider's next step."""
    match state:
        case ProviderCompleted() | ProviderLost():
            return Step(state)
        case ProviderReleased():
            return _released(swap, state, observed)
        case ProviderAgreed():
            return _agreed(swap, state, observed)
        case ProviderCounterFunding():
            return _counter_funding(swap, state, observed)
        case ProviderCounterFunded():
            return _counter_funded(swap, state, observed)
        case ProviderRefunding():
            return _refunding(swap, state, observed)
        case ProviderReleasing():
            return _releasing(swap, state, observed)
        case ProviderCollecting():
            return _collecting(swap, state, observed)
        case _:
            assert_never(state)


def decline_provider(swap: Swap, state: ProviderState, observed: Observed, reason: str) -> Step:
    """The step if the ordered funding is impossible and no intent was journaled."""
    if isinstance(state, ProviderAgreed):
        return _release(swap, state, observed, reason)
    return Step(state)


def _agreed(swap: Swap, state: ProviderAgreed, observed: Observed) -> Step:
    source, destination, terms = observed.source, observed.destination, swap.terms
    if swap.from_old_copy or (destination is not None and destination.state is not LegState.NONE):
        # This node or key may have funded it already, which an old copy of the journal does not show. Never fund it
        # twice, and release only when that funding is over.
        return Step(ProviderCounterFunding(state.source_tx_id), event="may be funded already", settled=False)
    if source is None:
        return Step(state)
    if source.over or source.state in (LegState.RETURNED, LegState.COLLECTED):
        return _release(swap, state, observed, source.reason or "the taker did not fund")
    if observed.now > terms.counter_fund_by:
        return _release(swap, state, observed, "it is too late to fund the destination")
    seen = source.tx_id if holds_money(source) else None
    landed = terms.source.lands_by(terms.fund_by, swap.settings)
    if seen is None and source.state is LegState.NONE and observed.now > landed:
        return _release(swap, state, observed, "the taker did not fund in time")
    wake_at = next_time(observed.now, terms.counter_fund_by + 1, landed + 1)
    if source.state is LegState.FUNDED and destination is not None:
        return _pay_or_release(swap, replace(state, source_tx_id=seen), observed, source, destination)
    if seen != state.source_tx_id:
        event = "the funding is gone" if seen is None else "the funding is visible"
        return Step(ProviderAgreed(seen), wake_at=wake_at, event=event)
    return Step(state, wake_at=wake_at)


def _pay_or_release(
    swap: Swap, state: ProviderAgreed, observed: Observed, source: LegView, destination: LegView
) -> Step:
    if source.preimage is not None or destination.preimage is not None:
        return _release(swap, state, observed, "the preimage is already public")
    problem = _problem(swap, observed, source, destination)
    if problem is not None:
        return _release(swap, state, observed, problem)
    return Step(ProviderCounterFunding(state.source_tx_id), (Order(FUND, Manner.NEW),), event="counter-funding")


def _problem(swap: Swap, observed: Observed, source: LegView, destination: LegView) -> str | None:
    """Why the provider must not fund the destination now, or None if it may."""
    terms, rules = swap.terms, swap.settings
    last = terms.destination.last_funding(rules)
    if last is not None and time_on(observed, destination) > last:
        return "the invoice is about to expire"
    if terms.destination.is_past(destination.clock):
        return "the destination's deadline has passed"
    needed = needed_on_source(terms, observed.now, destination, rules)
    try:
        return terms.source.problem(source, needed, observed.now, rules)
    except Layer2Error as error:
        return error.message


def _counter_funding(swap: Swap, state: ProviderCounterFunding, observed: Observed) -> Step:
    destination, terms = observed.destination, swap.terms
    if destination is None:
        return Step(state)
    if destination.state is LegState.COLLECTED:
        return _collect(swap, state, observed)
    if funding_is_over(swap, observed, LegEnd.DESTINATION):
        return _release(swap, state, observed, destination.reason or "the destination was not funded")
    if destination.state is LegState.FUNDED:
        funded = ProviderCounterFunded(state.source_tx_id, destination.tx_id)
        return Step(funded, event="counter-funded", settled=False)
    if destination.state is LegState.RETURNED:
        return _refund(state, observed, ())
    if (ended := _without_funding(swap, state, observed)) is not None:
        return ended
    if orders := take_back(swap, observed, LegEnd.DESTINATION):
        return _refund(state, observed, orders)
    late = observed.now > terms.counter_fund_by or terms.destination.is_past(destination.clock)
    never_sent = destination.state is LegState.NONE and not is_funding_out(swap, observed, LegEnd.DESTINATION)
    if late and never_sent:
        return _release(swap, state, observed, "it is too late to fund the destination, and nothing was sent")
    wake_at = next_time(
        observed.now, terms.counter_fund_by + 1, terms.collect_by + 1, terms.destination.refundable_from
    )
    return Step(state, () if late else _fund_again(swap, observed), wake_at=wake_at)


def _without_funding(swap: Swap, state: ProviderState, observed: Observed) -> Step | None:
    """The step after which the provider no longer waits for a funding that its node does not show, or None.

    From an old copy, that can be an output that was visible: a reorganisation removed it, and the node dropped it.
    """
    destination, source = observed.destination, observed.source
    if destination is None or destination.state is not LegState.NONE:
        return None
    if not swap.from_old_copy and not isinstance(state, ProviderCounterFunding):
        # A node that has forgotten a visible payment needs a human.
        return None
    is_collected = source is not None and source.state is LegState.COLLECTED and source.final
    if is_collected and swap.from_old_copy and not _can_void(swap, observed):
        # The provider collects only for its own funding, which was collected then.
        txs = _source_tx(state, observed), _destination_tx(state, observed)
        return Step(ProviderCollecting(*txs, has_arrived=False), event="the source is collected", settled=False)
    reason = _no_more_waiting(swap, observed)
    return None if reason is None else _release(swap, state, observed, reason)


def _can_void(swap: Swap, observed: Observed) -> bool:
    return swap.terms.destination.is_repeatable and is_journaled(observed, LegEnd.DESTINATION)


def _no_more_waiting(swap: Swap, observed: Observed) -> str | None:
    """Why the provider no longer waits for a funding that its node does not show and that it cannot void, or None."""
    source, is_known = observed.source, is_journaled(observed, LegEnd.DESTINATION)
    if source is None or _can_void(swap, observed):
        return None
    if is_over(source) or swap.terms.source.is_past(source.clock):
        return "the source's deadline has passed, and the node shows no payment"
    if source.state is LegState.NONE and not swap.terms.source.payer_reclaims and not is_known:
        # An invoice that holds nothing was never paid, so nothing was paid for it.
        return "the invoice was not paid"
    return None


def _fund_again(swap: Swap, observed: Observed) -> tuple[Order, ...]:
    """The same funding again if the node lost it, under the conditions of the first time."""
    source, destination = observed.source, observed.destination
    if source is None or destination is None or FUND not in observed.acts:
        return ()
    if destination.state is not LegState.NONE or source.state is not LegState.FUNDED:
        return ()
    return () if _problem(swap, observed, source, destination) is not None else order(swap, observed, FUND)


def _counter_funded(swap: Swap, state: ProviderCounterFunded, observed: Observed) -> Step:
    destination = observed.destination
    if destination is None:
        return Step(state)
    if destination.state is LegState.COLLECTED:
        return _collect(swap, state, observed)
    orders = take_back(swap, observed, LegEnd.DESTINATION)
    if orders or destination.state is LegState.RETURNED or funding_is_over(swap, observed, LegEnd.DESTINATION):
        return _refund(state, observed, orders)
    if (ended := _without_funding(swap, state, observed)) is not None:
        return ended
    # A reorganisation may have removed the funding: the same one is submitted again while there is time.
    again = _fund_again(swap, observed) if observed.now <= swap.terms.collect_by else ()
    return Step(state, again, wake_at=next_time(observed.now, swap.terms.destination.refundable_from))


def _refund(
    state: ProviderCounterFunding | ProviderCounterFunded, observed: Observed, orders: tuple[Order, ...]
) -> Step:
    reason = "the taker did not collect before the deadline"
    if observed.destination is not None and observed.destination.reason:
        reason = observed.destination.reason
    refunding = ProviderRefunding(state.source_tx_id, _destination_tx(state, observed), reason)
    return Step(refunding, orders, event="refunding", settled=bool(orders))


def _refunding(swap: Swap, state: ProviderRefunding, observed: Observed) -> Step:
    destination = observed.destination
    if destination is None:
        return Step(state)
    if destination.state is LegState.COLLECTED:
        return _collect(swap, state, observed)
    if funding_is_over(swap, observed, LegEnd.DESTINATION):
        return _release(swap, state, observed, state.reason)
    if (ended := _without_funding(swap, state, observed)) is not None:
        return ended
    wake_at = next_time(observed.now, swap.terms.destination.refundable_from)
    return Step(state, take_back(swap, observed, LegEnd.DESTINATION), wake_at=wake_at)


def _release(swap: Swap, state: ProviderState, observed: Observed, reason: str) -> Step:
    """Decide to release. Only allowed if no funding was sent, or the funding is over."""
    releasing = ProviderReleasing(_source_tx(state, observed), _destination_tx(state, observed), reason)
    return Step(releasing, _release_orders(swap, observed), event="releasing", settled=False)


def _release_orders(swap: Swap, observed: Observed) -> tuple[Order, ...]:
    source, leg = observed.source, swap.terms.source
    if source is None or source.over or source.state is LegState.COLLECTED:
        return ()
    # A payment that was not made yet is refused from now on; a lock that was not made cannot be returned.
    early = source.state in (LegState.NONE, LegState.PENDING) and not leg.payer_reclaims
    # A wrong output stays wrong, and a signature returns it like any other.
    early = early or (source.state is LegState.PENDING and leg.release is Release.COSIGNED)
    return order(swap, observed, RELEASE) if early or source.state is LegState.FUNDED else ()


def _releasing(swap: Swap, state: ProviderReleasing, observed: Observed) -> Step:
    source, leg = observed.source, swap.terms.source
    if source is None:
        return Step(state)
    released = ProviderReleased(source.tx_id or state.source_tx_id, state.destination_tx_id, state.reason)
    signed = leg.release is Release.COSIGNED and observed.is_out(RELEASE)
    # The payer of a late lock can refund it alone, and the provider returns it as soon as it is visible.
    unfunded = source.state is LegState.NONE and leg.payer_reclaims
    collected = source.state is LegState.COLLECTED and source.final
    if source.over or signed or unfunded or collected:
        return Step(released, event="released")
    return Step(state, _release_orders(swap, observed))


def _released(swap: Swap, state: ProviderReleased, observed: Observed) -> Step:
    """Return a lock that was made after the end: otherwise its payer would have to wait for the deadline."""
    source = observed.source
    late = source is not None and source.state is LegState.FUNDED and swap.terms.source.release is Release.ALONE
    if not late or RELEASE in observed.acts:
        return Step(state)
    releasing = ProviderReleasing(_source_tx(state, observed), state.destination_tx_id, state.reason)
    return Step(releasing, _release_orders(swap, observed), event="a late funding is returned")


def _collect(swap: Swap, state: ProviderState, observed: Observed) -> Step:
    """Enter collecting together with the intent to collect, which stores the preimage: a reorganisation may remove the
    claim that revealed it, and a swap that collects takes nothing back."""
    source, destination = observed.source, observed.destination
    is_known_for_good = destination is not None and destination.final
    holds = source is not None and holds_money(source)
    ended = source is not None and (source.over or (source.state is LegState.COLLECTED and source.final))
    if not (holds or ended or is_known_for_good):
        return Step(state)
    collecting = ProviderCollecting(_source_tx(state, observed), _destination_tx(state, observed), has_arrived=False)
    orders = order(swap, observed, COLLECT) if holds else ()
    return Step(collecting, orders, event="the destination is collected", settled=bool(orders))


def _collecting(swap: Swap, state: ProviderCollecting, observed: Observed) -> Step:
    source = observed.source
    if observed.destination is not None:
        state = replace(state, destination_tx_id=observed.destination.tx_id or state.destination_tx_id)
    if source is None:
        return Step(state)
    state = replace(state, source_tx_id=source.tx_id or state.source_tx_id)
    if source.state is LegState.COLLECTED:
        if source.final:
            return Step(ProviderCompleted(state.source_tx_id, state.destination_tx_id), event="completed")
        event = "arrived" if source.arrived and not state.has_arrived else None
        return Step(replace(state, has_arrived=source.arrived), event=event)
    state = replace(state, has_arrived=False)
    if source.over:
        reason = source.reason or "the source was refunded to the taker before it was collected"
        return Step(ProviderLost(state.source_tx_id, state.destination_tx_id, reason), event="lost")
    # Collecting has no deadline: a claim is valid until the lock is refunded.
    return Step(state, order(swap, observed, COLLECT) if holds_money(source) else ())


def _source_tx(state: ProviderState, observed: Observed) -> str | None:
    return (observed.source.tx_id if observed.source is not None else None) or state.source_tx_id


def _destination_tx(state: ProviderState, observed: Observed) -> str | None:
    seen = observed.destination.tx_id if observed.destination is not None else None
    return seen or getattr(state, "destination_tx_id", None)
