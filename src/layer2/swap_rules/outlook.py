"""What a state means to its owner: where the money is, who acts next, by when, and what a human must look at.

Every deadline is the moment that the guarantee needs, and not the one at which money can move.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

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


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a state means to the party that is in it."""

    next_actor: Actor
    """``YOU`` is the party itself; ``PROVIDER`` the other one, whichever that is."""
    deadline: int | None
    """Unix seconds by which the next actor must act, or up to which there is nothing to do but wait; None in a final
    state."""
    refundable_from: int | None
    """Unix seconds from which the party alone can take its own money back."""
    funds: str
    """Where the money is."""


def outlook(
    state: State, terms: Terms | None, rules: TimelockSettings, planned_until: int = 0, *, is_foreign: bool = False
) -> Outlook:
    """What the state means.

    Args:
        terms: None only in the state *planned*, or where it was abandoned from there.
        planned_until: unix seconds at which a plan without terms ends.
        is_foreign: taker: whether a third party is paid.
    """
    if isinstance(state, TakerPlanned):
        return Outlook(Actor.YOU, planned_until, None, "nothing has left your account")
    if isinstance(state, TakerAbandoned):
        return Outlook(Actor.NOBODY, None, None, "nothing has left your account")
    assert terms is not None
    if is_foreign and isinstance(state, TakerCollecting | TakerCompleted):
        return _paid_to_stranger(state, terms, rules)
    if isinstance(state, TakerState):
        return _taker(state, terms, rules)
    return _provider(state, terms, rules)


def _taker(state: TakerState, terms: Terms, rules: TimelockSettings) -> Outlook:
    paid = _amount(terms.source_amount, terms.source)
    received = _amount(terms.amount, terms.destination)
    back = terms.source.refundable_from
    match state:
        case TakerPlanned() | TakerAbandoned() | TakerAgreed():
            return Outlook(Actor.YOU, terms.fund_by, None, "nothing has left your account")
        case TakerFunding():
            funds = f"{paid} are on their way, or about to be"
            # A payment that may have left, and that the node does not show, is waited for until it surely came back.
            until = terms.collect_by if terms.source.payer_reclaims else source_surely_over(terms, rules)
            return Outlook(Actor.YOU, until, back, funds)
        case TakerFunded():
            return Outlook(Actor.PROVIDER, terms.collect_by, back, f"{paid} are {terms.source.holds}")
        case TakerCollecting(has_arrived=True):
            # A reorganisation of what has arrived is answered by collecting again.
            until = state.final_at or terms.collect_by
            return Outlook(Actor.YOU, until, None, f"{received} have arrived; keep running until that is final")
        case TakerCollecting():
            funds = f"{received} are being collected; keep running until that is final"
            return Outlook(Actor.YOU, terms.collect_by, None, funds)
        case TakerCompleted():
            return Outlook(Actor.NOBODY, None, None, f"{received} are yours")
        case TakerRefunding():
            if terms.source.payer_reclaims:
                until = back if back is not None else source_surely_over(terms, rules)
                return Outlook(Actor.YOU, until, back, f"{paid} are on their way back to you")
            funds = f"{paid} are {terms.source.holds}, and come back by themselves"
            return Outlook(Actor.PROVIDER, source_surely_over(terms, rules), None, funds)
        case TakerRefunded():
            return Outlook(Actor.NOBODY, None, None, f"{paid} are back with you")
        case TakerLost():
            return Outlook(
                Actor.NOBODY, None, None, f"{paid} went to the provider and nothing came back: they are lost"
            )
        case _:
            assert_never(state)


def _paid_to_stranger(state: TakerCollecting | TakerCompleted, terms: Terms, rules: TimelockSettings) -> Outlook:
    """Nothing arrives at the taker; what the provider does not collect is taken back."""
    received = f"{_amount(terms.amount, terms.destination)} were paid to the recipient"
    if isinstance(state, TakerCompleted):
        return Outlook(Actor.NOBODY, None, None, received)
    back = terms.source.refundable_from
    until = back if back is not None else source_surely_over(terms, rules)
    if state.has_arrived:
        return Outlook(Actor.PROVIDER, state.final_at or until, None, f"{received}; keep running until that is final")
    paid = _amount(terms.source_amount, terms.source)
    return Outlook(Actor.PROVIDER, until, back, f"{received}; {paid} are {terms.source.holds} for the provider")


def _provider(state: ProviderState, terms: Terms, rules: TimelockSettings) -> Outlook:
    owed = _amount(terms.source_amount, terms.source)
    paid = _amount(terms.amount, terms.destination)
    back = terms.destination.refundable_from
    until = must_be_back_by(state, terms, rules)
    match state:
        case ProviderAgreed():
            return Outlook(Actor.PROVIDER, terms.fund_by, None, "nothing was paid on either side")
        case ProviderCounterFunding():
            return Outlook(Actor.YOU, until, back, f"{paid} are on their way, or about to be")
        case ProviderCounterFunded():
            return Outlook(Actor.PROVIDER, until, back, f"{paid} are {terms.destination.holds}")
        case ProviderCollecting(has_arrived=True):
            return Outlook(Actor.YOU, until, None, f"{owed} have arrived; keep running until that is final")
        case ProviderCollecting():
            return Outlook(Actor.YOU, until, None, f"{owed} are being collected; keep running until that is final")
        case ProviderCompleted():
            return Outlook(Actor.NOBODY, None, None, f"{owed} are yours")
        case ProviderRefunding():
            return Outlook(Actor.YOU, until, back, f"{paid} are on their way back to you")
        case ProviderReleasing():
            funds = f"nothing of yours is bound; {owed} go back to the taker"
            return Outlook(Actor.YOU, source_surely_over(terms, rules), None, funds)
        case ProviderReleased():
            return Outlook(Actor.NOBODY, None, None, "nothing of either side is bound")
        case ProviderLost():
            return Outlook(
                Actor.NOBODY, None, None, f"{paid} were paid and {owed} went back to the taker: they are lost"
            )
        case _:
            assert_never(state)


def must_be_back_by(state: ProviderState, terms: Terms, rules: TimelockSettings) -> int | None:
    """Unix seconds by which a provider must run again lest it lose money; None where none is at stake."""
    match state:
        case ProviderCounterFunding() | ProviderCounterFunded() | ProviderRefunding():
            leg = terms.destination
            is_there = isinstance(state, ProviderCounterFunded) and leg.finality is Finality.FINALIZED
            if not leg.lapses and not is_there:
                # A funding that is not there by then, or not any more, is voided.
                return terms.collect_by
            # The source outlasts this by the time that a refund, or a late claim, takes.
            deadline = leg.refundable_from
            return _begin_by(terms, rules) if deadline is None else deadline
        case ProviderCollecting():
            return _begin_by(terms, rules)
        case _:
            return None


def _begin_by(terms: Terms, rules: TimelockSettings) -> int:
    """The last moment up to which the terms guarantee that the payee of the source can begin to collect."""
    until = terms.source.collect_until(None, terms.issued_at, rules)
    return terms.collect_by if until is None else until


def attention(swap: Swap, state: State, observed: Observed) -> str | None:
    """What a human has to look at, or None: a node that is away while money is at stake, or evidence that conflicts."""
    if state.is_final or isinstance(state, TakerPlanned | TakerAgreed | ProviderAgreed):
        return None
    for end, view in ((LegEnd.SOURCE, observed.source), (LegEnd.DESTINATION, observed.destination)):
        leg = swap.leg(end)
        if view is None and observed.now > swap.terms.counter_fund_by and _is_needed(swap, state, end, observed):
            return f"the {leg.protocol.value} node cannot be read, and money depends on it"
        fund = observed.acts.get(Act(Verb.FUND, end))
        forgotten = fund is not None and fund.is_out and fund.status is ActStatus.UNSEEN and not leg.is_repeatable
        if forgotten and view is not None and view.state is LegState.NONE and view.over:
            return f"the {leg.protocol.value} node shows no payment under this hash, and one may have been sent"
    return None


def _is_needed(swap: Swap, state: State, end: LegEnd, observed: Observed) -> bool:
    """Whether this party's next act depends on that leg."""
    match state:
        case TakerFunding() | TakerRefunding() | ProviderReleasing():
            return end is LegEnd.SOURCE
        case TakerFunded():
            return end is LegEnd.SOURCE or swap.made_preimage
        case TakerCollecting():
            # Once the destination has gone back for good, what is left is the source.
            gone = observed.destination is not None and observed.destination.over
            return (end is LegEnd.DESTINATION) == (swap.made_preimage and not gone)
        case ProviderCollecting():
            # The intent to collect keeps the preimage; where that act failed, only a leg shows it.
            collect = observed.acts.get(Act(Verb.COLLECT, LegEnd.SOURCE))
            return end is LegEnd.SOURCE or collect is None or collect.status is ActStatus.FAILED
        case _:
            return end is LegEnd.DESTINATION


def _amount(amount: int, leg: Leg) -> str:
    return f"{amount:,} sat on {leg.protocol.value}"
