"""The taker's decisions: funds the source, collects the destination, takes the source back if nothing came of it."""

from __future__ import annotations

from dataclasses import replace
from typing import assert_never

from layer2.errors import Layer2Error
from layer2.swap_rules.legs import ActStatus, LegState, LegView, Verb
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
    TakerAbandoned,
    TakerAgreed,
    TakerCollecting,
    TakerCompleted,
    TakerCounterFunded,
    TakerFunded,
    TakerFunding,
    TakerPlanned,
    TakerRefunded,
    TakerRefunding,
    TakerState,
)
from layer2.swap_rules.timelocks import check_margins, earliest_seconds, last_reveal_time
from layer2.terms import EvmLeg

__all__ = ["decline_taker", "taker_step"]

FUND = Act(Verb.FUND, LegEnd.SOURCE)
RECLAIM = Act(Verb.RECLAIM, LegEnd.SOURCE)
COLLECT = Act(Verb.COLLECT, LegEnd.DESTINATION)
CLAIM_FOR_PROVIDER = Act(Verb.COLLECT, LegEnd.SOURCE)
LND_BROADCAST_BLOCKS = 16
"""lnd goes on chain so many blocks before an HTLC that it was paid with expires."""


def taker_step(swap: Swap, state: TakerState, observed: Observed) -> Step:
    """Decide the taker's next step."""
    match state:
        case TakerPlanned() | TakerCompleted() | TakerAbandoned() | TakerRefunded():
            return Step(state)
        case TakerAgreed():
            return _agreed(swap, state, observed)
        case TakerFunding():
            return _funding(swap, state, observed)
        case TakerFunded() | TakerCounterFunded():
            return _funded(swap, state, observed)
        case TakerCollecting():
            return _collecting(swap, state, observed)
        case TakerRefunding():
            return _refunding(swap, state, observed)
        case _:
            assert_never(state)


def decline_taker(state: TakerState, reason: str) -> Step:
    """The step where the ordered funding turned out to be impossible before anything was intended."""
    if isinstance(state, TakerAgreed):
        return Step(TakerAbandoned(reason), event="not funded")
    return Step(state)


def _agreed(swap: Swap, state: TakerAgreed, observed: Observed) -> Step:
    try:
        check_margins(swap.terms, observed.now, swap.settings)
    except Layer2Error as error:
        return Step(TakerAbandoned(error.message), event="not funded")
    if _preimage_is_out(swap, observed):
        return Step(TakerAbandoned("the preimage is public already"), event="not funded")
    source = observed.source
    if source is None or (observed.destination is None and swap.made_preimage):
        return Step(state, wake_at=swap.terms.fund_by + 1)
    if source.state is not LegState.NONE:
        # Funded by our own key before, as an old copy of the journal would not know: never a second time.
        return Step(TakerFunding(), event="found funded already", settled=False)
    return Step(TakerFunding(), (Order(FUND, Manner.NEW),), event="funding")


def _funding(swap: Swap, state: TakerFunding, observed: Observed) -> Step:
    if _preimage_is_out(swap, observed):
        return _collect(swap, state, observed)
    source, terms = observed.source, swap.terms
    if source is None:
        return Step(state)
    if isinstance(terms.source, EvmLeg):
        if source.state is LegState.FUNDED:
            return Step(TakerFunded(source.tx_id), event="funded", settled=False)
        if source.over and source.state is not LegState.RETURNED:
            return Step(TakerAbandoned("the lock was not made in time"), event="the funding is over")
        if source.state is LegState.RETURNED or _may_reclaim(swap, observed):
            return Step(
                TakerRefunding(source.tx_id, source.reason or "the deadline has passed"),
                event="returning",
                settled=False,
            )
        again = _fund_again(swap, source, observed)
        return Step(state, again, wake_at=next_time(observed.now, terms.fund_by + 1, terms.source.deadline))
    if source.over:
        return Step(TakerAbandoned(source.reason or "the payment failed"), event="the payment failed")
    if source.state in (LegState.PENDING, LegState.FUNDED):
        return Step(TakerFunded(source.tx_id), event="the payment is in flight", settled=False)
    return Step(state, _fund_again(swap, source, observed))


def _fund_again(swap: Swap, source: LegView, observed: Observed) -> tuple[Order, ...]:
    """The same funding once more where the node lost it, as long as it would not come too late."""
    if source.state is not LegState.NONE or FUND not in observed.acts or observed.now > swap.terms.fund_by:
        return ()
    return order(swap, observed, FUND)


def _funded(swap: Swap, state: TakerFunded | TakerCounterFunded, observed: Observed) -> Step:
    if _preimage_is_out(swap, observed):
        return _collect(swap, state, observed)
    source, destination, terms = observed.source, observed.destination, swap.terms
    if source is not None and (source.over or source.state is LegState.RETURNED):
        reason = source.reason or "the provider gave it back"
        return Step(TakerRefunding(state.source_tx_id, reason), event="returning", settled=False)
    if isinstance(terms.source, EvmLeg):
        if _may_reclaim(swap, observed):
            return Step(
                TakerRefunding(state.source_tx_id, "the provider did not pay before the deadline"),
                order(swap, observed, RECLAIM),
                event="refunding",
            )
        return Step(state, wake_at=next_time(observed.now, terms.counter_fund_by, terms.source.deadline))
    assert isinstance(terms.destination, EvmLeg)
    if not _in_time(swap, observed):
        reason = "the provider did not lock in time to collect safely"
        return Step(TakerRefunding(state.source_tx_id, reason), event="waiting for the payment to return")
    if destination is not None and destination.state is LegState.FUNDED:
        if isinstance(state, TakerFunded):
            return Step(
                TakerCounterFunded(state.source_tx_id, destination.tx_id),
                event="counter-funded",
                settled=False,
            )
        collecting = TakerCollecting(
            state.source_tx_id, destination.tx_id, since=observed.now, deadline=terms.destination.deadline
        )
        return Step(collecting, order(swap, observed, COLLECT), event="collecting")
    limit = _last_reveal(swap, terms.destination)
    return Step(state, wake_at=next_time(observed.now, terms.counter_fund_by, limit + 1))


def _collecting(swap: Swap, state: TakerCollecting, observed: Observed) -> Step:
    source, destination = observed.source, observed.destination
    if destination is not None:
        state = replace(state, destination_tx_id=destination.tx_id or state.destination_tx_id)
    if source is not None:
        state = replace(state, source_tx_id=source.tx_id or state.source_tx_id)
    if isinstance(swap.terms.destination, EvmLeg):
        return _claim(swap, state, observed)
    paid = not swap.made_preimage or (
        destination is not None and destination.state is LegState.COLLECTED and destination.final
    )
    if not paid or source is None:
        return Step(state)
    if source.final and source.state in (LegState.COLLECTED, LegState.RETURNED):
        # RETURNED: somebody refunded after the deadline what the provider did not claim. The taker has both.
        return Step(TakerCompleted(state.source_tx_id, state.destination_tx_id), event="completed")
    grace_ends = state.since + swap.settings.provider_grace
    if not holds_money(source):
        return Step(state)
    if observed.now < grace_ends:
        return Step(state, wake_at=grace_ends)
    return Step(state, order(swap, observed, CLAIM_FOR_PROVIDER))


def _claim(swap: Swap, state: TakerCollecting, observed: Observed) -> Step:
    source, destination = observed.source, observed.destination
    if destination is None:
        return Step(state)
    if destination.state is LegState.COLLECTED and destination.final:
        return Step(TakerCompleted(state.source_tx_id, state.destination_tx_id), event="completed")
    if destination.over and source is not None and source.over:
        reason = "the provider's lock was refunded before the claim, and the payment came back"
        return Step(TakerRefunded(state.source_tx_id, reason), event="refunded")
    if not holds_money(destination) or not (_may_have_shown(swap, observed) or _in_time(swap, observed)):
        return Step(state)
    # Once the preimage is out there is no deadline after which this stops.
    return Step(state, order(swap, observed, COLLECT))


def _may_have_shown(swap: Swap, observed: Observed) -> bool:
    """Whether others may know the preimage. Not so if a crash came between the intent and its sending, the own node
    does not know the claim, and nothing was collected anywhere: then showing it late would begin a race."""
    unsent = observed.acts.get(COLLECT) is ActStatus.UNSEEN and COLLECT not in observed.sent
    return not unsent or _preimage_is_out(swap, observed)


def _in_time(swap: Swap, observed: Observed) -> bool:
    """Whether a preimage that is shown now leads to a claim that is surely in a block before the deadline."""
    leg, destination = swap.terms.destination, observed.destination
    assert isinstance(leg, EvmLeg)
    now = observed.now if destination is None else time_on(observed, destination)
    return now <= _last_reveal(swap, leg)


def _last_reveal(swap: Swap, leg: EvmLeg) -> int:
    return min(swap.terms.collect_by, last_reveal_time(leg.deadline, swap.settings))


def _refunding(swap: Swap, state: TakerRefunding, observed: Observed) -> Step:
    if _preimage_is_out(swap, observed):
        return _collect(swap, state, observed)
    source = observed.source
    if source is None:
        return Step(state)
    if source.over or (source.state is LegState.RETURNED and source.final):
        return Step(TakerRefunded(source.tx_id or state.source_tx_id, state.reason), event="refunded")
    if isinstance(swap.terms.source, EvmLeg):
        orders = order(swap, observed, RECLAIM) if _may_reclaim(swap, observed) else ()
        return Step(state, orders, wake_at=next_time(observed.now, swap.terms.source.deadline))
    return Step(state)


def _collect(
    swap: Swap, state: TakerFunding | TakerFunded | TakerCounterFunded | TakerRefunding, observed: Observed
) -> Step:
    """Enter collecting: the preimage is out, whoever showed it."""
    source, destination = observed.source, observed.destination
    known_source = None if isinstance(state, TakerFunding) else state.source_tx_id
    collecting = TakerCollecting(
        source_tx_id=(source.tx_id if source else None) or known_source,
        destination_tx_id=destination.tx_id if destination else None,
        since=observed.now,
        deadline=_collecting_deadline(swap, observed),
    )
    return Step(collecting, event="the preimage is out", settled=False)


def _collecting_deadline(swap: Swap, observed: Observed) -> int | None:
    """EVM: the lock's deadline. Lightning: until when the own node must stay up, at the earliest."""
    if isinstance(swap.terms.destination, EvmLeg):
        return swap.terms.destination.deadline
    destination = observed.destination
    if destination is None or destination.expiry_height is None:
        return None
    blocks = destination.expiry_height - LND_BROADCAST_BLOCKS - destination.clock.height
    return observed.now + earliest_seconds(blocks, swap.settings)


def _preimage_is_out(swap: Swap, observed: Observed) -> bool:
    """Whether somebody has shown it. That an own node knows the preimage of its own invoice shows nothing."""
    if is_collected(observed.source):
        return True
    destination = observed.destination
    if isinstance(swap.terms.destination, EvmLeg):
        return is_collected(destination)
    return swap.made_preimage and destination is not None and destination.state is LegState.COLLECTED


def _may_reclaim(swap: Swap, observed: Observed) -> bool:
    """After the deadline by the chain's own clock, and only while the own invoice is not being paid."""
    source, destination, leg = observed.source, observed.destination, swap.terms.source
    if source is None or not isinstance(leg, EvmLeg):
        return False
    if not holds_money(source) or source.clock.chain_time < leg.deadline:
        return False
    if not swap.made_preimage:
        return True
    return destination is not None and destination.state not in (LegState.FUNDED, LegState.COLLECTED)
