"""The provider's decisions: pay xor release, collect with the preimage that the payment shows, refund its own lock."""

from __future__ import annotations

from dataclasses import replace
from typing import assert_never

from layer2.errors import Layer2Error
from layer2.formats import bolt11
from layer2.swap_rules.legs import LegState, LegView, Verb
from layer2.swap_rules.machine import (
    Act,
    LegEnd,
    Manner,
    Observed,
    Order,
    Step,
    Swap,
    holds_money,
    is_collected,
    next_time,
    order,
    time_on,
)
from layer2.swap_rules.states import (
    ProviderAgreed,
    ProviderCollecting,
    ProviderCompleted,
    ProviderCounterFunded,
    ProviderCounterFunding,
    ProviderHeld,
    ProviderLocked,
    ProviderRefunding,
    ProviderReleased,
    ProviderReleasing,
    ProviderState,
)
from layer2.swap_rules.timelocks import last_payment_time, min_blocks_left_for, source_evm_deadline
from layer2.terms import EvmLeg, LightningLeg

__all__ = ["decline_provider", "provider_step"]

FUND = Act(Verb.FUND, LegEnd.DESTINATION)
RECLAIM = Act(Verb.RECLAIM, LegEnd.DESTINATION)
COLLECT = Act(Verb.COLLECT, LegEnd.SOURCE)
RELEASE = Act(Verb.RELEASE, LegEnd.SOURCE)


def provider_step(swap: Swap, state: ProviderState, observed: Observed) -> Step:
    """Decide the provider's next step."""
    if not state.is_final and not isinstance(state, ProviderCollecting) and _preimage_is_out(swap, observed):
        collecting = ProviderCollecting(_source_tx(state, observed), _destination_tx(state, observed))
        return Step(collecting, event="the preimage is out", settled=False)
    match state:
        case ProviderCompleted() | ProviderReleased():
            return Step(state)
        case ProviderAgreed():
            return _agreed(swap, state, observed)
        case ProviderHeld() | ProviderLocked():
            return _funded(swap, state, observed)
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
    """The step where the ordered funding turned out to be impossible before anything was intended."""
    if isinstance(state, ProviderHeld | ProviderLocked):
        return _release(swap, state, observed, reason)
    return Step(state)


def _agreed(swap: Swap, state: ProviderAgreed, observed: Observed) -> Step:
    source, last = observed.source, swap.terms.counter_fund_by
    if source is None:
        return Step(state)
    if source.over or source.state is LegState.RETURNED:
        return _release(swap, state, observed, source.reason or "the taker did not fund")
    if source.state is LegState.FUNDED:
        if isinstance(swap.terms.source, LightningLeg):
            return Step(ProviderHeld(source.tx_id), event="held", settled=False)
        return Step(ProviderLocked(source.tx_id), event="locked", settled=False)
    if observed.now > last:
        return _release(swap, state, observed, "the taker did not fund in time")
    wake_at = next_time(observed.now, last + 1)
    seen = source.tx_id if isinstance(swap.terms.source, EvmLeg) and source.state is LegState.PENDING else None
    if seen != state.source_tx_id:
        event = "the lock is gone" if seen is None else "the lock is seen"
        return Step(ProviderAgreed(seen), wake_at=wake_at, event=event)
    return Step(state, wake_at=wake_at)


def _funded(swap: Swap, state: ProviderHeld | ProviderLocked, observed: Observed) -> Step:
    source, destination, last = observed.source, observed.destination, swap.terms.counter_fund_by
    if source is not None and (source.over or source.state is LegState.RETURNED):
        return _release(swap, state, observed, source.reason or "the taker's money went back")
    if observed.now > last:
        return _release(swap, state, observed, "it is too late to pay")
    if source is None or destination is None or source.state is not LegState.FUNDED:
        return Step(state, wake_at=next_time(observed.now, last + 1))
    if destination.state is not LegState.NONE:
        # Funded by our own node or key before, as an old copy of the journal would not know: never a second time.
        return Step(ProviderCounterFunding(state.source_tx_id), event="found funded already", settled=False)
    problem = _problem(swap, observed, source, destination)
    if problem is not None:
        return _release(swap, state, observed, problem)
    return Step(ProviderCounterFunding(state.source_tx_id), (Order(FUND, Manner.NEW),), event="counter-funding")


def _problem(swap: Swap, observed: Observed, source: LegView, destination: LegView) -> str | None:
    """Why the provider must not fund the destination now, or None."""
    terms, settings = swap.terms, swap.settings
    match terms.source, terms.destination:
        case EvmLeg() as lock, LightningLeg() as payment:
            try:
                invoice = bolt11.decode(payment.invoice)
            except Layer2Error as error:
                return error.message
            # An invoice's life is wall time; the rollup's clock, which may run ahead, says nothing of it.
            if time_on(observed, destination) > last_payment_time(invoice.expires_at, settings):
                return "the invoice is about to expire"
            if lock.deadline < source_evm_deadline(
                invoice.expires_at, settings.payment_timeout, payment.cltv_limit, settings
            ):
                return "the lock's deadline is too early for the slowest payment"
            return None
        case LightningLeg(), EvmLeg() as lock:
            if source.expiry_height is None or source.parts is None or source.smallest_part_msat is None:
                return "the node does not say how the payment is held"
            if source.parts > settings.max_parts:
                return f"the payment has {source.parts} parts; at most {settings.max_parts} are taken"
            if source.smallest_part_msat < settings.smallest_part_msat:
                return "a part of the payment is not worth its own claim on chain"
            left = source.expiry_height - source.clock.height
            if left < min_blocks_left_for(lock.deadline, observed.now, settings):
                return f"the held payment has only {left} blocks left"
            if destination.clock.chain_time >= lock.deadline:
                return "the deadline has passed"
            return None
        case _:
            return "this pair of layers has no rule here"


def _counter_funding(swap: Swap, state: ProviderCounterFunding, observed: Observed) -> Step:
    destination, leg = observed.destination, swap.terms.destination
    if destination is None:
        return Step(state)
    if destination.over:
        return _release(swap, state, observed, destination.reason or "the destination was not funded")
    if not isinstance(leg, EvmLeg):
        # Sent once. In flight, unknown and unheard of are all the same: wait for the node's word.
        return Step(state, _fund_again(swap, observed))
    if destination.state is LegState.FUNDED:
        funded = ProviderCounterFunded(state.source_tx_id, destination.tx_id)
        return Step(funded, event="counter-funded", settled=False)
    if _may_reclaim(swap, destination) or destination.state is LegState.RETURNED:
        return _refund(swap, state, observed)
    again = _fund_again(swap, observed)
    return Step(state, again, wake_at=next_time(observed.now, leg.deadline))


def _fund_again(swap: Swap, observed: Observed) -> tuple[Order, ...]:
    """The same funding once more where the node lost it, under the conditions of the first time."""
    source, destination = observed.source, observed.destination
    if source is None or destination is None or FUND not in observed.acts:
        return ()
    if destination.state is not LegState.NONE or source.state is not LegState.FUNDED:
        return ()
    if observed.now > swap.terms.counter_fund_by or _problem(swap, observed, source, destination) is not None:
        return ()
    return order(swap, observed, FUND)


def _counter_funded(swap: Swap, state: ProviderCounterFunded, observed: Observed) -> Step:
    destination, leg = observed.destination, swap.terms.destination
    assert isinstance(leg, EvmLeg)
    if destination is None:
        return Step(state)
    if destination.over or destination.state is LegState.RETURNED or _may_reclaim(swap, destination):
        return _refund(swap, state, observed)
    return Step(state, wake_at=next_time(observed.now, leg.deadline))


def _refund(swap: Swap, state: ProviderCounterFunding | ProviderCounterFunded, observed: Observed) -> Step:
    assert observed.destination is not None
    orders = order(swap, observed, RECLAIM) if _may_reclaim(swap, observed.destination) else ()
    return Step(
        ProviderRefunding(
            state.source_tx_id,
            _destination_tx(state, observed),
            "the taker did not collect before the deadline",
        ),
        orders,
        event="refunding",
    )


def _refunding(swap: Swap, state: ProviderRefunding, observed: Observed) -> Step:
    destination = observed.destination
    if destination is None:
        return Step(state)
    if destination.over:
        return _release(swap, state, observed, state.reason)
    orders = order(swap, observed, RECLAIM) if _may_reclaim(swap, destination) else ()
    return Step(state, orders)


def _release(swap: Swap, state: ProviderState, observed: Observed, reason: str) -> Step:
    """Choose release. Only called where no funding was intended, or where the funding is over."""
    releasing = ProviderReleasing(_source_tx(state, observed), _destination_tx(state, observed), reason)
    return Step(releasing, _release_orders(swap, observed), event="releasing", settled=False)


def _release_orders(swap: Swap, observed: Observed) -> tuple[Order, ...]:
    source = observed.source
    if source is None or source.over:
        return ()
    if isinstance(swap.terms.source, LightningLeg):
        wanted = source.state in (LegState.NONE, LegState.PENDING, LegState.FUNDED)
    else:
        wanted = source.state is LegState.FUNDED
    return order(swap, observed, RELEASE) if wanted else ()


def _releasing(swap: Swap, state: ProviderReleasing, observed: Observed) -> Step:
    source = observed.source
    if source is None:
        return Step(state)
    if source.over:
        released = ProviderReleased(source.tx_id or state.source_tx_id, state.destination_tx_id, state.reason)
        return Step(released, event="released")
    wake_at = next_time(observed.now, swap.terms.source.deadline) if isinstance(swap.terms.source, EvmLeg) else None
    return Step(state, _release_orders(swap, observed), wake_at=wake_at)


def _collecting(swap: Swap, state: ProviderCollecting, observed: Observed) -> Step:
    source = observed.source
    if observed.destination is not None:
        state = replace(state, destination_tx_id=observed.destination.tx_id or state.destination_tx_id)
    if source is None:
        return Step(state)
    state = replace(state, source_tx_id=source.tx_id or state.source_tx_id)
    if source.state is LegState.COLLECTED and source.final:
        return Step(ProviderCompleted(state.source_tx_id, state.destination_tx_id), event="completed")
    # There is no deadline after which this stops: a claim is valid until somebody refunds.
    return Step(state, order(swap, observed, COLLECT) if holds_money(source) else ())


def _preimage_is_out(swap: Swap, observed: Observed) -> bool:
    """Whether the preimage may be used: it is, unless our own lock went back and nobody claimed it."""
    if is_collected(observed.source):
        return True
    destination = observed.destination
    if isinstance(swap.terms.destination, EvmLeg):
        return destination is not None and destination.state is LegState.COLLECTED
    return is_collected(destination)


def _may_reclaim(swap: Swap, destination: LegView) -> bool:
    leg = swap.terms.destination
    return isinstance(leg, EvmLeg) and holds_money(destination) and destination.clock.chain_time >= leg.deadline


def _source_tx(state: ProviderState, observed: Observed) -> str | None:
    seen = observed.source.tx_id if observed.source is not None else None
    return seen or getattr(state, "source_tx_id", None)


def _destination_tx(state: ProviderState, observed: Observed) -> str | None:
    seen = observed.destination.tx_id if observed.destination is not None else None
    return seen or getattr(state, "destination_tx_id", None)
