"""The meaning of a state for its party: where the money is, the next actor, the deadline, and what needs attention.

Every deadline is the latest moment at which the guarantees hold, and not the moment at which money can move.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, assert_never

from layer2.legs.leg import Leg
from layer2.legs.timelock_settings import TimelockSettings
from layer2.legs.views import ActStatus, LegState, Verb
from layer2.model.transactions import Finality
from layer2.swap_rules.machine import Act, LegEnd, Observed, Swap
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
    State,
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
from layer2.swap_rules.timelocks import source_surely_over
from layer2.terms.documents import Terms
from layer2.terms.transfers import Actor

__all__ = ["Outlook", "attention", "must_be_back_by", "outlook"]

_BEING_SENT: Final = "are being sent"


@dataclass(frozen=True, slots=True)
class Outlook:
    """The meaning of a state for its party."""

    next_actor: Actor
    """``YOU`` is the party itself; ``PROVIDER`` is the other party in either role."""
    deadline: int | None
    """Unix seconds by which the next actor must act, or until which the party waits; None in a final state."""
    refundable_from: int | None
    """Unix seconds from which the party can take its money back alone, or None."""
    funds: str
    """Where the money is, as a sentence."""


def outlook(
    state: State,
    terms: Terms | None,
    rules: TimelockSettings,
    planned_until: int = 0,
    *,
    is_foreign: bool = False,
    funded_by_others: bool = False,
    from_old_copy: bool = False,
) -> Outlook:
    """The meaning of a state.

    Args:
        terms: None only in the state *planned*, or if the swap was abandoned in that state.
        planned_until: unix seconds at which a plan without terms ends.
        is_foreign: taker: whether the swap pays a third party.
        funded_by_others: taker: whether others pay the source.
        from_old_copy: as ``Swap.from_old_copy``.
    """
    if from_old_copy and terms is not None and not state.is_final:
        return _from_old_copy(state, terms, rules, is_foreign=is_foreign, funded_by_others=funded_by_others)
    if isinstance(state, TakerPlanned):
        return Outlook(Actor.YOU, planned_until, None, "nothing has left your account")
    if isinstance(state, TakerAbandoned):
        if terms is not None and funded_by_others:
            funds = "nothing arrived in time; what still arrives is refunded to you"
            return Outlook(Actor.NOBODY, None, _refunded_by(terms, rules), funds)
        return Outlook(Actor.NOBODY, None, None, "nothing has left your account")
    assert terms is not None
    if funded_by_others and isinstance(state, TakerAgreed | TakerFunding):
        funds = f"{_amount(terms.source_amount, terms.source)} are to be paid to the transfer's address"
        return Outlook(Actor.YOU, terms.fund_by, _refunded_by(terms, rules), funds)
    if is_foreign and isinstance(state, TakerCollecting | TakerCompleted):
        return _paid_to_stranger(state, terms, rules)
    if isinstance(state, TakerState):
        return _taker(state, terms, rules)
    return _provider(state, terms, rules)


def _from_old_copy(
    state: State, terms: Terms, rules: TimelockSettings, *, is_foreign: bool, funded_by_others: bool
) -> Outlook:
    """The meaning of a state whose later acts the journal may have lost, with the deadlines of those acts."""
    may_be_paid = state
    if isinstance(state, TakerAgreed):
        may_be_paid = TakerFunding()
    elif isinstance(state, ProviderAgreed):
        may_be_paid = ProviderCounterFunding(None)
    seen = outlook(may_be_paid, terms, rules, is_foreign=is_foreign, funded_by_others=funded_by_others)
    paying = isinstance(may_be_paid, TakerFunding | ProviderCounterFunding) and not funded_by_others
    funds = seen.funds.replace(_BEING_SENT, "may have been sent") if paying else seen.funds
    funds = f"{funds}; an old copy of the journal was restored, so nothing more is funded"
    if isinstance(may_be_paid, TakerFunding | TakerFunded):
        # It may have begun to collect.
        return Outlook(Actor.YOU, terms.collect_by, seen.refundable_from, funds)
    return Outlook(seen.next_actor, seen.deadline, seen.refundable_from, funds)


def _taker(state: TakerState, terms: Terms, rules: TimelockSettings) -> Outlook:
    paid = _amount(terms.source_amount, terms.source)
    received = _amount(terms.amount, terms.destination)
    back = terms.source.refundable_from
    match state:
        case TakerPlanned() | TakerAbandoned() | TakerAgreed():
            return Outlook(Actor.YOU, terms.fund_by, None, "nothing has left your account")
        case TakerFunding():
            funds = f"{paid} {_BEING_SENT}"
            # A payment that may have been sent but is unknown to the node counts as locked until it surely returned.
            until = terms.collect_by if terms.source.payer_reclaims else source_surely_over(terms, rules)
            return Outlook(Actor.YOU, until, back, funds)
        case TakerFunded():
            return Outlook(Actor.PROVIDER, terms.collect_by, back, f"{paid} are {terms.source.holds}")
        case TakerCollecting(has_arrived=True):
            # After a reorganisation of what has arrived, the taker collects again.
            until = state.final_at or terms.collect_by
            return Outlook(Actor.YOU, until, None, f"{received} have arrived; keep running until that is final")
        case TakerCollecting():
            funds = f"{received} are being collected; keep running until that is final"
            return Outlook(Actor.YOU, terms.collect_by, None, funds)
        case TakerCompleted():
            return Outlook(Actor.NOBODY, None, None, f"{received} are yours")
        case TakerRefunding():
            until = _refunded_by(terms, rules)
            if terms.source.payer_reclaims:
                return Outlook(Actor.YOU, until, until, f"{paid} are {terms.source.holds}, and are to be taken back")
            funds = f"{paid} are {terms.source.holds}, and return to you automatically"
            return Outlook(Actor.PROVIDER, until, None, funds)
        case TakerRefunded():
            return Outlook(Actor.NOBODY, None, None, f"{paid} are back with you")
        case TakerLost():
            return Outlook(
                Actor.NOBODY, None, None, f"{paid} are lost: the provider has them, and you received nothing"
            )
        case _:
            assert_never(state)


def _paid_to_stranger(state: TakerCollecting | TakerCompleted, terms: Terms, rules: TimelockSettings) -> Outlook:
    """Nothing arrives at the taker. It takes back what the provider does not collect."""
    received = f"{_amount(terms.amount, terms.destination)} were paid to the recipient"
    if isinstance(state, TakerCompleted):
        return Outlook(Actor.NOBODY, None, None, received)
    until = _refunded_by(terms, rules)
    if state.has_arrived:
        return Outlook(Actor.PROVIDER, state.final_at or until, None, f"{received}; keep running until that is final")
    paid = _amount(terms.source_amount, terms.source)
    funds = f"{received}; {paid} are {terms.source.holds} for the provider"
    return Outlook(Actor.PROVIDER, until, terms.source.refundable_from, funds)


def _refunded_by(terms: Terms, rules: TimelockSettings) -> int:
    """When the taker can refund the source, or, if that time is not known or the refund is automatic, surely has it."""
    back = terms.source.refundable_from
    return source_surely_over(terms, rules) if back is None else back


def _provider(state: ProviderState, terms: Terms, rules: TimelockSettings) -> Outlook:
    owed = _amount(terms.source_amount, terms.source)
    paid = _amount(terms.amount, terms.destination)
    back = terms.destination.refundable_from
    until = must_be_back_by(state, terms, rules)
    match state:
        case ProviderAgreed():
            return Outlook(Actor.PROVIDER, terms.fund_by, None, "nothing was paid on either side")
        case ProviderCounterFunding():
            return Outlook(Actor.YOU, until, back, f"{paid} {_BEING_SENT}")
        case ProviderCounterFunded():
            return Outlook(Actor.PROVIDER, until, back, f"{paid} are {terms.destination.holds}")
        case ProviderCollecting(has_arrived=True):
            return Outlook(Actor.YOU, until, None, f"{owed} have arrived; keep running until that is final")
        case ProviderCollecting():
            return Outlook(Actor.YOU, until, None, f"{owed} are being collected; keep running until that is final")
        case ProviderCompleted():
            return Outlook(Actor.NOBODY, None, None, f"{owed} are yours")
        case ProviderRefunding():
            return Outlook(Actor.YOU, until, back, f"{paid} are being refunded to you")
        case ProviderReleasing():
            funds = f"none of your money is locked; {owed} return to the taker"
            return Outlook(Actor.YOU, source_surely_over(terms, rules), None, funds)
        case ProviderReleased():
            return Outlook(Actor.NOBODY, None, None, "no money of either side is locked")
        case ProviderLost():
            return Outlook(
                Actor.NOBODY, None, None, f"{paid} are lost: you paid them, and {owed} returned to the taker"
            )
        case _:
            assert_never(state)


def must_be_back_by(
    state: ProviderState, terms: Terms, rules: TimelockSettings, *, from_old_copy: bool = False
) -> int | None:
    """Unix seconds by which a stopped provider must run again to lose no money; None if no money is at stake.

    Args:
        from_old_copy: as ``Swap.from_old_copy``. A provider that had only agreed may have paid.
    """
    if from_old_copy and isinstance(state, ProviderAgreed):
        state = ProviderCounterFunding(state.source_tx_id)
    match state:
        case ProviderCounterFunding() | ProviderCounterFunded() | ProviderRefunding():
            leg = terms.destination
            is_there = isinstance(state, ProviderCounterFunded) and leg.finality is Finality.FINALIZED
            if not leg.lapses and not is_there:
                # A funding that is missing at that time, or was reorganised away, is voided.
                return terms.collect_by
            # The source lasts longer than this, by the time that a refund or a late claim takes.
            deadline = leg.refundable_from
            return _begin_by(terms, rules) if deadline is None else deadline
        case ProviderCollecting():
            return _begin_by(terms, rules)
        case _:
            return None


def _begin_by(terms: Terms, rules: TimelockSettings) -> int:
    """The last moment at which the payee of the source can begin to collect, as guaranteed by the terms."""
    until = terms.source.collect_until(None, terms.issued_at, rules)
    return terms.collect_by if until is None else until


def attention(swap: Swap, state: State, observed: Observed) -> str | None:
    """What needs attention, or None: a node that is unreachable while money is at stake, or a missing payment.

    From an old copy of the journal, that is also any own funding that no node shows.
    """
    if state.is_final or isinstance(state, TakerPlanned | TakerAgreed | ProviderAgreed):
        return None
    for end, view in ((LegEnd.SOURCE, observed.source), (LegEnd.DESTINATION, observed.destination)):
        leg = swap.leg(end)
        if view is None and observed.now > swap.terms.counter_fund_by and _is_needed(swap, state, end, observed):
            return f"the {leg.protocol.value} node cannot be read, and money depends on it"
        fund = observed.acts.get(Act(Verb.FUND, end))
        forgotten = fund is not None and fund.is_out and fund.status is ActStatus.UNSEEN and not leg.is_repeatable
        if view is not None and view.state is LegState.NONE and _may_be_missing(swap, state, end):
            return (
                f"an old copy of the journal was restored, and the {leg.protocol.value} node shows no funding of this "
                "swap, although one may have been made: the swap stays open until none can exist any longer"
            )
        begun_by = swap.terms.fund_by if end is LegEnd.SOURCE else swap.terms.counter_fund_by
        if forgotten and view is not None and view.state is LegState.NONE and (view.over or observed.now > begun_by):
            return (
                f"the {leg.protocol.value} node shows no payment under this hash, and one may have been sent: the swap "
                "stays open until none can exist any longer"
            )
    return None


def _may_be_missing(swap: Swap, state: State, end: LegEnd) -> bool:
    """Whether an old copy of the journal may lack this party's funding of that leg."""
    if not swap.from_old_copy or isinstance(state, ProviderReleasing):
        return False
    is_own = (end is LegEnd.SOURCE) == isinstance(state, TakerState)
    return is_own and not (swap.funded_by_others and end is LegEnd.SOURCE)


def _is_needed(swap: Swap, state: State, end: LegEnd, observed: Observed) -> bool:
    """Whether this party's next act depends on that leg."""
    match state:
        case TakerFunding() | TakerRefunding() | ProviderReleasing():
            return end is LegEnd.SOURCE
        case TakerFunded():
            return end is LegEnd.SOURCE or swap.made_preimage
        case TakerCollecting():
            # Once the refund of the destination is final, only the source remains.
            gone = observed.destination is not None and observed.destination.over
            return (end is LegEnd.DESTINATION) == (swap.made_preimage and not gone)
        case ProviderCollecting():
            # The intent to collect contains the preimage; if that act failed, only a leg shows it.
            collect = observed.acts.get(Act(Verb.COLLECT, LegEnd.SOURCE))
            return end is LegEnd.SOURCE or collect is None or collect.status is ActStatus.FAILED
        case _:
            return end is LegEnd.DESTINATION


def _amount(amount: int, leg: Leg) -> str:
    return f"{amount:,} sat on {leg.protocol.value}"
