"""The taker's decisions, one sentence each."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from layer2.swap_rules.decisions import declined, next_step
from layer2.swap_rules.legs import ActStatus, LegState, LegView
from layer2.swap_rules.machine import Manner, Order, Step, Swap
from layer2.swap_rules.states import (
    TakerAbandoned,
    TakerAgreed,
    TakerCollecting,
    TakerCompleted,
    TakerCounterFunded,
    TakerFunded,
    TakerFunding,
    TakerRefunded,
    TakerRefunding,
    TakerState,
)
from layer2.swap_rules.taker_machine import CLAIM_FOR_PROVIDER, COLLECT, FUND, RECLAIM
from swap_rules.example_terms import NOW, PREIMAGE
from swap_rules.scenes import (
    COLLECTED,
    COLLECTED_FINALLY,
    FUNDED,
    NEVER,
    NOTHING,
    OVER,
    PENDING,
    RETURNED,
    TO_BOB,
    TO_LIGHTNING,
    TO_STRANGER,
    deadline,
    observed,
    view,
    views_at,
)

LATE = deadline(TO_LIGHTNING)
LIMIT = TO_BOB.terms.collect_by
COLLECTING = TakerCollecting("0x1", "0x2", since=NOW, deadline=None)
REFUNDING = TakerRefunding("0x1", "why")
BOTH = pytest.mark.parametrize("swap", [TO_LIGHTNING, TO_BOB], ids=["to_lightning", "to_bob"])
NEW, AGAIN = Manner.NEW, Manner.AGAIN
OPEN_STATES: tuple[TakerState, ...] = (
    TakerAgreed(),
    TakerFunding(),
    TakerFunded("0x1"),
    TakerCounterFunded("0x1", "0x2"),
    COLLECTING,
    REFUNDING,
)


@BOTH
def test_agreed_terms_are_funded_once(swap: Swap) -> None:
    step = next_step(swap, TakerAgreed(), observed(NOTHING, NOTHING))
    assert (step.state, step.orders) == (TakerFunding(), (Order(FUND, NEW),))


@BOTH
def test_nothing_is_funded_after_fund_by(swap: Swap) -> None:
    step = next_step(swap, TakerAgreed(), observed(NOTHING, NOTHING, now=swap.terms.fund_by + 1))
    assert isinstance(step.state, TakerAbandoned)
    assert "time to begin funding is over" in step.state.reason
    assert step.orders == ()


@BOTH
def test_nothing_is_funded_when_a_margin_is_broken(swap: Swap) -> None:
    broken = replace(swap, settings=replace(swap.settings, max_source_lock=1, max_destination_lock=1))
    assert isinstance(next_step(broken, TakerAgreed(), observed(NOTHING, NOTHING)).state, TakerAbandoned)


@BOTH
def test_nothing_is_funded_for_a_preimage_that_is_public(swap: Swap) -> None:
    step = next_step(swap, TakerAgreed(), observed(NOTHING, COLLECTED))
    assert step.state == TakerAbandoned("the preimage is public already")


@BOTH
@pytest.mark.parametrize("source", [PENDING, FUNDED, RETURNED])
def test_a_funding_that_an_old_journal_forgot_is_not_repeated(swap: Swap, source: LegView) -> None:
    step = next_step(swap, TakerAgreed(), observed(source, NOTHING))
    assert (step.state, step.orders) == (TakerFunding(), ())


@BOTH
def test_a_funding_that_cannot_be_made_ends_the_transfer_with_nothing_spent(swap: Swap) -> None:
    seen = observed(NOTHING, NOTHING)
    assert declined(swap, TakerAgreed(), seen, "no gas").state == TakerAbandoned("no gas")
    # Once the intent is durable only a fact ends it.
    assert declined(swap, TakerFunding(), seen, "no gas").state == TakerFunding()


def test_a_lock_that_the_node_lost_is_sent_again_byte_for_byte() -> None:
    step = next_step(TO_LIGHTNING, TakerFunding(), observed(NOTHING, NOTHING, {FUND: ActStatus.UNSEEN}))
    assert step.orders == (Order(FUND, AGAIN),)


def test_a_lock_is_not_sent_again_after_fund_by() -> None:
    seen = observed(NOTHING, NOTHING, {FUND: ActStatus.UNSEEN}, now=TO_LIGHTNING.terms.fund_by + 1)
    assert next_step(TO_LIGHTNING, TakerFunding(), seen).orders == ()


@pytest.mark.parametrize("status", [ActStatus.FAILED, ActStatus.DONE, ActStatus.UNDER_WAY])
@BOTH
def test_there_is_no_second_funding(swap: Swap, status: ActStatus) -> None:
    step = next_step(swap, TakerFunding(), observed(NOTHING, NOTHING, {FUND: status}))
    assert (step.state, step.orders) == (TakerFunding(), ())


def test_a_payment_is_not_repeated_after_a_restart_even_if_the_node_does_not_know_it() -> None:
    step = next_step(TO_BOB, TakerFunding(), observed(NOTHING, NOTHING, {FUND: ActStatus.UNSEEN}))
    assert step.orders == ()


def test_a_payment_that_never_left_this_process_may_be_sent_until_fund_by() -> None:
    lost = {FUND: ActStatus.UNSEEN}
    seen = observed(NOTHING, NOTHING, lost, unsent=[FUND])
    assert next_step(TO_BOB, TakerFunding(), seen).orders == (Order(FUND, AGAIN),)
    late = replace(seen, now=TO_BOB.terms.fund_by + 1)
    assert next_step(TO_BOB, TakerFunding(), late).orders == ()


@BOTH
def test_a_transfer_is_abandoned_after_an_intent_only_when_the_funding_is_over(swap: Swap) -> None:
    failed = {FUND: ActStatus.FAILED}
    assert next_step(swap, TakerFunding(), observed(NOTHING, NOTHING, failed, now=LATE + 9999)).state == TakerFunding()
    over = next_step(swap, TakerFunding(), observed(NEVER, NOTHING, failed))
    assert isinstance(over.state, TakerAbandoned)


def test_the_lock_is_not_reclaimed_before_the_deadline_by_the_chains_own_clock() -> None:
    early = view(LegState.FUNDED, at=LATE - 1)
    step = next_step(TO_LIGHTNING, TakerFunded("0x1"), observed(early, NOTHING, now=LATE + 5000))
    assert step.state == TakerFunded("0x1")
    at = next_step(TO_LIGHTNING, TakerFunded("0x1"), observed(view(LegState.FUNDED, at=LATE), NOTHING, now=LATE - 5000))
    assert isinstance(at.state, TakerRefunding)
    assert at.orders == (Order(RECLAIM, NEW),)


@pytest.mark.parametrize("destination", [None, FUNDED])
def test_the_lock_is_not_reclaimed_while_the_own_invoice_may_be_paid(destination: LegView | None) -> None:
    after = view(LegState.FUNDED, at=LATE)
    assert next_step(TO_LIGHTNING, TakerFunded("0x1"), observed(after, destination)).orders == ()
    assert next_step(TO_LIGHTNING, REFUNDING, observed(after, destination)).orders == ()


def test_the_lock_of_a_payment_to_somebody_else_is_reclaimed_without_asking_the_own_node() -> None:
    step = next_step(TO_STRANGER, TakerFunded("0x1"), observed(view(LegState.FUNDED, at=LATE), None))
    assert step.orders == (Order(RECLAIM, NEW),)


def test_a_reclaim_that_reverted_is_tried_anew_until_it_holds() -> None:
    after = view(LegState.FUNDED, at=LATE)
    for status, manner in ((ActStatus.FAILED, NEW), (ActStatus.UNSEEN, AGAIN)):
        step = next_step(TO_LIGHTNING, REFUNDING, observed(after, NOTHING, {RECLAIM: status}))
        assert (step.state, step.orders) == (REFUNDING, (Order(RECLAIM, manner),))
    for status in (ActStatus.UNDER_WAY, ActStatus.DONE):
        assert next_step(TO_LIGHTNING, REFUNDING, observed(after, NOTHING, {RECLAIM: status})).orders == ()


def test_refunded_means_final() -> None:
    assert next_step(TO_LIGHTNING, REFUNDING, observed(RETURNED, NOTHING)).state == REFUNDING
    final = view(LegState.RETURNED, final=True)
    assert isinstance(next_step(TO_LIGHTNING, REFUNDING, observed(final, NOTHING)).state, TakerRefunded)
    assert isinstance(next_step(TO_BOB, REFUNDING, observed(OVER, NOTHING)).state, TakerRefunded)


def test_a_refund_that_is_reorganised_away_is_made_again() -> None:
    again = observed(view(LegState.FUNDED, at=LATE), NOTHING, {RECLAIM: ActStatus.UNSEEN})
    assert next_step(TO_LIGHTNING, REFUNDING, again).orders == (Order(RECLAIM, AGAIN),)


def test_the_preimage_is_shown_only_for_a_lock_at_the_own_finality() -> None:
    for destination in (NOTHING, PENDING, RETURNED, OVER, None):
        for state in (TakerFunded("0x1"), TakerCounterFunded("0x1", "0x2")):
            assert next_step(TO_BOB, state, observed(PENDING, destination)).orders == ()
    first = next_step(TO_BOB, TakerFunded("0x1"), observed(PENDING, FUNDED))
    assert isinstance(first.state, TakerCounterFunded)
    second = next_step(TO_BOB, first.state, observed(PENDING, FUNDED))
    assert isinstance(second.state, TakerCollecting)
    assert second.orders == (Order(COLLECT, NEW),)


def test_a_lock_that_is_reorganised_away_before_the_claim_is_waited_for_again() -> None:
    counter_funded = TakerCounterFunded("0x1", "0x2")
    assert next_step(TO_BOB, counter_funded, observed(PENDING, NOTHING)).state == counter_funded


@pytest.mark.parametrize("state", [TakerFunded("0x1"), TakerCounterFunded("0x1", "0x2")])
def test_the_preimage_is_never_shown_late(state: TakerState) -> None:
    at_limit = next_step(TO_BOB, state, observed(PENDING, FUNDED, now=LIMIT))
    assert not isinstance(at_limit.state, TakerRefunding)
    late = next_step(TO_BOB, state, observed(PENDING, FUNDED, now=LIMIT + 1))
    assert isinstance(late.state, TakerRefunding)
    assert late.orders == ()
    # The rollup's clock may be ahead of ours.
    ahead = next_step(TO_BOB, state, observed(PENDING, view(LegState.FUNDED, at=LIMIT + 1)))
    assert isinstance(ahead.state, TakerRefunding)


def test_a_claim_that_surely_never_left_before_a_crash_is_not_begun_late() -> None:
    lost = {COLLECT: ActStatus.UNSEEN}
    in_time = observed(PENDING, FUNDED, lost, now=LIMIT)
    assert next_step(TO_BOB, COLLECTING, in_time).orders == (Order(COLLECT, AGAIN),)
    late = observed(PENDING, FUNDED, lost, now=LIMIT + 1)
    assert next_step(TO_BOB, COLLECTING, late).orders == ()


@pytest.mark.parametrize("status", [ActStatus.UNSEEN, ActStatus.FAILED])
def test_once_the_preimage_may_be_known_claiming_never_stops(status: ActStatus) -> None:
    long_after = deadline(TO_BOB) + 100_000
    held = view(LegState.FUNDED, at=long_after)
    sent = observed(PENDING, held, {COLLECT: status}, now=long_after, sent=[COLLECT])
    assert [one.act for one in next_step(TO_BOB, COLLECTING, sent).orders] == [COLLECT]
    # Or when the provider has used it on Lightning.
    used = observed(COLLECTED, held, {COLLECT: status}, now=long_after)
    assert [one.act for one in next_step(TO_BOB, COLLECTING, used).orders] == [COLLECT]


def test_completed_means_final() -> None:
    assert isinstance(next_step(TO_BOB, COLLECTING, observed(COLLECTED, COLLECTED)).state, TakerCollecting)
    assert isinstance(next_step(TO_BOB, COLLECTING, observed(None, COLLECTED_FINALLY)).state, TakerCompleted)
    for source, destination in ((COLLECTED, COLLECTED_FINALLY), (COLLECTED_FINALLY, COLLECTED)):
        step = next_step(TO_LIGHTNING, COLLECTING, observed(source, destination))
        assert isinstance(step.state, TakerCollecting)
    step = next_step(TO_LIGHTNING, COLLECTING, observed(COLLECTED_FINALLY, COLLECTED_FINALLY))
    assert isinstance(step.state, TakerCompleted)


def test_claiming_goes_on_while_the_other_node_is_down() -> None:
    step = next_step(TO_BOB, COLLECTING, observed(None, FUNDED, {COLLECT: ActStatus.FAILED}))
    assert step.orders == (Order(COLLECT, NEW),)


def test_a_paid_taker_leaves_the_claim_to_the_provider_for_a_while_and_then_makes_it() -> None:
    grace = TO_LIGHTNING.settings.provider_grace
    soon = next_step(TO_LIGHTNING, COLLECTING, observed(FUNDED, COLLECTED_FINALLY, now=NOW + grace - 1))
    assert (soon.orders, soon.wake_at) == ((), NOW + grace)
    later = next_step(TO_LIGHTNING, COLLECTING, observed(FUNDED, COLLECTED_FINALLY, now=NOW + grace))
    assert later.orders == (Order(CLAIM_FOR_PROVIDER, NEW),)


def test_a_taker_that_is_not_surely_paid_yet_claims_nothing_for_the_provider() -> None:
    step = next_step(TO_LIGHTNING, COLLECTING, observed(FUNDED, COLLECTED, now=NOW + 9999))
    assert step.orders == ()


def test_a_paid_taker_never_refunds_of_its_own_accord() -> None:
    after = view(LegState.FUNDED, at=LATE + 9999)
    for state in OPEN_STATES[1:]:
        step = next_step(TO_LIGHTNING, state, observed(after, COLLECTED_FINALLY, now=LATE + 9999))
        assert RECLAIM not in [one.act for one in step.orders]


@BOTH
@pytest.mark.parametrize("state", OPEN_STATES[1:], ids=lambda state: state.name)
def test_from_any_open_state_a_public_preimage_leads_to_collecting(swap: Swap, state: TakerState) -> None:
    assert isinstance(next_step(swap, state, observed(COLLECTED, NOTHING)).state, TakerCollecting)
    assert isinstance(next_step(swap, state, observed(PENDING, COLLECTED)).state, TakerCollecting)


def test_that_the_own_node_knows_the_preimage_of_the_own_invoice_shows_nothing() -> None:
    open_invoice = view(LegState.NONE, preimage=PREIMAGE)
    assert next_step(TO_LIGHTNING, TakerFunded("0x1"), observed(FUNDED, open_invoice)).state == TakerFunded("0x1")


def test_a_payment_to_somebody_else_is_completed_by_the_providers_final_claim() -> None:
    step = next_step(TO_STRANGER, COLLECTING, observed(COLLECTED_FINALLY, None))
    assert isinstance(step.state, TakerCompleted)
    # The view of an own node that has no part in that invoice is not asked for.
    assert next_step(TO_STRANGER, TakerFunded("0x1"), observed(FUNDED, COLLECTED)).state == TakerFunded("0x1")


def test_nothing_follows_from_a_node_that_cannot_be_read() -> None:
    for state in OPEN_STATES:
        for swap in (TO_LIGHTNING, TO_BOB):
            step = next_step(swap, state, observed(None, None))
            assert (step.state, step.orders) == (state, ())


@pytest.mark.parametrize("swap", [TO_LIGHTNING, TO_STRANGER, TO_BOB], ids=["own", "stranger", "to_bob"])
@pytest.mark.parametrize("state", OPEN_STATES, ids=lambda state: state.name)
def test_whatever_is_observed_the_rules_of_the_taker_hold(swap: Swap, state: TakerState) -> None:
    end = deadline(swap)
    # Before funding nothing was ever sent.
    statuses = (None,) if isinstance(state, TakerAgreed) else (None, *ActStatus)
    for source, destination, now in itertools.product(views_at(NOW, end), views_at(NOW, end), (NOW, LIMIT + 1, end)):
        for status in statuses:
            acts = {} if status is None else dict.fromkeys((FUND, RECLAIM, COLLECT, CLAIM_FOR_PROVIDER), status)
            step = next_step(swap, state, observed(source, destination, acts, now=now))
            check_rules(swap, state, source, destination, now, status, step)


def check_rules(
    swap: Swap,
    state: TakerState,
    source: LegView | None,
    destination: LegView | None,
    now: int,
    status: ActStatus | None,
    step: Step,
) -> None:
    after, acts = step.state, [one.act for one in step.orders]
    assert len(acts) <= 1
    out = any(one is not None and one.preimage is not None for one in (source, destination))
    if FUND in acts:
        assert now <= swap.terms.fund_by
        assert isinstance(state, TakerAgreed | TakerFunding)
        assert step.orders[0].manner is AGAIN or isinstance(state, TakerAgreed)
    if RECLAIM in acts:
        assert source is not None
        assert source.clock.chain_time >= deadline(swap)
        assert source.state in (LegState.PENDING, LegState.FUNDED)
        assert not (swap.made_preimage and out)
    if COLLECT in acts:
        assert destination is not None
        assert destination.state in (LegState.PENDING, LegState.FUNDED)
        first = not isinstance(state, TakerCollecting)
        assert not first or (destination.state is LegState.FUNDED and now <= swap.terms.collect_by)
        # An intent that was never sent is the one case in which nobody can know the preimage.
        assert out or status is not ActStatus.UNSEEN or now <= swap.terms.collect_by
    if isinstance(after, TakerAbandoned) and not isinstance(state, TakerAgreed):
        assert source is not None
        assert source.over
    if isinstance(after, TakerRefunded):
        assert source is not None
        assert source.over or source.final
    if isinstance(after, TakerCompleted):
        assert isinstance(state, TakerCollecting)
        known = source if swap is TO_STRANGER else destination
        assert known is not None
        assert known.final
    if isinstance(state, TakerCollecting):
        assert isinstance(after, TakerCollecting | TakerCompleted | TakerRefunded)
