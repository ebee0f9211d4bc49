"""Hash-locked legs over two simulated nodes: every verb as payer and as payee."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256

import pytest

from layer2.errors import (
    BadAnswer,
    FundsRulesError,
    IdempotencyConflict,
    InsufficientFunds,
    NodeError,
    NodeUnreachable,
    Outcome,
    TransactionError,
)
from layer2.formats import bolt11
from layer2.legs.evidence import LightningPaymentEvidence
from layer2.legs.leg import Htlc
from layer2.legs.lightning import LightningLeg, LightningOffer, routing_fee_limit
from layer2.legs.views import ActStatus, HeldPayment, LegState, Side, Verb
from layer2.model.transactions import Preimage
from layer2.protocols.lightning import LightningNetwork
from layer2.protocols.lightning.acts import Cancel, write_act
from layer2.protocols.lightning.invoices.invoices import NewInvoice
from protocols.lightning.world import (
    HASH,
    PREIMAGE,
    START,
    World,
    funded,
    htlc_of,
    leg_to_provider,
    offer_request,
    reached,
    seen_by_payee,
    seen_by_payer,
    settings_of,
)

OTHER = Preimage(sha256(b"another preimage").digest())


def changed(htlc: Htlc, **changes: object) -> Htlc:
    assert isinstance(htlc.leg, LightningLeg)
    return replace(htlc, leg=replace(htlc.leg, **changes))  # type: ignore[arg-type]  # names of its own fields


async def test_a_hold_leg_goes_from_offer_to_collection(world: World) -> None:
    htlc = await leg_to_provider(world)
    for side, client in ((Side.PAYER, world.taker), (Side.PAYEE, world.provider)):
        await client.legs.check_can_finish(htlc, side)
    unpaid = await seen_by_payee(world, htlc)
    assert (unpaid.state, unpaid.over) == (LegState.NONE, False)
    none = await seen_by_payer(world, htlc)
    assert (none.state, none.over) == (LegState.NONE, False)

    act = await world.taker.legs.prepare(Verb.FUND, htlc)
    assert await world.taker.legs.act_status(act) is ActStatus.UNSEEN
    await world.taker.legs.perform(act)

    assert await world.taker.legs.act_status(act) is ActStatus.UNDER_WAY
    sent = await seen_by_payer(world, htlc)
    assert (sent.state, sent.arrived, sent.final, sent.held) == (LegState.FUNDED, False, False, None)
    held = await reached(world.provider, htlc, Side.PAYEE, LegState.FUNDED)
    assert (held.state, held.final, held.over, held.preimage) == (LegState.FUNDED, False, False, None)
    assert held.held == HeldPayment(
        expiry_height=world.simulation.height + 100 + 3, parts=1, smallest_part_msat=50_000_000
    )
    assert held.clock == await world.provider.legs.read_clock()

    collect = await world.provider.legs.prepare(Verb.COLLECT, htlc, PREIMAGE)
    assert await world.provider.legs.act_status(collect) is ActStatus.UNSEEN
    for _ in range(2):
        await world.provider.legs.perform(collect)
    assert await world.provider.legs.act_status(collect) is ActStatus.DONE
    paid = await reached(world.taker, htlc, Side.PAYER, LegState.COLLECTED)
    assert await world.taker.legs.act_status(act) is ActStatus.DONE
    for view in (await seen_by_payee(world, htlc), paid):
        assert (view.state, view.arrived, view.final, view.preimage) == (LegState.COLLECTED, True, True, PREIMAGE)
    for client, side in ((world.taker, Side.PAYER), (world.provider, Side.PAYEE)):
        assert await client.legs.evidence(htlc, side) == LightningPaymentEvidence(PREIMAGE)


async def test_a_released_leg_is_returned_and_over_for_both(world: World) -> None:
    htlc, act = await funded(world)
    release = await world.provider.legs.prepare(Verb.RELEASE, htlc)
    for _ in range(2):
        await world.provider.legs.perform(release)
    assert await world.provider.legs.act_status(release) is ActStatus.DONE
    assert await world.taker.legs.act_status(act) is ActStatus.FAILED
    payer, payee = await seen_by_payer(world, htlc), await seen_by_payee(world, htlc)
    for view in (payer, payee):
        assert (view.state, view.arrived, view.final, view.over) == (LegState.RETURNED, True, True, True)
        assert view.preimage is None
    assert payer.reason == "FAILURE_REASON_INCORRECT_PAYMENT_DETAILS"
    assert await world.taker.legs.evidence(htlc, Side.PAYER) is None
    assert await world.provider.legs.evidence(htlc, Side.PAYEE) is None


async def test_a_party_offers_its_own_node_on_its_network(world: World) -> None:
    offer = await world.provider.legs.leg_offer()
    assert offer == LightningOffer("bcrt", bytes.fromhex(await world.provider.receive_address_async()))
    assert offer.differs_from(await world.taker.legs.leg_offer()) is None


async def test_a_payer_names_nothing_and_a_payee_a_hold_invoice(world: World) -> None:
    assert await world.taker.legs.offer(offer_request(side=Side.PAYER, amount=10**9)) == ""
    # Only an act of the payee settles it, although the payee made the preimage.
    htlc, _ = await funded(world)
    assert (await seen_by_payee(world, htlc)).state is LegState.FUNDED
    invoice = await world.provider._parts.invoices.find(HASH)
    assert invoice is not None
    assert invoice.is_hold


async def test_an_invoice_that_cannot_be_paid_is_not_offered(world: World) -> None:
    with pytest.raises(InsufficientFunds, match="4900001 sat cannot be received"):
        await world.provider.legs.offer(offer_request(amount=4_900_001))
    assert await world.provider._parts.invoices.find(HASH) is None


async def test_the_cost_of_a_leg_is_the_limit_of_its_routing_fee(world: World) -> None:
    assert await world.taker.legs.network_cost(50_000) == routing_fee_limit(50_000) == 125


async def test_a_node_that_did_not_make_the_invoice_does_not_show_that_the_leg_is_over(world: World) -> None:
    htlc, _ = await funded(world)
    with pytest.raises(NodeError, match="the invoice is of the node"):
        await world.taker.legs.observe(htlc, Side.PAYEE)
    # Its own node holds the payment.
    assert (await reached(world.provider, htlc, Side.PAYEE, LegState.FUNDED)).held is not None


async def test_a_leg_whose_invoice_was_deleted_is_over_for_its_payee_and_counts_as_released(world: World) -> None:
    htlc = await leg_to_provider(world)
    release = await world.provider.legs.prepare(Verb.RELEASE, htlc)
    collect = await world.provider.legs.prepare(Verb.COLLECT, htlc, PREIMAGE)
    view = await seen_by_payee(world, replace(htlc, payment_hash=OTHER.payment_hash))
    assert (view.state, view.over, view.final) == (LegState.NONE, True, False)
    assert view.reason == "the node has no invoice with this hash"
    deleted = write_act(Cancel(OTHER.payment_hash))
    for _ in range(2):
        await world.provider.legs.perform(deleted)
        assert await world.provider.legs.act_status(deleted) is ActStatus.DONE
    assert await world.provider.legs.act_status(release) is ActStatus.UNSEEN
    assert await world.provider.legs.act_status(collect) is ActStatus.UNSEEN


async def test_an_offer_has_what_was_requested_and_can_be_requested_again(world: World) -> None:
    request = offer_request(memo="1f" * 16)
    text = await world.provider.legs.offer(request)
    invoice = bolt11.decode(text)
    assert (invoice.payment_hash, invoice.amount_msat, invoice.description) == (HASH, 50_000_000, "1f" * 16)
    assert (invoice.min_final_cltv_expiry_delta, invoice.expires_at) == (100, START + 600)
    assert await world.provider.legs.offer(request) == text
    for other in (replace(request, amount=50_001), replace(request, memo="2f" * 16)):
        with pytest.raises(IdempotencyConflict, match="used before") as caught:
            await world.provider.legs.offer(other)
        assert (caught.value.code, caught.value.tx_id) == ("payment_hash_used", HASH.hex())


async def test_an_offer_that_is_asked_for_again_with_less_time_left_is_the_one_that_is_open(world: World) -> None:
    text = await world.provider.legs.offer(offer_request())
    assert await world.provider.legs.offer(offer_request(expiry_seconds=595)) == text
    with pytest.raises(IdempotencyConflict, match="used before"):
        await world.provider.legs.offer(offer_request(expiry_seconds=595, min_blocks=101))


@pytest.mark.parametrize("verb", [None, Verb.COLLECT, Verb.RELEASE], ids=["held", "settled", "cancelled"])
async def test_an_offer_under_a_hash_that_was_used_is_refused(world: World, verb: Verb | None) -> None:
    htlc, _ = await funded(world)
    if verb is not None:
        preimage = PREIMAGE if verb is Verb.COLLECT else None
        await world.provider.legs.perform(await world.provider.legs.prepare(verb, htlc, preimage))
    with pytest.raises(IdempotencyConflict, match="used before"):
        await world.provider.legs.offer(offer_request())


async def test_a_leg_is_prepared_only_once_for_every_outcome(world: World) -> None:
    htlc, _ = await funded(world)
    with pytest.raises(FundsRulesError, match="a hash is paid once"):
        await world.taker.legs.prepare(Verb.FUND, htlc)
    await world.provider.legs.perform(await world.provider.legs.prepare(Verb.RELEASE, htlc))
    with pytest.raises(FundsRulesError, match="a hash is paid once"):
        await world.taker.legs.prepare(Verb.FUND, htlc)


async def test_performing_a_payment_again_sends_nothing_also_after_it_failed(world: World) -> None:
    htlc, act = await funded(world)
    await world.taker.legs.perform(act)
    await world.provider.legs.perform(await world.provider.legs.prepare(Verb.RELEASE, htlc))
    async with world.restarted_taker() as taker:
        await taker.legs.perform(act)
        assert await taker.legs.act_status(act) is ActStatus.FAILED
    assert await world.payments_sent() == 1


async def test_a_lost_answer_to_a_payment_is_unknown_and_performing_it_again_pays_once(world: World) -> None:
    htlc = await leg_to_provider(world)
    act = await world.taker.legs.prepare(Verb.FUND, htlc)
    world.fault("drop_reply", path="/v2/router/send", count=1)
    with pytest.raises(NodeUnreachable) as caught:
        await world.taker.legs.perform(act)
    assert (caught.value.outcome, caught.value.tx_id) == (Outcome.UNKNOWN, HASH.hex())
    await world.taker.legs.perform(act)
    assert await world.taker.legs.act_status(act) is ActStatus.UNDER_WAY
    assert await world.payments_sent() == 1


async def test_lost_answers_to_settling_and_cancelling_are_made_up_for_by_doing_it_again(world: World) -> None:
    htlc, _ = await funded(world)
    collect = await world.provider.legs.prepare(Verb.COLLECT, htlc, PREIMAGE)
    world.fault("drop_reply", party="provider", path="/v2/invoices/settle", count=1)
    with pytest.raises(NodeUnreachable) as caught:
        await world.provider.legs.perform(collect)
    assert caught.value.outcome is Outcome.UNKNOWN
    assert await world.provider.legs.act_status(collect) is ActStatus.DONE
    await world.provider.legs.perform(collect)


async def test_a_settled_leg_cannot_be_released_nor_a_released_one_settled(world: World) -> None:
    htlc, _ = await funded(world)
    release = await world.provider.legs.prepare(Verb.RELEASE, htlc)
    collect = await world.provider.legs.prepare(Verb.COLLECT, htlc, PREIMAGE)
    await world.provider.legs.perform(collect)
    with pytest.raises(TransactionError, match="invoice already settled") as caught:
        await world.provider.legs.perform(release)
    assert caught.value.outcome is Outcome.REJECTED
    assert await world.provider.legs.act_status(release) is ActStatus.FAILED


async def test_a_leg_that_was_released_before_it_was_paid_stays_released(world: World) -> None:
    htlc = await leg_to_provider(world)
    act = await world.taker.legs.prepare(Verb.FUND, htlc)
    await world.provider.legs.perform(await world.provider.legs.prepare(Verb.RELEASE, htlc))
    collect = await world.provider.legs.prepare(Verb.COLLECT, htlc, PREIMAGE)
    with pytest.raises(TransactionError, match="invoice already canceled"):
        await world.provider.legs.perform(collect)
    assert await world.provider.legs.act_status(collect) is ActStatus.FAILED
    await world.taker.legs.perform(act)
    assert (await reached(world.taker, htlc, Side.PAYER, LegState.RETURNED)).over


async def test_each_verb_belongs_to_one_side(world: World) -> None:
    htlc = await leg_to_provider(world)
    for verb, preimage in ((Verb.COLLECT, PREIMAGE), (Verb.RELEASE, None)):
        with pytest.raises(FundsRulesError, match="only the payee"):
            await world.taker.legs.prepare(verb, htlc, preimage)
    with pytest.raises(FundsRulesError, match="from your own node"):
        await world.provider.legs.prepare(Verb.FUND, htlc)
    for verb in (Verb.RECLAIM, Verb.VOID):
        for client in (world.taker, world.provider):
            with pytest.raises(FundsRulesError, match="nothing to reclaim"):
                await client.legs.prepare(verb, htlc)
    for preimage in (None, OTHER):
        with pytest.raises(FundsRulesError, match="preimage of the payment hash is needed"):
            await world.provider.legs.prepare(Verb.COLLECT, htlc, preimage)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        pytest.param({"amount_msat": 50_000_001}, "asks for 50000000 msat, not 50000001", id="amount"),
        pytest.param({"prefix": "bc"}, "on the network 'bc'", id="network"),
        pytest.param({"payee": bytes(33)}, "signed by another node", id="payee"),
        pytest.param({"cltv_limit": 0}, "CLTV limit of 0", id="no limit"),
        pytest.param({"cltv_limit": 103}, "CLTV limit of 103", id="limit at delta and padding"),
        pytest.param({"cltv_limit": 2017}, "CLTV limit of 2017", id="limit above lnd's"),
    ],
)
async def test_a_leg_that_differs_from_its_invoice_is_not_funded(
    world: World, changes: dict[str, object], problem: str
) -> None:
    htlc = changed(await leg_to_provider(world), **changes)
    with pytest.raises(FundsRulesError, match=problem):
        await world.taker.legs.prepare(Verb.FUND, htlc)


async def test_a_leg_under_another_hash_than_its_invoice_is_not_funded(world: World) -> None:
    htlc = replace(await leg_to_provider(world), payment_hash=OTHER.payment_hash)
    with pytest.raises(FundsRulesError, match="another payment hash"):
        await world.taker.legs.prepare(Verb.FUND, htlc)


async def test_an_act_that_is_woken_too_late_is_not_sent(world: World) -> None:
    htlc = await leg_to_provider(world)
    act = await world.taker.legs.prepare(Verb.FUND, htlc)
    world.clock.advance(581)
    with pytest.raises(FundsRulesError, match="expires too soon") as caught:
        await world.taker.legs.perform(act)
    assert caught.value.outcome is Outcome.REJECTED
    assert await world.payments_sent() == 0


async def test_a_payment_that_was_never_sent_is_over_only_well_after_the_invoice_expired(world: World) -> None:
    htlc = await leg_to_provider(world)
    world.clock.advance(600 + 120)
    assert not (await seen_by_payer(world, htlc)).over
    world.clock.advance(1)
    view = await seen_by_payer(world, htlc)
    assert (view.state, view.over, view.final) == (LegState.NONE, True, False)
    cancelled = await seen_by_payee(world, htlc)
    assert (cancelled.state, cancelled.over) == (LegState.RETURNED, True)


async def test_a_payment_in_flight_is_never_over_however_late_it_is(world: World) -> None:
    htlc = await leg_to_provider(world)
    act = await world.taker.legs.prepare(Verb.FUND, htlc)
    world.fault("hold_payments")
    await world.taker.legs.perform(act)
    world.clock.advance(1_000_000)
    view = await seen_by_payer(world, htlc)
    assert (view.state, view.over, view.final) == (LegState.FUNDED, False, False)


async def test_a_payment_that_fails_has_the_reason(world: World) -> None:
    htlc = await leg_to_provider(world)
    act = await world.taker.legs.prepare(Verb.FUND, htlc)
    world.fault("fail_payments", reason="no_route")
    await world.taker.legs.perform(act)
    view = await reached(world.taker, htlc, Side.PAYER, LegState.RETURNED)
    assert view.reason == "FAILURE_REASON_NO_ROUTE"


async def test_money_under_the_hash_of_another_invoice_is_not_this_leg(world: World) -> None:
    htlc, _ = await funded(world)
    assert isinstance(htlc.leg, LightningLeg)
    # The client refuses to make it, because the node has a payment with that hash.
    new = NewInvoice(50_000_000, "another", 600, payment_hash=htlc.payment_hash)
    same_hash = await world.taker._parts.invoices.add(new)
    other = htlc_of(same_hash.text)
    for view in (await seen_by_payer(world, other), await seen_by_payee(world, other)):
        assert view.state is LegState.NONE
        assert view.reason is not None


async def test_more_than_the_invoice_asks_for_is_not_the_leg(world: World) -> None:
    htlc, _ = await funded(world)
    view = await seen_by_payee(world, changed(htlc, amount_msat=49_999_999))
    assert (view.state, view.reason) == (LegState.PENDING, "50000000 msat are held, not 49999999")


async def test_what_cannot_be_finished_is_refused_with_numbers(world: World) -> None:
    htlc = await leg_to_provider(world, amount=4_899_999)
    with pytest.raises(InsufficientFunds, match=r"4900001 sat cannot be sent: the channels allow at most 4900000 sat"):
        await world.taker.legs.check_can_finish(changed(htlc, fee_limit_msat=1_001), Side.PAYER)
    await world.taker.legs.check_can_finish(changed(htlc, fee_limit_msat=1_000), Side.PAYER)
    too_much = changed(htlc, amount_msat=4_900_000_001)
    with pytest.raises(InsufficientFunds, match=r"4900001 sat cannot be received: .* 4900000 sat"):
        await world.provider.legs.check_can_finish(too_much, Side.PAYEE)


async def test_a_leg_that_is_under_way_is_not_asked_for_its_liquidity_again(world: World) -> None:
    htlc = await leg_to_provider(world, amount=4_800_000)
    await world.taker.legs.perform(await world.taker.legs.prepare(Verb.FUND, htlc))
    await world.taker.legs.check_can_finish(htlc, Side.PAYER)
    await world.provider.legs.check_can_finish(htlc, Side.PAYEE)
    (balance,) = (await world.taker.balances_async()).values()
    assert balance.spendable < 4_800_000


class _WrongClock:
    """This machine's clock, wrong by an hour."""

    def __init__(self, world: World) -> None:
        self._world = world

    def now(self) -> float:
        return self._world.clock.now() + 3_600


async def test_a_payment_that_is_held_is_settled_though_the_clocks_differ_but_is_not_relied_on(world: World) -> None:
    # A party that has paid or revealed the preimage would lose money if the clock kept it from settling.
    htlc, _ = await funded(world)
    async with LightningNetwork(settings_of(world.nodes[1]), world.sends, _WrongClock(world)) as client:
        view = await client.legs.observe(htlc, Side.PAYEE)
        assert view.state is LegState.PENDING
        assert view.held is not None
        assert "clocks" in (view.reason or "")
        with pytest.raises(BadAnswer):
            await client.legs.check_can_finish(htlc, Side.PAYEE)
        await client.legs.perform(await client.legs.prepare(Verb.COLLECT, htlc, PREIMAGE))
        assert (await client.legs.observe(htlc, Side.PAYEE)).state is LegState.COLLECTED


async def test_an_invoice_that_is_not_paid_is_not_read_while_the_clocks_differ(world: World) -> None:
    htlc = await leg_to_provider(world)
    async with LightningNetwork(settings_of(world.nodes[1]), world.sends, _WrongClock(world)) as client:
        with pytest.raises(BadAnswer):
            await client.legs.observe(htlc, Side.PAYEE)
