"""The provider's decisions, one sentence each."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from layer2.swap_rules.decisions import declined, next_step
from layer2.swap_rules.legs import ActStatus, LegState, LegView
from layer2.swap_rules.machine import Manner, Order, Step, Swap
from layer2.swap_rules.provider_machine import COLLECT, FUND, RECLAIM, RELEASE
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
from layer2.swap_rules.timelocks import last_payment_time, min_blocks_left_for
from layer2.terms import EvmLeg
from swap_rules.example_terms import NOW, PREIMAGE
from swap_rules.scenes import (
    COLLECTED,
    COLLECTED_FINALLY,
    FUNDED,
    NEVER,
    NOTHING,
    OVER,
    PENDING,
    PROVIDER_TO_BOB,
    PROVIDER_TO_LIGHTNING,
    RETURNED,
    deadline,
    held,
    observed,
    view,
    views_at,
)

TO_LIGHTNING, TO_BOB = PROVIDER_TO_LIGHTNING, PROVIDER_TO_BOB
BOTH = pytest.mark.parametrize("swap", [TO_LIGHTNING, TO_BOB], ids=["to_lightning", "to_bob"])
NEW, AGAIN = Manner.NEW, Manner.AGAIN
END = deadline(TO_BOB)
LOCKED, HELD = ProviderLocked("0x1"), ProviderHeld("0x1")
COUNTER_FUNDING = ProviderCounterFunding("0x1")
COUNTER_FUNDED = ProviderCounterFunded("0x1", "0x2")
COLLECTING = ProviderCollecting("0x1", "0x2")
REFUNDING = ProviderRefunding("0x1", "0x2", "why")
RELEASING = ProviderReleasing("0x1", None, "why")
ENOUGH = min_blocks_left_for(END, NOW, TO_BOB.settings)
OPEN_STATES: tuple[ProviderState, ...] = (
    ProviderAgreed(), LOCKED, HELD, COUNTER_FUNDING, COUNTER_FUNDED, COLLECTING, REFUNDING, RELEASING,
)  # fmt: skip


def funded_source(swap: Swap) -> tuple[ProviderHeld | ProviderLocked, LegView]:
    return (LOCKED, FUNDED) if swap is TO_LIGHTNING else (HELD, held(ENOUGH))


def acts_of(step: Step) -> list[object]:
    return [one.act for one in step.orders]


@BOTH
def test_a_decoy_or_a_lock_that_is_not_final_is_waited_for(swap: Swap) -> None:
    for source in (NOTHING, PENDING, None):
        step = next_step(swap, ProviderAgreed(), observed(source, NOTHING))
        assert isinstance(step.state, ProviderAgreed)
        assert step.orders == ()


def test_a_lock_that_is_not_final_is_noted_and_forgotten_if_it_goes_away() -> None:
    seen = next_step(TO_LIGHTNING, ProviderAgreed(), observed(PENDING, NOTHING))
    assert (seen.state, seen.event) == (ProviderAgreed(PENDING.tx_id), "the lock is seen")
    assert next_step(TO_LIGHTNING, seen.state, observed(None, NOTHING)).state == seen.state
    assert next_step(TO_LIGHTNING, seen.state, observed(PENDING, NOTHING)).state == seen.state
    gone = next_step(TO_LIGHTNING, seen.state, observed(NOTHING, NOTHING))
    assert (gone.state, gone.event) == (ProviderAgreed(), "the lock is gone")
    assert next_step(TO_BOB, ProviderAgreed(), observed(PENDING, NOTHING)).state == ProviderAgreed()


@BOTH
def test_the_destination_is_funded_once_after_the_source_is(swap: Swap) -> None:
    state, source = funded_source(swap)
    first = next_step(swap, ProviderAgreed(), observed(source, NOTHING))
    assert (first.state, first.orders) == (replace(state, source_tx_id="0xabc"), ())
    second = next_step(swap, state, observed(source, NOTHING))
    assert (second.state, second.orders) == (COUNTER_FUNDING, (Order(FUND, NEW),))


@BOTH
@pytest.mark.parametrize("destination", [PENDING, FUNDED, RETURNED, OVER])
def test_a_funding_that_an_old_journal_forgot_is_not_repeated(swap: Swap, destination: LegView) -> None:
    state, source = funded_source(swap)
    step = next_step(swap, state, observed(source, destination))
    assert (step.state, step.orders) == (COUNTER_FUNDING, ())


@BOTH
def test_a_source_lock_that_is_reorganised_away_is_not_paid_for(swap: Swap) -> None:
    state, _ = funded_source(swap)
    for source in (NOTHING, PENDING, None):
        assert next_step(swap, state, observed(source, NOTHING)).orders == ()
    gone = next_step(swap, state, observed(RETURNED, NOTHING))
    assert isinstance(gone.state, ProviderReleasing)


@BOTH
def test_nothing_is_paid_too_late(swap: Swap) -> None:
    state, source = funded_source(swap)
    step = next_step(swap, state, observed(source, NOTHING, now=swap.terms.counter_fund_by + 1))
    assert isinstance(step.state, ProviderReleasing)
    assert acts_of(step) == [RELEASE]


def test_an_invoice_that_is_about_to_expire_is_not_paid_whatever_the_terms_say() -> None:
    # Terms with a later last moment than the invoice allows would not have been signed; this does not rely on it.
    loose = replace(TO_LIGHTNING, terms=replace(TO_LIGHTNING.terms, counter_fund_by=NOW + 10_000))
    last = last_payment_time(NOW + loose.settings.own_invoice_expiry, loose.settings)
    assert acts_of(next_step(loose, LOCKED, observed(FUNDED, NOTHING, now=last))) == [FUND]
    assert acts_of(next_step(loose, LOCKED, observed(FUNDED, NOTHING, now=last + 1))) == [RELEASE]
    node_ahead = view(LegState.NONE, at=last + 1)
    assert acts_of(next_step(loose, LOCKED, observed(FUNDED, node_ahead, now=last))) == [RELEASE]


def test_a_lock_whose_deadline_is_too_early_is_released_not_paid_for() -> None:
    source = TO_LIGHTNING.terms.source
    assert isinstance(source, EvmLeg)
    early = replace(TO_LIGHTNING, terms=replace(TO_LIGHTNING.terms, source=replace(source, deadline=END)))
    step = next_step(early, LOCKED, observed(FUNDED, NOTHING))
    assert acts_of(step) == [RELEASE]
    assert isinstance(step.state, ProviderReleasing)
    assert "too early" in step.state.reason


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (held(ENOUGH - 1), "blocks left"),
        (held(ENOUGH, parts=17), "17 parts"),
        (held(ENOUGH, smallest_part_msat=999), "not worth its own claim"),
        (held(ENOUGH, parts=None), "does not say"),
        (held(ENOUGH, expiry_height=None), "does not say"),
        (held(ENOUGH, smallest_part_msat=None), "does not say"),
    ],
)
def test_a_held_payment_that_could_not_be_settled_safely_is_cancelled_at_once(source: LegView, reason: str) -> None:
    step = next_step(TO_BOB, HELD, observed(source, NOTHING))
    assert acts_of(step) == [RELEASE]
    assert isinstance(step.state, ProviderReleasing)
    assert reason in step.state.reason


def test_an_invoice_that_nobody_paid_by_then_is_cancelled() -> None:
    late = observed(NOTHING, NOTHING, now=TO_BOB.terms.counter_fund_by + 1)
    assert acts_of(next_step(TO_BOB, ProviderAgreed(), late)) == [RELEASE]


def test_a_lock_that_comes_too_late_is_still_watched_for_and_released() -> None:
    late = TO_LIGHTNING.terms.counter_fund_by + 1
    waiting = next_step(TO_LIGHTNING, ProviderAgreed(), observed(NOTHING, NOTHING, now=late))
    assert isinstance(waiting.state, ProviderReleasing)
    assert waiting.orders == ()
    assert next_step(TO_LIGHTNING, waiting.state, observed(NOTHING, NOTHING, now=late)).state == waiting.state
    came = next_step(TO_LIGHTNING, waiting.state, observed(FUNDED, NOTHING, now=late))
    assert acts_of(came) == [RELEASE]
    assert isinstance(next_step(TO_LIGHTNING, waiting.state, observed(NEVER, NOTHING)).state, ProviderReleased)


@BOTH
def test_a_payment_that_cannot_be_made_releases_the_source(swap: Swap) -> None:
    state, source = funded_source(swap)
    step = declined(swap, state, observed(source, NOTHING), "no liquidity")
    assert acts_of(step) == [RELEASE]
    assert isinstance(step.state, ProviderReleasing)
    assert step.state.reason == "no liquidity"
    # Once *pay* was chosen nothing declines it.
    assert declined(swap, COUNTER_FUNDING, observed(source, NOTHING), "no").state == COUNTER_FUNDING


@pytest.mark.parametrize("destination", [NOTHING, PENDING, None, RETURNED])
@pytest.mark.parametrize("status", [None, *ActStatus])
def test_a_payment_whose_outcome_is_unknown_is_neither_repeated_nor_released(
    destination: LegView | None, status: ActStatus | None
) -> None:
    acts = {} if status is None else {FUND: status}
    step = next_step(TO_LIGHTNING, COUNTER_FUNDING, observed(FUNDED, destination, acts, now=NOW + 100_000))
    assert (step.state, step.orders) == (COUNTER_FUNDING, ())


def test_a_payment_that_is_surely_over_releases_the_lock_at_once() -> None:
    for destination in (OVER, NEVER):
        step = next_step(TO_LIGHTNING, COUNTER_FUNDING, observed(FUNDED, destination, {FUND: ActStatus.FAILED}))
        assert isinstance(step.state, ProviderReleasing)
        assert acts_of(step) == [RELEASE]


def test_a_payment_that_never_left_this_process_may_be_sent_while_it_is_time() -> None:
    lost = {FUND: ActStatus.UNSEEN}
    seen = observed(FUNDED, NOTHING, lost, unsent=[FUND])
    assert next_step(TO_LIGHTNING, COUNTER_FUNDING, seen).orders == (Order(FUND, AGAIN),)
    late = replace(seen, now=TO_LIGHTNING.terms.counter_fund_by + 1)
    assert next_step(TO_LIGHTNING, COUNTER_FUNDING, late).orders == ()
    assert next_step(TO_LIGHTNING, COUNTER_FUNDING, replace(seen, source=PENDING)).orders == ()


def test_a_lock_that_the_node_lost_is_sent_again_only_while_its_margins_hold() -> None:
    lost = {FUND: ActStatus.UNSEEN}
    enough = observed(held(ENOUGH), NOTHING, lost)
    assert next_step(TO_BOB, COUNTER_FUNDING, enough).orders == (Order(FUND, AGAIN),)
    assert next_step(TO_BOB, COUNTER_FUNDING, observed(held(ENOUGH - 1), NOTHING, lost)).orders == ()


def test_a_lock_transaction_that_reverted_is_not_made_again_and_the_invoice_stays_until_it_is_over() -> None:
    failed = {FUND: ActStatus.FAILED}
    waiting = next_step(TO_BOB, COUNTER_FUNDING, observed(held(ENOUGH), NOTHING, failed))
    assert (waiting.state, waiting.orders) == (COUNTER_FUNDING, ())
    over = next_step(TO_BOB, COUNTER_FUNDING, observed(held(ENOUGH), NEVER, failed))
    assert acts_of(over) == [RELEASE]


def test_the_own_lock_is_taken_back_after_the_deadline_and_only_then_the_invoice_is_cancelled() -> None:
    source = held(ENOUGH)
    before = next_step(TO_BOB, COUNTER_FUNDED, observed(source, view(LegState.FUNDED, at=END - 1), now=END + 500))
    assert before.state == COUNTER_FUNDED
    at = next_step(TO_BOB, COUNTER_FUNDED, observed(source, view(LegState.FUNDED, at=END)))
    assert isinstance(at.state, ProviderRefunding)
    assert at.orders == (Order(RECLAIM, NEW),)
    # Mined and seen at the latest block: a reorganisation could still let the taker claim.
    assert next_step(TO_BOB, at.state, observed(source, RETURNED, {RECLAIM: ActStatus.DONE})).orders == ()
    over = next_step(TO_BOB, at.state, observed(source, OVER, {RECLAIM: ActStatus.DONE}))
    assert acts_of(over) == [RELEASE]


def test_a_refund_that_reverted_is_not_a_refund() -> None:
    after = view(LegState.FUNDED, at=END)
    step = next_step(TO_BOB, REFUNDING, observed(held(ENOUGH), after, {RECLAIM: ActStatus.FAILED}))
    assert (step.state, step.orders) == (REFUNDING, (Order(RECLAIM, NEW),))


def test_a_claim_that_wins_the_race_with_the_refund_leads_to_collecting() -> None:
    lost = {RECLAIM: ActStatus.FAILED}
    step = next_step(TO_BOB, REFUNDING, observed(held(ENOUGH), COLLECTED, lost))
    assert isinstance(step.state, ProviderCollecting)
    assert acts_of(next_step(TO_BOB, step.state, observed(held(ENOUGH), COLLECTED, lost))) == [COLLECT]


def test_a_preimage_in_a_claim_that_lost_the_race_is_not_used() -> None:
    refunded = view(LegState.RETURNED, final=True, over=True, preimage=PREIMAGE)
    step = next_step(TO_BOB, REFUNDING, observed(held(ENOUGH), refunded))
    assert acts_of(step) == [RELEASE]


@BOTH
@pytest.mark.parametrize("state", OPEN_STATES, ids=lambda state: state.name)
def test_from_any_open_state_a_known_preimage_leads_to_collecting(swap: Swap, state: ProviderState) -> None:
    step = next_step(swap, state, observed(FUNDED, COLLECTED))
    assert isinstance(step.state, ProviderCollecting)


@pytest.mark.parametrize("status", [None, ActStatus.UNSEEN, ActStatus.FAILED])
@BOTH
def test_once_the_preimage_is_known_collecting_never_stops(swap: Swap, status: ActStatus | None) -> None:
    acts = {} if status is None else {COLLECT: status}
    long_after = deadline(swap) + 100_000
    seen = observed(view(LegState.FUNDED, at=long_after), None, acts, now=long_after)
    assert acts_of(next_step(swap, COLLECTING, seen)) == [COLLECT]


@BOTH
def test_completed_means_final(swap: Swap) -> None:
    assert isinstance(next_step(swap, COLLECTING, observed(COLLECTED, COLLECTED)).state, ProviderCollecting)
    assert isinstance(next_step(swap, COLLECTING, observed(COLLECTED_FINALLY, None)).state, ProviderCompleted)


@BOTH
def test_released_means_that_the_taker_cannot_fund_any_more(swap: Swap) -> None:
    assert next_step(swap, RELEASING, observed(RETURNED, NOTHING)).state == RELEASING
    assert isinstance(next_step(swap, RELEASING, observed(OVER, NOTHING)).state, ProviderReleased)


def test_nothing_follows_from_a_node_that_cannot_be_read() -> None:
    for state, swap in itertools.product(OPEN_STATES, (TO_LIGHTNING, TO_BOB)):
        if isinstance(state, ProviderCounterFunded) and swap is TO_LIGHTNING:
            continue
        step = next_step(swap, state, observed(None, None))
        assert (step.state, step.orders) == (state, ())


CASES = [
    (swap, state)
    for swap in (TO_LIGHTNING, TO_BOB)
    for state in OPEN_STATES
    # States that the direction does not have.
    if not (swap is TO_LIGHTNING and isinstance(state, ProviderHeld | ProviderCounterFunded | ProviderRefunding))
    and not (swap is TO_BOB and isinstance(state, ProviderLocked))
]


@pytest.mark.parametrize(
    ("swap", "state"),
    CASES,
    ids=[f"{'to_bob' if swap is TO_BOB else 'to_lightning'}-{state.name}" for swap, state in CASES],
)
def test_whatever_is_observed_the_rules_of_the_provider_hold(swap: Swap, state: ProviderState) -> None:
    end, late = deadline(swap), swap.terms.counter_fund_by + 1
    sources = [*views_at(NOW, end), held(ENOUGH), held(ENOUGH - 1)]
    acts_known = not isinstance(state, ProviderAgreed | ProviderHeld | ProviderLocked)
    statuses = (None, *ActStatus) if acts_known else (None,)
    for source, destination, now in itertools.product(sources, views_at(NOW, end), (NOW, late, end)):
        for status in statuses:
            acts = {} if status is None else dict.fromkeys((FUND, RECLAIM, COLLECT, RELEASE), status)
            step = next_step(swap, state, observed(source, destination, acts, now=now))
            check_rules(swap, state, source, destination, now, step)


def check_rules(
    swap: Swap, state: ProviderState, source: LegView | None, destination: LegView | None, now: int, step: Step
) -> None:
    after, acts = step.state, [one.act for one in step.orders]
    assert len(acts) <= 1
    chosen_pay = isinstance(state, ProviderCounterFunding | ProviderCounterFunded | ProviderRefunding)
    if FUND in acts:
        assert isinstance(state, ProviderHeld | ProviderLocked | ProviderCounterFunding)
        assert (step.orders[0].manner is NEW) == (not chosen_pay)
        assert source is not None
        assert source.state is LegState.FUNDED
        assert now <= swap.terms.counter_fund_by
    if RELEASE in acts and chosen_pay:
        assert destination is not None
        assert destination.over
    if RECLAIM in acts:
        assert destination is not None
        assert destination.clock.chain_time >= deadline(swap)
    if COLLECT in acts:
        assert isinstance(state, ProviderCollecting)
    if isinstance(after, ProviderCollecting) and not isinstance(state, ProviderCollecting):
        assert any(one is not None and one.preimage is not None for one in (source, destination))
    if isinstance(after, ProviderReleased):
        assert source is not None
        assert source.over
    if isinstance(after, ProviderCompleted):
        assert source is not None
        assert source.final
    if isinstance(state, ProviderReleasing):
        assert isinstance(after, ProviderReleasing | ProviderReleased | ProviderCollecting)
    if isinstance(state, ProviderCollecting):
        assert isinstance(after, ProviderCollecting | ProviderCompleted)
