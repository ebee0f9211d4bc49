"""The contract of ``HtlcLayer``: acts and reads of a hash-locked leg behave alike on every layer and network."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import nullcontext
from dataclasses import replace

import pytest

from layer2 import Preimage
from layer2.contracts.htlc import ClaimedEvent, RefundedEvent
from layer2.errors import FundsRulesError, ProtocolNotImplemented
from layer2.formats import bolt11
from layer2.legs import bitcoin_evidence, evm_evidence, rootstock_evidence
from layer2.legs.bitcoin import BitcoinLeg
from layer2.legs.evidence import (
    BitcoinSpendEvidence,
    EvmReceiptEvidence,
    LightningPaymentEvidence,
    RootstockReceiptEvidence,
)
from layer2.legs.evm import EvmLeg
from layer2.legs.lightning import LightningLeg
from layer2.legs.lock_evidence import shown_of
from layer2.legs.shown import LegOutcome, LegShown, Shown
from layer2.legs.views import ActStatus, LegState, LegView, Side, Verb
from layer2.local.network import LocalNetwork, LocalNetworkControl
from layer2.model.transactions import Finality
from networks.conftest import steering
from networks.legs import AMOUNT, LAYERS, FundedLeg, new_leg
from networks.mining import BitcoinMiner
from networks.parties import Clients, clients_of
from networks.waiting import until


@pytest.fixture(params=LAYERS)
def layer_name(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
async def leg(
    layer_name: str, control: LocalNetworkControl, taker: Clients, provider: Clients
) -> AsyncIterator[FundedLeg]:
    async with BitcoinMiner(control).running() if layer_name == "bitcoin" else nullcontext():
        yield await new_leg(layer_name, control, taker, provider)


async def test_an_offer_has_what_the_payer_needs(leg: FundedLeg) -> None:
    if isinstance(leg.htlc.leg, LightningLeg):
        invoice = bolt11.decode(leg.htlc.leg.invoice)
        assert (invoice.payment_hash, invoice.amount_msat) == (leg.preimage.payment_hash, AMOUNT * 1000)
        assert invoice.payee.hex() == await leg.payee.receive_address_async()
        assert invoice.min_final_cltv_expiry_delta == 80
    elif isinstance(leg.htlc.leg, BitcoinLeg):
        script = leg.htlc.leg.htlc
        assert script.descriptor.startswith("wsh(")
        assert len({script.payer, script.payee, script.payee_release}) == 3
    else:
        assert isinstance(leg.htlc.leg, EvmLeg)
        assert "0x" + leg.htlc.leg.payee.hex() == (await leg.payee.receive_address_async()).lower()


async def test_nothing_is_sent_before_an_act_is_performed(leg: FundedLeg) -> None:
    for side in Side:
        await leg.legs(side).check_can_finish(leg.htlc, side)
        view = await leg.see(side)
        assert (view.state, view.preimage) == (LegState.NONE, None)
        assert (view.arrived, view.final, view.over) == (False, False, False)
    act = await leg.payer.legs.prepare(Verb.FUND, leg.htlc)
    assert await leg.payer.legs.act_status(act) is ActStatus.UNSEEN
    for side in Side:
        assert (await leg.see(side)).state is LegState.NONE
        assert await leg.legs(side).evidence(leg.htlc, side) is None
    # A prepared act on a chain has a nonce. Perform it to avoid a nonce gap, and then refund it.
    await leg.payer.legs.perform(act)
    await leg.until_seen(Side.PAYEE, state=LegState.FUNDED)
    await leg.release()
    await leg.until_seen(Side.PAYER, state=LegState.RETURNED)


async def test_a_leg_is_funded_seen_collected_and_proven(leg: FundedLeg) -> None:
    before = [await leg.owned(side) for side in Side]
    fund = await leg.fund()
    funded = await leg.until_seen(Side.PAYEE, state=LegState.FUNDED)
    assert (funded.arrived, funded.final, funded.over, funded.preimage) == (False, False, False, None)
    # The money is locked or in flight.
    assert (await leg.see(Side.PAYER)).state is LegState.FUNDED
    assert await leg.payer.legs.act_status(fund) is (ActStatus.UNDER_WAY if leg.is_lightning else ActStatus.DONE)

    collect = await leg.collect()
    for side in Side:
        collected = await leg.until_final(side, state=LegState.COLLECTED)
        assert collected.preimage == leg.preimage
        assert not collected.over
    assert await leg.payee.legs.act_status(collect) is ActStatus.DONE
    assert await leg.payer.legs.act_status(fund) is ActStatus.DONE
    await assert_claimed(leg)
    await leg.until_owned([before[0] - AMOUNT, before[1] + AMOUNT])


async def assert_claimed(leg: FundedLeg) -> None:
    await leg.mine(5)
    for side in Side:
        evidence = await leg.legs(side).evidence(leg.htlc, side)
        if isinstance(leg.htlc.leg, EvmLeg):
            assert isinstance(evidence, EvmReceiptEvidence | RootstockReceiptEvidence)
            lock = leg.htlc.leg.lock(leg.htlc.payment_hash, leg.htlc.terms_hash)
            assert Shown.GENUINE_CONTRACT in shown_of(evidence, lock).shown
            event = event_of(evidence, lock.contract)
            assert isinstance(event, ClaimedEvent)
            assert event.preimage == leg.preimage
        elif isinstance(leg.htlc.leg, BitcoinLeg):
            assert isinstance(evidence, BitcoinSpendEvidence)
            assert shown_of_output(leg.htlc.leg, evidence).outcome is LegOutcome.COLLECTED
        else:
            assert isinstance(evidence, LightningPaymentEvidence)
            assert evidence.preimage.payment_hash == leg.htlc.payment_hash
        assert await leg.is_confirmed(side, evidence)


async def test_performing_every_act_twice_moves_the_money_once(leg: FundedLeg) -> None:
    before = [await leg.owned(side) for side in Side]
    fund = await leg.fund()
    await leg.payer.legs.perform(fund)
    await leg.until_seen(Side.PAYEE, state=LegState.FUNDED)
    await leg.payer.legs.perform(fund)
    collect = await leg.collect()
    await leg.payee.legs.perform(collect)
    for side in Side:
        await leg.until_final(side, state=LegState.COLLECTED)
    await leg.payee.legs.perform(collect)
    await leg.payer.legs.perform(fund)
    await leg.until_owned([before[0] - AMOUNT, before[1] + AMOUNT])


async def test_a_payee_releases_and_the_payer_has_everything_back(leg: FundedLeg) -> None:
    before = [await leg.owned(side) for side in Side]
    await leg.fund()
    await leg.until_seen(Side.PAYEE, state=LegState.FUNDED)
    release = await leg.release()
    await leg.payee.legs.perform(release)
    for side in Side:
        await leg.until_seen(side, state=LegState.RETURNED)
    for side in Side:
        returned = await leg.until_final(side, state=LegState.RETURNED)
        assert (returned.over, returned.preimage) == (True, None)
    assert await leg.payee.legs.act_status(release) is ActStatus.DONE
    await leg.until_owned(before)
    evidence = await leg.payer.legs.evidence(leg.htlc, Side.PAYER)
    if isinstance(leg.htlc.leg, EvmLeg):
        assert isinstance(evidence, EvmReceiptEvidence | RootstockReceiptEvidence)
        shown = shown_of(evidence, leg.htlc.leg.lock(leg.htlc.payment_hash, leg.htlc.terms_hash))
        assert shown.outcome is LegOutcome.RETURNED
    elif isinstance(leg.htlc.leg, BitcoinLeg):
        assert isinstance(evidence, BitcoinSpendEvidence)
        assert shown_of_output(leg.htlc.leg, evidence).outcome is LegOutcome.RETURNED
    else:
        assert evidence is None


def event_of(evidence: EvmReceiptEvidence | RootstockReceiptEvidence, contract: bytes) -> ClaimedEvent | RefundedEvent:
    if isinstance(evidence, EvmReceiptEvidence):
        return evm_evidence.read_event(evidence, contract).event
    return rootstock_evidence.read_event(evidence, contract).event


def shown_of_output(leg: BitcoinLeg, evidence: BitcoinSpendEvidence) -> LegShown:
    return bitcoin_evidence.shown_of(evidence, leg.htlc, leg.amount, prefix=leg.prefix, least_work=None)


async def test_money_that_differs_in_one_detail_is_not_this_leg(leg: FundedLeg) -> None:
    await leg.fund()
    await leg.until_seen(Side.PAYEE, state=LegState.FUNDED)
    for name, decoy in leg.decoys().items():
        for side in Side:
            state = (await leg.see(side, decoy)).state
            if name == "amount" and not isinstance(leg.htlc.leg, EvmLeg):
                # The invoice or the script is the same, and the amount is compared with the leg.
                assert state in (LegState.NONE, LegState.PENDING)
            else:
                assert state is LegState.NONE, name
    await leg.collect()
    await leg.until_final(Side.PAYEE, state=LegState.COLLECTED)


async def test_each_side_can_do_only_its_own_acts(leg: FundedLeg) -> None:
    with pytest.raises(FundsRulesError):
        await leg.payee.legs.prepare(Verb.FUND, leg.htlc)
    with pytest.raises(FundsRulesError):
        await leg.payee.legs.prepare(Verb.COLLECT, leg.htlc, Preimage(os.urandom(32)))
    await leg.fund()
    await leg.until_seen(Side.PAYEE, state=LegState.FUNDED)
    for side, verb, preimage in (
        (Side.PAYER, Verb.COLLECT, leg.preimage),
        (Side.PAYER, Verb.RELEASE, None),
        (Side.PAYER, Verb.RECLAIM, None),
        (Side.PAYEE, Verb.RECLAIM, None),
        (Side.PAYEE, Verb.COLLECT, None),
        (Side.PAYER, Verb.VOID, None),
    ):
        with pytest.raises(FundsRulesError):
            await leg.legs(side).prepare(verb, leg.htlc, preimage)
    await leg.collect()
    await leg.until_seen(Side.PAYER, state=LegState.COLLECTED)


async def test_a_hash_whose_preimage_is_out_is_never_funded_again(leg: FundedLeg) -> None:
    await leg.fund()
    await leg.until_seen(Side.PAYEE, state=LegState.FUNDED)
    with pytest.raises(FundsRulesError):
        await leg.payer.legs.prepare(Verb.FUND, leg.htlc)
    await leg.collect()
    await leg.until_seen(Side.PAYER, state=LegState.COLLECTED)
    for htlc in (leg.htlc, *[decoy for name, decoy in leg.decoys().items() if name != "hash"]):
        with pytest.raises(FundsRulesError):
            await leg.payer.legs.prepare(Verb.FUND, htlc)


async def test_waiting_for_a_change_ends_when_the_leg_is_funded(leg: FundedLeg) -> None:
    async def wait_until_funded() -> LegState:
        while (view := await leg.see(Side.PAYEE)).state is not LegState.FUNDED:
            await leg.payee.legs.wait_for_change(leg.htlc, view)
        return view.state

    waiting = asyncio.create_task(wait_until_funded())
    await leg.fund()
    async with asyncio.timeout(30):
        assert await waiting is LegState.FUNDED
    await leg.collect()
    await leg.until_seen(Side.PAYER, state=LegState.COLLECTED)


class News:
    """A listener of a leg that is followed."""

    def __init__(self) -> None:
        self.heard = asyncio.Event()

    def changed(self) -> None:
        self.heard.set()

    def missed(self) -> None:
        self.heard.set()


async def test_a_party_that_looks_only_after_a_report_sees_the_funding_and_the_preimage(leg: FundedLeg) -> None:
    slept: list[Side] = []

    async def until_reported(side: Side, holds: Callable[[LegView], bool]) -> None:
        while not holds(view := await leg.see(side)):
            news = News()
            if leg.legs(side).follow(leg.htlc, side, view, news) is None:
                await asyncio.sleep(0.05)
            else:
                slept.append(side)
                await news.heard.wait()
            leg.legs(side).unfollow(leg.htlc.payment_hash, news)

    async with asyncio.timeout(180):
        payee = asyncio.create_task(until_reported(Side.PAYEE, lambda view: view.state is LegState.FUNDED))
        await until(lambda: _true_of(slept), "the payee sleeps")
        await leg.fund()
        await payee
        await leg.until_seen(Side.PAYER, state=LegState.FUNDED)
        slept.clear()
        payer = asyncio.create_task(until_reported(Side.PAYER, lambda view: view.preimage == leg.preimage))
        await until(lambda: _true_of(slept), "the payer sleeps")
        await leg.collect()
        await payer


async def _true_of(found: list[Side]) -> bool:
    return bool(found)


async def test_the_clocks_of_a_layer_are_read_with_their_heights(leg: FundedLeg) -> None:
    first = await leg.payer.legs.read_clock()
    await leg.mine(1)
    await leg.control.mine_bitcoin(1)

    async def is_later() -> bool:
        # A reading of Bitcoin's chain is shared for a poll interval.
        return (await leg.payer.legs.read_clock()).height > first.height

    await until(is_later, "the clock shows the new block")
    assert (await leg.payer.legs.read_clock()).chain_time >= first.chain_time


@pytest.mark.parametrize("chain", ["bob", "rootstock"])
async def test_a_lock_counts_at_the_finality_of_the_terms(
    chain: str, control: LocalNetworkControl, taker: Clients, provider: Clients
) -> None:
    leg = await new_leg(chain, control, taker, provider)
    assert isinstance(leg.htlc.leg, EvmLeg)
    await control.set_automatic(False, chain=leg.htlc.leg.protocol.value)
    await leg.fund()
    await leg.mine(1)
    assert (await leg.see(Side.PAYEE)).state is LegState.FUNDED
    for finality in (Finality.SAFE, Finality.FINALIZED):
        careful = replace(leg.htlc, leg=replace(leg.htlc.leg, finality=finality))
        assert (await leg.see(Side.PAYEE, careful)).state is LegState.PENDING
        await leg.mine(2)
        assert (await leg.see(Side.PAYEE, careful)).state is LegState.FUNDED


@pytest.mark.parametrize("chain", ["bob", "rootstock"])
async def test_what_has_arrived_on_a_chain_is_final_once_it_is_finalized(
    chain: str, control: LocalNetworkControl, taker: Clients, provider: Clients
) -> None:
    leg = await new_leg(chain, control, taker, provider)
    await leg.fund()
    await leg.until_seen(Side.PAYEE, state=LegState.FUNDED)
    await control.set_automatic(False, chain=leg.htlc.leg.protocol.value)
    await leg.collect()
    await leg.mine(1)
    for _ in range(2):
        for side in Side:
            view = await leg.see(side)
            assert (view.arrived, view.final) == (True, False)
            assert view.final_at is not None
        await leg.mine(2)
    for side in Side:
        view = await leg.see(side)
        assert (view.arrived, view.final) == (True, True)


@pytest.mark.parametrize("chain", ["bob", "rootstock"])
async def test_a_late_funding_is_found_and_a_courtesy_pays_its_payee(
    chain: str, control: LocalNetworkControl, taker: Clients, provider: Clients
) -> None:
    leg = await new_leg(chain, control, taker, provider)
    _, since = await leg.payee.legs.late_fundings(0)
    await leg.fund()
    await leg.until_seen(Side.PAYEE, state=LegState.FUNDED)
    assert leg.htlc.payment_hash in (await leg.payee.legs.late_fundings(since))[0]
    assert leg.htlc.payment_hash not in (await leg.payer.legs.late_fundings(since))[0]
    before = [await leg.owned(side) for side in Side]
    await leg.payer.legs.courtesy(leg.htlc, leg.preimage)
    collected = await leg.until_final(Side.PAYEE, state=LegState.COLLECTED)
    assert collected.preimage == leg.preimage
    await leg.until_owned([before[0], before[1] + AMOUNT])


async def test_only_the_payee_collects_on_lightning_and_a_late_payment_is_refused_by_its_node(
    control: LocalNetworkControl, taker: Clients, provider: Clients
) -> None:
    leg = await new_leg("lightning", control, taker, provider)
    with pytest.raises(ProtocolNotImplemented):
        await leg.payer.legs.courtesy(leg.htlc, leg.preimage)
    assert await leg.payee.legs.late_fundings(7) == (frozenset(), 7)


async def test_reserving_and_freeing_a_leg_can_be_repeated(leg: FundedLeg) -> None:
    for side in Side:
        legs = leg.legs(side)
        for _ in range(2):
            await legs.reserve(leg.htlc, side)
            await legs.check_can_finish(leg.htlc, side)
        for _ in range(2):
            legs.free(leg.htlc)


async def test_an_act_that_was_discarded_leaves_nothing_behind(leg: FundedLeg) -> None:
    act = await leg.payer.legs.prepare(Verb.FUND, leg.htlc)
    leg.payer.legs.discard(act)
    # Acts prepared later do not wait for it.
    await leg.fund()
    await leg.until_seen(Side.PAYEE, state=LegState.FUNDED)
    await leg.release()
    await leg.until_seen(Side.PAYER, state=LegState.RETURNED)


async def test_a_funding_that_never_came_is_over_once_it_can_no_longer_come(
    layer_name: str, control: LocalNetworkControl, taker: Clients, provider: Clients
) -> None:
    leg = await new_leg(layer_name, control, taker, provider, lasting=-3600)
    if leg.is_lightning:
        assert not (await leg.see(Side.PAYEE)).over
        await leg.act(Side.PAYEE, Verb.RELEASE)
        assert (await leg.see(Side.PAYEE)).over
        # A payer cannot know that it was cancelled before the invoice has expired.
        assert not (await leg.see(Side.PAYER)).over
    elif isinstance(leg.htlc.leg, BitcoinLeg):
        # A transaction can always be mined. It does not lapse, and the payer begins none after the deadline.
        assert [(await leg.see(side)).over for side in Side] == [False, False]
        with pytest.raises(FundsRulesError, match="deadline"):
            await leg.payer.legs.prepare(Verb.FUND, leg.htlc)
    else:
        for side in Side:
            view = await leg.see(side)
            assert (view.state, view.over) == (LegState.NONE, True)
        with pytest.raises(FundsRulesError, match="deadline"):
            await leg.payer.legs.prepare(Verb.FUND, leg.htlc)


async def test_a_payer_has_its_money_back_after_the_deadline_though_the_payee_does_nothing(
    own_network: LocalNetwork,
) -> None:
    network = own_network
    async with (
        steering(network) as control,
        clients_of(network, network.taker) as taker,
        clients_of(network, network.provider) as provider,
        BitcoinMiner(control).running(),
    ):
        legs = [await new_leg(name, control, taker, provider) for name in LAYERS]
        before = [await leg.owned(Side.PAYER) for leg in legs]
        for leg in legs:
            await leg.fund()
            await leg.until_seen(Side.PAYEE, state=LegState.FUNDED)
            with pytest.raises(FundsRulesError):
                await leg.payer.legs.prepare(Verb.RECLAIM, leg.htlc)
        *locks, payment = legs
        for lock in locks:
            await reclaimed(lock)

        async def has_come_back() -> bool:
            await control.mine_bitcoin(20)
            return (await payment.see(Side.PAYER)).state is LegState.RETURNED

        await until(has_come_back, "the payment is returned")
        assert (await payment.see(Side.PAYER)).over
        for leg, owned in zip(legs, before, strict=True):
            await leg.until_owned([owned])


async def reclaimed(lock: FundedLeg) -> None:
    if isinstance(lock.htlc.leg, BitcoinLeg):
        locktime = lock.htlc.leg.locktime
        await lock.mine(locktime - (await lock.payer.legs.read_clock()).height)

        async def has_passed() -> bool:
            return (await lock.payer.legs.read_clock()).height >= locktime

        await until(has_passed, "the payer sees the deadline")
    else:
        assert isinstance(lock.htlc.leg, EvmLeg)
        chain = lock.htlc.leg.protocol.value
        now = await lock.control.advance_chain_time(1, chain=chain)
        await lock.control.advance_chain_time(lock.htlc.leg.deadline - now, chain=chain)
    reclaim = await lock.act(Side.PAYER, Verb.RECLAIM)
    await lock.payer.legs.perform(reclaim)
    await lock.until_seen(Side.PAYEE, state=LegState.RETURNED)
    final = await lock.until_final(Side.PAYER, state=LegState.RETURNED)
    assert final.over
