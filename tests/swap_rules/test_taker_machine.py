"""The taker's decisions, one test each."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from layer2.legs.views import ActStatus, LegState, LegView, Release, Verb
from layer2.swap_rules.decisions import declined, next_step
from layer2.swap_rules.machine import Act, ActView, LegEnd, Manner, Order, Step, Swap
from layer2.swap_rules.states import (
    TakerAbandoned,
    TakerAgreed,
    TakerCollecting,
    TakerCompleted,
    TakerFunded,
    TakerFunding,
    TakerLost,
    TakerRefunded,
    TakerRefunding,
    TakerState,
)
from layer2.swap_rules.taker_machine import COLLECT, FUND, RELEASE
from swap_rules.example_terms import NOW, PREIMAGE
from swap_rules.scenes import (
    ALL,
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
    TO_BITCOIN,
    TO_BOB,
    TO_LIGHTNING,
    TO_ROOTSTOCK,
    TO_STRANGER,
    UNDER_WAY,
    UNSENT,
    deadline,
    held,
    observed,
    view,
    views_at,
)

RECLAIM, VOID = Act(Verb.RECLAIM, LegEnd.SOURCE), Act(Verb.VOID, LegEnd.SOURCE)
LATE = deadline(TO_LIGHTNING)
LIMIT = TO_BOB.terms.collect_by
COLLECTING = TakerCollecting("0x1", "0x2", has_arrived=False, final_at=None)
REFUNDING = TakerRefunding("0x1", "why")
EVERY = pytest.mark.parametrize("swap", ALL.values(), ids=ALL.keys())
NEW, AGAIN = Manner.NEW, Manner.AGAIN


def on_source(step: Step) -> tuple[Order, ...]:
    return tuple(each for each in step.orders if each.act.end is LegEnd.SOURCE)


OPEN_STATES: tuple[TakerState, ...] = (TakerAgreed(), TakerFunding(), TakerFunded("0x1"), COLLECTING, REFUNDING)


@EVERY
def test_agreed_terms_are_funded_once(swap: Swap) -> None:
    step = next_step(swap, TakerAgreed(), observed(NOTHING, NOTHING))
    assert (step.state, step.orders) == (TakerFunding(), (Order(FUND, NEW),))


@EVERY
def test_nothing_is_funded_after_fund_by(swap: Swap) -> None:
    step = next_step(swap, TakerAgreed(), observed(NOTHING, NOTHING, now=swap.terms.fund_by + 1))
    assert isinstance(step.state, TakerAbandoned)
    assert "time to begin funding is over" in step.state.reason
    assert step.orders == ()


@EVERY
def test_nothing_is_funded_when_a_margin_is_broken(swap: Swap) -> None:
    broken = replace(swap, settings=replace(swap.settings, max_lock=1, max_cltv_limit=1))
    assert isinstance(next_step(broken, TakerAgreed(), observed(NOTHING, NOTHING)).state, TakerAbandoned)


@EVERY
def test_a_preimage_that_is_public_before_funding_means_that_the_swap_went_on_elsewhere(swap: Swap) -> None:
    # From an old copy of the journal, "nothing was locked" would be false.
    step = next_step(swap, TakerAgreed(), observed(NOTHING, COLLECTED))
    assert isinstance(step.state, TakerCollecting)
    ended = next_step(swap, step.state, observed(COLLECTED_FINALLY, COLLECTED_FINALLY))
    assert isinstance(ended.state, TakerCompleted)
    never = next_step(swap, COLLECTING, observed(NEVER, NEVER))
    assert never.state == TakerAbandoned("no money was locked on either side")


@EVERY
@pytest.mark.parametrize("source", [PENDING, FUNDED, RETURNED])
def test_a_funding_that_an_old_journal_forgot_is_not_repeated(swap: Swap, source: LegView) -> None:
    step = next_step(swap, TakerAgreed(), observed(source, NOTHING))
    assert (step.state, step.orders) == (TakerFunding(), ())


@EVERY
def test_a_funding_that_cannot_be_made_ends_the_transfer_with_nothing_spent(swap: Swap) -> None:
    seen = observed(NOTHING, NOTHING)
    assert declined(swap, TakerAgreed(), seen, "no gas").state == TakerAbandoned("no gas")
    # Once the intent is durable, only an observation ends it.
    assert declined(swap, TakerFunding(), seen, "no gas").state == TakerFunding()


def test_a_lock_that_the_node_lost_is_sent_again_byte_for_byte() -> None:
    step = next_step(TO_LIGHTNING, TakerFunding(), observed(NOTHING, NOTHING, {FUND: LOST}))
    assert step.orders == (Order(FUND, AGAIN),)


def test_a_lock_is_not_sent_again_after_fund_by() -> None:
    seen = observed(NOTHING, NOTHING, {FUND: LOST}, now=TO_LIGHTNING.terms.fund_by + 1)
    assert next_step(TO_LIGHTNING, TakerFunding(), seen).orders == ()


@pytest.mark.parametrize("status", [DONE, UNDER_WAY])
@EVERY
def test_there_is_no_second_funding(swap: Swap, status: ActView) -> None:
    step = next_step(swap, TakerFunding(), observed(NOTHING, NOTHING, {FUND: status}))
    assert (step.state, step.orders) == (TakerFunding(), ())


def test_a_payment_that_may_have_left_is_not_repeated_even_if_the_node_does_not_know_it() -> None:
    step = next_step(TO_BOB, TakerFunding(), observed(NOTHING, NOTHING, {FUND: LOST}))
    assert step.orders == ()


@EVERY
def test_a_funding_that_surely_never_left_is_sent_until_fund_by_and_then_abandoned_at_once(swap: Swap) -> None:
    seen = observed(NOTHING, NOTHING, {FUND: UNSENT})
    assert next_step(swap, TakerFunding(), seen).orders == (Order(FUND, AGAIN),)
    late = next_step(swap, TakerFunding(), replace(seen, now=swap.terms.fund_by + 1))
    assert isinstance(late.state, TakerAbandoned)
    assert "nothing was sent" in late.state.reason


@EVERY
def test_a_funding_that_is_known_never_to_land_ends_the_transfer_at_once(swap: Swap) -> None:
    step = next_step(swap, TakerFunding(), observed(NOTHING, NOTHING, {FUND: FAILED}))
    assert isinstance(step.state, TakerAbandoned)


def test_a_payment_that_may_have_left_and_that_the_node_does_not_know_is_waited_for_while_it_can_be_in_flight() -> None:
    source = TO_BOB.terms.source
    issued_at = TO_BOB.terms.issued_at
    end = source.surely_over(issued_at, source.clock_at_issue(issued_at), TO_BOB.settings)
    for state in (TakerFunding(), TakerRefunding("h", "too late")):
        step = next_step(TO_BOB, state, observed(NEVER, NOTHING, {FUND: LOST}, now=end))
        assert step.state == state
        step = next_step(TO_BOB, state, observed(NEVER, NOTHING, {FUND: LOST}, now=end + 1))
        assert isinstance(step.state, TakerAbandoned)


def test_a_lock_that_can_no_longer_land_ends_the_transfer() -> None:
    over = next_step(TO_LIGHTNING, TakerFunding(), observed(NEVER, NOTHING, {FUND: LOST}))
    assert isinstance(over.state, TakerAbandoned)


def test_the_lock_is_not_reclaimed_before_the_deadline_by_the_chains_own_clock() -> None:
    early = view(LegState.FUNDED, at=LATE - 1)
    step = next_step(TO_LIGHTNING, TakerFunded("0x1"), observed(early, NOTHING, now=TO_LIGHTNING.terms.collect_by))
    assert step.state == TakerFunded("0x1")
    at = next_step(TO_LIGHTNING, TakerFunded("0x1"), observed(view(LegState.FUNDED, at=LATE), NOTHING))
    assert isinstance(at.state, TakerRefunding)
    assert at.orders == (Order(RECLAIM, NEW),)


@pytest.mark.parametrize("destination", [None, FUNDED, NOTHING])
@pytest.mark.parametrize("state", [TakerFunding(), TakerFunded("0x1"), REFUNDING], ids=lambda state: state.name)
def test_the_lock_is_reclaimed_after_the_deadline_regardless_of_the_other_node(
    state: TakerState, destination: LegView | None
) -> None:
    after = view(LegState.FUNDED, at=LATE) if not isinstance(state, TakerFunding) else view(LegState.PENDING, at=LATE)
    step = next_step(TO_LIGHTNING, state, observed(after, destination, now=LATE))
    assert on_source(step) == (Order(RECLAIM, NEW),)


def test_the_lock_of_a_payment_to_another_party_is_reclaimed_without_asking_another_node() -> None:
    step = next_step(TO_STRANGER, TakerFunded("0x1"), observed(view(LegState.FUNDED, at=LATE), None))
    assert step.orders == (Order(RECLAIM, NEW),)


def test_a_funding_that_does_not_lapse_is_voided_once_it_is_no_longer_wanted() -> None:
    swap = replace(TO_BITCOIN, terms=replace(TO_BITCOIN.terms, source=TO_BITCOIN.terms.destination))
    after = view(LegState.NONE, at=2**31)
    out = next_step(swap, TakerFunding(), observed(after, NOTHING, {FUND: LOST}, now=2**31))
    assert isinstance(out.state, TakerRefunding)
    assert out.orders == (Order(VOID, NEW),)
    # A funding that was certainly never sent needs no second transaction.
    unsent = next_step(swap, TakerFunding(), observed(after, NOTHING, {FUND: UNSENT}, now=2**31))
    assert isinstance(unsent.state, TakerAbandoned)


def test_a_release_signature_lets_the_payer_take_its_money_back_before_the_deadline() -> None:
    swap = replace(TO_BITCOIN, terms=replace(TO_BITCOIN.terms, source=TO_BITCOIN.terms.destination))
    assert swap.terms.source.release is Release.COSIGNED
    early = view(LegState.FUNDED, returnable=True)
    assert next_step(swap, REFUNDING, observed(early, None)).orders == (Order(RECLAIM, NEW),)
    assert next_step(swap, REFUNDING, observed(FUNDED, None)).orders == ()


def test_a_reclaim_that_reverted_is_tried_again_until_it_holds() -> None:
    after = view(LegState.FUNDED, at=LATE)
    for status, manner in ((FAILED, NEW), (LOST, AGAIN)):
        step = next_step(TO_LIGHTNING, REFUNDING, observed(after, NOTHING, {RECLAIM: status}))
        assert (step.state, on_source(step)) == (REFUNDING, (Order(RECLAIM, manner),))
    for status in (UNDER_WAY, DONE):
        assert on_source(next_step(TO_LIGHTNING, REFUNDING, observed(after, NOTHING, {RECLAIM: status}))) == ()


@pytest.mark.parametrize("destination", [NOTHING, PENDING, FUNDED])
def test_a_taker_that_refunds_returns_a_payment_that_the_provider_cannot_take_back(destination: LegView) -> None:
    for source in (PENDING, FUNDED, RETURNED):
        step = next_step(TO_LIGHTNING, REFUNDING, observed(source, destination))
        assert (step.state, step.orders) == (REFUNDING, (Order(RELEASE, NEW),))
    done = observed(FUNDED, destination, {RELEASE: DONE})
    assert next_step(TO_LIGHTNING, REFUNDING, done).orders == ()


@pytest.mark.parametrize("destination", [None, RETURNED, OVER, NEVER])
def test_a_payment_that_is_over_or_cannot_be_read_is_not_returned(destination: LegView | None) -> None:
    assert next_step(TO_LIGHTNING, REFUNDING, observed(FUNDED, destination)).orders == ()


@pytest.mark.parametrize("swap", [TO_BOB, TO_ROOTSTOCK, TO_BITCOIN], ids=["bob", "rootstock", "bitcoin"])
def test_a_destination_that_the_provider_takes_back_itself_is_left_to_it(swap: Swap) -> None:
    assert RELEASE not in {each.act for each in next_step(swap, REFUNDING, observed(FUNDED, FUNDED)).orders}


def test_a_taker_that_waits_for_the_destination_or_collects_it_returns_nothing() -> None:
    for state in (TakerFunding(), TakerFunded("0x1"), COLLECTING):
        orders = next_step(TO_LIGHTNING, state, observed(FUNDED, FUNDED)).orders
        assert RELEASE not in {each.act for each in orders}


def test_refunded_means_final() -> None:
    assert next_step(TO_LIGHTNING, REFUNDING, observed(RETURNED, NOTHING)).state == REFUNDING
    arrived = view(LegState.RETURNED, arrived=True)
    assert next_step(TO_LIGHTNING, REFUNDING, observed(arrived, NOTHING)).state == REFUNDING
    for swap in (TO_LIGHTNING, TO_BOB):
        assert isinstance(next_step(swap, REFUNDING, observed(OVER, NOTHING)).state, TakerRefunded)


def test_a_refund_that_is_reorganised_away_is_made_again() -> None:
    again = observed(view(LegState.FUNDED, at=LATE), NOTHING, {RECLAIM: LOST})
    assert on_source(next_step(TO_LIGHTNING, REFUNDING, again)) == (Order(RECLAIM, AGAIN),)


@EVERY
def test_the_preimage_is_shown_only_for_a_destination_at_the_finality_of_the_terms(swap: Swap) -> None:
    for destination in (NOTHING, PENDING, RETURNED, OVER, None):
        assert next_step(swap, TakerFunded("0x1"), observed(FUNDED, destination)).orders == ()
    step = next_step(swap, TakerFunded("0x1"), observed(FUNDED, FUNDED))
    assert isinstance(step.state, TakerCollecting)
    assert step.orders == (Order(COLLECT, NEW),)
    # The source's node is not needed for it.
    assert next_step(swap, TakerFunded("0x1"), observed(None, FUNDED)).orders == (Order(COLLECT, NEW),)


@pytest.mark.parametrize(
    ("destination", "reason"),
    [
        (held(200, parts=17), "17 parts"),
        (held(200, smallest_part_msat=1), "not worth its own claim"),
        (replace(FUNDED, held=None), "does not show how the payment is held"),
    ],
)
def test_a_payment_that_could_be_lost_in_its_parts_is_never_collected(destination: LegView, reason: str) -> None:
    step = next_step(TO_LIGHTNING, TakerFunded("0x1"), observed(FUNDED, destination))
    assert isinstance(step.state, TakerRefunding)
    assert reason in step.state.reason
    assert step.orders == ()


def test_a_held_payment_is_not_collected_when_lnd_is_about_to_give_it_up() -> None:
    assert next_step(TO_LIGHTNING, TakerFunded("0x1"), observed(FUNDED, held(21))).orders == (Order(COLLECT, NEW),)
    late = next_step(TO_LIGHTNING, TakerFunded("0x1"), observed(FUNDED, held(20)))
    assert isinstance(late.state, TakerRefunding)


def test_a_lock_that_is_reorganised_away_before_the_claim_is_waited_for_again() -> None:
    assert next_step(TO_BOB, TakerFunded("0x1"), observed(FUNDED, NOTHING)).state == TakerFunded("0x1")
    unsent = {COLLECT: UNSENT}
    assert next_step(TO_BOB, COLLECTING, observed(FUNDED, PENDING, unsent)).orders == ()


@EVERY
def test_the_preimage_is_never_shown_late(swap: Swap) -> None:
    limit = swap.terms.collect_by
    at_limit = next_step(swap, TakerFunded("0x1"), observed(FUNDED, FUNDED, now=limit))
    assert isinstance(at_limit.state, TakerCollecting)
    late = next_step(swap, TakerFunded("0x1"), observed(FUNDED, FUNDED, now=limit + 1))
    assert isinstance(late.state, TakerRefunding)
    assert "time to collect the destination safely is over" in late.state.reason
    assert late.orders == ()
    # A chain's clock may be ahead of wall time.
    ahead = next_step(swap, TakerFunded("0x1"), observed(FUNDED, view(LegState.FUNDED, at=limit + 1)))
    assert isinstance(ahead.state, TakerRefunding)


def test_the_reason_for_a_refund_is_what_happened() -> None:
    reasons = {
        name: next_step(TO_BOB, TakerFunded("0x1"), observed(FUNDED, destination, now=LIMIT + 1)).state
        for name, destination in (("none", NOTHING), ("funded", FUNDED), ("unread", None))
    }
    assert "provider did not fund" in getattr(reasons["none"], "reason", "")
    assert "provider did not fund" not in getattr(reasons["funded"], "reason", "provider did not fund")
    assert "node did not answer" in getattr(reasons["unread"], "reason", "")


def test_a_claim_that_surely_never_left_before_a_crash_is_not_begun_late() -> None:
    lost = {COLLECT: UNSENT}
    in_time = observed(FUNDED, FUNDED, lost, now=LIMIT)
    assert next_step(TO_BOB, COLLECTING, in_time).orders == (Order(COLLECT, AGAIN),)
    late = next_step(TO_BOB, COLLECTING, observed(FUNDED, FUNDED, lost, now=LIMIT + 1))
    assert isinstance(late.state, TakerRefunding)
    assert late.orders == ()


@pytest.mark.parametrize("status", [ActStatus.UNSEEN, ActStatus.FAILED])
def test_once_the_preimage_may_be_known_claiming_never_stops(status: ActStatus) -> None:
    long_after = deadline(TO_BOB) + 100_000
    there = view(LegState.FUNDED, at=long_after)
    out = observed(FUNDED, there, {COLLECT: ActView(status, is_out=True)}, now=long_after)
    assert [one.act for one in next_step(TO_BOB, COLLECTING, out).orders] == [COLLECT]
    # Or when the provider has used it on the source.
    used = observed(COLLECTED, there, {COLLECT: ActView(status, is_out=False)}, now=long_after)
    assert [one.act for one in next_step(TO_BOB, COLLECTING, used).orders] == [COLLECT]


@EVERY
def test_completed_means_final_and_does_not_wait_for_the_provider(swap: Swap) -> None:
    arrived = next_step(swap, COLLECTING, observed(COLLECTED, COLLECTED))
    assert arrived.state == replace(COLLECTING, source_tx_id="0xabc", destination_tx_id="0xabc", has_arrived=True)
    for source in (None, FUNDED, COLLECTED, OVER):
        step = next_step(swap, COLLECTING, observed(source, COLLECTED_FINALLY))
        assert isinstance(step.state, TakerCompleted)


def test_what_has_arrived_and_is_reorganised_away_is_collected_again() -> None:
    arrived = replace(COLLECTING, has_arrived=True, final_at=NOW + 5)
    step = next_step(TO_BOB, arrived, observed(COLLECTED, FUNDED, {COLLECT: FAILED}))
    assert step.state == replace(COLLECTING, source_tx_id="0xabc", destination_tx_id="0xabc")
    # It reverted because it was in a block before its lock was.
    assert step.orders == (Order(COLLECT, NEW),)


def test_claiming_continues_while_the_other_node_is_down() -> None:
    step = next_step(TO_BOB, COLLECTING, observed(None, FUNDED, {COLLECT: FAILED}))
    assert step.orders == (Order(COLLECT, NEW),)


def test_a_taker_that_lost_reports_it() -> None:
    lost = next_step(TO_ROOTSTOCK, COLLECTING, observed(COLLECTED_FINALLY, OVER))
    assert isinstance(lost.state, TakerLost)
    assert lost.state.is_final


def test_a_taker_whose_claim_came_too_late_takes_the_source_back_if_the_provider_does_not_collect() -> None:
    after = view(LegState.FUNDED, at=deadline(TO_ROOTSTOCK))
    step = next_step(TO_ROOTSTOCK, COLLECTING, observed(after, OVER))
    assert step.orders == (Order(RECLAIM, NEW),)
    assert isinstance(next_step(TO_ROOTSTOCK, COLLECTING, observed(OVER, OVER)).state, TakerRefunded)


def test_a_paid_taker_never_refunds_of_its_own_accord() -> None:
    after = view(LegState.FUNDED, at=LATE + 9999)
    for state in OPEN_STATES[1:]:
        step = next_step(TO_LIGHTNING, state, observed(after, COLLECTED_FINALLY, now=LATE + 9999))
        assert RECLAIM not in [one.act for one in step.orders]


@EVERY
@pytest.mark.parametrize("state", OPEN_STATES, ids=lambda state: state.name)
def test_from_any_open_state_a_public_preimage_leads_to_collecting(swap: Swap, state: TakerState) -> None:
    assert isinstance(next_step(swap, state, observed(COLLECTED, NOTHING)).state, TakerCollecting)
    assert isinstance(next_step(swap, state, observed(PENDING, COLLECTED)).state, TakerCollecting)


def test_that_a_node_knows_the_preimage_of_its_own_invoice_shows_nothing() -> None:
    open_invoice = view(LegState.NONE, preimage=PREIMAGE)
    assert next_step(TO_LIGHTNING, TakerFunded("0x1"), observed(FUNDED, open_invoice)).state == TakerFunded("0x1")


def test_a_payment_to_another_party_ends_with_the_source() -> None:
    first = next_step(TO_STRANGER, TakerFunded("0x1"), observed(COLLECTED, None))
    assert isinstance(first.state, TakerCollecting)
    arrived = next_step(TO_STRANGER, first.state, observed(COLLECTED, None))
    assert isinstance(arrived.state, TakerCollecting)
    assert arrived.state.has_arrived
    step = next_step(TO_STRANGER, COLLECTING, observed(COLLECTED_FINALLY, None))
    assert isinstance(step.state, TakerCompleted)
    # The taker has no node that knows this invoice, so there is no view.
    assert next_step(TO_STRANGER, TakerFunded("0x1"), observed(FUNDED, COLLECTED)).state == TakerFunded("0x1")


def test_nothing_follows_from_a_node_that_cannot_be_read() -> None:
    for state in OPEN_STATES:
        for swap in ALL.values():
            step = next_step(swap, state, observed(None, None))
            assert (step.state, step.orders) == (state, ())


@pytest.mark.parametrize("swap", [*ALL.values(), TO_STRANGER], ids=[*ALL.keys(), "stranger"])
@pytest.mark.parametrize("state", OPEN_STATES, ids=lambda state: state.name)
def test_the_rules_of_the_taker_hold_for_every_observation(swap: Swap, state: TakerState) -> None:
    end = deadline(swap)
    # Before funding, nothing was sent.
    known = [ActView(status, is_out) for status in ActStatus for is_out in (True, False)]
    statuses: list[ActView | None] = [None] if isinstance(state, TakerAgreed) else [None, *known]
    times = (NOW, swap.terms.collect_by + 1, end)
    for source, destination, now in itertools.product(views_at(NOW, end), views_at(NOW, end), times):
        for status in statuses:
            acts = {} if status is None else dict.fromkeys((FUND, RECLAIM, COLLECT, VOID), status)
            step = next_step(swap, state, observed(source, destination, acts, now=now))
            check_rules(swap, state, source, destination, now, status, step)


def check_rules(
    swap: Swap,
    state: TakerState,
    source: LegView | None,
    destination: LegView | None,
    now: int,
    status: ActView | None,
    step: Step,
) -> None:
    after, acts = step.state, [one.act for one in step.orders]
    # Only a taker that refunds, and so never reveals the preimage, returns the destination.
    if RELEASE in acts:
        assert isinstance(state, TakerRefunding)
        assert not swap.terms.destination.payer_reclaims
        acts.remove(RELEASE)
    assert len(acts) <= 1
    out = any(one is not None and one.preimage is not None for one in (source, destination))
    if FUND in acts:
        assert now <= swap.terms.fund_by
        assert isinstance(state, TakerAgreed | TakerFunding)
        assert step.orders[0].manner is AGAIN or isinstance(state, TakerAgreed)
    if RECLAIM in acts:
        assert source is not None
        assert swap.terms.source.is_past(source.clock)
        assert source.state in (LegState.PENDING, LegState.FUNDED)
        # In collecting only if the destination's refund is final, or the destination is a third party's.
        gone = destination is not None and destination.over
        assert not isinstance(state, TakerCollecting) or gone or swap is TO_STRANGER
    if COLLECT in acts:
        assert destination is not None
        assert destination.state in (LegState.PENDING, LegState.FUNDED)
        first = not isinstance(state, TakerCollecting)
        assert not first or (destination.state is LegState.FUNDED and now <= swap.terms.collect_by)
        # Only if the claim was never sent, the preimage is certainly secret.
        shown = out or (status is not None and status.is_out)
        assert shown or (now <= swap.terms.collect_by and destination.state is LegState.FUNDED)
    if isinstance(after, TakerAbandoned) and not isinstance(state, TakerAgreed):
        assert source is not None
        assert source.state is LegState.NONE
        assert source.over or status is None or not status.is_out or status.status is ActStatus.FAILED
    if isinstance(after, TakerRefunded):
        assert source is not None
        assert source.over or source.final
    if isinstance(after, TakerCompleted):
        assert isinstance(state, TakerCollecting)
        end = source if swap is TO_STRANGER else destination
        assert end is not None
        assert end.final or (swap is TO_STRANGER and (end.over or end.state is LegState.NONE))


# A third party's invoice, whose preimage anyone may have made public


PUBLIC = view(LegState.FUNDED, preimage=PREIMAGE)


@pytest.mark.parametrize("state", [TakerFunded("0x1"), TakerFunding(), REFUNDING, COLLECTING], ids=lambda one: one.name)
def test_a_lock_for_a_strangers_invoice_is_taken_back_after_the_deadline_though_the_preimage_is_public(
    state: TakerState,
) -> None:
    # Another payer's swap revealed it, and this swap's provider never runs again.
    late = replace(PUBLIC, clock=replace(PUBLIC.clock, chain_time=LATE))
    first = next_step(TO_STRANGER, state, observed(late, None, now=LATE))
    step = first if state is COLLECTING else next_step(TO_STRANGER, first.state, observed(late, None, now=LATE))
    assert isinstance(step.state, TakerCollecting)
    assert step.orders == (Order(RECLAIM, NEW),)
    early = next_step(TO_STRANGER, COLLECTING, observed(PUBLIC, None))
    assert (early.orders, early.wake_at) == ((), TO_STRANGER.terms.source.refundable_from)


def test_nothing_is_locked_for_a_strangers_invoice_that_was_paid_before_and_the_transfer_ends_at_once() -> None:
    public = view(LegState.NONE, preimage=PREIMAGE)
    step = next_step(TO_STRANGER, TakerAgreed(), observed(public, None))
    assert step.state == TakerAbandoned("the preimage of the invoice is public: it was already paid")
    assert step.orders == ()


def test_a_lock_for_a_strangers_invoice_that_the_contract_refused_since_it_was_paid_before_ends_the_transfer() -> None:
    public = view(LegState.NONE, preimage=PREIMAGE)
    step = next_step(TO_STRANGER, COLLECTING, observed(public, None, {FUND: FAILED}))
    assert isinstance(step.state, TakerAbandoned)
    waits = next_step(TO_STRANGER, COLLECTING, observed(public, None, {FUND: LOST}))
    assert isinstance(waits.state, TakerCollecting)


@pytest.mark.parametrize("swap", [*ALL.values(), TO_STRANGER], ids=[*ALL.keys(), "stranger"])
@pytest.mark.parametrize("source", [PENDING, FUNDED, RETURNED])
def test_an_old_journal_does_not_abandon_a_transfer_whose_money_is_locked_however_late_it_is_read(
    swap: Swap, source: LegView
) -> None:
    step = next_step(swap, TakerAgreed(), observed(source, NOTHING, now=swap.terms.fund_by + 1))
    assert (step.state, step.orders) == (TakerFunding(), ())
