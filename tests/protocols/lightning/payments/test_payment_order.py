"""Updates wait for the list of payments, so that no cursor skips a payment."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from hashlib import sha256

import pytest

from ended_iterators import following
from layer2.model.money import BTC
from layer2.model.transactions import Preimage
from layer2.protocols.lightning import LightningNetwork, PaymentCursor, PaymentUpdate
from protocols.lightning.world import World

LIST = "/v1/payments"
MANY = 40
"""More payments than lnd may store out of order."""
SECONDS = 10


@pytest.fixture
async def follower(world: World) -> AsyncIterator[LightningNetwork]:
    """Another client of the taker's node, which sends nothing and so has no streams of sent payments."""
    async with world.restarted_taker(poll_interval_ms=20) as client:
        yield client


async def pay_many(world: World) -> None:
    for _ in range(MANY):
        invoice = await world.provider.create_invoice_async(1_000)
        tx_id = await world.taker.transfer_asset_async(BTC, 1_000, invoice.text)
        await world.taker.wait_for_status_async(tx_id, timeout=SECONDS)


async def begin_held(world: World) -> bytes:
    """A payment that stays under way; the node's stream of payments starts with it."""
    preimage = Preimage(sha256(b"held").digest())
    invoice = await world.provider.create_hold_invoice_async(preimage.payment_hash, 1_000)
    await world.taker.transfer_asset_async(BTC, 1_000, invoice.text)
    return preimage.payment_hash


async def take_up_to(updates: AsyncIterator[PaymentUpdate], payment_hash: bytes) -> list[PaymentUpdate]:
    told: list[PaymentUpdate] = []
    async with asyncio.timeout(SECONDS):
        while not told or told[-1].payment.payment_hash != payment_hash:
            told.append(await anext(updates))
    return told


def check_no_cursor_passes_over_anything(told: list[PaymentUpdate]) -> None:
    seen = {0}
    for update in told:
        seen.add(update.payment.index)
        assert set(range(update.cursor.index + 1)) <= seen | set(update.cursor.open)


async def test_a_list_that_fails_at_first_leaves_no_gap_before_what_the_stream_tells(
    world: World, follower: LightningNetwork
) -> None:
    await pay_many(world)
    last = await begin_held(world)
    world.fault("error", path=LIST, status=503, count=1)
    async with following(follower.watch_payments_async(PaymentCursor(0))) as updates:
        told = await take_up_to(updates, last)
    check_no_cursor_passes_over_anything(told)
    assert [update.payment.index for update in told] == list(range(1, MANY + 2))


async def test_what_this_client_sends_does_not_overtake_the_list(world: World, follower: LightningNetwork) -> None:
    await pay_many(world)
    invoice = await world.provider.create_invoice_async(1_000)
    world.fault("error", path=LIST, status=503, count=1)
    async with following(follower.watch_payments_async(PaymentCursor(0))) as updates:
        coming = asyncio.ensure_future(anext(updates))
        await follower.submit_transaction_async(invoice.text)
        told = [await asyncio.wait_for(coming, SECONDS)]
        told += await take_up_to(updates, invoice.payment_hash)
    check_no_cursor_passes_over_anything(told)
