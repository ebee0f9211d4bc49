"""The taker's decisions if others fund the source: it waits, and takes back what arrives late or again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from layer2.errors import InvalidRequest
from layer2.legs.bitcoin import BitcoinLeg
from layer2.legs.timelock_settings import REGTEST
from layer2.legs.views import LegView, Verb
from layer2.model.layers import Layer2ProtocolType
from layer2.model.money import BTC
from layer2.swap_rules.decisions import next_step
from layer2.swap_rules.machine import Act, LegEnd, Manner, Order
from layer2.swap_rules.outlook import outlook
from layer2.swap_rules.quotes import TakerOffers, check_request
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
from layer2.swap_rules.taker_machine import COLLECT, RELEASE
from layer2.terms.transfers import TransferRequest
from swap_rules.example_terms import NOW, offer_of
from swap_rules.scenes import (
    COLLECTED,
    COLLECTED_FINALLY,
    DONE,
    FROM_BITCOIN,
    FUNDED,
    NOTHING,
    OVER,
    PENDING,
    UNDER_WAY,
    UNSENT,
    observed,
)

SWAP = replace(FROM_BITCOIN, funded_by_others=True)
TERMS = SWAP.terms
RECLAIM = Act(Verb.RECLAIM, LegEnd.SOURCE)
REFUND = (Order(RECLAIM, Manner.NEW),)
COLLECTING = TakerCollecting("0x1", "0x2", has_arrived=False, final_at=None)
ENDS: tuple[TakerState, ...] = (
    TakerAbandoned("why"),
    TakerCompleted("0x1", "0x2"),
    TakerRefunded("0x1", "why"),
    TakerLost("0x1", "0x2", "why"),
)
BITCOIN, LIGHTNING, BOB = Layer2ProtocolType.BITCOIN, Layer2ProtocolType.LIGHTNING, Layer2ProtocolType.BOB


def at_lock_time(view: LegView) -> LegView:
    """The same view when the lock time, a height, has been reached."""
    assert isinstance(TERMS.source, BitcoinLeg)
    return replace(view, clock=replace(view.clock, height=TERMS.source.locktime))


def again(view: LegView) -> LegView:
    """The same view with a further payment to the address."""
    return replace(view, has_more=True)


def test_the_taker_waits_and_sends_nothing() -> None:
    step = next_step(SWAP, TakerAgreed(), observed(NOTHING, NOTHING))
    assert (step.state, step.orders) == (TakerFunding(), ())
    step = next_step(SWAP, TakerFunding(), observed(NOTHING, NOTHING))
    assert (step.state, step.orders) == (TakerFunding(), ())


def test_a_payment_that_is_seen_late_does_not_end_the_wait() -> None:
    for view in (PENDING, FUNDED):
        step = next_step(SWAP, TakerFunding(), observed(view, NOTHING, now=TERMS.fund_by + 1))
        assert not step.state.is_final
        assert step.orders == ()


def test_a_payment_in_time_is_collected_as_any_other() -> None:
    funded = next_step(SWAP, TakerFunding(), observed(FUNDED, NOTHING)).state
    assert isinstance(funded, TakerFunded)
    step = next_step(SWAP, funded, observed(FUNDED, FUNDED))
    assert isinstance(step.state, TakerCollecting)
    assert step.orders == (Order(COLLECT, Manner.NEW),)


def test_without_a_payment_the_transfer_is_abandoned_after_fund_by() -> None:
    assert next_step(SWAP, TakerFunding(), observed(NOTHING, NOTHING, now=TERMS.fund_by)).state == TakerFunding()
    step = next_step(SWAP, TakerFunding(), observed(NOTHING, NOTHING, now=TERMS.fund_by + 1))
    assert step.state == TakerAbandoned("the time to begin funding is over, and nothing arrived")
    assert step.orders == ()


@pytest.mark.parametrize("state", [TakerFunding(), TakerFunded("0x1"), TakerRefunding("0x1", "why")])
@pytest.mark.parametrize("view", [NOTHING, PENDING], ids=["missing", "pending"])
def test_it_is_never_voided(state: TakerState, view: LegView) -> None:
    for now in (NOW, TERMS.fund_by + 1, TERMS.collect_by + 1, TERMS.collect_by + 10**6):
        step = next_step(SWAP, state, observed(view, NOTHING, now=now))
        assert Verb.VOID not in {order.act.verb for order in step.orders}


def test_a_wrong_payment_is_returned_after_collect_by_and_refunded_from_the_lock_time_on() -> None:
    wrong = replace(PENDING, reason="the output's amount differs from the terms'")
    step = next_step(SWAP, TakerFunding(), observed(wrong, NOTHING, now=TERMS.collect_by + 1))
    assert step.state == TakerRefunding("0xabc", "the output's amount differs from the terms'")
    assert step.orders == ()
    step = next_step(SWAP, step.state, observed(at_lock_time(wrong), NOTHING, now=TERMS.collect_by + 1))
    assert step.orders == (*REFUND, Order(RELEASE, Manner.NEW))


def test_a_wrong_payment_is_refunded_at_once_when_the_provider_has_signed_the_release() -> None:
    step = next_step(SWAP, TakerFunding(), observed(replace(PENDING, returnable=True), NOTHING))
    assert isinstance(step.state, TakerRefunding)
    assert step.orders == REFUND


def test_a_late_payment_reopens_an_abandoned_transfer_and_is_refunded_at_the_lock_time() -> None:
    for late in (PENDING, FUNDED):
        step = next_step(SWAP, TakerAbandoned("why"), observed(late, NOTHING, now=TERMS.fund_by + 99))
        assert step.state == TakerRefunding("0xabc", "the payment arrived after the time to fund")
        back = next_step(SWAP, step.state, observed(late, FUNDED, now=TERMS.fund_by + 99))
        assert back.orders == (Order(RELEASE, Manner.NEW),), "so that the provider can release the late payment"
        assert next_step(SWAP, step.state, observed(at_lock_time(late), None)).orders == REFUND


@pytest.mark.parametrize("state", ENDS)
def test_an_end_stays_if_nothing_arrives(state: TakerState) -> None:
    for source in (None, NOTHING, at_lock_time(NOTHING)):
        step = next_step(SWAP, state, observed(source, NOTHING, now=TERMS.collect_by + 1))
        assert (step.state, step.orders) == (state, ())


@pytest.mark.parametrize("ended", [COLLECTED_FINALLY, OVER], ids=["completed", "refunded"])
def test_what_arrives_after_the_end_is_taken_back_and_the_end_stays(ended: LegView) -> None:
    state = TakerCompleted("0x1", "0x2") if ended is COLLECTED_FINALLY else TakerRefunded("0x1", "why")
    before = next_step(SWAP, state, observed(again(ended), COLLECTED_FINALLY))
    assert (before.state, before.orders) == (state, ())
    after = next_step(SWAP, state, observed(at_lock_time(again(ended)), COLLECTED_FINALLY))
    assert (after.state, after.orders) == (state, REFUND)


def test_a_payment_after_a_refund_is_refunded_too() -> None:
    state, seen = TakerRefunded("0x1", "why"), at_lock_time(again(OVER))
    assert next_step(SWAP, state, observed(seen, None, {RECLAIM: DONE})).orders == REFUND
    assert next_step(SWAP, state, observed(seen, None, {RECLAIM: UNDER_WAY})).orders == ()


def test_the_preimage_stays_secret_when_more_than_one_payment_arrived() -> None:
    step = next_step(SWAP, TakerFunded("0x1"), observed(again(FUNDED), FUNDED))
    assert isinstance(step.state, TakerRefunding)
    assert step.orders == ()
    # A stop between the intent to collect and its delivery gives the same.
    step = next_step(SWAP, COLLECTING, observed(again(FUNDED), FUNDED, {COLLECT: UNSENT}))
    assert isinstance(step.state, TakerRefunding)
    assert step.orders == ()


def test_the_preimage_stays_secret_while_the_source_cannot_be_read() -> None:
    assert next_step(SWAP, TakerFunded("0x1"), observed(None, FUNDED)).state == TakerFunded("0x1")
    assert next_step(SWAP, COLLECTING, observed(None, FUNDED, {COLLECT: UNSENT})).orders == ()


def test_a_payment_that_vanished_is_given_up_when_it_could_be_refunded_at_once() -> None:
    state, late = TakerRefunding("0x1", "why"), TERMS.collect_by + 1
    assert next_step(SWAP, state, observed(NOTHING, NOTHING, now=late)).state == state
    step = next_step(SWAP, state, observed(at_lock_time(NOTHING), NOTHING, now=late))
    assert step.state == TakerAbandoned("why")


def test_a_collected_destination_completes_it() -> None:
    step = next_step(SWAP, COLLECTING, observed(COLLECTED, COLLECTED_FINALLY, {COLLECT: DONE}))
    assert isinstance(step.state, TakerCompleted)


def test_the_time_of_a_refund_is_shown_before_and_after_the_end() -> None:
    for state in (TakerFunding(), TakerAbandoned("why")):
        shown = outlook(state, TERMS, REGTEST, funded_by_others=True)
        assert shown.refundable_from is not None
        assert shown.refundable_from > TERMS.collect_by
    assert outlook(TakerFunding(), TERMS, REGTEST, funded_by_others=True).deadline == TERMS.fund_by
    assert "still arrives is refunded" in outlook(TakerAbandoned("why"), TERMS, REGTEST, funded_by_others=True).funds


def asked(source: Layer2ProtocolType, recipient: str | None = None) -> None:
    destination = BOB if source is LIGHTNING else LIGHTNING
    request = TransferRequest(BTC, 100_000, source, destination, recipient, funded_by_others=True)
    own = TakerOffers({layer: offer_of(layer, taker=True) for layer in (source, destination)})
    check_request(request, own, REGTEST)


def test_only_a_kind_that_others_can_fund_is_offered_for_it() -> None:
    asked(BITCOIN)
    for source in (BOB, LIGHTNING):
        with pytest.raises(InvalidRequest) as refused:
            asked(source)
        assert refused.value.code == "funded_by_others"


def test_a_third_party_is_not_paid_with_a_payment_that_may_come_late() -> None:
    with pytest.raises(InvalidRequest) as refused:
        asked(BITCOIN, "lnbcrt1")
    assert refused.value.code == "recipient"
