"""What the owner of a swap is told: every state with money at stake has its deadline."""

from __future__ import annotations

import pytest

from layer2.swap_rules.outlook import outlook
from layer2.swap_rules.states import (
    ProviderRefunding,
    ProviderState,
    State,
    TakerAbandoned,
    TakerFunded,
    TakerPlanned,
    TakerRefunding,
    TakerState,
)
from layer2.swap_rules.timelocks import REGTEST
from layer2.terms import LightningLeg, Terms
from layer2.transfers import Actor
from swap_rules.scenes import TO_BOB, TO_LIGHTNING, deadline, example_states

TERMS = {"to_lightning": TO_LIGHTNING.terms, "to_bob": TO_BOB.terms}


@pytest.mark.parametrize("terms", TERMS.values(), ids=TERMS)
@pytest.mark.parametrize(
    "state", example_states(TakerState, ProviderState, deadline=7), ids=lambda one: type(one).__name__
)
def test_every_open_state_names_who_acts_and_until_when(state: State, terms: Terms) -> None:
    if isinstance(state, ProviderRefunding) and isinstance(terms.destination, LightningLeg):
        return  # Only an own lock on a chain is refunded: this direction has no such state.
    view = outlook(state, terms, REGTEST)
    assert view.funds
    if state.is_final:
        assert (view.next_actor, view.deadline, view.refundable_from) == (Actor.NOBODY, None, None)
    elif not isinstance(state, TakerPlanned):
        assert view.next_actor is not Actor.NOBODY
        assert view.deadline is not None


def test_a_taker_that_locked_is_told_from_when_it_can_take_the_money_back_alone() -> None:
    view = outlook(TakerFunded("0x1"), TO_LIGHTNING.terms, REGTEST)
    assert view.refundable_from == deadline(TO_LIGHTNING)
    assert (view.next_actor, view.deadline) == (Actor.PROVIDER, TO_LIGHTNING.terms.counter_fund_by)
    assert view.funds == "100,420 sat on BOB are locked"


def test_a_payment_on_lightning_comes_back_by_itself() -> None:
    view = outlook(TakerRefunding("0x1", "why"), TO_BOB.terms, REGTEST)
    assert view.refundable_from is None
    assert view.deadline is not None
    assert view.deadline > deadline(TO_BOB)


def test_before_terms_nothing_has_left_the_account() -> None:
    for state in (TakerPlanned(), TakerAbandoned("why")):
        assert outlook(state, None, REGTEST).funds == "nothing has left your account"
