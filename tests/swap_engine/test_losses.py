"""Scenarios in which a party once lost money, or waited forever."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from layer2.errors import JournalError
from layer2.legs.evm import EvmLeg
from layer2.legs.leg import Htlc
from layer2.legs.timelock_settings import REGTEST
from layer2.model.transactions import Finality
from layer2.ports.journal import Delivery
from layer2.swap_engine.records import describe
from layer2.swap_rules.states import ProviderCollecting, TakerCollecting, write_state
from layer2.terms.transfers import TransferState
from swap_engine.adversary import Adversary
from swap_engine.chain import Transaction
from swap_engine.faults import Killed, breathe
from swap_engine.two_parties import Scene, wait_for
from swap_engine.virtual_time import run
from swap_rules.example_terms import FEE, PAYMENT_HASH, PREIMAGE, SWAP_ID

DAY = 24 * 3600


@pytest.mark.parametrize("pair", [("bob", "lightning"), ("bob", "rootstock")], ids="-to-".join)
def test_a_taker_completes_without_the_provider_and_collects_for_it_as_a_courtesy(
    pair: tuple[str, str],
) -> None:
    async def story() -> None:
        scene = await Scene.of(*pair)
        await scene.begin()
        await scene.taker.until("collecting")
        await scene.provider.runner.aclose()
        scene.chain.forget_pool()
        async with asyncio.timeout(DAY):
            shown = [describe(one, REGTEST) async for one in scene.taker.runner.watch(SWAP_ID)]
        waited = shown[-2]
        assert (waited.state, shown[-1].state) == (TransferState.ARRIVED, TransferState.COMPLETED)
        assert waited.deadline is not None
        assert waited.deadline >= shown[-1].updated_at - 1
        assert scene.taker.state == "completed"
        assert scene.taker.source.calls == ["courtesy"]
        assert scene.lock.state == "claimed"
        assert scene.gains == (-FEE, FEE)
        assert scene.taker.proof is not None
        assert "None" not in scene.taker.proof
        await scene.close()

    run(story())


def test_a_completed_transfer_is_not_kept_open_by_a_courtesy_that_fails() -> None:
    async def story() -> None:
        scene = await Scene.to_lightning()
        await scene.begin()
        await scene.taker.until("collecting")
        await scene.provider.runner.aclose()
        scene.chain.forget_pool()

        async def fault(when: str, what: str) -> None:
            await asyncio.sleep(0)
            if what in ("courtesy", "evidence"):
                raise ZeroDivisionError

        scene.taker.source.fault = fault
        began = asyncio.get_running_loop().time()
        await wait_for(scene.taker.runner, SWAP_ID)
        assert asyncio.get_running_loop().time() - began <= scene.world.rules.courtesy + 20
        assert scene.taker.state == "completed"
        # A proof may lack a leg.
        assert scene.taker.proof == "NoneType and LightningPaymentEvidence"
        await scene.close()

    run(story())


@pytest.mark.parametrize("pair", [("lightning", "bob"), ("rootstock", "bob")], ids="-to-".join)
def test_a_taker_whose_other_layer_is_gone_at_the_start_still_claims(pair: tuple[str, str]) -> None:
    async def story() -> None:
        scene = await Scene.of(*pair)
        scene.chain_of(scene.terms.destination).inclusion_seconds = lambda: 15
        await scene.begin()
        await scene.taker.until("collecting")
        scene.chain_of(scene.terms.destination).forget_pool()
        del scene.taker.legs[scene.terms.source.protocol]
        await scene.taker.restart()
        provider = Adversary(scene, "provider")
        await scene.provider.runner.aclose()
        refundable_from = scene.terms.destination.refundable_from
        assert refundable_from is not None
        await scene.sleep_until(refundable_from + 1)
        for move in ("refund", "claim", "settle"):
            provider.make(move)
        await wait_for(scene.taker.runner, SWAP_ID)
        assert scene.taker.state == "completed"
        assert scene.gained("taker") == -FEE
        await scene.close()

    run(story())


@pytest.mark.parametrize("pair", [("bob", "lightning"), ("bob", "rootstock")], ids="-to-".join)
def test_a_provider_whose_other_layer_is_gone_at_the_start_still_claims(pair: tuple[str, str]) -> None:
    async def story() -> None:
        scene = await Scene.of(*pair)
        scene.chain.inclusion_seconds = lambda: 15
        await scene.begin()
        await scene.provider.until("collecting")
        await asyncio.sleep(1)
        scene.chain.forget_pool()
        del scene.provider.legs[scene.terms.destination.protocol]
        await scene.provider.restart()
        await scene.both_final()
        assert scene.states == ("completed", "completed")
        assert scene.gains == (-FEE, FEE)
        await scene.close()

    run(story())


@pytest.mark.parametrize("down", [True, False], ids=["missing", "unreadable"])
def test_a_taker_gets_its_lock_back_after_the_deadline_while_its_other_node_is_gone(down: bool) -> None:
    async def story() -> None:
        scene = await Scene.to_lightning()
        await scene.taker.runner.resume()
        await scene.taker.until("funded")

        async def fault(when: str, what: str) -> None:
            await asyncio.sleep(0)
            raise ConnectionError("the node is gone")

        scene.taker.destination.fault = fault
        if down:
            del scene.taker.legs[scene.terms.destination.protocol]
            await scene.taker.restart()
        await scene.sleep_until(scene.terms.counter_fund_by + 40)
        assert "LIGHTNING node cannot be read" in (describe(scene.taker.record, scene.world.rules).attention or "")
        async with asyncio.timeout(DAY):
            await wait_for(scene.taker.runner, SWAP_ID)
        assert scene.taker.state == "refunded"
        assert scene.lock.ended_at - scene.deadline < 60
        assert scene.taker.record.attention is None
        await scene.close()

    run(story())


def test_a_provider_does_not_release_a_lock_for_which_its_node_took_a_payment_and_forgot_it() -> None:
    async def story() -> None:
        scene = await Scene.to_lightning()
        await scene.begin()
        await scene.provider.until("counter_funding")
        await asyncio.sleep(0.2)
        await scene.provider.runner.aclose()
        [intent] = await scene.provider.journal.intents(SWAP_ID)
        assert intent.delivery is Delivery.TAKEN
        # No courtesy claim reveals the preimage on the lock's chain.
        await scene.taker.until("collecting")
        await asyncio.sleep(1)
        await scene.taker.runner.aclose()
        assert scene.invoice.state == "settled"
        scene.invoice.is_forgotten = True
        await scene.sleep_until(scene.deadline - 600)
        await scene.provider.restart()
        await scene.sleep_until(scene.deadline - 10)
        assert scene.provider.state in ("counter_funding", "counter_funded")
        assert scene.provider.record.attention is not None
        assert scene.lock.state == "locked"
        # Its node finds the payment again before the deadline, so nothing is lost.
        scene.invoice.is_forgotten = False
        scene.world.change()
        await wait_for(scene.provider.runner, SWAP_ID)
        assert (scene.provider.state, scene.gained("provider")) == ("completed", FEE)
        await scene.close()

    run(story())


def test_a_claim_that_left_before_a_crash_is_made_again_after_the_time_to_show_the_preimage() -> None:
    async def story() -> None:
        scene = await Scene.to_bob()
        provider, party = Adversary(scene, "provider"), scene.taker
        chain = scene.chain

        async def kill(when: str, what: str) -> None:
            await asyncio.sleep(0)
            if (when, what) == ("after", "perform") and scene.world.shown:
                raise Killed

        await party.runner.resume()
        await asyncio.sleep(2)
        provider.make("lock")
        await asyncio.sleep(3)
        # The sequencer has the claim, and does not include it.
        chain.inclusion_seconds = lambda: 10**7
        party.on_fault(kill)
        await scene.when(lambda: bool(scene.world.shown))
        claim = (await party.journal.intents(SWAP_ID))[-1]
        assert (claim.verb, claim.delivery) == ("collect", Delivery.LEAVING)
        party.on_fault(breathe)
        # The party's node was restarted with the machine, so its pool is empty.
        chain.forget_pool()
        chain.inclusion_seconds = lambda: 1
        await scene.sleep_until(scene.terms.collect_by + 5)
        await party.restart()
        await asyncio.sleep(5)
        assert scene.lock.state == "claimed"
        await scene.sleep_until(scene.deadline + 1)
        for move in ("refund", "settle"):
            provider.make(move)
        await wait_for(party.runner, SWAP_ID)
        assert (party.state, scene.gained("taker")) == ("completed", -FEE)
        await scene.close()

    run(story())


def test_a_provider_that_chose_release_does_not_collect_when_the_preimage_becomes_public() -> None:
    async def story() -> None:
        scene = await Scene.to_lightning()
        leg = scene.terms.source
        assert isinstance(leg, EvmLeg)
        # Another payer's lock for the same invoice, which another provider has paid and claims.
        other = Htlc(replace(leg, payer=b"\x71" * 20, payee=b"\x72" * 20), PAYMENT_HASH, b"\x73" * 32)
        scene.world.owners |= {b"\x71" * 20: "another taker", b"\x72" * 20: "another provider"}
        scene.chain.broadcast(Transaction("another taker", 0, "fund", other))
        scene.world.routes = False
        scene.chain.inclusion_seconds = lambda: 3
        await scene.begin()
        await scene.provider.until("releasing")
        scene.chain.forget_pool()
        scene.chain.broadcast(Transaction("another provider", 0, "collect", other, PREIMAGE))
        await scene.both_final()
        assert scene.provider.state == "released"
        assert all(one.verb != "collect" for one in await scene.provider.journal.intents(SWAP_ID))
        assert scene.gained("provider") == 0
        await scene.close()

    run(story())


def test_a_provider_whose_lock_can_never_land_gives_the_payment_back_at_once() -> None:
    async def story() -> None:
        scene = await Scene.to_bob()
        await scene.begin()
        await scene.provider.until("counter_funding")
        await asyncio.sleep(0.5)
        # Another process with the same key has used the nonce.
        lost = scene.chain.forget_pool()
        assert [one.verb for one in lost] == ["fund"]
        leg = scene.terms.destination
        assert isinstance(leg, EvmLeg)
        other = Htlc(replace(leg, deadline=leg.deadline + 1), b"\x74" * 32, b"\x75" * 32)
        scene.chain.broadcast(Transaction("provider", lost[0].nonce, "fund", other))
        began = scene.world.now()
        await scene.both_final()
        assert scene.states == ("refunded", "released")
        assert scene.world.now() - began < 3 * scene.chain.margins.final_time
        assert scene.gained("taker") == 0
        await scene.close()

    run(story())


def test_a_taker_whose_lock_can_never_land_is_done_at_once() -> None:
    async def story() -> None:
        scene = await Scene.to_lightning()
        scene.chain.inclusion_seconds = lambda: 20
        await scene.taker.runner.resume()
        await scene.taker.until("funding")
        await asyncio.sleep(5)
        [lost] = scene.chain.forget_pool()
        leg = scene.terms.source
        assert isinstance(leg, EvmLeg)
        other = Htlc(replace(leg, deadline=leg.deadline + 1), b"\x74" * 32, b"\x75" * 32)
        scene.chain.inclusion_seconds = lambda: 1
        scene.chain.broadcast(Transaction("taker", lost.nonce, "fund", other))
        await wait_for(scene.taker.runner, SWAP_ID)
        assert scene.taker.state == "abandoned"
        assert scene.world.now() < scene.terms.counter_fund_by
        await scene.close()

    run(story())


def test_a_provider_that_lost_the_race_for_the_lock_ends_as_lost() -> None:
    async def story() -> None:
        scene = await Scene.to_lightning()
        taker, party = Adversary(scene, "taker"), scene.provider
        taker.make("lock")
        await asyncio.sleep(3)
        await scene.sleep_until(scene.deadline)
        taker.make("refund")
        state = ProviderCollecting("0x01", "h", has_arrived=False)
        await party.journal.advance(party.record, state=write_state(state), is_final=False, event="as it was", now=1)
        await party.runner.resume()
        async with asyncio.timeout(DAY):
            await wait_for(party.runner, SWAP_ID)
        assert party.state == "lost"
        await scene.close()

    run(story())


def test_a_taker_that_lost_the_race_for_the_lock_reports_the_loss() -> None:
    async def story() -> None:
        scene = await Scene.to_bob()
        provider, party = Adversary(scene, "provider"), scene.taker
        await party.runner.resume()
        await party.until("funded")
        await party.runner.aclose()
        provider.make("lock")
        await scene.sleep_until(scene.deadline)
        provider.make("refund")
        scene.world.settle(scene.invoice, PREIMAGE)
        state = TakerCollecting("h", "0x01", has_arrived=False, final_at=None)
        await party.journal.advance(party.record, state=write_state(state), is_final=False, event="as it was", now=1)
        await party.restart()
        async with asyncio.timeout(DAY):
            await wait_for(party.runner, SWAP_ID)
        assert describe(party.record, scene.world.rules).state is TransferState.LOST
        await scene.close()

    run(story())


def test_a_claim_is_made_again_though_the_node_that_showed_the_preimage_is_gone_for_good() -> None:
    async def story() -> None:
        scene = await Scene.to_lightning(finality=Finality.LATEST)
        await scene.begin()
        await scene.provider.until("collecting")
        await asyncio.sleep(5)
        del scene.provider.legs[scene.terms.destination.protocol]
        await scene.provider.restart()
        # In the new blocks the claim is before its lock, and fails.
        assert scene.chain.reorganise(10**6, backwards=True) == 2
        await scene.taker.runner.aclose()
        await wait_for(scene.provider.runner, SWAP_ID)
        assert (scene.provider.state, scene.gained("provider")) == ("completed", FEE)
        claims = [one for one in await scene.provider.journal.intents(SWAP_ID) if one.verb == "collect"]
        assert len(claims) == 2
        await scene.close()

    run(story())


def test_an_invoice_that_was_never_paid_ends_the_providers_swap_with_one_release_at_most() -> None:
    async def story() -> None:
        scene = await Scene.to_bob()
        await scene.provider.runner.resume()
        async with asyncio.timeout(3600):
            await wait_for(scene.provider.runner, SWAP_ID)
        assert scene.provider.state == "released"
        assert len(await scene.provider.journal.intents(SWAP_ID)) <= 1
        await scene.close()

    run(story())


@pytest.mark.parametrize("pair", [("bob", "lightning"), ("lightning", "bob"), ("bob", "rootstock")], ids="-to-".join)
@pytest.mark.parametrize("role", ["taker", "provider"])
def test_a_disk_that_is_full_for_a_while_leaves_no_gap_in_the_nonces_and_shows_no_preimage(
    pair: tuple[str, str], role: str
) -> None:
    async def story() -> None:
        scene = await Scene.of(*pair)
        party = scene.taker if role == "taker" else scene.provider
        await scene.begin()
        await party.until("funding", "counter_funding")
        await asyncio.sleep(1)
        sent = set(scene.world.shown)

        async def full(when: str, what: str) -> None:
            await asyncio.sleep(0)
            raise JournalError("the disk is full")

        party.journal.fault = full
        await asyncio.sleep(20)
        assert scene.world.shown - sent <= ({PREIMAGE.secret} if role == "provider" else set())
        party.journal.fault = breathe
        await scene.both_final()
        assert scene.states == ("completed", "completed")
        assert scene.gains == (-FEE, FEE)
        await scene.close()

    run(story())
