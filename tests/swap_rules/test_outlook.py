"""The meaning of a state: every deadline is the latest moment at which the guarantees hold."""

from __future__ import annotations

from dataclasses import replace

import pytest

from layer2.legs.timelock_settings import REGTEST
from layer2.legs.views import LegState, Verb
from layer2.model.transactions import Finality
from layer2.swap_rules.machine import Act, LegEnd, Swap
from layer2.swap_rules.outlook import attention, must_be_back_by, outlook
from layer2.swap_rules.states import (
    ProviderCollecting,
    ProviderCounterFunded,
    ProviderCounterFunding,
    ProviderRefunding,
    ProviderState,
    State,
    TakerAbandoned,
    TakerAgreed,
    TakerCollecting,
    TakerCompleted,
    TakerFunded,
    TakerFunding,
    TakerPlanned,
    TakerRefunding,
    TakerState,
)
from layer2.terms.transfers import Actor
from swap_rules.example_terms import NOW
from swap_rules.scenes import (
    ALL,
    FAILED,
    FUNDED,
    LOST,
    NEVER,
    NOTHING,
    OVER,
    TO_BOB,
    TO_LIGHTNING,
    TO_ROOTSTOCK,
    TO_STRANGER,
    UNDER_WAY,
    example_states,
    observed,
    view,
)

EVERY = pytest.mark.parametrize("swap", ALL.values(), ids=ALL.keys())
EXAMPLES = example_states(TakerState, ProviderState)
STATES = [one for one in EXAMPLES if not isinstance(one, TakerPlanned | TakerAbandoned)]


@EVERY
@pytest.mark.parametrize("state", STATES, ids=lambda state: type(state).__name__)
def test_every_open_state_names_the_next_actor_and_the_deadline(state: State, swap: Swap) -> None:
    seen = outlook(state, swap.terms, REGTEST)
    assert seen.funds
    if state.is_final:
        assert (seen.next_actor, seen.deadline, seen.refundable_from) == (Actor.NOBODY, None, None)
        return
    assert seen.next_actor in (Actor.YOU, Actor.PROVIDER)
    assert seen.deadline is not None


def test_before_terms_nothing_has_left_the_account() -> None:
    planned = outlook(TakerPlanned(), None, REGTEST, planned_until=NOW + 60)
    assert (planned.next_actor, planned.deadline) == (Actor.YOU, NOW + 60)
    assert planned.funds == outlook(TakerAbandoned("why"), None, REGTEST).funds == "nothing has left your account"


@EVERY
def test_a_taker_is_shown_the_time_by_which_it_must_collect_and_not_the_locks_own_deadline(swap: Swap) -> None:
    collecting = TakerCollecting("0x1", "0x2", has_arrived=False, final_at=None)
    for state in (TakerFunded("0x1"), collecting):
        assert outlook(state, swap.terms, REGTEST).deadline == swap.terms.collect_by
    funding = outlook(TakerFunding(), swap.terms, REGTEST).deadline
    waits = not swap.terms.source.payer_reclaims
    assert funding is not None
    assert (funding > swap.terms.collect_by) == waits, "until a payment that may have been sent has surely returned"
    arrived = outlook(replace(collecting, has_arrived=True, final_at=NOW + 7), swap.terms, REGTEST)
    assert arrived.deadline == NOW + 7
    assert "keep running until that is final" in arrived.funds


@EVERY
def test_a_provider_that_has_paid_is_shown_the_destinations_deadline_and_then_when_collecting_must_begin(
    swap: Swap,
) -> None:
    terms = swap.terms
    back = terms.destination.refundable_from
    paid = (ProviderCounterFunding("s"), ProviderCounterFunded("s", "d"), ProviderRefunding("s", "d", "why"))
    for state in paid:
        shown = must_be_back_by(state, terms, REGTEST)
        assert shown is not None
        is_there = isinstance(state, ProviderCounterFunded) and terms.destination.finality is Finality.FINALIZED
        voided = not terms.destination.lapses and not is_there
        assert back is None or shown == (terms.collect_by if voided else back)
        assert outlook(state, terms, REGTEST).deadline == shown
    collecting = ProviderCollecting("s", "d", has_arrived=False)
    begin_by = must_be_back_by(collecting, terms, REGTEST)
    assert begin_by is not None
    latest = terms.source.refundable_from
    assert latest is None or begin_by == latest - 160, "before the deadline by clock, inclusion and finality"


def test_a_taker_that_locked_sees_from_when_it_can_take_the_money_back_alone() -> None:
    seen = outlook(TakerFunded("0x1"), TO_ROOTSTOCK.terms, REGTEST)
    assert seen.refundable_from == TO_ROOTSTOCK.terms.source.refundable_from
    assert outlook(TakerAgreed(), TO_ROOTSTOCK.terms, REGTEST).refundable_from is None


@pytest.mark.parametrize("swap", [ALL["from_bitcoin"], TO_LIGHTNING], ids=["bitcoin", "bob"])
def test_a_refund_has_a_time_from_which_it_is_possible_and_no_time_by_which_to_act(swap: Swap) -> None:
    seen = outlook(TakerRefunding("h", "why"), swap.terms, REGTEST)
    assert seen.next_actor is Actor.YOU
    assert seen.refundable_from is not None
    assert seen.deadline == seen.refundable_from


def test_a_payment_on_lightning_returns_by_itself() -> None:
    seen = outlook(TakerRefunding("h", "why"), TO_BOB.terms, REGTEST)
    assert (seen.next_actor, seen.refundable_from) == (Actor.PROVIDER, None)
    assert seen.deadline is not None
    assert seen.deadline > TO_BOB.terms.collect_by


def test_a_provider_has_to_be_back_only_where_money_of_its_own_is_at_stake() -> None:
    states = [one for one in EXAMPLES if isinstance(one, ProviderState)]
    free = [one for one in states if must_be_back_by(one, TO_LIGHTNING.terms, REGTEST) is None]
    assert [one.name for one in free] == ["agreed", "completed", "releasing", "released", "lost"]


@EVERY
@pytest.mark.parametrize("state", EXAMPLES, ids=lambda state: type(state).__name__)
def test_a_human_is_called_for_a_node_that_is_away_while_money_depends_on_it_and_not_before(
    swap: Swap, state: State
) -> None:
    early = observed(None, None)
    assert attention(swap, state, early) is None
    late = attention(swap, state, replace(early, now=swap.terms.counter_fund_by + 1))
    calls = not state.is_final and state.name not in ("planned", "agreed")
    assert (late is not None) == calls
    assert late is None or "node cannot be read" in late


def test_a_human_is_called_for_a_payment_that_the_node_has_forgotten() -> None:
    fund = Act(Verb.FUND, LegEnd.DESTINATION)
    seen = observed(FUNDED, NEVER, {fund: LOST})
    conflict = attention(replace(TO_LIGHTNING, made_preimage=False), ProviderCounterFunding("s"), seen)
    assert conflict is not None
    assert "shows no payment" in conflict
    open_invoice = observed(FUNDED, NOTHING, {fund: LOST})
    assert attention(replace(TO_LIGHTNING, made_preimage=False), ProviderCounterFunding("s"), open_invoice) is None
    # Once nothing new is sent, the wait is explained, also while the invoice could still be paid.
    waiting = replace(open_invoice, now=TO_LIGHTNING.terms.counter_fund_by + 1)
    conflict = attention(replace(TO_LIGHTNING, made_preimage=False), ProviderCounterFunding("s"), waiting)
    assert conflict is not None
    assert "stays open until" in conflict
    # A lock may be submitted again, so its absence needs no attention.
    lock = observed(FUNDED, view(LegState.NONE, over=True), {fund: LOST})
    assert attention(replace(TO_BOB, made_preimage=False), ProviderCounterFunding("s"), lock) is None


def test_money_paid_to_another_party_is_never_shown_as_ones_own() -> None:
    terms = TO_STRANGER.terms
    collecting = TakerCollecting("0x1", None, has_arrived=False, final_at=None)
    shown = outlook(collecting, terms, REGTEST, is_foreign=True)
    assert (shown.next_actor, shown.deadline) == (Actor.PROVIDER, terms.source.refundable_from)
    assert shown.refundable_from == shown.deadline, "the money is taken back where the provider does not collect it"
    arrived = outlook(replace(collecting, has_arrived=True, final_at=NOW + 7), terms, REGTEST, is_foreign=True)
    assert arrived.deadline == NOW + 7
    completed = outlook(TakerCompleted("0x1", None), terms, REGTEST, is_foreign=True)
    assert completed.deadline is None
    for one in (shown, arrived, completed):
        assert "were paid to the recipient" in one.funds
        assert "yours" not in one.funds


def test_a_human_is_called_for_the_node_that_the_next_act_depends_on() -> None:
    late = TO_LIGHTNING.terms.counter_fund_by + 1
    collecting = TakerCollecting("0x1", "0x2", has_arrived=False, final_at=None)
    assert attention(TO_LIGHTNING, collecting, observed(None, FUNDED, now=late)) is None
    # The refund of the destination is final: the source has to be refunded, and its node is unreachable.
    gone = attention(TO_LIGHTNING, collecting, observed(None, OVER, now=late))
    assert gone is not None
    assert "BOB" in gone
    # A provider's failed claim is made again, with a preimage that only the destination's node knows.
    swap, state = replace(TO_LIGHTNING, made_preimage=False), ProviderCollecting("s", "d", has_arrived=False)
    collect = Act(Verb.COLLECT, LegEnd.SOURCE)
    assert attention(swap, state, observed(FUNDED, None, {collect: UNDER_WAY}, now=late)) is None
    failed = attention(swap, state, observed(FUNDED, None, {collect: FAILED}, now=late))
    assert failed is not None
    assert "LIGHTNING" in failed
