"""Complete swaps with two honest parties, or with one party that stops."""

from __future__ import annotations

import asyncio

import pytest

from layer2.errors import NodeError
from layer2.legs.evm import EvmLeg
from layer2.legs.timelock_settings import MAINNET, REGTEST, TimelockSettings
from layer2.model.transactions import Finality
from layer2.swap_engine.records import describe
from layer2.terms.transfers import Actor, TransferState
from swap_engine.two_parties import PAIR_IDS, PAIRS, Scene, wait_for
from swap_engine.virtual_time import run
from swap_rules.example_terms import AMOUNT, FEE, NOW, PAYMENT_HASH, SWAP_ID

EVERY_PAIR = pytest.mark.parametrize("pair", PAIRS, ids=PAIR_IDS)
FINALITIES = pytest.mark.parametrize("finality", [Finality.SAFE, Finality.LATEST], ids=lambda one: one.value)
NETWORKS = pytest.mark.parametrize("rules", [REGTEST, MAINNET], ids=lambda one: one.network)


@EVERY_PAIR
@NETWORKS
@FINALITIES
def test_both_parties_complete_and_the_provider_earns_the_fee(
    pair: tuple[str, str], rules: TimelockSettings, finality: Finality
) -> None:
    async def story() -> None:
        scene = await Scene.of(*pair, rules, finality)
        await scene.play()
        assert scene.states == ("completed", "completed")
        assert scene.gains == (-FEE, FEE)
        assert [invoice.sends for invoice in scene.world.invoices.values()] in ([], [1])
        for party in scene.parties:
            assert party.proof is not None
            assert "None" not in party.proof
            assert [layer.reserved for layer in party.layers] == [set(), set()]
        await scene.close()

    run(story())


@EVERY_PAIR
def test_both_see_every_state_on_the_way(pair: tuple[str, str]) -> None:
    async def story() -> None:
        scene = await Scene.of(*pair)
        await scene.play()
        expected = ["agreed", "funding", "funded", "collecting", "completed"]
        assert list(dict.fromkeys(scene.taker.seen)) == expected
        expected = ["agreed", "counter_funding", "counter_funded", "collecting", "completed"]
        assert list(dict.fromkeys(scene.provider.seen)) == expected
        transfer = describe(scene.taker.record, REGTEST)
        assert (transfer.state, transfer.next_actor, transfer.deadline) == (
            TransferState.COMPLETED,
            Actor.NOBODY,
            None,
        )
        assert (transfer.send_amount, transfer.fee) == (AMOUNT + FEE, FEE)
        await scene.close()

    run(story())


@pytest.mark.parametrize("pair", [one for one in PAIRS if one[1] != "lightning"], ids=lambda one: "-to-".join(one))
def test_what_has_arrived_is_shown_as_arrived_with_the_time_at_which_it_is_final(pair: tuple[str, str]) -> None:
    async def story() -> None:
        scene = await Scene.of(*pair)
        await scene.begin()
        seen = []
        async for record in scene.taker.runner.watch(SWAP_ID):
            transfer = describe(record, REGTEST)
            if transfer.state is TransferState.ARRIVED:
                assert transfer.final_at is not None
                assert scene.taker.proof is not None
            seen.append(transfer.state)
        assert seen.index(TransferState.ARRIVED) < seen.index(TransferState.COMPLETED)
        await scene.both_final()
        await scene.close()

    run(story())


@EVERY_PAIR
@NETWORKS
def test_a_taker_without_a_provider_gets_its_money_back_alone(pair: tuple[str, str], rules: TimelockSettings) -> None:
    async def story() -> None:
        scene = await Scene.of(*pair, rules)
        await scene.taker.runner.resume()
        # Lightning: the held payment is returned when the provider's node cancels the invoice.
        await wait_for(scene.taker.runner, SWAP_ID)
        assert scene.taker.state == "refunded"
        assert scene.gained("taker") == 0
        await scene.close()

    run(story())


def test_the_taker_is_not_refunded_before_the_deadline() -> None:
    async def story() -> None:
        scene = await Scene.to_lightning()
        await scene.taker.runner.resume()
        await wait_for(scene.taker.runner, SWAP_ID)
        assert scene.lock.ended_at >= scene.deadline
        assert describe(scene.taker.record, REGTEST).state is TransferState.REFUNDED
        assert scene.taker.proof == "EvmReceiptEvidence and NoneType"
        await scene.close()

    run(story())


def test_a_provider_whose_payment_finds_no_route_releases_the_lock_at_once() -> None:
    async def story() -> None:
        scene = await Scene.to_lightning()
        scene.world.routes = False
        await scene.play()
        assert scene.states == ("refunded", "released")
        assert scene.lock.ended_at < scene.terms.counter_fund_by
        assert scene.gains == (0, 0)
        await scene.close()

    run(story())


@EVERY_PAIR
def test_a_provider_that_cannot_finish_releases_and_pays_nothing(pair: tuple[str, str]) -> None:
    async def story() -> None:
        scene = await Scene.of(*pair)
        for layer in scene.provider.layers:
            layer.can_finish = False
        await scene.play()
        assert scene.states == ("refunded", "released")
        assert scene.gains == (0, 0)
        assert all(intent.verb != "fund" for intent in await scene.provider.journal.intents(SWAP_ID))
        await scene.close()

    run(story())


@EVERY_PAIR
def test_a_taker_that_cannot_finish_pays_nothing_and_gives_its_key_back(pair: tuple[str, str]) -> None:
    async def story() -> None:
        scene = await Scene.of(*pair)
        for layer in scene.taker.layers:
            layer.can_finish = False
        await scene.play()
        assert scene.states == ("abandoned", "released")
        assert scene.gains == (0, 0)
        assert await scene.taker.journal.intents(SWAP_ID) == []
        assert not scene.taker.record.holds_key
        await scene.close()

    run(story())


@EVERY_PAIR
@NETWORKS
def test_a_taker_that_vanishes_after_paying_costs_the_provider_nothing(
    pair: tuple[str, str], rules: TimelockSettings
) -> None:
    async def story() -> None:
        scene = await Scene.of(*pair, rules)
        await scene.begin()
        await scene.taker.until("funded")
        await scene.taker.runner.aclose()
        await wait_for(scene.provider.runner, SWAP_ID)
        assert scene.provider.state == "released"
        assert scene.gained("provider") == 0
        await scene.taker.restart()
        await wait_for(scene.taker.runner, SWAP_ID)
        assert scene.taker.state == "refunded"
        assert scene.gains == (0, 0)
        await scene.close()

    run(story())


def test_a_strangers_invoice_is_paid_and_the_taker_learns_the_preimage_from_the_claim() -> None:
    async def story() -> None:
        scene = await Scene.to_lightning(foreign=True)
        await scene.play()
        assert scene.states == ("completed", "completed")
        assert scene.gained("stranger") == AMOUNT
        assert scene.taker.proof == "EvmReceiptEvidence and LightningPaymentEvidence"
        await scene.close()

    run(story())


def test_a_strangers_invoice_that_cannot_be_paid_costs_nothing() -> None:
    async def story() -> None:
        scene = await Scene.to_lightning(foreign=True)
        scene.world.routes = False
        await scene.play()
        assert scene.states == ("refunded", "released")
        assert scene.gains == (0, 0)
        await scene.close()

    run(story())


@pytest.mark.parametrize("pair", [one for one in PAIRS if one[0] != "lightning"], ids=lambda one: "-to-".join(one))
def test_a_lock_that_comes_too_late_is_given_back_after_the_provider_had_released(pair: tuple[str, str]) -> None:
    async def story() -> None:
        scene = await Scene.of(*pair)
        # The sequencer keeps the lock in its pool until the provider has stopped waiting.
        chain = scene.chain_of(scene.terms.source)
        chain.inclusion_seconds = lambda: scene.terms.counter_fund_by - NOW + 100
        await scene.begin()
        await wait_for(scene.provider.runner, SWAP_ID)
        released = scene.provider.record
        assert scene.provider.state == "released"
        assert await scene.provider.runner.revisit(released) == released
        chain.inclusion_seconds = lambda: 2
        await scene.taker.until("funded")
        reopened = await scene.provider.runner.revisit(released)
        assert not reopened.is_final
        await scene.both_final()
        assert scene.states == ("refunded", "released")
        lock = scene.lock_of(scene.terms.source)
        assert lock is not None
        assert isinstance(scene.terms.source, EvmLeg)
        assert lock.ended_at < scene.terms.source.deadline
        assert scene.gains == (0, 0)
        await scene.close()

    run(story())


def test_a_late_lock_that_is_not_settled_yet_has_to_be_looked_at_again() -> None:
    async def story() -> None:
        scene = await Scene.to_lightning()
        scene.chain.inclusion_seconds = lambda: scene.terms.counter_fund_by - NOW + 100
        await scene.begin()
        released = await wait_for(scene.provider.runner, SWAP_ID)
        await scene.sleep_until(scene.terms.counter_fund_by + 102)
        assert scene.lock.state == "locked"
        with pytest.raises(NodeError, match="not settled yet"):
            await scene.provider.runner.revisit(released)
        del scene.provider.legs[scene.terms.source.protocol]
        with pytest.raises(NodeError, match="cannot be read"):
            await scene.provider.runner.revisit(released)
        await scene.close()

    run(story())


@pytest.mark.parametrize(
    "parts", [(999, AMOUNT * 1000 - 999), (AMOUNT * 1000 // 20,) * 20], ids=["too small", "too many"]
)
def test_a_payment_in_bad_parts_does_not_get_the_preimage(parts: tuple[int, ...]) -> None:
    async def story() -> None:
        scene = await Scene.to_lightning()
        scene.world.split = lambda msat: parts
        await scene.play()
        assert scene.states == ("refunded", "released")
        assert scene.world.shown == set()
        assert scene.gains == (0, 0)
        await scene.close()

    run(story())


def test_nothing_of_a_swap_that_was_never_funded_is_kept_at_the_provider() -> None:
    async def story() -> None:
        scene = await Scene.to_lightning()
        await scene.provider.runner.resume()
        await asyncio.sleep(10)
        assert scene.provider.source.reserved == set()
        await scene.taker.runner.resume()
        await scene.provider.until("counter_funding", "counter_funded")
        assert scene.provider.source.reserved == {PAYMENT_HASH}
        await scene.both_final()
        await scene.close()

    run(story())
