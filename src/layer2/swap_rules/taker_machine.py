"""The taker's decisions: fund the source, collect the destination, and take the source back if the swap fails.

The payee of the destination makes the preimage and keeps it secret; normally that is the taker. If the destination is a
third party's invoice, the taker collects nothing, and its swap ends with the source.

Others may fund the source. The taker then only waits for their payment, and takes back what arrives too late or again,
also after the end of the swap.

From an old copy of the journal, the taker behaves as if its funding had been sent. A claim whose intent is in the copy
counts as sent, too. A claim that is missing may have been sent: the taker collects in time, as always, and not later.
"""

from __future__ import annotations

from dataclasses import replace
from typing import assert_never

from layer2.errors import Layer2Error
from layer2.legs.block_times import Span
from layer2.legs.views import ActStatus, LegState, LegView, Verb
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
    is_over,
    next_time,
    order,
    take_back,
    time_on,
)
from layer2.swap_rules.states import (
    TakerAbandoned,
    TakerAgreed,
    TakerCollecting,
    TakerCompleted,
    TakerFunded,
    TakerFunding,
    TakerLost,
    TakerPlanned,
    TakerRefunded,
    TakerRefunding,
    TakerState,
)
from layer2.swap_rules.timelocks import check_margins, source_surely_over

__all__ = ["decline_taker", "taker_step"]

FUND = Act(Verb.FUND, LegEnd.SOURCE)
COLLECT = Act(Verb.COLLECT, LegEnd.DESTINATION)
RELEASE = Act(Verb.RELEASE, LegEnd.DESTINATION)


def taker_step(swap: Swap, state: TakerState, observed: Observed) -> Step:
    """Decide the taker's next step."""
    match state:
        case TakerCompleted() | TakerAbandoned() | TakerRefunded() | TakerLost() if swap.funded_by_others:
            return _ended(swap, state, observed)
        case TakerPlanned() | TakerCompleted() | TakerAbandoned() | TakerRefunded() | TakerLost():
            return Step(state)
        case TakerCollecting():
            return _collecting(swap, state, observed)
        case _:
            pass
    if _preimage_is_out(swap, observed):
        return _paid_before(swap, state, observed) or _collect(state, observed)
    match state:
        case TakerAgreed():
            return _agreed(swap, state, observed)
        case TakerFunding():
            return _funding(swap, state, observed)
        case TakerFunded():
            return _funded(swap, state, observed)
        case TakerRefunding():
            return _refunding(swap, state, observed)
        case _:
            assert_never(state)


def decline_taker(state: TakerState, reason: str) -> Step:
    """The step if the ordered funding is impossible and no intent was journaled."""
    if isinstance(state, TakerAgreed):
        return Step(TakerAbandoned(reason), event="not funded")
    return Step(state)


def _ended(swap: Swap, state: TakerCompleted | TakerAbandoned | TakerRefunded | TakerLost, observed: Observed) -> Step:
    """Take back what others pay after the end. The preimage is not revealed for it."""
    source = observed.source
    if isinstance(state, TakerAbandoned) and source is not None and source.state is not LegState.NONE:
        reason = "the payment arrived after the time to fund"
        return Step(TakerRefunding(source.tx_id, reason), event="a late funding", settled=False)
    return Step(state, take_back(swap, observed, LegEnd.SOURCE))


def _agreed(swap: Swap, state: TakerAgreed, observed: Observed) -> Step:
    source = observed.source
    if swap.from_old_copy or (source is not None and source.state is not LegState.NONE):
        # This key may have funded it already, which an old copy of the journal does not show. Never fund it twice, and
        # never abandon it, no matter how late it is.
        return Step(TakerFunding(), event="may be funded already", settled=False)
    try:
        check_margins(swap.terms, observed.now, swap.settings)
    except Layer2Error as error:
        return Step(TakerAbandoned(error.message), event="not funded")
    if source is None or (observed.destination is None and swap.made_preimage):
        return Step(state, wake_at=swap.terms.fund_by + 1)
    if swap.funded_by_others:
        return Step(TakerFunding(), event="waiting for the payment")
    return Step(TakerFunding(), (Order(FUND, Manner.NEW),), event="funding")


def _funding(swap: Swap, state: TakerFunding, observed: Observed) -> Step:
    source, terms = observed.source, swap.terms
    only_collects, destination = _only_collects(swap, observed), observed.destination
    if only_collects and destination is not None and destination.state is LegState.FUNDED:
        return Step(TakerFunded(None if source is None else source.tx_id), event="funded", settled=False)
    if source is None:
        return Step(state)
    if source.state is LegState.FUNDED:
        return Step(TakerFunded(source.tx_id), event="funded", settled=False)
    if only_collects:
        return Step(state, wake_at=terms.collect_by + 1)
    if source.state is LegState.RETURNED:
        reason = source.reason or "the money was returned"
        return Step(TakerRefunding(source.tx_id, reason), event="returning", settled=False)
    if _may_have_collected(swap, observed):
        return Step(state, wake_at=next_time(observed.now, terms.fund_by + 1, terms.collect_by + 1))
    if funding_is_over(swap, observed, LegEnd.SOURCE) or _is_forgotten(swap, observed):
        failed = FUND in observed.acts and observed.acts[FUND].status is ActStatus.FAILED
        reason = "the funding failed permanently" if failed else "the funding was not made in time"
        return Step(TakerAbandoned(source.reason or reason), event="the funding is over")
    never_sent = source.state is LegState.NONE and not is_funding_out(swap, observed, LegEnd.SOURCE)
    if observed.now > terms.fund_by and never_sent:
        # Journaled and certainly never sent, and now it is too late.
        sent = "arrived" if swap.funded_by_others else "was sent"
        return Step(TakerAbandoned(f"the time to begin funding is over, and nothing {sent}"), event="not funded")
    orders = take_back(swap, observed, LegEnd.SOURCE)
    if orders or (swap.funded_by_others and observed.now > terms.collect_by):
        reason = source.reason or "the time to collect is over"
        return Step(TakerRefunding(source.tx_id, reason), orders, event="returning")
    times = (
        terms.fund_by + 1,
        terms.collect_by + 1,
        terms.source.refundable_from,
        source_surely_over(terms, swap.settings) + 1,
    )
    wake_at = next_time(observed.now, *times)
    again = source.state is LegState.NONE and observed.now <= terms.fund_by and FUND in observed.acts
    return Step(state, order(swap, observed, FUND) if again else (), wake_at=wake_at)


def _funded(swap: Swap, state: TakerFunded, observed: Observed) -> Step:
    source, destination, terms = observed.source, observed.destination, swap.terms
    only_collects = _only_collects(swap, observed)
    is_gone = source is not None and source.state is LegState.RETURNED
    is_gone = is_gone or funding_is_over(swap, observed, LegEnd.SOURCE)
    if source is not None and is_gone and not only_collects:
        reason = source.reason or "the provider returned it"
        return Step(TakerRefunding(state.source_tx_id, reason), event="returning", settled=False)
    if not only_collects and (orders := take_back(swap, observed, LegEnd.SOURCE)):
        reason = "the provider did not pay before the deadline"
        return Step(TakerRefunding(state.source_tx_id, reason), orders, event="refunding")
    times = next_time(observed.now, terms.collect_by + 1, terms.source.refundable_from)
    if not swap.made_preimage:
        return Step(state, wake_at=times)
    if observed.now > terms.collect_by:
        return _too_late(state, destination)
    if destination is None or destination.state is not LegState.FUNDED:
        return Step(state, wake_at=times)
    if not _in_time(swap, observed, destination):
        return _too_late(state, destination)
    if swap.funded_by_others and (source is None or source.has_more):
        return Step(state, wake_at=times) if source is None else _paid_again(state)
    problem = terms.destination.problem(destination, Span(), observed.now, swap.settings)
    if problem is not None:
        return Step(TakerRefunding(state.source_tx_id, problem), event="not collected")
    collecting = TakerCollecting(state.source_tx_id, destination.tx_id, has_arrived=False, final_at=None)
    return Step(collecting, order(swap, observed, COLLECT), event="collecting")


def _only_collects(swap: Swap, observed: Observed) -> bool:
    """From an old copy, until ``collect_by``: the preimage may have been shown, so the taker collects, also without
    its own funding, and gives the source up only if its refund is final. Neither costs it anything."""
    may_have_shown = swap.from_old_copy and swap.made_preimage and not swap.funded_by_others
    return may_have_shown and observed.now <= swap.terms.collect_by and not is_over(observed.source)


def _may_have_collected(swap: Swap, observed: Observed) -> bool:
    """From an old copy, if others fund: whether the claim of the destination may be missing in the journal, for a
    payment that a reorganisation removed. Only the destination shows that."""
    is_unpaid = observed.source is not None and observed.source.state is LegState.NONE
    return swap.from_old_copy and swap.funded_by_others and is_unpaid and observed.destination is None


def _paid_again(state: TakerFunded | TakerCollecting) -> Step:
    """Keep the preimage secret: with it, the provider could take every payment to the address."""
    reason = "more than one payment arrived, and the provider could take all of them"
    return Step(TakerRefunding(state.source_tx_id, reason), event="not collected", settled=False)


def _too_late(state: TakerFunded, destination: LegView | None) -> Step:
    if destination is None:
        reason = "the destination's node did not answer in time to collect safely"
    elif destination.state is LegState.FUNDED:
        reason = "the time to collect the destination safely is over"
    else:
        reason = "the provider did not fund the destination in time to collect safely"
    return Step(TakerRefunding(state.source_tx_id, reason), event="not collected")


def _collecting(swap: Swap, state: TakerCollecting, observed: Observed) -> Step:
    source, destination = observed.source, observed.destination
    if source is not None:
        state = replace(state, source_tx_id=source.tx_id or state.source_tx_id)
    if not swap.made_preimage:
        return _paid_for_stranger(swap, state, observed)
    if destination is None:
        return Step(state)
    state = replace(state, destination_tx_id=destination.tx_id or state.destination_tx_id)
    if destination.state is LegState.COLLECTED:
        if destination.final:
            return Step(TakerCompleted(state.source_tx_id, state.destination_tx_id), event="completed")
        return _arrived(state, destination)
    state = replace(state, has_arrived=False, final_at=None)
    if destination.over:
        return _not_collected(swap, state, observed)
    if not _may_have_shown(swap, observed):
        # The intent is journaled but was certainly never sent, so the preimage is secret: decide about it again.
        if not _in_time(swap, observed, destination):
            reason = "the time to collect the destination safely is over"
            return Step(TakerRefunding(state.source_tx_id, reason), event="not collected", settled=False)
        if swap.funded_by_others and source is not None and source.has_more:
            return _paid_again(state)
        if destination.state is not LegState.FUNDED or (swap.funded_by_others and source is None):
            return Step(state, wake_at=next_time(observed.now, swap.terms.collect_by + 1))
    # Once the preimage is revealed, collecting has no deadline.
    return Step(state, order(swap, observed, COLLECT) if holds_money(destination) else ())


def _arrived(state: TakerCollecting, view: LegView) -> Step:
    arrived = replace(state, has_arrived=view.arrived, final_at=view.final_at if view.arrived else None)
    return Step(arrived, event="arrived" if view.arrived and not state.has_arrived else None)


def _paid_before(swap: Swap, state: TakerState, observed: Observed) -> Step | None:
    """Abandon the swap if a third party's invoice is already paid: nothing is funded for it again."""
    source = observed.source
    if swap.made_preimage or swap.from_old_copy or not isinstance(state, TakerAgreed):
        return None
    if source is None or source.state is not LegState.NONE:
        return None
    return Step(TakerAbandoned("the preimage of the invoice is public: it was already paid"), event="not funded")


def _paid_for_stranger(swap: Swap, state: TakerCollecting, observed: Observed) -> Step:
    """A third party's invoice: the preimage is the receipt, and the end of the source is the end of the swap.

    A public preimage does not mean that this swap's provider knows it, or ever runs again. The taker takes back what
    the provider has not collected by the deadline.
    """
    source = observed.source
    if source is None:
        return Step(state)
    if source.state is LegState.COLLECTED:
        if source.final:
            return Step(TakerCompleted(state.source_tx_id, state.destination_tx_id), event="completed")
        return _arrived(state, source)
    if is_over(source):
        # The preimage shows that the payee was paid, and the provider did not collect: both legs are settled.
        return Step(TakerCompleted(state.source_tx_id, state.destination_tx_id), event="completed")
    never_sent = source.state is LegState.NONE and not is_funding_out(swap, observed, LegEnd.SOURCE)
    if never_sent or funding_is_over(swap, observed, LegEnd.SOURCE) or _is_forgotten(swap, observed):
        reason = "the preimage of the invoice is public, and no money of this transfer was locked for it"
        return Step(TakerAbandoned(reason), event="the funding is over")
    state = replace(state, has_arrived=False, final_at=None)
    return Step(state, take_back(swap, observed, LegEnd.SOURCE), wake_at=_reclaim_time(swap, observed))


def _not_collected(swap: Swap, state: TakerCollecting, observed: Observed) -> Step:
    """The refund of the destination is final although the preimage may be public: only the source remains."""
    source = observed.source
    if source is None:
        return Step(state)
    if source.state is LegState.COLLECTED and source.final:
        reason = "the provider collected the source, and refunded the destination before the claim"
        return Step(TakerLost(state.source_tx_id, state.destination_tx_id, reason), event="lost")
    if is_over(source):
        reason = "the destination was refunded before the claim, and so was the source"
        return Step(TakerRefunded(state.source_tx_id, reason), event="refunded")
    if funding_is_over(swap, observed, LegEnd.SOURCE):
        return Step(TakerAbandoned("no money was locked on either side"), event="the funding is over")
    return Step(state, take_back(swap, observed, LegEnd.SOURCE), wake_at=_reclaim_time(swap, observed))


def _may_have_shown(swap: Swap, observed: Observed) -> bool:
    """In *collecting*: whether the preimage may be known. An old copy of the journal never excludes it."""
    return swap.from_old_copy or observed.is_out(COLLECT) or _preimage_is_out(swap, observed)


def _in_time(swap: Swap, observed: Observed, destination: LegView) -> bool:
    """Whether a claim that begins now surely succeeds."""
    until = swap.terms.destination.collect_until(destination, observed.now, swap.settings)
    now = time_on(observed, destination)
    return now <= swap.terms.collect_by and (until is None or now <= until)


def _refunding(swap: Swap, state: TakerRefunding, observed: Observed) -> Step:
    source = observed.source
    if source is None:
        return Step(state)
    if is_over(source):
        return Step(TakerRefunded(source.tx_id or state.source_tx_id, state.reason), event="refunded")
    if _may_have_collected(swap, observed):
        return Step(state, wake_at=_reclaim_time(swap, observed))
    if funding_is_over(swap, observed, LegEnd.SOURCE) or _is_forgotten(swap, observed):
        # A reorganisation removed the funding, and it can never be included again.
        return Step(TakerAbandoned(state.reason), event="the funding is over")
    orders = take_back(swap, observed, LegEnd.SOURCE) + _refuse(swap, observed)
    return Step(state, orders, wake_at=_reclaim_time(swap, observed))


def _refuse(swap: Swap, observed: Observed) -> tuple[Order, ...]:
    """Return what the provider pays, where it cannot take that back itself. Then it can release the source at once."""
    destination = observed.destination
    if not swap.made_preimage or swap.terms.destination.payer_reclaims or destination is None or destination.over:
        return ()
    return () if destination.state in (LegState.COLLECTED, LegState.RETURNED) else order(swap, observed, RELEASE)


def _is_forgotten(swap: Swap, observed: Observed) -> bool:
    """Whether the node shows no funding, and a funding that it forgot or never received can no longer hold money: the
    preimage was never revealed, so no one can have collected it. From an old copy only the destination shows that."""
    source = observed.source
    if swap.from_old_copy and swap.made_preimage and observed.destination is None:
        return False
    unseen = source is not None and source.state is LegState.NONE and source.over
    return unseen and observed.now > source_surely_over(swap.terms, swap.settings)


def _reclaim_time(swap: Swap, observed: Observed) -> int | None:
    return next_time(observed.now, swap.terms.source.refundable_from)


def _collect(state: TakerState, observed: Observed) -> Step:
    """Enter collecting: some party has revealed the preimage."""
    source, destination = observed.source, observed.destination
    collecting = TakerCollecting(
        source_tx_id=(source.tx_id if source else None) or getattr(state, "source_tx_id", None),
        destination_tx_id=destination.tx_id if destination else None,
        has_arrived=False,
        final_at=None,
    )
    return Step(collecting, event="the preimage is public", settled=False)


def _preimage_is_out(swap: Swap, observed: Observed) -> bool:
    """Whether any party has revealed it. A node always knows the preimage of its own invoice, which does not count."""
    source, destination = observed.source, observed.destination
    if source is not None and (source.state is LegState.COLLECTED or source.preimage is not None):
        return True
    if not swap.made_preimage or destination is None:
        return False
    shown_by_chain = destination.preimage is not None and swap.terms.destination.payer_reclaims
    return destination.state is LegState.COLLECTED or shown_by_chain
