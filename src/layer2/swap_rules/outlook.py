"""What to tell the owner of a swap: where the money is, who acts next and until when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

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
    State,
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
from layer2.swap_rules.timelocks import TimelockSettings
from layer2.terms import EvmLeg, Leg, Terms
from layer2.transfers import Actor

__all__ = ["Outlook", "outlook"]


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a state means to the party that is in it."""

    next_actor: Actor
    """``YOU`` is the party itself; ``PROVIDER`` the other one, whoever that is."""
    deadline: int | None
    """Unix seconds by which the next actor must act; None in a final state and where nothing is promised."""
    refundable_from: int | None
    """Unix seconds from which the party alone can take its own money back."""
    funds: str
    """Where the money is, in words."""


def outlook(state: State, terms: Terms | None, settings: TimelockSettings) -> Outlook:
    """Say what the state means.

    Args:
        terms: None only in the state *planned*, or where it was abandoned from there.
    """
    if isinstance(state, TakerState):
        return _taker(state, terms, settings)
    assert terms is not None
    return _provider(state, terms, settings)


def _taker(state: TakerState, terms: Terms | None, settings: TimelockSettings) -> Outlook:
    match state:
        case TakerPlanned():
            return Outlook(Actor.YOU, None, None, "nothing has left your account")
        case TakerAbandoned():
            return Outlook(Actor.NOBODY, None, None, "nothing has left your account")
        case _:
            pass
    assert terms is not None
    paid = _amount(terms.source_amount, terms.source)
    received = _amount(terms.amount, terms.destination)
    back = terms.source.deadline if isinstance(terms.source, EvmLeg) else None
    match state:
        case TakerAgreed():
            return Outlook(Actor.YOU, terms.fund_by, None, "nothing has left your account")
        case TakerFunding():
            return Outlook(Actor.YOU, terms.fund_by, back, f"{paid} are on their way or about to be")
        case TakerFunded():
            return Outlook(Actor.PROVIDER, terms.counter_fund_by, back, f"{paid} are {_held(terms.source)}")
        case TakerCounterFunded():
            return Outlook(
                Actor.YOU, terms.collect_by, back, f"{received} are locked for you; {paid} are {_held(terms.source)}"
            )
        case TakerCollecting():
            return Outlook(Actor.YOU, state.deadline, back, f"{received} are being collected; keep your node running")
        case TakerCompleted():
            return Outlook(Actor.NOBODY, None, None, f"{received} are yours")
        case TakerRefunding():
            if isinstance(terms.source, EvmLeg):
                return Outlook(Actor.YOU, back, back, f"{paid} are on their way back to you")
            return Outlook(
                Actor.PROVIDER,
                _back_on_lightning_by(terms, settings),
                None,
                f"{paid} are {_held(terms.source)}, and come back when the provider's lock is surely over",
            )
        case TakerRefunded():
            return Outlook(Actor.NOBODY, None, None, f"{paid} are back with you")
        case _:
            assert_never(state)


def _provider(state: ProviderState, terms: Terms, settings: TimelockSettings) -> Outlook:
    owed = _amount(terms.source_amount, terms.source)
    paid = _amount(terms.amount, terms.destination)
    back = terms.destination.deadline if isinstance(terms.destination, EvmLeg) else None
    until = terms.source.deadline if isinstance(terms.source, EvmLeg) else _back_on_lightning_by(terms, settings)
    match state:
        case ProviderAgreed():
            return Outlook(Actor.PROVIDER, terms.fund_by, None, "nothing was paid on either side")
        case ProviderHeld() | ProviderLocked():
            return Outlook(Actor.YOU, terms.counter_fund_by, None, f"{owed} of the taker's are {_held(terms.source)}")
        case ProviderCounterFunding():
            return Outlook(Actor.YOU, until, back, f"{paid} are on their way or about to be")
        case ProviderCounterFunded():
            return Outlook(Actor.PROVIDER, terms.collect_by, back, f"{paid} are {_held(terms.destination)}")
        case ProviderCollecting():
            return Outlook(Actor.YOU, until, back, f"{owed} are being collected")
        case ProviderCompleted():
            return Outlook(Actor.NOBODY, None, None, f"{owed} are yours")
        case ProviderRefunding():
            return Outlook(Actor.YOU, back, back, f"{paid} are on their way back to you")
        case ProviderReleasing():
            return Outlook(Actor.YOU, until, None, f"nothing of yours is bound; {owed} go back to the taker")
        case ProviderReleased():
            return Outlook(Actor.NOBODY, None, None, "nothing of either side is bound")
        case _:
            assert_never(state)


def _back_on_lightning_by(terms: Terms, settings: TimelockSettings) -> int:
    """When the provider can cancel the held payment at the latest: its lock is refunded, and that is final."""
    assert isinstance(terms.destination, EvmLeg)
    return terms.destination.deadline + settings.inclusion + settings.finality_time + settings.settle_margin


def _amount(amount: int, leg: Leg) -> str:
    return f"{amount:,} sat on {leg.protocol.value}"


def _held(leg: Leg) -> str:
    return "locked" if isinstance(leg, EvmLeg) else "in flight"
