"""The ability ``HtlcLayer``: the seven verbs of a hash-locked leg, the same on both layers and on both networks."""

from __future__ import annotations

import asyncio
import os

import pytest

from layer2 import Preimage
from layer2.contracts.htlc import ClaimedEvent, RefundedEvent
from layer2.errors import FundsRulesError
from layer2.formats import bolt11
from layer2.local_network import LocalNetwork, LocalNetworkControl
from layer2.proofs.evidence import EvmReceiptEvidence, LightningPaymentEvidence
from layer2.proofs.evm_receipt import check_lock_event
from layer2.proofs.lightning_payment import check_payment
from layer2.swap_rules.legs import ActStatus, LegState, Side, Verb
from layer2.terms import EvmLeg, LightningLeg
from layer2.transactions import Finality
from networks.conftest import steering
from networks.legs import AMOUNT, FundedLeg, new_leg
from networks.parties import Clients, clients_of
from networks.waiting import until


@pytest.fixture(params=["bob", "lightning"])
def layer_name(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
async def leg(
    layer_name: str, network: LocalNetwork, control: LocalNetworkControl, taker: Clients, provider: Clients
) -> FundedLeg:
    return await new_leg(layer_name, network, control, taker, provider)


async def test_an_offer_says_what_the_payer_needs(leg: FundedLeg) -> None:
    if isinstance(leg.htlc.leg, LightningLeg):
        invoice = bolt11.decode(leg.htlc.leg.invoice)
        assert (invoice.payment_hash, invoice.amount_msat) == (leg.preimage.payment_hash, AMOUNT * 1000)
        assert invoice.payee.hex() == await leg.payee.receive_address_async()
        assert invoice.min_final_cltv_expiry_delta == 80
    else:
        assert "0x" + leg.htlc.leg.payee.hex() == (await leg.payee.receive_address_async()).lower()


async def test_nothing_is_sent_before_an_act_is_performed(leg: FundedLeg) -> None:
    for side in Side:
        await leg.side(side).check_can_finish(leg.htlc, side)
        view = await leg.see(side)
        assert (view.state, view.over, view.final, view.preimage) == (LegState.NONE, False, False, None)
    act = await leg.payer.prepare(Verb.FUND, leg.htlc)
    assert await leg.payer.act_status(act) is ActStatus.UNSEEN
    for side in Side:
        assert (await leg.see(side)).state is LegState.NONE
        assert await leg.side(side).evidence(leg.htlc, side) is None
    # What is prepared on a chain has a nonce: it is performed, so that no gap is left, and given back.
    await leg.payer.perform(act)
    await leg.until_seen(Side.PAYEE, state=LegState.FUNDED)
    await leg.act(Side.PAYEE, Verb.RELEASE)
    await leg.until_seen(Side.PAYER, state=LegState.RETURNED)


async def test_a_leg_is_funded_seen_collected_and_proven(leg: FundedLeg) -> None:
    before = [await leg.owned(side) for side in Side]
    fund = await leg.fund()
    funded = await leg.until_seen(Side.PAYEE, state=LegState.FUNDED)
    assert (funded.final, funded.over, funded.preimage) == (False, False, None)
    # A payer of Lightning knows only that the payment is on its way.
    as_payer = await leg.see(Side.PAYER)
    assert as_payer.state is (LegState.PENDING if leg.is_lightning else LegState.FUNDED)
    assert await leg.payer.act_status(fund) is (ActStatus.UNDER_WAY if leg.is_lightning else ActStatus.DONE)

    collect = await leg.collect()
    for side in Side:
        collected = await leg.until_seen(side, state=LegState.COLLECTED, final=True)
        assert collected.preimage == leg.preimage
        assert not collected.over
    assert await leg.payee.act_status(collect) is ActStatus.DONE
    assert await leg.payer.act_status(fund) is ActStatus.DONE
    await assert_claimed(leg)
    await leg.until_owned([before[0] - AMOUNT, before[1] + AMOUNT])


async def assert_claimed(leg: FundedLeg) -> None:
    await leg.control.mine(5)
    for side in Side:
        evidence = await leg.side(side).evidence(leg.htlc, side)
        if isinstance(leg.htlc.leg, EvmLeg):
            assert isinstance(evidence, EvmReceiptEvidence)
            included = check_lock_event(evidence, leg.htlc.leg, leg.htlc.payment_hash, leg.htlc.terms_hash)
            assert included.contract_is_genuine
            assert isinstance(included.event, ClaimedEvent)
            assert included.event.preimage == leg.preimage
        else:
            assert isinstance(evidence, LightningPaymentEvidence)
            check_payment(evidence, leg.htlc.payment_hash)
        assert await leg.side(side).verify_proof_async(evidence)  # type: ignore[arg-type]  # of its own layer


async def test_performing_every_act_twice_moves_the_money_once(leg: FundedLeg) -> None:
    before = [await leg.owned(side) for side in Side]
    fund = await leg.fund()
    await leg.payer.perform(fund)
    await leg.until_seen(Side.PAYEE, state=LegState.FUNDED)
    await leg.payer.perform(fund)
    collect = await leg.collect()
    await leg.payee.perform(collect)
    for side in Side:
        await leg.until_seen(side, state=LegState.COLLECTED, final=True)
    await leg.payee.perform(collect)
    await leg.payer.perform(fund)
    await leg.until_owned([before[0] - AMOUNT, before[1] + AMOUNT])


async def test_a_payee_releases_and_the_payer_has_everything_back(leg: FundedLeg) -> None:
    before = [await leg.owned(side) for side in Side]
    await leg.fund()
    await leg.until_seen(Side.PAYEE, state=LegState.FUNDED)
    release = await leg.act(Side.PAYEE, Verb.RELEASE)
    await leg.payee.perform(release)
    for side in Side:
        await leg.until_seen(side, state=LegState.RETURNED)
    await leg.control.mine(5)
    for side in Side:
        returned = await leg.until_seen(side, state=LegState.RETURNED, final=True, over=True)
        assert returned.preimage is None
    assert await leg.payee.act_status(release) is ActStatus.DONE
    await leg.until_owned(before)
    evidence = await leg.payer.evidence(leg.htlc, Side.PAYER)
    if isinstance(leg.htlc.leg, EvmLeg):
        assert isinstance(evidence, EvmReceiptEvidence)
        included = check_lock_event(evidence, leg.htlc.leg, leg.htlc.payment_hash, leg.htlc.terms_hash)
        assert isinstance(included.event, RefundedEvent)
    else:
        assert evidence is None


async def test_money_that_differs_in_one_detail_is_not_this_leg(leg: FundedLeg) -> None:
    await leg.fund()
    await leg.until_seen(Side.PAYEE, state=LegState.FUNDED)
    for name, decoy in leg.decoys().items():
        for side in Side:
            # A payee of Lightning names the amount in the invoice: what is held is compared with the leg.
            state = (await leg.see(side, decoy)).state
            assert state in (LegState.NONE, LegState.PENDING) if leg.is_lightning else state is LegState.NONE, name
    await leg.collect()
    await leg.until_seen(Side.PAYEE, state=LegState.COLLECTED, final=True)


async def test_each_side_can_do_only_its_own_acts(leg: FundedLeg) -> None:
    with pytest.raises(FundsRulesError):
        await leg.payee.prepare(Verb.FUND, leg.htlc)
    with pytest.raises(FundsRulesError):
        await leg.payee.prepare(Verb.COLLECT, leg.htlc, Preimage(os.urandom(32)))
    await leg.fund()
    await leg.until_seen(Side.PAYEE, state=LegState.FUNDED)
    for side, verb, preimage in (
        (Side.PAYER, Verb.COLLECT, leg.preimage),
        (Side.PAYER, Verb.RELEASE, None),
        (Side.PAYER, Verb.RECLAIM, None),
        (Side.PAYEE, Verb.RECLAIM, None),
        (Side.PAYEE, Verb.COLLECT, None),
    ):
        with pytest.raises(FundsRulesError):
            await leg.side(side).prepare(verb, leg.htlc, preimage)
    await leg.collect()
    await leg.until_seen(Side.PAYER, state=LegState.COLLECTED)


async def test_a_hash_whose_preimage_is_out_is_never_funded_again(leg: FundedLeg) -> None:
    await leg.fund()
    await leg.until_seen(Side.PAYEE, state=LegState.FUNDED)
    with pytest.raises(FundsRulesError):
        await leg.payer.prepare(Verb.FUND, leg.htlc)
    await leg.collect()
    await leg.until_seen(Side.PAYER, state=LegState.COLLECTED)
    for htlc in (leg.htlc, *[decoy for name, decoy in leg.decoys().items() if name != "hash"]):
        with pytest.raises(FundsRulesError):
            await leg.payer.prepare(Verb.FUND, htlc)


async def test_waiting_for_a_change_ends_when_the_leg_is_funded(leg: FundedLeg) -> None:
    async def wait_until_funded() -> LegState:
        while (view := await leg.see(Side.PAYEE)).state is not LegState.FUNDED:
            await leg.payee.wait_for_change(leg.htlc, view)
        return view.state

    waiting = asyncio.create_task(wait_until_funded())
    await leg.fund()
    async with asyncio.timeout(30):
        assert await waiting is LegState.FUNDED
    await leg.collect()
    await leg.until_seen(Side.PAYER, state=LegState.COLLECTED)


async def test_the_clocks_of_a_layer_are_read_with_their_heights(leg: FundedLeg) -> None:
    first = await leg.payer.read_clock()
    await leg.control.mine(1)
    await leg.control.mine_bitcoin(1)
    later = await leg.payer.read_clock()
    assert later.height > first.height
    assert later.chain_time >= first.chain_time


async def test_a_lock_counts_at_the_finality_that_is_asked_for(
    network: LocalNetwork, control: LocalNetworkControl, taker: Clients, provider: Clients
) -> None:
    leg = await new_leg("bob", network, control, taker, provider)
    await control.set_automatic(False)
    await leg.fund()
    await control.mine(1)
    for finality in (Finality.SAFE, Finality.FINALIZED):
        assert (await leg.payee.observe(leg.htlc, Side.PAYEE, finality)).state is LegState.PENDING
        await control.mine(2)
        assert (await leg.payee.observe(leg.htlc, Side.PAYEE, finality)).state is LegState.FUNDED


async def test_a_funding_that_never_came_is_over_once_it_cannot_come_any_more(
    layer_name: str, network: LocalNetwork, control: LocalNetworkControl, taker: Clients, provider: Clients
) -> None:
    leg = await new_leg(layer_name, network, control, taker, provider, lasting=-3600)
    if leg.is_lightning:
        assert not (await leg.see(Side.PAYEE)).over
        await leg.act(Side.PAYEE, Verb.RELEASE)
        assert (await leg.see(Side.PAYEE)).over
        # Whether it was cancelled, a payer cannot know before the invoice has expired.
        assert not (await leg.see(Side.PAYER)).over
    else:
        for side in Side:
            view = await leg.see(side)
            assert (view.state, view.over) == (LegState.NONE, True)
        with pytest.raises(FundsRulesError, match="deadline"):
            await leg.payer.prepare(Verb.FUND, leg.htlc)


async def test_a_payer_has_its_money_back_after_the_deadline_though_the_payee_does_nothing(
    own_network: LocalNetwork,
) -> None:
    network = own_network
    async with (
        steering(network) as control,
        clients_of(network, network.taker) as taker,
        clients_of(network, network.provider) as provider,
    ):
        legs = [await new_leg(name, network, control, taker, provider) for name in ("bob", "lightning")]
        before = [await leg.owned(Side.PAYER) for leg in legs]
        for leg in legs:
            await leg.fund()
            await leg.until_seen(Side.PAYEE, state=LegState.FUNDED)
            with pytest.raises(FundsRulesError):
                await leg.payer.prepare(Verb.RECLAIM, leg.htlc)
        lock, payment = legs
        assert isinstance(lock.htlc.leg, EvmLeg)

        now = await control.advance_chain_time(1)
        await control.advance_chain_time(lock.htlc.leg.deadline - now)
        reclaim = await lock.act(Side.PAYER, Verb.RECLAIM)
        await lock.payer.perform(reclaim)
        await lock.until_seen(Side.PAYEE, state=LegState.RETURNED)
        await control.mine(5)
        await lock.until_seen(Side.PAYER, state=LegState.RETURNED, final=True, over=True)

        async def has_come_back() -> bool:
            await control.mine_bitcoin(20)
            return (await payment.see(Side.PAYER)).state is LegState.RETURNED

        await until(has_come_back, "the payment comes back")
        assert (await payment.see(Side.PAYER)).over
        for leg, owned in zip(legs, before, strict=True):
            await leg.until_owned([owned])
