"""Every payment is reported once as under way and once as decided, even if the stream breaks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict
from functools import partial

import pytest

from ended_iterators import following
from layer2.errors import AsyncRuntimeError, AuthenticationFailed, NodeUnreachable
from layer2.protocols.lightning import LightningNetwork, PaymentCursor, PaymentUpdate
from layer2.protocols.lightning.lnd.update_queue import UpdateQueue
from layer2.protocols.lightning.payments import feed
from layer2.protocols.lightning.payments.records import PaymentState
from protocols.lightning.waiting import SECONDS, until
from protocols.lightning.world import World, held, paid

STREAM = "/v2/router/payments"
BEGINNING = PaymentCursor(0)
Told = tuple[bytes, bool]
"""A payment hash, and whether the payment is decided."""


@pytest.fixture
async def follower(world: World) -> AsyncIterator[LightningNetwork]:
    """Another client of the taker's node, which sends nothing and so has no streams of sent payments."""
    async with follower_of(world) as client:
        yield client


@asynccontextmanager
async def follower_of(world: World) -> AsyncIterator[LightningNetwork]:
    async with world.restarted_taker(poll_interval_ms=20) as client:
        yield client


async def take_until(updates: AsyncIterator[PaymentUpdate], *decided: bytes) -> list[PaymentUpdate]:
    """Take updates until all of these payments are decided."""
    told: list[PaymentUpdate] = []
    missing = set(decided)
    async with asyncio.timeout(SECONDS):
        while missing:
            told.append(await anext(updates))
            if told[-1].payment.state.is_final:
                missing.discard(told[-1].payment.payment_hash)
    return told


def what(updates: list[PaymentUpdate]) -> list[Told]:
    return [(update.payment.payment_hash, update.payment.state.is_final) for update in updates]


def check_each_once(told: list[Told], hashes: list[bytes]) -> None:
    """Check that each is reported once as decided, and before that at most once as under way."""
    assert len(told) == len(set(told))
    assert [payment_hash for payment_hash, is_decided in told if is_decided] == hashes
    for payment_hash in hashes:
        if (payment_hash, False) in told:
            assert told.index((payment_hash, False)) < told.index((payment_hash, True))


async def test_all_payments_are_reported_from_the_beginning(world: World, follower: LightningNetwork) -> None:
    hashes = [await paid(world) for _ in range(3)]
    async with following(follower.watch_payments_async(BEGINNING)) as updates:
        assert what(await take_until(updates, *hashes)) == [(payment_hash, True) for payment_hash in hashes]


async def test_a_subscriber_that_starts_now_gets_payments_under_way_and_nothing_from_before(
    world: World, follower: LightningNetwork
) -> None:
    await paid(world)
    preimage = await held(world, b"under way")
    async with following(follower.watch_payments_async()) as updates:
        first = await asyncio.wait_for(anext(updates), SECONDS)
        assert what([first]) == [(preimage.payment_hash, False)]
        await world.provider.settle_invoice_async(preimage)
        later = await paid(world)
        told = await take_until(updates, preimage.payment_hash, later)
    check_each_once(what([first, *told]), [preimage.payment_hash, later])


@pytest.mark.parametrize("message", [1, 2, 3, 4])
async def test_streams_that_are_cut_leave_neither_gap_nor_repeat(
    world: World, follower: LightningNetwork, message: int
) -> None:
    world.fault("cut_stream", path=STREAM, message=message, count=3)
    async with following(follower.watch_payments_async(BEGINNING)) as updates:
        coming = asyncio.ensure_future(anext(updates))
        hashes = [await paid(world) for _ in range(6)]
        check_each_once(what([await coming, *await take_until(updates, hashes[-1])]), hashes)


async def test_repeated_messages_are_reported_once(world: World, follower: LightningNetwork) -> None:
    world.fault("repeat_message", path=STREAM)
    async with following(follower.watch_payments_async(BEGINNING)) as updates:
        coming = asyncio.ensure_future(anext(updates))
        hashes = [await paid(world) for _ in range(4)]
        check_each_once(what([await coming, *await take_until(updates, hashes[-1])]), hashes)


async def test_a_payment_decided_without_subscribers_is_reported_to_those_that_knew_it_under_way(world: World) -> None:
    preimage = await held(world, b"over a restart")
    async with follower_of(world) as client, following(client.watch_payments_async(BEGINNING)) as updates:
        begun = await asyncio.wait_for(anext(updates), SECONDS)
        between = await paid(world)
        last = (await take_until(updates, between))[-1]
    assert what([begun]) == [(preimage.payment_hash, False)]
    assert last.cursor.open == (begun.payment.index,)
    await world.provider.settle_invoice_async(preimage)
    later = await paid(world)
    async with follower_of(world) as client, following(client.watch_payments_async(last.cursor)) as updates:
        told = await take_until(updates, preimage.payment_hash, later)
    assert sorted(what(told)) == sorted([(preimage.payment_hash, True), (later, True)])
    assert told[-1].cursor == PaymentCursor(max(update.payment.index for update in told))


async def test_a_payment_that_fails_and_is_sent_again_is_one_of_its_own(
    world: World, follower: LightningNetwork
) -> None:
    invoice = await world.provider.create_invoice_async(1_000)
    async with following(follower.watch_payments_async(BEGINNING)) as updates:
        coming = asyncio.ensure_future(anext(updates))
        world.fault("fail_payments", reason="no_route")
        await world.taker.submit_transaction_async(invoice.text)
        told = [await asyncio.wait_for(coming, SECONDS)]
        while not told[-1].payment.state.is_final:
            told.append(await asyncio.wait_for(anext(updates), SECONDS))
        world.fault("none")
        await world.taker.submit_transaction_async(invoice.text)
        while told[-1].payment.state is not PaymentState.SUCCEEDED:
            told.append(await asyncio.wait_for(anext(updates), SECONDS))
    decided = [update.payment for update in told if update.payment.state.is_final]
    assert [payment.state for payment in decided] == [PaymentState.FAILED, PaymentState.SUCCEEDED]
    assert decided[0].index < decided[1].index


async def test_who_comes_later_and_begins_in_the_past_repeats_nothing_for_the_others(
    world: World, follower: LightningNetwork
) -> None:
    hashes = [await paid(world) for _ in range(2)]
    async with (
        following(follower.watch_payments_async(BEGINNING)) as first,
        following(follower.watch_payments_async(BEGINNING)) as second,
    ):
        told = await take_until(first, *hashes)
        hashes.append(await paid(world))
        told += await take_until(first, hashes[-1])
        check_each_once(what(await take_until(second, *hashes)), hashes)
        hashes.append(await paid(world))
        told += await take_until(first, hashes[-1])
        check_each_once(what(told), hashes)
        assert follower.open_streams == 1


async def test_a_subscriber_that_goes_leaves_the_others_theirs(world: World, follower: LightningNetwork) -> None:
    async with AsyncExitStack() as stack:
        subscribers = [
            await stack.enter_async_context(following(follower.watch_payments_async(BEGINNING))) for _ in range(3)
        ]
        waiting = [asyncio.ensure_future(anext(updates)) for updates in subscribers]
        await until(lambda: follower.open_streams != 0)
        waiting[0].cancel()
        payment_hash = await paid(world)
        with pytest.raises(asyncio.CancelledError):
            await waiting[0]
        for others in waiting[1:]:
            assert (await asyncio.wait_for(others, SECONDS)).payment.payment_hash == payment_hash


async def test_a_slow_subscriber_gets_an_error_and_continues_after_its_cursor(
    world: World, follower: LightningNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "UpdateQueue", partial(UpdateQueue, 2))
    hashes = [await paid(world) for _ in range(5)]
    told: list[PaymentUpdate] = []
    async with following(follower.watch_payments_async(BEGINNING)) as updates:

        async def take_all() -> None:
            async for update in updates:
                told.append(update)

        with pytest.raises(AsyncRuntimeError, match="left more than 2 updates"):
            await asyncio.wait_for(take_all(), SECONDS)
    assert len(told) < 5
    monkeypatch.undo()
    async with following(follower.watch_payments_async(told[-1].cursor)) as updates:
        told += await take_until(updates, hashes[-1])
    assert what(told) == [(payment_hash, True) for payment_hash in hashes]


async def test_payments_of_this_client_are_reported_without_the_stream_of_all_payments(world: World) -> None:
    invoice = await world.provider.create_invoice_async(1_000)
    world.fault("withhold_message", path=STREAM)
    async with world.restarted_taker() as client:
        status = await client.submit_transaction_async(invoice.text)
        assert (await client.wait_for_status_async(status.tx_id, timeout=5)).preimage is not None


async def test_closing_the_client_ends_what_is_followed_with_an_error(world: World) -> None:
    async with follower_of(world) as client:
        waiting = [asyncio.ensure_future(anext(client.watch_payments_async())) for _ in range(3)]
        await until(lambda: client.open_streams != 0)
    for ended in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(ended, NodeUnreachable)
        assert "the client was closed" in str(ended)
    assert client.open_streams == 0


async def test_a_refused_macaroon_reaches_the_subscribers(world: World, follower: LightningNetwork) -> None:
    async with following(follower.watch_payments_async(BEGINNING)) as updates:
        world.fault("error", path=STREAM, status=401)
        with pytest.raises(AuthenticationFailed):
            await asyncio.wait_for(anext(updates), SECONDS)


async def test_a_node_that_is_away_is_waited_for(world: World, follower: LightningNetwork) -> None:
    async with following(follower.watch_payments_async(BEGINNING)) as updates:
        coming = asyncio.ensure_future(anext(updates))
        await until(lambda: follower.open_streams != 0)
        world.fault("down")
        await until(lambda: follower.open_streams != 1)
        world.fault("none")
        payment_hash = await paid(world)
        assert (await asyncio.wait_for(coming, SECONDS)).payment.payment_hash == payment_hash


def test_a_cursor_out_of_json_is_the_same_as_before() -> None:
    cursor = PaymentCursor(7, (3, 5))
    assert PaymentCursor(**json.loads(json.dumps(asdict(cursor)))) == cursor
