"""Attacks with a payment hash or a preimage that several parties know."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from layer2.legs.evm import EvmLeg
from layer2.legs.leg import Htlc
from swap_engine.chain import Transaction
from swap_engine.two_parties import Scene, wait_for
from swap_engine.virtual_time import run
from swap_rules.example_terms import PAYMENT_HASH, PREIMAGE, SWAP_ID

DAY = 24 * 3600


def pay_the_same_invoice(scene: Scene) -> None:
    """Another customer pays the invoice over the same chain, and its provider claims: the preimage becomes public."""
    leg = scene.terms.source
    assert isinstance(leg, EvmLeg)
    customer, merchant = b"\x61" * 20, b"\x62" * 20
    scene.world.owners |= {customer: "customer", merchant: "merchant"}
    other = Htlc(replace(leg, payer=customer, payee=merchant), PAYMENT_HASH, b"\x0a" * 32)
    claim = Transaction("merchant", 0, "collect", other, PREIMAGE)
    scene.chain.broadcast(Transaction("customer", 0, "fund", other))
    scene.world.later(5, lambda: scene.chain.broadcast(claim))


@pytest.mark.parametrize("when", ["funding", "funded"])
def test_a_lock_for_an_invoice_that_another_customer_paid_is_refunded_without_the_provider(when: str) -> None:
    async def story() -> None:
        scene = await Scene.to_lightning(foreign=True)
        await scene.taker.runner.resume()
        await scene.taker.until(when)
        if when == "funding":
            await asyncio.sleep(3)
        pay_the_same_invoice(scene)
        async with asyncio.timeout(DAY):
            await wait_for(scene.taker.runner, SWAP_ID)
        assert scene.lock.state == "refunded"
        assert scene.gained("taker") == 0
        # The preimage shows that the invoice is paid, and the taker spent nothing on it.
        assert scene.taker.state == "completed"
        await scene.close()

    run(story())


def test_nothing_is_locked_for_an_invoice_that_another_customer_has_paid_already() -> None:
    async def story() -> None:
        scene = await Scene.to_lightning(foreign=True)
        pay_the_same_invoice(scene)
        await asyncio.sleep(20)
        assert PAYMENT_HASH in scene.chain.ledger().spent
        await scene.begin()
        async with asyncio.timeout(DAY):
            await wait_for(scene.taker.runner, SWAP_ID)
        assert scene.lock_of(scene.terms.source) is None
        assert scene.taker.state == "abandoned"
        assert "already paid" in scene.taker.record.state["reason"]
        await scene.close()

    run(story())
