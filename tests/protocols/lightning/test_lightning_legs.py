"""Hash-locked legs over two simulated nodes: the seven verbs as payer and as payee."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from hashlib import sha256

import pytest

from layer2.errors import (
    FundsRulesError,
    IdempotencyConflict,
    InsufficientFunds,
    NodeUnreachable,
    Outcome,
    TransactionError,
)
from layer2.formats import bolt11
from layer2.interfaces import Json
from layer2.proofs.model import LightningPaymentEvidence
from layer2.protocols.lightning import LightningNetwork
from layer2.protocols.lightning.invoices.invoices import NewInvoice
from layer2.swap_rules.legs import ActStatus, Htlc, LegState, LegView, Side, Verb
from layer2.terms import LightningLeg
from layer2.transactions import Finality, Preimage
from protocols.lightning.world import HASH, PREIMAGE, START, World, htlc_of, leg_to_provider, offer_request, settings_of

OTHER = Preimage(sha256(b"another preimage").digest())


async def seen_by_payer(world: World, htlc: Htlc) -> LegView:
    return await world.taker.observe(htlc, Side.PAYER, Finality.FINALIZED)


async def seen_by_payee(world: World, htlc: Htlc) -> LegView:
    return await world.provider.observe(htlc, Side.PAYEE, Finality.FINALIZED)


async def funded(world: World) -> tuple[Htlc, Json]:
    """A hold invoice of the provider that the taker has paid, and the act that paid it."""
    htlc = await leg_to_provider(world)
    act = await world.taker.prepare(Verb.FUND, htlc)
    await world.taker.perform(act)
    return htlc, act


def changed(htlc: Htlc, **changes: object) -> Htlc:
    assert isinstance(htlc.leg, LightningLeg)
    return replace(htlc, leg=replace(htlc.leg, **changes))  # type: ignore[arg-type]  # names of its own fields


async def test_a_hold_leg_goes_from_offer_to_collection(world: World) -> None:
    htlc = await leg_to_provider(world)
    for side, client in ((Side.PAYER, world.taker), (Side.PAYEE, world.provider)):
        await client.check_can_finish(htlc, side)
    assert (await seen_by_payee(world, htlc)).state is LegState.NONE
    none = await seen_by_payer(world, htlc)
    assert (none.state, none.over) == (LegState.NONE, False)

    act = await world.taker.prepare(Verb.FUND, htlc)
    assert await world.taker.act_status(act) is ActStatus.UNSEEN
    await world.taker.perform(act)

    assert await world.taker.act_status(act) is ActStatus.UNDER_WAY
    assert (await seen_by_payer(world, htlc)).state is LegState.PENDING
    held = await seen_by_payee(world, htlc)
    assert (held.state, held.final, held.over, held.preimage) == (LegState.FUNDED, False, False, None)
    assert (held.parts, held.smallest_part_msat) == (1, 50_000_000)
    assert held.expiry_height == world.simulation.height + 100 + 3
    assert held.clock == await world.provider.read_clock()

    collect = await world.provider.prepare(Verb.COLLECT, htlc, PREIMAGE)
    assert await world.provider.act_status(collect) is ActStatus.UNSEEN
    for _ in range(2):
        await world.provider.perform(collect)
    assert await world.provider.act_status(collect) is ActStatus.DONE
    assert await world.taker.act_status(act) is ActStatus.DONE
    for view in (await seen_by_payee(world, htlc), await seen_by_payer(world, htlc)):
        assert (view.state, view.final, view.preimage) == (LegState.COLLECTED, True, PREIMAGE)
    for client, side in ((world.taker, Side.PAYER), (world.provider, Side.PAYEE)):
        assert await client.evidence(htlc, side) == LightningPaymentEvidence(PREIMAGE)


async def test_a_released_leg_is_returned_and_over_for_both(world: World) -> None:
    htlc, act = await funded(world)
    release = await world.provider.prepare(Verb.RELEASE, htlc)
    for _ in range(2):
        await world.provider.perform(release)
    assert await world.provider.act_status(release) is ActStatus.DONE
    assert await world.taker.act_status(act) is ActStatus.FAILED
    payer, payee = await seen_by_payer(world, htlc), await seen_by_payee(world, htlc)
    for view in (payer, payee):
        assert (view.state, view.final, view.over, view.preimage) == (LegState.RETURNED, True, True, None)
    assert payer.reason == "FAILURE_REASON_INCORRECT_PAYMENT_DETAILS"
    assert await world.taker.evidence(htlc, Side.PAYER) is None
    assert await world.provider.evidence(htlc, Side.PAYEE) is None


async def test_a_plain_leg_is_collected_by_itself_and_hides_its_preimage_until_then(world: World) -> None:
    htlc = await leg_to_provider(world, preimage=PREIMAGE)
    assert (await seen_by_payee(world, htlc)).preimage is None
    assert await world.provider.evidence(htlc, Side.PAYEE) is None
    await world.taker.perform(await world.taker.prepare(Verb.FUND, htlc))
    view = await seen_by_payee(world, htlc)
    assert (view.state, view.final, view.preimage) == (LegState.COLLECTED, True, PREIMAGE)


async def test_an_offer_says_what_was_asked_for_and_can_be_asked_for_again(world: World) -> None:
    request = offer_request(memo="1f" * 16)
    text = await world.provider.offer(request)
    invoice = bolt11.decode(text)
    assert (invoice.payment_hash, invoice.amount_msat, invoice.description) == (HASH, 50_000_000, "1f" * 16)
    assert (invoice.min_final_cltv_expiry_delta, invoice.expires_at) == (100, START + 600)
    assert await world.provider.offer(request) == text
    for other in (replace(request, amount=50_001), replace(request, memo="2f" * 16)):
        with pytest.raises(IdempotencyConflict, match="used before") as caught:
            await world.provider.offer(other)
        assert (caught.value.code, caught.value.tx_id) == ("payment_hash_used", HASH.hex())


@pytest.mark.parametrize("verb", [None, Verb.COLLECT, Verb.RELEASE], ids=["held", "settled", "cancelled"])
async def test_an_offer_under_a_hash_that_was_used_is_refused(world: World, verb: Verb | None) -> None:
    htlc, _ = await funded(world)
    if verb is not None:
        preimage = PREIMAGE if verb is Verb.COLLECT else None
        await world.provider.perform(await world.provider.prepare(verb, htlc, preimage))
    with pytest.raises(IdempotencyConflict, match="used before"):
        await world.provider.offer(offer_request())


async def test_an_offer_with_a_preimage_of_another_hash_is_refused(world: World) -> None:
    with pytest.raises(FundsRulesError, match="does not belong"):
        await world.provider.offer(offer_request(preimage=OTHER))


async def test_a_leg_is_prepared_once_only_whatever_became_of_it(world: World) -> None:
    htlc, _ = await funded(world)
    with pytest.raises(FundsRulesError, match="a hash is paid once"):
        await world.taker.prepare(Verb.FUND, htlc)
    await world.provider.perform(await world.provider.prepare(Verb.RELEASE, htlc))
    with pytest.raises(FundsRulesError, match="a hash is paid once"):
        await world.taker.prepare(Verb.FUND, htlc)


async def test_performing_a_payment_again_sends_nothing_also_after_it_failed(world: World) -> None:
    htlc, act = await funded(world)
    await world.taker.perform(act)
    await world.provider.perform(await world.provider.prepare(Verb.RELEASE, htlc))
    async with world.restarted_taker() as taker:
        await taker.perform(act)
        assert await taker.act_status(act) is ActStatus.FAILED
    assert await world.payments_sent() == 1


async def test_a_lost_answer_to_a_payment_is_unknown_and_performing_it_again_pays_once(world: World) -> None:
    htlc = await leg_to_provider(world)
    act = await world.taker.prepare(Verb.FUND, htlc)
    world.fault("drop_reply", path="/v2/router/send", count=1)
    with pytest.raises(NodeUnreachable) as caught:
        await world.taker.perform(act)
    assert (caught.value.outcome, caught.value.tx_id) == (Outcome.UNKNOWN, HASH.hex())
    await world.taker.perform(act)
    assert await world.taker.act_status(act) is ActStatus.UNDER_WAY
    assert await world.payments_sent() == 1


async def test_lost_answers_to_settling_and_cancelling_are_made_up_for_by_doing_it_again(world: World) -> None:
    htlc, _ = await funded(world)
    collect = await world.provider.prepare(Verb.COLLECT, htlc, PREIMAGE)
    world.fault("drop_reply", party="provider", path="/v2/invoices/settle", count=1)
    with pytest.raises(NodeUnreachable) as caught:
        await world.provider.perform(collect)
    assert caught.value.outcome is Outcome.UNKNOWN
    assert await world.provider.act_status(collect) is ActStatus.DONE
    await world.provider.perform(collect)


async def test_a_settled_leg_cannot_be_released_nor_a_released_one_settled(world: World) -> None:
    htlc, _ = await funded(world)
    release = await world.provider.prepare(Verb.RELEASE, htlc)
    collect = await world.provider.prepare(Verb.COLLECT, htlc, PREIMAGE)
    await world.provider.perform(collect)
    with pytest.raises(TransactionError, match="invoice already settled") as caught:
        await world.provider.perform(release)
    assert caught.value.outcome is Outcome.REJECTED
    assert await world.provider.act_status(release) is ActStatus.FAILED


async def test_a_leg_that_was_released_before_it_was_paid_stays_released(world: World) -> None:
    htlc = await leg_to_provider(world)
    act = await world.taker.prepare(Verb.FUND, htlc)
    await world.provider.perform(await world.provider.prepare(Verb.RELEASE, htlc))
    collect = await world.provider.prepare(Verb.COLLECT, htlc, PREIMAGE)
    with pytest.raises(TransactionError, match="invoice already canceled"):
        await world.provider.perform(collect)
    assert await world.provider.act_status(collect) is ActStatus.FAILED
    await world.taker.perform(act)
    assert (await seen_by_payer(world, htlc)).over


async def test_each_verb_belongs_to_one_side(world: World) -> None:
    htlc = await leg_to_provider(world)
    for verb, preimage in ((Verb.COLLECT, PREIMAGE), (Verb.RELEASE, None)):
        with pytest.raises(FundsRulesError, match="only the payee"):
            await world.taker.prepare(verb, htlc, preimage)
    with pytest.raises(FundsRulesError, match="the own node's"):
        await world.provider.prepare(Verb.FUND, htlc)
    for client in (world.taker, world.provider):
        with pytest.raises(FundsRulesError, match="nothing to reclaim"):
            await client.prepare(Verb.RECLAIM, htlc)
    for preimage in (None, OTHER):
        with pytest.raises(FundsRulesError, match="needs the preimage"):
            await world.provider.prepare(Verb.COLLECT, htlc, preimage)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        pytest.param({"amount_msat": 50_000_001}, "is over 50000000 msat", id="amount"),
        pytest.param({"network": "bc"}, "on the network 'bc'", id="network"),
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
        await world.taker.prepare(Verb.FUND, htlc)


async def test_a_leg_under_another_hash_than_its_invoice_is_not_funded(world: World) -> None:
    htlc = replace(await leg_to_provider(world), payment_hash=OTHER.payment_hash)
    with pytest.raises(FundsRulesError, match="another payment hash"):
        await world.taker.prepare(Verb.FUND, htlc)


async def test_an_act_that_is_woken_too_late_is_not_sent(world: World) -> None:
    htlc = await leg_to_provider(world)
    act = await world.taker.prepare(Verb.FUND, htlc)
    world.clock.advance(581)
    with pytest.raises(FundsRulesError, match="expires too soon") as caught:
        await world.taker.perform(act)
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
    act = await world.taker.prepare(Verb.FUND, htlc)
    world.fault("hold_payments")
    await world.taker.perform(act)
    world.clock.advance(1_000_000)
    view = await seen_by_payer(world, htlc)
    assert (view.state, view.over, view.final) == (LegState.PENDING, False, False)


async def test_a_payment_that_fails_says_why(world: World) -> None:
    htlc = await leg_to_provider(world)
    act = await world.taker.prepare(Verb.FUND, htlc)
    world.fault("fail_payments", reason="no_route")
    await world.taker.perform(act)
    view = await seen_by_payer(world, htlc)
    assert (view.state, view.reason) == (LegState.RETURNED, "FAILURE_REASON_NO_ROUTE")


async def test_money_under_the_hash_of_another_invoice_is_not_this_leg(world: World) -> None:
    htlc, _ = await funded(world)
    assert isinstance(htlc.leg, LightningLeg)
    # The client would not make it, as the node pays under that hash already.
    same_hash = await world.taker._invoices.add(NewInvoice(50_000_000, "another", 600, payment_hash=htlc.payment_hash))
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
    with pytest.raises(InsufficientFunds, match=r"4900001 sat cannot be sent: the channels allow 4900000 sat"):
        await world.taker.check_can_finish(changed(htlc, fee_limit_msat=1_001), Side.PAYER)
    await world.taker.check_can_finish(changed(htlc, fee_limit_msat=1_000), Side.PAYER)
    too_much = changed(htlc, amount_msat=4_900_000_001)
    with pytest.raises(InsufficientFunds, match=r"4900001 sat cannot be received: .* 4900000 sat"):
        await world.provider.check_can_finish(too_much, Side.PAYEE)


async def test_a_leg_that_is_under_way_is_not_asked_for_its_liquidity_again(world: World) -> None:
    htlc = await leg_to_provider(world, amount=4_800_000)
    await world.taker.perform(await world.taker.prepare(Verb.FUND, htlc))
    await world.taker.check_can_finish(htlc, Side.PAYER)
    await world.provider.check_can_finish(htlc, Side.PAYEE)


async def test_a_change_at_the_payee_ends_the_wait(world: World) -> None:
    htlc = await leg_to_provider(world)
    view = await seen_by_payee(world, htlc)
    waiting = asyncio.create_task(world.provider.wait_for_change(htlc, view))
    await world.taker.perform(await world.taker.prepare(Verb.FUND, htlc))
    async with asyncio.timeout(5):
        await waiting
    assert (await seen_by_payee(world, htlc)).state is LegState.FUNDED


async def test_a_change_at_the_payer_ends_the_wait(world: World) -> None:
    htlc, _ = await funded(world)
    view = await seen_by_payer(world, htlc)
    waiting = asyncio.create_task(world.taker.wait_for_change(htlc, view))
    await world.provider.perform(await world.provider.prepare(Verb.COLLECT, htlc, PREIMAGE))
    async with asyncio.timeout(5):
        await waiting
    assert (await seen_by_payer(world, htlc)).state is LegState.COLLECTED


async def test_a_view_that_is_old_already_does_not_wait(world: World) -> None:
    htlc = await leg_to_provider(world)
    view = await seen_by_payee(world, htlc)
    await world.taker.perform(await world.taker.prepare(Verb.FUND, htlc))
    async with asyncio.timeout(5):
        await world.provider.wait_for_change(htlc, view)


async def test_a_wait_for_a_payment_that_is_not_sent_ends_with_the_poll_interval(world: World) -> None:
    htlc = await leg_to_provider(world)
    async with world.restarted_taker(poll_interval_seconds=0.05) as taker:
        await taker.wait_for_change(htlc, await seen_by_payer(world, htlc))


async def test_a_wait_at_a_node_that_goes_down_ends_with_the_poll_interval(world: World) -> None:
    htlc, _ = await funded(world)
    view = await seen_by_payee(world, htlc)
    async with LightningNetwork(
        settings_of(world.nodes[1], poll_interval_seconds=0.05), world.sends, world.clock
    ) as provider:
        await provider.read_clock()
        world.fault("down", party="provider")
        await provider.wait_for_change(htlc, view)
        with pytest.raises(NodeUnreachable):
            await provider.observe(htlc, Side.PAYEE, Finality.FINALIZED)


async def test_the_clock_is_the_nodes_own(world: World) -> None:
    await world.simulation.mine(3)
    world.clock.advance(5)
    reading = await world.taker.read_clock()
    assert (reading.chain_time, reading.height) == (START + 5, world.simulation.height)
