"""Reorganisations: decisions that depend on removed blocks are made again, and no final state depends on them."""

from __future__ import annotations

import asyncio

import pytest

from layer2.legs.timelock_settings import MAINNET, REGTEST, TimelockSettings
from layer2.legs.views import Verb
from layer2.model.transactions import Finality
from swap_engine.adversary import Adversary
from swap_engine.two_parties import Scene, wait_for
from swap_engine.virtual_time import run
from swap_rules.example_terms import FEE, SWAP_ID

DEEP = 1_000_000
"""Seconds: all blocks that are not finalized."""
NETWORKS = pytest.mark.parametrize("rules", [REGTEST, MAINNET], ids=lambda one: one.network)
FINALITIES = pytest.mark.parametrize("finality", [Finality.SAFE, Finality.LATEST], ids=lambda one: one.value)


@NETWORKS
@FINALITIES
@pytest.mark.parametrize("pair", [("bob", "lightning"), ("bob", "rootstock")], ids="-to-".join)
def test_a_provider_whose_claim_is_reorganised_away_claims_again_before_the_taker_can_refund(
    pair: tuple[str, str], rules: TimelockSettings, finality: Finality
) -> None:
    async def story() -> None:
        scene = await Scene.of(*pair, rules, finality)
        await scene.begin()
        await scene.provider.until("collecting")
        await asyncio.sleep(5)
        assert scene.lock.state == "claimed"
        assert not scene.provider.record.is_final
        await scene.taker.runner.aclose()
        # The lock was accepted at the finality of the terms; later transactions are gone, and no node knows them.
        chain = scene.chain
        accepted = next(block for block in chain.blocks if block.transaction.verb == "fund")
        assert chain.reorganise(chain.world.now() - accepted.at - 1, to_pool=False) == 1
        taker = Adversary(scene, "taker")
        await scene.sleep_until(scene.deadline + 1)
        taker.make("refund")
        await wait_for(scene.provider.runner, SWAP_ID)
        assert scene.provider.state == "completed"
        assert scene.gained("provider") == FEE
        await scene.close()

    run(story())


@NETWORKS
@FINALITIES
@pytest.mark.parametrize("pair", [("lightning", "bob"), ("rootstock", "bob")], ids="-to-".join)
def test_a_taker_whose_claim_is_reorganised_away_claims_again_before_the_provider_can_refund(
    pair: tuple[str, str], rules: TimelockSettings, finality: Finality
) -> None:
    async def story() -> None:
        scene = await Scene.of(*pair, rules, finality)
        await scene.begin()
        await scene.taker.until("collecting")
        await asyncio.sleep(5)
        lock = scene.lock_of(scene.terms.destination)
        assert lock is not None
        assert lock.state == "claimed"
        assert not scene.taker.record.is_final
        await scene.provider.runner.aclose()
        chain = scene.chain_of(scene.terms.destination)
        assert chain.reorganise(chain.world.now() - lock.locked_at - 1, to_pool=False) == 1
        provider = Adversary(scene, "provider")
        refundable_from = scene.terms.destination.refundable_from
        assert refundable_from is not None
        await scene.sleep_until(refundable_from + 1)
        provider.make("refund")
        provider.make("claim")
        provider.make("settle")
        await wait_for(scene.taker.runner, SWAP_ID)
        assert scene.taker.state == "completed"
        assert scene.gained("taker") == -FEE
        await scene.close()

    run(story())


@FINALITIES
def test_a_taker_whose_refund_is_reorganised_away_refunds_again(finality: Finality) -> None:
    async def story() -> None:
        scene = await Scene.to_lightning(finality=finality)
        await scene.taker.runner.resume()
        await scene.taker.until("refunding")
        await scene.when(lambda: scene.lock.state == "refunded")
        await asyncio.sleep(scene.chain.margins.final_time - 5)
        assert scene.taker.state == "refunding"
        assert scene.chain.reorganise(DEEP, to_pool=False) == 1
        await wait_for(scene.taker.runner, SWAP_ID)
        assert (scene.taker.state, scene.lock.state) == ("refunded", "refunded")
        assert scene.gained("taker") == 0
        await scene.close()

    run(story())


def test_a_claim_that_comes_before_its_lock_in_the_new_blocks_fails_and_is_made_again() -> None:
    async def story() -> None:
        scene = await Scene.to_lightning(finality=Finality.LATEST)
        await scene.begin()
        await scene.provider.until("collecting")
        await asyncio.sleep(5)
        assert scene.chain.reorganise(DEEP, backwards=True) == 2
        await scene.both_final()
        assert scene.states == ("completed", "completed")
        assert scene.gains == (-FEE, FEE)
        claims = [one for one in await scene.provider.journal.intents(SWAP_ID) if one.verb == Verb.COLLECT.value]
        assert len(claims) == 2
        await scene.close()

    run(story())


def test_a_lock_that_is_reorganised_away_is_handed_in_again_while_it_is_in_time() -> None:
    async def story() -> None:
        scene = await Scene.to_lightning()
        await scene.begin()
        await asyncio.sleep(5)
        assert scene.chain.reorganise(DEEP, to_pool=False) == 1
        await scene.both_final()
        assert scene.states == ("completed", "completed")
        funds = [one for one in await scene.taker.journal.intents(SWAP_ID) if one.verb == Verb.FUND.value]
        assert len(funds) == 1
        await scene.close()

    run(story())


@pytest.mark.parametrize("pair", [("bob", "lightning"), ("lightning", "bob"), ("bob", "rootstock")], ids="-to-".join)
def test_a_node_that_loses_its_pool_again_and_again_costs_nothing_but_time(pair: tuple[str, str]) -> None:
    async def story() -> None:
        scene = await Scene.of(*pair)
        for chain in scene.world.chains.values():
            chain.inclusion_seconds = lambda: 20

        async def lose_pools() -> None:
            for _ in range(6):
                await asyncio.sleep(19)
                for chain in scene.world.chains.values():
                    chain.forget_pool()

        await asyncio.gather(scene.play(), lose_pools())
        assert scene.states == ("completed", "completed")
        assert scene.gains == (-FEE, FEE)
        await scene.close()

    run(story())
