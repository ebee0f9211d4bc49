"""A swap whose journal is an old copy: an act that the journal does not show may have been performed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from layer2.legs.timelock_settings import REGTEST
from layer2.legs.views import LegView, Verb
from layer2.swap_rules.decisions import next_step
from layer2.swap_rules.machine import Act, ActView, LegEnd, Manner, Order, Step, Swap
from layer2.swap_rules.outlook import attention, must_be_back_by, outlook
from layer2.swap_rules.states import (
    ProviderAgreed,
    ProviderCollecting,
    ProviderCompleted,
    ProviderCounterFunded,
    ProviderCounterFunding,
    ProviderRefunding,
    ProviderReleased,
    ProviderReleasing,
    State,
    TakerAbandoned,
    TakerAgreed,
    TakerCollecting,
    TakerCompleted,
    TakerFunded,
    TakerFunding,
    TakerRefunding,
)
from layer2.swap_rules.timelocks import source_surely_over
from layer2.terms.transfers import Actor
from swap_rules.example_terms import terms_of
from swap_rules.scenes import (
    ALL,
    COLLECTED,
    COLLECTED_FINALLY,
    FAILED,
    FROM_BITCOIN,
    FUNDED,
    LOST,
    NEVER,
    NOTHING,
    OVER,
    RETURNED,
    TO_BITCOIN,
    TO_BOB,
    TO_LIGHTNING,
    TO_ROOTSTOCK,
    TO_STRANGER,
    UNSENT,
    deadline,
    observed,
    provider,
    view,
)

OLD = {name: replace(swap, from_old_copy=True) for name, swap in ALL.items()}
EVERY = pytest.mark.parametrize("swap", OLD.values(), ids=OLD.keys())
FUND, COLLECT = Act(Verb.FUND, LegEnd.SOURCE), Act(Verb.COLLECT, LegEnd.DESTINATION)
FROM_LIGHTNING_TO_BITCOIN = Swap(terms_of("lightning", "bitcoin"), REGTEST, made_preimage=True)
COUNTER_FUND, RELEASE = Act(Verb.FUND, LegEnd.DESTINATION), Act(Verb.RELEASE, LegEnd.SOURCE)


def old(swap: Swap) -> Swap:
    return replace(swap, from_old_copy=True)


def settled(
    swap: Swap, state: State, source: LegView | None, destination: LegView | None, *, now: int, **more: ActView
) -> Step:
    """The step after which nothing follows from the same observation."""
    acts = {FUND if name == "fund" else COUNTER_FUND: status for name, status in more.items()}
    step = next_step(swap, state, observed(source, destination, acts, now=now))
    while not step.settled and not step.orders and step.state != state:
        state = step.state
        step = next_step(swap, state, observed(source, destination, acts, now=now))
    return step


@EVERY
@pytest.mark.parametrize("fund", [None, UNSENT, LOST], ids=["missing", "intended", "out"])
def test_nothing_that_was_agreed_before_is_funded(swap: Swap, fund: ActView | None) -> None:
    acts = {} if fund is None else {FUND: fund, COUNTER_FUND: fund}
    taker: tuple[State, ...] = (TakerAgreed(), TakerFunding(), TakerFunded("s"))
    for state in taker:
        step = next_step(swap, state, observed(NOTHING, NOTHING, acts))
        assert all(order.act.verb is not Verb.FUND for order in step.orders)
    paying: tuple[State, ...] = (ProviderAgreed(), ProviderCounterFunding("s"), ProviderCounterFunded("s", "d"))
    for state in paying:
        step = next_step(provider(swap), state, observed(FUNDED, NOTHING, acts))
        assert all(order.act.verb is not Verb.FUND for order in step.orders)


@EVERY
def test_a_taker_that_may_have_funded_never_ends_because_the_time_to_fund_is_over(swap: Swap) -> None:
    late = swap.terms.fund_by + 1
    for state in (TakerAgreed(), TakerFunding()):
        for acts in ({}, {"fund": UNSENT}):
            assert settled(swap, state, NOTHING, NOTHING, now=late, **acts).state == TakerFunding()


@EVERY
def test_a_provider_that_may_have_paid_never_releases_because_the_time_to_pay_is_over(swap: Swap) -> None:
    late = swap.terms.collect_by + 1
    for state in (ProviderAgreed(), ProviderCounterFunding(None)):
        for acts in ({}, {"pay": UNSENT}):
            step = settled(provider(swap), state, FUNDED, NOTHING, now=late, **acts)
            voids = [order.act.verb for order in step.orders] == [Verb.VOID]
            assert step.state == ProviderCounterFunding(None) or (voids and isinstance(step.state, ProviderRefunding))


@pytest.mark.parametrize("swap", [old(TO_LIGHTNING), old(TO_ROOTSTOCK), old(TO_BITCOIN)])
def test_a_lock_that_the_journal_does_not_show_is_over_when_the_chain_shows_it(swap: Swap) -> None:
    late = swap.terms.collect_by + 1
    assert isinstance(settled(swap, TakerAgreed(), NEVER, NOTHING, now=late).state, TakerAbandoned)


def test_a_payment_that_the_journal_does_not_show_ends_by_a_message_or_when_none_can_exist() -> None:
    swap = old(TO_BOB)
    unknown = settled(swap, TakerAgreed(), NEVER, NOTHING, now=swap.terms.collect_by)
    assert unknown.state == TakerFunding()
    end = source_surely_over(swap.terms, REGTEST) + 1
    assert isinstance(settled(swap, TakerAgreed(), NEVER, NOTHING, now=end).state, TakerAbandoned)
    failed = settled(swap, TakerAgreed(), OVER, NOTHING, now=swap.terms.fund_by)
    assert isinstance(failed.state, TakerRefunding) or failed.state.is_final


def test_a_provider_releases_when_its_node_says_that_the_payment_failed_or_at_the_sources_deadline() -> None:
    swap = provider(old(TO_LIGHTNING))
    late = swap.terms.counter_fund_by + 1
    assert isinstance(settled(swap, ProviderAgreed(), FUNDED, OVER, now=late).state, ProviderReleasing)
    expired = settled(swap, ProviderAgreed(), FUNDED, NEVER, now=late)
    assert expired.state == ProviderCounterFunding(None), "an answer that the node knows no payment proves nothing"
    past = view(FUNDED.state, deadline(swap))
    assert isinstance(settled(swap, ProviderAgreed(), past, NEVER, now=deadline(swap)).state, ProviderReleasing)


def test_a_provider_cancels_an_invoice_that_was_never_paid_because_nothing_was_paid_for_it() -> None:
    swap = provider(old(TO_BOB))
    step = settled(swap, ProviderAgreed(), NOTHING, NOTHING, now=swap.terms.fund_by)
    assert isinstance(step.state, ProviderReleasing)
    assert step.orders == (Order(RELEASE, Manner.NEW),)
    held = settled(swap, ProviderAgreed(), FUNDED, NOTHING, now=swap.terms.fund_by)
    assert held.state == ProviderCounterFunding(None)


def test_a_provider_collects_and_takes_back_what_the_journal_does_not_show() -> None:
    swap = provider(old(TO_ROOTSTOCK))
    collecting = settled(swap, ProviderAgreed(), FUNDED, COLLECTED, now=swap.terms.collect_by)
    assert isinstance(collecting.state, ProviderCollecting)
    assert collecting.orders == (Order(Act(Verb.COLLECT, LegEnd.SOURCE), Manner.NEW),)
    end = swap.terms.destination.refundable_from
    assert end is not None
    step = settled(swap, ProviderAgreed(), FUNDED, view(FUNDED.state, end), now=end)
    assert isinstance(step.state, ProviderRefunding)
    assert step.orders == (Order(Act(Verb.RECLAIM, LegEnd.DESTINATION), Manner.NEW),)


def test_a_taker_collects_and_takes_back_what_the_journal_does_not_show() -> None:
    swap = old(TO_ROOTSTOCK)
    collecting = settled(swap, TakerAgreed(), FUNDED, FUNDED, now=swap.terms.fund_by)
    assert isinstance(collecting.state, TakerCollecting)
    assert collecting.orders == (Order(COLLECT, Manner.NEW),)
    end = swap.terms.source.refundable_from
    assert end is not None
    step = settled(swap, TakerAgreed(), view(FUNDED.state, end), NOTHING, now=end)
    assert isinstance(step.state, TakerRefunding)
    assert step.orders == (Order(Act(Verb.RECLAIM, LegEnd.SOURCE), Manner.NEW),)


@pytest.mark.parametrize("source", [None, NOTHING, RETURNED, FUNDED], ids=["unread", "nothing", "returned", "funded"])
def test_until_collect_by_a_taker_gives_nothing_up_because_it_may_have_shown_the_preimage(
    source: LegView | None,
) -> None:
    swap = old(TO_ROOTSTOCK)
    for state in (TakerAgreed(), TakerFunding(), TakerFunded("s")):
        for destination in (None, NOTHING, FUNDED):
            step = settled(swap, state, source, destination, now=swap.terms.collect_by)
            collects = isinstance(step.state, TakerCollecting) and step.orders == (Order(COLLECT, Manner.NEW),)
            assert collects == (destination is FUNDED)
            assert collects or isinstance(step.state, TakerAgreed | TakerFunding | TakerFunded)
    ended = settled(swap, TakerFunded("s"), OVER, None, now=swap.terms.collect_by)
    assert isinstance(ended.state, TakerRefunding) or ended.state.is_final


def test_an_output_whose_funding_the_journal_does_not_show_is_not_voided() -> None:
    # The coins that it spent are not known.
    late = FROM_BITCOIN.terms.collect_by + 1
    assert settled(old(FROM_BITCOIN), TakerAgreed(), NOTHING, NOTHING, now=late).orders == ()
    assert settled(provider(old(TO_BITCOIN)), ProviderAgreed(), FUNDED, NOTHING, now=late).orders == ()
    void = settled(old(FROM_BITCOIN), TakerFunding(), NOTHING, NOTHING, now=late, fund=UNSENT)
    assert [order.act.verb for order in void.orders] == [Verb.VOID]


def test_an_output_whose_funding_the_journal_does_not_show_is_waited_for_until_it_could_be_taken_back() -> None:
    swap = old(FROM_BITCOIN)
    far = replace(NOTHING, clock=replace(NOTHING.clock, chain_time=2**40, height=2**30))
    late = swap.terms.collect_by + 1
    assert isinstance(settled(swap, TakerAgreed(), far, NOTHING, now=late).state, TakerAbandoned)
    other = provider(old(TO_BITCOIN))
    assert isinstance(settled(other, ProviderAgreed(), OVER, NOTHING, now=late).state, ProviderReleased)


def test_a_transfer_to_a_stranger_whose_preimage_is_public_is_not_abandoned_while_its_lock_may_be_made() -> None:
    swap = old(TO_STRANGER)
    public = replace(NOTHING, preimage=COLLECTED.preimage)
    step = settled(swap, TakerAgreed(), public, None, now=swap.terms.fund_by)
    assert isinstance(step.state, TakerCollecting)
    over = replace(NEVER, preimage=COLLECTED.preimage)
    assert isinstance(settled(swap, step.state, over, None, now=swap.terms.fund_by).state, TakerAbandoned)


def test_a_failed_funding_that_the_journal_shows_is_the_only_one_there_was() -> None:
    for swap in (old(TO_BOB), old(TO_LIGHTNING)):
        step = settled(swap, TakerFunding(), NOTHING, NOTHING, now=swap.terms.collect_by + 1, fund=FAILED)
        assert isinstance(step.state, TakerAbandoned)


@EVERY
def test_the_preimage_is_not_shown_late_although_it_may_have_been_shown_before(swap: Swap) -> None:
    late = observed(FUNDED, FUNDED, now=swap.terms.collect_by + 1)
    assert isinstance(next_step(swap, TakerFunded("s"), late).state, TakerRefunding)


@EVERY
@pytest.mark.parametrize("state", [TakerAgreed(), TakerFunding(), TakerFunded("s")], ids=lambda state: state.name)
def test_a_taker_is_shown_that_it_must_run_before_collect_by(swap: Swap, state: State) -> None:
    shown = outlook(state, swap.terms, REGTEST, from_old_copy=True)
    assert (shown.next_actor, shown.deadline) == (Actor.YOU, swap.terms.collect_by)
    assert shown.funds.endswith("an old copy of the journal was restored, so nothing more is funded")
    assert "nothing has left your account" not in shown.funds


@EVERY
def test_a_provider_is_shown_the_deadlines_of_a_payment_that_it_may_have_made(swap: Swap) -> None:
    agreed, paying = ProviderAgreed(), ProviderCounterFunding(None)
    assert must_be_back_by(agreed, swap.terms, REGTEST) is None
    by = must_be_back_by(agreed, swap.terms, REGTEST, from_old_copy=True)
    assert by == must_be_back_by(paying, swap.terms, REGTEST) is not None
    shown = outlook(agreed, swap.terms, REGTEST, from_old_copy=True)
    assert (shown.next_actor, shown.deadline) == (Actor.YOU, by)
    assert "nothing was paid on either side" not in shown.funds


@EVERY
def test_a_final_state_reads_as_before(swap: Swap) -> None:
    for state in (TakerAbandoned("why"), ProviderReleasing(None, None, "why")):
        is_final = state.is_final
        same = outlook(state, swap.terms, REGTEST) == outlook(state, swap.terms, REGTEST, from_old_copy=True)
        assert same == is_final


@EVERY
def test_a_funding_that_no_node_shows_needs_attention(swap: Swap) -> None:
    for state, party in ((TakerFunding(), swap), (ProviderCounterFunding(None), provider(swap))):
        reason = attention(party, state, observed(NOTHING, NOTHING))
        assert reason is not None
        assert "an old copy of the journal was restored" in reason
        assert attention(replace(party, from_old_copy=False), state, observed(NOTHING, NOTHING)) is None
        assert attention(party, state, observed(FUNDED, FUNDED)) is None


def test_a_returned_source_ends_the_wait_of_a_provider_for_its_own_output() -> None:
    swap = provider(old(TO_BITCOIN))
    step = settled(swap, ProviderAgreed(), RETURNED, NOTHING, now=swap.terms.collect_by)
    assert step.state == ProviderCounterFunding(None), "the refund is not final yet"


@pytest.mark.parametrize(
    "state",
    [ProviderCounterFunding("s"), ProviderCounterFunded("s", "d"), ProviderRefunding("s", "d", "why")],
    ids=lambda state: state.name,
)
def test_a_providers_output_that_a_reorganisation_removed_is_waited_for_until_the_source_ends(state: State) -> None:
    swap = provider(old(TO_BITCOIN))
    late = swap.terms.collect_by + 1
    assert settled(swap, state, FUNDED, NOTHING, now=late).state == state
    past = view(FUNDED.state, deadline(swap))
    assert isinstance(settled(swap, state, past, NOTHING, now=late).state, ProviderReleasing)
    assert isinstance(settled(swap, state, OVER, NOTHING, now=late).state, ProviderReleased)


@pytest.mark.parametrize(
    "state",
    [
        ProviderAgreed("s"),
        ProviderCounterFunding("s"),
        ProviderCounterFunded("s", "d"),
        ProviderRefunding("s", "d", "why"),
    ],
    ids=lambda state: state.name,
)
@pytest.mark.parametrize("swap", [TO_BITCOIN, FROM_LIGHTNING_TO_BITCOIN], ids=["bob-bitcoin", "lightning-bitcoin"])
def test_a_provider_that_has_collected_the_source_waits_for_no_funding_of_its_own(swap: Swap, state: State) -> None:
    # It collects only after its own funding was collected. A reorganisation removed both from the node's view.
    swap = provider(old(swap))
    now = swap.terms.collect_by
    assert isinstance(settled(swap, state, COLLECTED_FINALLY, NOTHING, now=now).state, ProviderCompleted)
    waits = settled(swap, state, COLLECTED, NOTHING, now=now).state
    assert waits == (ProviderCounterFunding("s") if isinstance(state, ProviderAgreed) else state)


@pytest.mark.parametrize("chain_time", [0, 2**40], ids=["before-the-deadline", "after-the-deadline"])
@pytest.mark.parametrize("state", [TakerFunding(), TakerRefunding("s", "why")], ids=lambda state: state.name)
def test_a_taker_that_others_pay_does_not_end_before_its_node_shows_whether_it_collected(
    state: State, chain_time: int
) -> None:
    # It may have collected. A reorganisation removed the payment, and a later one goes to the provider.
    swap = replace(old(FROM_BITCOIN), funded_by_others=True)
    unpaid = replace(NOTHING, clock=replace(NOTHING.clock, chain_time=chain_time, height=chain_time))
    late = swap.terms.fund_by + 1
    assert settled(swap, state, unpaid, None, now=late).state == state
    assert isinstance(settled(swap, state, unpaid, COLLECTED_FINALLY, now=late).state, TakerCompleted)
    ended = settled(swap, state, unpaid, NOTHING, now=late).state
    assert isinstance(ended, TakerAbandoned) == (isinstance(state, TakerFunding) or chain_time > 0)
