"""The provider's decisions, one test each."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from layer2.legs.block_times import Span
from layer2.legs.views import ActStatus, LegState, LegView, Verb
from layer2.swap_rules.decisions import declined, next_step
from layer2.swap_rules.machine import Act, ActView, LegEnd, Manner, Order, Step, Swap
from layer2.swap_rules.provider_machine import COLLECT, FUND, RELEASE
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
)
from layer2.swap_rules.timelocks import needed_on_source
from swap_rules import scenes
from swap_rules.example_terms import NOW, PREIMAGE
from swap_rules.scenes import (
    COLLECTED,
    COLLECTED_FINALLY,
    DONE,
    FAILED,
    FUNDED,
    LOST,
    NEVER,
    NOTHING,
    OVER,
    PENDING,
    RETURNED,
    UNSENT,
    deadline,
    held,
    observed,
    provider,
    view,
    views_at,
)

ALL = {name: provider(swap) for name, swap in scenes.ALL.items()}
TO_LIGHTNING, TO_BOB, TO_ROOTSTOCK = ALL["to_lightning"], ALL["to_bob"], ALL["to_rootstock"]
TO_BITCOIN, FROM_BITCOIN = ALL["to_bitcoin"], ALL["from_bitcoin"]
EVERY = pytest.mark.parametrize("swap", ALL.values(), ids=ALL.keys())
RECLAIM, VOID = Act(Verb.RECLAIM, LegEnd.DESTINATION), Act(Verb.VOID, LegEnd.DESTINATION)
NEW, AGAIN = Manner.NEW, Manner.AGAIN
NEEDED: Span = needed_on_source(TO_BOB.terms, NOW, None, TO_BOB.settings)
ENOUGH = NEEDED.in_blocks(TO_BOB.settings.bitcoin) + 21
END = TO_BOB.terms.destination.refundable_from or 0
COUNTER_FUNDING = ProviderCounterFunding("0xabc")
COUNTER_FUNDED = ProviderCounterFunded("0xabc", "0x2")
COLLECTING = ProviderCollecting("0xabc", "0x2", has_arrived=False)
REFUNDING = ProviderRefunding("0xabc", "0x2", "why")
RELEASING = ProviderReleasing("0xabc", None, "why")
RELEASED = ProviderReleased("0xabc", None, "why")
OPEN_STATES: tuple[ProviderState, ...] = (
    ProviderAgreed(), COUNTER_FUNDING, COUNTER_FUNDED, COLLECTING, REFUNDING, RELEASING,
)  # fmt: skip


def acts_of(step: Step) -> list[object]:
    return [one.act for one in step.orders]


@EVERY
def test_a_decoy_or_a_funding_that_is_not_settled_is_waited_for(swap: Swap) -> None:
    for source in (NOTHING, PENDING, None):
        step = next_step(swap, ProviderAgreed(), observed(source, NOTHING))
        assert isinstance(step.state, ProviderAgreed)
        assert step.orders == ()


@EVERY
def test_a_funding_that_is_not_settled_is_noted_and_forgotten_if_it_goes_away(swap: Swap) -> None:
    seen = next_step(swap, ProviderAgreed(), observed(PENDING, NOTHING))
    assert (seen.state, seen.event) == (ProviderAgreed(PENDING.tx_id), "the funding is visible")
    assert next_step(swap, seen.state, observed(None, NOTHING)).state == seen.state
    assert next_step(swap, seen.state, observed(PENDING, NOTHING)).state == seen.state
    gone = next_step(swap, seen.state, observed(NOTHING, NOTHING))
    assert (gone.state, gone.event) == (ProviderAgreed(), "the funding is gone")


@EVERY
def test_the_destination_is_funded_once_after_the_source_is(swap: Swap) -> None:
    step = next_step(swap, ProviderAgreed(), observed(FUNDED, NOTHING))
    assert (step.state, step.orders) == (COUNTER_FUNDING, (Order(FUND, NEW),))


@EVERY
@pytest.mark.parametrize("destination", [PENDING, FUNDED, RETURNED, OVER, COLLECTED])
@pytest.mark.parametrize("source", [FUNDED, COLLECTED, RETURNED, None])
def test_a_funding_that_an_old_journal_forgot_is_not_repeated(
    swap: Swap, source: LegView | None, destination: LegView
) -> None:
    step = next_step(swap, ProviderAgreed(), observed(source, destination))
    assert isinstance(step.state, ProviderCounterFunding)
    assert step.orders == ()


@EVERY
def test_a_source_that_is_reorganised_away_is_not_paid_for(swap: Swap) -> None:
    for source in (NOTHING, PENDING, None):
        assert next_step(swap, ProviderAgreed("0xabc"), observed(source, NOTHING)).orders == ()
    gone = next_step(swap, ProviderAgreed("0xabc"), observed(RETURNED, NOTHING))
    assert isinstance(gone.state, ProviderReleasing)


@EVERY
def test_nothing_is_paid_too_late(swap: Swap) -> None:
    step = next_step(swap, ProviderAgreed(), observed(FUNDED, NOTHING, now=swap.terms.counter_fund_by + 1))
    assert isinstance(step.state, ProviderReleasing)
    assert acts_of(step) == [RELEASE]


@EVERY
def test_nothing_is_paid_under_a_preimage_that_is_public_already(swap: Swap) -> None:
    public = replace(FUNDED, preimage=PREIMAGE)
    step = next_step(swap, ProviderAgreed(), observed(public, NOTHING))
    assert isinstance(step.state, ProviderReleasing)


def test_an_invoice_that_is_about_to_expire_is_not_paid_under_any_terms() -> None:
    # Such terms would not have been signed, because the invoice expires earlier; the machine does not rely on it.
    loose = replace(TO_LIGHTNING, terms=replace(TO_LIGHTNING.terms, counter_fund_by=NOW + 10_000))
    last = loose.terms.destination.last_funding(loose.settings)
    assert last is not None
    assert acts_of(next_step(loose, ProviderAgreed(), observed(FUNDED, NOTHING, now=last))) == [FUND]
    assert acts_of(next_step(loose, ProviderAgreed(), observed(FUNDED, NOTHING, now=last + 1))) == [RELEASE]
    node_ahead = view(LegState.NONE, at=last + 1)
    assert acts_of(next_step(loose, ProviderAgreed(), observed(FUNDED, node_ahead, now=last))) == [RELEASE]


@pytest.mark.parametrize("swap", [TO_LIGHTNING, TO_ROOTSTOCK, TO_BITCOIN])
def test_a_source_whose_deadline_is_too_early_is_released_not_paid_for(swap: Swap) -> None:
    early = replace(swap, terms=replace(swap.terms, source=replace(swap.terms.source, deadline=NOW + 600)))  # type: ignore[type-var]  # every leg is a dataclass
    step = next_step(early, ProviderAgreed(), observed(FUNDED, NOTHING))
    assert acts_of(step) == [RELEASE]
    assert isinstance(step.state, ProviderReleasing)
    assert "too early" in step.state.reason


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (held(ENOUGH - 1), "blocks left"),
        (held(ENOUGH, parts=17), "17 parts"),
        (held(ENOUGH, smallest_part_msat=999), "not worth its own claim"),
        (replace(FUNDED, held=None), "does not show"),
    ],
)
def test_a_held_payment_that_could_not_be_settled_safely_is_cancelled_at_once(source: LegView, reason: str) -> None:
    step = next_step(TO_BOB, ProviderAgreed(), observed(source, NOTHING))
    assert acts_of(step) == [RELEASE]
    assert isinstance(step.state, ProviderReleasing)
    assert reason in step.state.reason
    assert acts_of(next_step(TO_BOB, ProviderAgreed(), observed(held(ENOUGH), NOTHING))) == [FUND]


def test_an_invoice_that_was_not_paid_by_then_is_cancelled() -> None:
    late = observed(NOTHING, NOTHING, now=TO_BOB.terms.source.lands_by(TO_BOB.terms.fund_by, TO_BOB.settings) + 1)
    assert acts_of(next_step(TO_BOB, ProviderAgreed(), late)) == [RELEASE]


@pytest.mark.parametrize("swap", [TO_LIGHTNING, TO_ROOTSTOCK])
def test_a_swap_that_is_not_funded_in_time_is_forgotten_and_a_late_lock_is_given_back(swap: Swap) -> None:
    late = swap.terms.source.lands_by(swap.terms.fund_by, swap.settings) + 1
    waiting = next_step(swap, ProviderAgreed(), observed(NOTHING, NOTHING, now=late))
    assert isinstance(waiting.state, ProviderReleasing)
    assert waiting.orders == ()
    ended = next_step(swap, waiting.state, observed(NOTHING, NOTHING, now=late))
    assert isinstance(ended.state, ProviderReleased)
    came = next_step(swap, ended.state, observed(FUNDED, NOTHING, now=late))
    assert isinstance(came.state, ProviderReleasing)
    assert acts_of(came) == [RELEASE]
    # A release that is under way is not started again.
    assert next_step(swap, ended.state, observed(FUNDED, NOTHING, {RELEASE: DONE}, now=late)).state == ended.state


@EVERY
def test_a_payment_that_cannot_be_made_releases_the_source(swap: Swap) -> None:
    step = declined(swap, ProviderAgreed(), observed(FUNDED, NOTHING), "no liquidity")
    assert acts_of(step) == [RELEASE]
    assert isinstance(step.state, ProviderReleasing)
    assert step.state.reason == "no liquidity"
    # After the decision to pay, nothing can decline it.
    assert declined(swap, COUNTER_FUNDING, observed(FUNDED, NOTHING), "no").state == COUNTER_FUNDING


@pytest.mark.parametrize("destination", [NOTHING, PENDING, None, NEVER])
@pytest.mark.parametrize("status", [ActStatus.UNSEEN, ActStatus.UNDER_WAY])
def test_a_payment_that_may_have_left_is_neither_repeated_nor_released(
    destination: LegView | None, status: ActStatus
) -> None:
    acts = {FUND: ActView(status, is_out=True)}
    step = next_step(TO_LIGHTNING, COUNTER_FUNDING, observed(FUNDED, destination, acts, now=NOW + 100_000))
    assert (step.state, step.orders) == (COUNTER_FUNDING, ())


def test_the_sources_deadline_ends_the_wait_for_a_payment_that_the_node_knows_nothing_of() -> None:
    step = next_step(TO_LIGHTNING, COUNTER_FUNDING, observed(OVER, NEVER, {FUND: LOST}))
    assert isinstance(step.state, ProviderReleasing)


def test_a_payment_that_failed_by_a_message_releases_the_lock_at_once() -> None:
    step = next_step(TO_LIGHTNING, COUNTER_FUNDING, observed(FUNDED, OVER, {FUND: FAILED}))
    assert isinstance(step.state, ProviderReleasing)
    assert acts_of(step) == [RELEASE]


@EVERY
def test_a_funding_that_surely_never_left_is_sent_while_it_is_time_and_then_released_at_once(swap: Swap) -> None:
    seen = observed(FUNDED, NOTHING, {FUND: UNSENT})
    assert next_step(swap, COUNTER_FUNDING, seen).orders == (Order(FUND, AGAIN),)
    assert next_step(swap, COUNTER_FUNDING, replace(seen, source=PENDING)).orders == ()
    late = next_step(swap, COUNTER_FUNDING, replace(seen, now=swap.terms.counter_fund_by + 1))
    assert isinstance(late.state, ProviderReleasing)


def test_a_lock_that_the_node_lost_is_sent_again_only_while_its_margins_hold() -> None:
    enough = observed(held(ENOUGH), NOTHING, {FUND: LOST})
    assert next_step(TO_BOB, COUNTER_FUNDING, enough).orders == (Order(FUND, AGAIN),)
    assert next_step(TO_BOB, COUNTER_FUNDING, observed(held(ENOUGH - 1), NOTHING, {FUND: LOST})).orders == ()
    # Also after a reorganisation has removed it.
    assert next_step(TO_BOB, COUNTER_FUNDED, enough).orders == (Order(FUND, AGAIN),)


def test_a_lock_that_is_known_never_to_land_releases_the_source_at_once() -> None:
    step = next_step(TO_BOB, COUNTER_FUNDING, observed(held(ENOUGH), NOTHING, {FUND: FAILED}))
    assert acts_of(step) == [RELEASE]


def test_the_own_lock_is_taken_back_after_the_deadline_and_only_then_the_invoice_is_cancelled() -> None:
    source = held(ENOUGH)
    before = next_step(TO_BOB, COUNTER_FUNDED, observed(source, view(LegState.FUNDED, at=END - 1), now=END + 500))
    assert before.state == COUNTER_FUNDED
    at = next_step(TO_BOB, COUNTER_FUNDED, observed(source, view(LegState.FUNDED, at=END)))
    assert isinstance(at.state, ProviderRefunding)
    assert at.orders == (Order(RECLAIM, NEW),)
    # Mined and visible at the latest block: a reorganisation could still let the taker claim.
    assert next_step(TO_BOB, at.state, observed(source, RETURNED, {RECLAIM: DONE})).orders == ()
    over = next_step(TO_BOB, at.state, observed(source, OVER, {RECLAIM: DONE}))
    assert acts_of(over) == [RELEASE]


def test_the_own_lock_is_taken_back_while_the_sources_node_is_down() -> None:
    at = next_step(TO_ROOTSTOCK, COUNTER_FUNDED, observed(None, view(LegState.FUNDED, at=2**31)))
    assert at.orders == (Order(RECLAIM, NEW),)


def test_a_funding_that_does_not_lapse_is_voided_after_its_deadline() -> None:
    after = view(LegState.NONE, at=2**31)
    step = next_step(TO_BITCOIN, COUNTER_FUNDING, observed(FUNDED, after, {FUND: LOST}, now=2**31))
    assert isinstance(step.state, ProviderRefunding)
    assert step.orders == (Order(VOID, NEW),)
    # No funding at the deadline is not the end if a funding may still be confirmed.
    waiting = next_step(TO_BITCOIN, step.state, observed(FUNDED, after, {FUND: LOST, VOID: scenes.UNDER_WAY}))
    assert isinstance(waiting.state, ProviderRefunding)
    # There is nothing to void if nothing was sent.
    never = next_step(TO_BITCOIN, COUNTER_FUNDING, observed(FUNDED, after, {FUND: UNSENT}))
    assert isinstance(never.state, ProviderReleasing)


def test_a_refund_that_reverted_is_not_a_refund() -> None:
    after = view(LegState.FUNDED, at=END)
    step = next_step(TO_BOB, REFUNDING, observed(held(ENOUGH), after, {RECLAIM: FAILED}))
    assert (step.state, step.orders) == (REFUNDING, (Order(RECLAIM, NEW),))


def test_a_claim_that_wins_the_race_with_the_refund_leads_to_collecting() -> None:
    step = next_step(TO_BOB, REFUNDING, observed(held(ENOUGH), COLLECTED, {RECLAIM: FAILED}))
    assert isinstance(step.state, ProviderCollecting)
    assert acts_of(next_step(TO_BOB, step.state, observed(held(ENOUGH), COLLECTED))) == [COLLECT]


def test_a_preimage_in_a_claim_that_lost_the_race_is_not_used() -> None:
    refunded = view(LegState.RETURNED, final=True, over=True, preimage=PREIMAGE)
    step = next_step(TO_BOB, REFUNDING, observed(held(ENOUGH), refunded))
    assert acts_of(step) == [RELEASE]


@EVERY
@pytest.mark.parametrize("state", [ProviderAgreed("0xabc"), RELEASING, RELEASED], ids=lambda state: state.name)
def test_a_provider_that_never_paid_never_collects_though_the_preimage_is_public(
    swap: Swap, state: ProviderState
) -> None:
    public = replace(FUNDED, preimage=PREIMAGE)
    for source in (public, replace(PENDING, preimage=PREIMAGE)):
        step = next_step(swap, state, observed(source, NEVER))
        assert not isinstance(step.state, ProviderCollecting)
        assert COLLECT not in acts_of(step)


@EVERY
@pytest.mark.parametrize("state", [COUNTER_FUNDING, COUNTER_FUNDED, REFUNDING], ids=lambda state: state.name)
def test_a_destination_that_is_collected_leads_to_collecting(swap: Swap, state: ProviderState) -> None:
    step = next_step(swap, state, observed(FUNDED, COLLECTED))
    assert isinstance(step.state, ProviderCollecting)


@pytest.mark.parametrize("status", [None, LOST, FAILED])
@EVERY
def test_once_the_destination_is_collected_collecting_never_stops(swap: Swap, status: ActView | None) -> None:
    acts = {} if status is None else {COLLECT: status}
    long_after = deadline(swap) + 100_000
    seen = observed(view(LegState.FUNDED, at=long_after), None, acts, now=long_after)
    assert acts_of(next_step(swap, COLLECTING, seen)) == [COLLECT]


@EVERY
def test_completed_means_final(swap: Swap) -> None:
    arrived = next_step(swap, COLLECTING, observed(COLLECTED, COLLECTED))
    assert arrived.state == replace(COLLECTING, destination_tx_id="0xabc", has_arrived=True)
    assert isinstance(next_step(swap, COLLECTING, observed(COLLECTED_FINALLY, None)).state, ProviderCompleted)


@EVERY
def test_a_provider_that_lost_the_race_for_the_source_reports_it(swap: Swap) -> None:
    lost = next_step(swap, COLLECTING, observed(OVER, COLLECTED_FINALLY))
    assert isinstance(lost.state, ProviderLost)
    assert lost.state.is_final


@EVERY
def test_released_means_that_the_source_is_over(swap: Swap) -> None:
    assert next_step(swap, RELEASING, observed(RETURNED, NOTHING)).state == RELEASING
    assert isinstance(next_step(swap, RELEASING, observed(OVER, NOTHING)).state, ProviderReleased)
    assert isinstance(next_step(swap, RELEASING, observed(NEVER, NOTHING)).state, ProviderReleased)


def test_a_release_by_signature_ends_with_the_signature() -> None:
    waiting = next_step(FROM_BITCOIN, RELEASING, observed(FUNDED, NOTHING))
    assert acts_of(waiting) == [RELEASE]
    given = next_step(FROM_BITCOIN, RELEASING, observed(FUNDED, NOTHING, {RELEASE: DONE}))
    assert isinstance(given.state, ProviderReleased)


def test_nothing_follows_from_a_node_that_cannot_be_read() -> None:
    for state, swap in itertools.product(OPEN_STATES, ALL.values()):
        step = next_step(swap, state, observed(None, None))
        assert (step.state, step.orders) == (state, ())


@EVERY
@pytest.mark.parametrize("state", OPEN_STATES, ids=lambda state: state.name)
def test_the_rules_of_the_provider_hold_for_every_observation(swap: Swap, state: ProviderState) -> None:
    end, late = deadline(swap), swap.terms.counter_fund_by + 1
    sources = [*views_at(NOW, end), held(ENOUGH), held(ENOUGH - 1)]
    known = [ActView(status, is_out) for status in ActStatus for is_out in (True, False)]
    statuses: list[ActView | None] = [None] if isinstance(state, ProviderAgreed) else [None, *known]
    for source, destination, now in itertools.product(sources, views_at(NOW, end), (NOW, late, end)):
        for status in statuses:
            acts = {} if status is None else dict.fromkeys((FUND, RECLAIM, COLLECT, RELEASE, VOID), status)
            step = next_step(swap, state, observed(source, destination, acts, now=now))
            check_rules(swap, state, source, destination, now, status, step)


def check_rules(
    swap: Swap,
    state: ProviderState,
    source: LegView | None,
    destination: LegView | None,
    now: int,
    status: ActView | None,
    step: Step,
) -> None:
    after, acts = step.state, [one.act for one in step.orders]
    # A funding that may or may not be confirmed is taken back in both ways: only one of both transactions is valid.
    assert len(acts) <= 1 or (acts == [RECLAIM, VOID] and not swap.terms.destination.lapses)
    chose_pay = isinstance(state, ProviderCounterFunding | ProviderCounterFunded | ProviderRefunding)
    never_left = status is None or not status.is_out or status.status is ActStatus.FAILED
    if FUND in acts:
        assert isinstance(state, ProviderAgreed | ProviderCounterFunding | ProviderCounterFunded)
        assert (step.orders[0].manner is NEW) == (not chose_pay)
        assert source is not None
        assert source.state is LegState.FUNDED
        limit = swap.terms.collect_by if isinstance(state, ProviderCounterFunded) else swap.terms.counter_fund_by
        assert now <= limit
    if isinstance(after, ProviderReleasing) and chose_pay:
        assert destination is not None
        over = destination.over or destination.final or (destination.state is LegState.NONE and never_left)
        # The wait for a payment that the node does not show ends at the source's deadline.
        ended = source is not None and (source.over or swap.terms.source.is_past(source.clock))
        assert over or ended
    if RECLAIM in acts:
        assert destination is not None
        assert swap.terms.destination.is_past(destination.clock)
    if COLLECT in acts:
        assert isinstance(after, ProviderCollecting)
    if isinstance(after, ProviderCollecting) and not isinstance(state, ProviderCollecting):
        assert chose_pay
        assert destination is not None
        assert destination.state is LegState.COLLECTED
    if isinstance(after, ProviderCompleted | ProviderLost):
        assert source is not None
        assert source.final or source.over
    if isinstance(state, ProviderReleasing):
        assert isinstance(after, ProviderReleasing | ProviderReleased)
    if isinstance(state, ProviderCollecting):
        assert isinstance(after, ProviderCollecting | ProviderCompleted | ProviderLost)
