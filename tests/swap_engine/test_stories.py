"""Whole swaps with two honest parties, or with one that fails the other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from layer2.swap_engine.records import describe, record_state
from layer2.swap_rules.timelocks import REGTEST
from layer2.transfers import Actor, TransferState
from swap_engine.two_parties import Scene
from swap_engine.virtual_time import run
from swap_rules.example_terms import AMOUNT, FEE, NOW, SWAP_ID

Direction = Callable[[], Awaitable[Scene]]
BOTH = pytest.mark.parametrize("direction", [Scene.to_lightning, Scene.to_bob], ids=["to_lightning", "to_bob"])


@BOTH
def test_both_parties_complete_and_the_provider_earns_the_fee(direction: Direction) -> None:
    async def story() -> None:
        scene = await direction()
        await scene.play()
        assert (scene.taker.state, scene.provider.state) == ("completed", "completed")
        assert (scene.gained("taker"), scene.gained("provider")) == (-FEE, FEE)
        assert scene.invoice.sends == 1
        assert SWAP_ID in scene.taker.journal.proofs
        await scene.close()

    run(story())


def test_the_taker_sees_every_state_on_the_way_from_bob_to_lightning() -> None:
    async def story() -> None:
        scene = await Scene.to_lightning()
        await scene.play()
        ordered = list(dict.fromkeys(scene.taker.seen))
        assert ordered == ["agreed", "funding", "funded", "collecting", "completed"]
        assert list(dict.fromkeys(scene.provider.seen)) == [
            "agreed", "locked", "counter_funding", "collecting", "completed",
        ]  # fmt: skip
        transfer = describe(scene.taker.record, REGTEST)
        assert (transfer.state, transfer.next_actor, transfer.deadline) == (
            TransferState.COMPLETED,
            Actor.NOBODY,
            None,
        )
        assert (transfer.send_amount, transfer.fee) == (AMOUNT + FEE, FEE)
        await scene.close()

    run(story())


def test_the_taker_sees_every_state_on_the_way_from_lightning_to_bob() -> None:
    async def story() -> None:
        scene = await Scene.to_bob()
        await scene.play()
        assert list(dict.fromkeys(scene.taker.seen)) == [
            "agreed", "funding", "funded", "counter_funded", "collecting", "completed",
        ]  # fmt: skip
        assert list(dict.fromkeys(scene.provider.seen)) == [
            "agreed", "held", "counter_funding", "counter_funded", "collecting", "completed",
        ]  # fmt: skip
        await scene.close()

    run(story())


@BOTH
def test_a_taker_without_a_provider_gets_its_money_back_alone(direction: Direction) -> None:
    async def story() -> None:
        scene = await direction()
        await scene.taker.runner.resume()
        # Lightning: the held payment comes back when the provider's node gives the invoice up.
        await scene.taker.runner.wait(SWAP_ID)
        assert scene.taker.state in ("refunded", "abandoned")
        assert scene.gained("taker") == 0
        await scene.close()

    run(story())


def test_the_taker_is_not_refunded_before_the_deadline() -> None:
    async def story() -> None:
        scene = await Scene.to_lightning()
        await scene.taker.runner.resume()
        await scene.taker.runner.wait(SWAP_ID)
        assert scene.lock.ended_at >= scene.deadline
        assert describe(scene.taker.record, REGTEST).state is TransferState.REFUNDED
        assert scene.taker.journal.proofs[SWAP_ID] == b"EvmReceiptEvidence and NoneType"
        await scene.close()

    run(story())


def test_a_provider_whose_payment_finds_no_route_releases_the_lock_at_once() -> None:
    async def story() -> None:
        scene = await Scene.to_lightning()
        scene.world.routes = False
        await scene.play()
        assert (scene.taker.state, scene.provider.state) == ("refunded", "released")
        assert scene.lock.ended_at < scene.terms.fund_by
        assert (scene.gained("taker"), scene.gained("provider")) == (0, 0)
        await scene.close()

    run(story())


def test_a_provider_that_cannot_finish_releases_and_pays_nothing() -> None:
    async def story() -> None:
        scene = await Scene.to_lightning()
        scene.provider.chain.can_finish = False
        await scene.play()
        assert (scene.taker.state, scene.provider.state) == ("refunded", "released")
        assert scene.invoice.sends == 0
        await scene.close()

    run(story())


@BOTH
def test_a_taker_that_cannot_finish_pays_nothing(direction: Direction) -> None:
    async def story() -> None:
        scene = await direction()
        for layer in scene.taker.layers:
            layer.can_finish = False
        await scene.play()
        assert (scene.taker.state, scene.provider.state) == ("abandoned", "released")
        assert scene.world.balances == {}
        assert await scene.taker.journal.intents(SWAP_ID) == []
        await scene.close()

    run(story())


def test_a_taker_that_vanishes_after_paying_costs_the_provider_nothing() -> None:
    async def story() -> None:
        scene = await Scene.to_bob()
        await scene.taker.runner.resume()
        await scene.provider.runner.resume()
        async for record in scene.taker.runner.watch(SWAP_ID):
            if record_state(record).name == "funded":
                break
        await scene.taker.runner.aclose()
        await scene.provider.runner.wait(SWAP_ID)
        assert scene.provider.state == "released"
        assert (scene.gained("taker"), scene.gained("provider")) == (0, 0)
        assert scene.lock.state == "refunded"
        await scene.taker.restart()
        await scene.taker.runner.wait(SWAP_ID)
        assert scene.taker.state == "refunded"
        await scene.close()

    run(story())


def test_the_taker_claims_for_a_provider_that_died_after_paying() -> None:
    async def story() -> None:
        scene = await Scene.to_lightning()
        await scene.taker.runner.resume()
        await scene.provider.runner.resume()
        async for record in scene.taker.runner.watch(SWAP_ID):
            if record_state(record).name == "collecting":
                break
        # Its claim is lost with it.
        await scene.provider.runner.aclose()
        scene.world.transactions = {
            number: one for number, one in scene.world.transactions.items() if one.sender == "taker"
        }
        await scene.taker.runner.wait(SWAP_ID)
        assert scene.taker.state == "completed"
        assert scene.lock.state == "claimed"
        assert (scene.gained("taker"), scene.gained("provider")) == (-FEE, FEE)
        await scene.close()

    run(story())


def test_somebody_elses_invoice_is_paid_and_the_taker_learns_the_preimage_from_the_claim() -> None:
    async def story() -> None:
        scene = await Scene.to_lightning(recipient="an invoice of a stranger")
        await scene.play()
        assert (scene.taker.state, scene.provider.state) == ("completed", "completed")
        assert scene.gained("stranger") == AMOUNT
        assert scene.taker.journal.proofs[SWAP_ID] == b"EvmReceiptEvidence and LightningPaymentEvidence"
        await scene.close()

    run(story())


def test_a_lock_that_comes_too_late_is_released_by_the_provider() -> None:
    async def story() -> None:
        scene = await Scene.to_lightning()
        # The sequencer leaves the lock in its pool until the provider has given up.
        scene.world.inclusion_seconds = lambda: scene.terms.counter_fund_by - NOW + 100
        await scene.taker.runner.resume()
        await scene.provider.runner.resume()
        await asyncio.sleep(60)
        scene.world.inclusion_seconds = lambda: 2
        await asyncio.gather(*(party.runner.wait(SWAP_ID) for party in scene.parties))
        assert (scene.taker.state, scene.provider.state) == ("refunded", "released")
        assert scene.lock.ended_at < scene.deadline
        assert scene.invoice.sends == 0
        await scene.close()

    run(story())
