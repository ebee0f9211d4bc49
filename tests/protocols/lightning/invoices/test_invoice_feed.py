"""Every invoice is reported once when it is made and once when it is settled, even if the stream breaks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import pytest

from ended_iterators import following
from layer2.errors import AsyncRuntimeError, AuthenticationFailed, NodeUnreachable
from layer2.protocols.lightning import InvoiceCursor, InvoiceEvent, InvoiceUpdate, LightningNetwork
from layer2.protocols.lightning.invoices import feed
from layer2.protocols.lightning.invoices.records import InvoiceState
from layer2.protocols.lightning.lnd.update_queue import UpdateQueue
from protocols.lightning.waiting import SECONDS, until
from protocols.lightning.world import World, held, paid, settings_of

STREAM = "/v1/invoices/subscribe"
BEGINNING = InvoiceCursor(0, 0)
MADE, SETTLED = InvoiceEvent.MADE, InvoiceEvent.SETTLED
Told = tuple[InvoiceEvent, bytes]


@pytest.fixture
async def follower(world: World) -> AsyncIterator[LightningNetwork]:
    """A client of the provider's node with a short interval of look-ups."""
    async with follower_of(world) as client:
        yield client


@asynccontextmanager
async def follower_of(world: World) -> AsyncIterator[LightningNetwork]:
    settings = settings_of(world.nodes[1], poll_interval_ms=20)
    async with LightningNetwork(settings, world.sends, world.clock) as client:
        yield client


async def made(world: World, amount: int = 1_000) -> bytes:
    return (await world.provider.create_invoice_async(amount)).payment_hash


async def take(updates: AsyncIterator[InvoiceUpdate], count: int) -> list[InvoiceUpdate]:
    async with asyncio.timeout(SECONDS):
        return [await anext(updates) for _ in range(count)]


def what(updates: list[InvoiceUpdate]) -> list[Told]:
    return [(update.event, update.invoice.payment_hash) for update in updates]


def check_order(told: list[Told], hashes: list[bytes]) -> None:
    """Check that each event is reported once, in order, and no invoice is settled before it is made."""
    assert sorted(told, key=repr) == sorted([(event, each) for event in InvoiceEvent for each in hashes], key=repr)
    assert [each for event, each in told if event is MADE] == hashes
    assert [each for event, each in told if event is SETTLED] == hashes
    assert all(told.index((MADE, each)) < told.index((SETTLED, each)) for each in hashes)


async def test_all_invoices_are_reported_from_the_beginning(world: World, follower: LightningNetwork) -> None:
    hashes = [await paid(world) for _ in range(3)]
    async with following(follower.watch_invoices_async(BEGINNING)) as updates:
        check_order(what(await take(updates, 6)), hashes)


async def test_the_first_invoice_of_a_new_node_is_reported(world: World, follower: LightningNetwork) -> None:
    async with following(follower.watch_invoices_async()) as updates:
        coming = asyncio.ensure_future(take(updates, 2))
        await until(lambda: follower.open_streams != 0)
        payment_hash = await paid(world)
        assert what(await coming) == [(MADE, payment_hash), (SETTLED, payment_hash)]


async def test_a_subscriber_that_starts_now_gets_nothing_from_before(world: World, follower: LightningNetwork) -> None:
    await paid(world)
    world.clock.advance(5)
    async with following(follower.watch_invoices_async()) as updates:
        coming = asyncio.ensure_future(take(updates, 2))
        await until(lambda: follower.open_streams != 0)
        payment_hash = await paid(world)
        assert what(await coming) == [(MADE, payment_hash), (SETTLED, payment_hash)]


@pytest.mark.parametrize("message", [1, 2, 3, 4, 5, 6])
async def test_streams_that_are_cut_leave_neither_gap_nor_repeat(
    world: World, follower: LightningNetwork, message: int
) -> None:
    first = await paid(world)
    world.fault("cut_stream", party="provider", path=STREAM, message=message, count=3)
    async with following(follower.watch_invoices_async(BEGINNING)) as updates:
        coming = asyncio.ensure_future(take(updates, 12))
        hashes = [first] + [await paid(world) for _ in range(5)]
        check_order(what(await coming), hashes)


async def test_repeated_messages_are_reported_once(world: World, follower: LightningNetwork) -> None:
    first = await paid(world)
    world.fault("repeat_message", party="provider", path=STREAM)
    async with following(follower.watch_invoices_async(BEGINNING)) as updates:
        coming = asyncio.ensure_future(take(updates, 8))
        hashes = [first] + [await paid(world) for _ in range(3)]
        check_order(what(await coming), hashes)


@pytest.mark.parametrize("message", [1, 2, 3, 4, 5, 6])
async def test_a_message_that_is_left_out_is_made_up_for_with_the_next_one(
    world: World, follower: LightningNetwork, message: int
) -> None:
    hashes = [await paid(world)]
    world.fault("withhold_message", party="provider", path=STREAM, message=message, count=2)
    async with following(follower.watch_invoices_async(BEGINNING)) as updates:
        coming = asyncio.ensure_future(take(updates, 14))
        hashes += [await paid(world) for _ in range(5)]
        # The client cannot notice that the last message is missing, so it is not withheld.
        world.fault("none", party="provider")
        hashes.append(await paid(world))
        check_order(what(await coming), hashes)


@pytest.mark.parametrize("message", [2, 3, 4])
async def test_a_making_that_is_left_out_is_made_up_for_with_the_next_one(
    world: World, follower: LightningNetwork, message: int
) -> None:
    hashes = [await paid(world)]
    async with following(follower.watch_invoices_async(BEGINNING)) as updates:
        told = await take(updates, 2)
        world.fault("withhold_message", party="provider", path=STREAM, message=message, count=1)
        hashes += [await made(world) for _ in range(message + 1)]
        told += await take(updates, message + 1)
    assert [each for event, each in what(told) if event is MADE] == hashes


async def test_an_invoice_held_or_cancelled_before_the_stream_reopened_is_reported(
    world: World, follower: LightningNetwork
) -> None:
    cancelled = await made(world)
    await world.provider.cancel_invoice_async(cancelled)
    preimage = await held(world, b"while nobody listened")
    async with following(follower.watch_invoices_async(BEGINNING)) as updates:
        first, second = await take(updates, 2)
        assert what([first, second]) == [(MADE, cancelled), (MADE, preimage.payment_hash)]
        assert [first.invoice.state, second.invoice.state] == [InvoiceState.CANCELED, InvoiceState.ACCEPTED]
        await world.provider.settle_invoice_async(preimage)
        assert what(await take(updates, 1)) == [(SETTLED, preimage.payment_hash)]


async def test_each_cursor_leads_on_to_what_comes_after_it(world: World) -> None:
    hashes = [await paid(world) for _ in range(3)]
    async with follower_of(world) as client, following(client.watch_invoices_async(BEGINNING)) as updates:
        everything = await take(updates, 6)
    for number, update in enumerate(everything[:-1]):
        async with follower_of(world) as client, following(client.watch_invoices_async(update.cursor)) as updates:
            assert sorted(what(await take(updates, 5 - number)), key=repr) == sorted(
                what(everything[number + 1 :]), key=repr
            )
    assert hashes == [update.invoice.payment_hash for update in everything if update.event is MADE]


async def test_who_comes_later_and_begins_in_the_past_repeats_nothing_for_the_others(
    world: World, follower: LightningNetwork
) -> None:
    hashes = [await paid(world) for _ in range(2)]
    async with (
        following(follower.watch_invoices_async(BEGINNING)) as first,
        following(follower.watch_invoices_async(BEGINNING)) as second,
    ):
        told = await take(first, 4)
        hashes.append(await paid(world))
        told += await take(first, 2)
        check_order(what(await take(second, 6)), hashes)
        hashes.append(await paid(world))
        told += await take(first, 2)
        check_order(what(told), hashes)
        assert follower.open_streams == 1


async def test_a_subscriber_that_goes_leaves_the_others_theirs(world: World, follower: LightningNetwork) -> None:
    async with AsyncExitStack() as stack:
        subscribers = [
            await stack.enter_async_context(following(follower.watch_invoices_async(BEGINNING))) for _ in range(3)
        ]
        waiting = [asyncio.ensure_future(take(updates, 2)) for updates in subscribers]
        await until(lambda: follower.open_streams != 0)
        waiting[0].cancel()
        payment_hash = await paid(world)
        with pytest.raises(asyncio.CancelledError):
            await waiting[0]
        for others in waiting[1:]:
            assert what(await others) == [(MADE, payment_hash), (SETTLED, payment_hash)]


async def test_a_slow_subscriber_gets_an_error_and_continues_after_its_cursor(
    world: World, follower: LightningNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "UpdateQueue", partial(UpdateQueue, 2))
    hashes = [await made(world) for _ in range(5)]
    told: list[InvoiceUpdate] = []
    async with following(follower.watch_invoices_async(BEGINNING)) as updates:

        async def take_all() -> None:
            while True:
                told.extend(await take(updates, 1))

        with pytest.raises(AsyncRuntimeError, match="left more than 2 updates"):
            await take_all()
    assert what(told) == [(MADE, payment_hash) for payment_hash in hashes[: len(told)]]
    assert len(told) < 5
    monkeypatch.undo()
    async with following(follower.watch_invoices_async(told[-1].cursor)) as updates:
        told += await take(updates, 5 - len(told))
    assert what(told) == [(MADE, payment_hash) for payment_hash in hashes]


async def test_closing_the_client_ends_what_is_followed_with_an_error(world: World) -> None:
    async with follower_of(world) as client:
        waiting = [asyncio.ensure_future(anext(client.watch_invoices_async())) for _ in range(3)]
        await until(lambda: client.open_streams != 0)
    for ended in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(ended, NodeUnreachable)
        assert "the client was closed" in str(ended)
    assert client.open_streams == 0


async def test_a_refused_macaroon_reaches_the_subscribers(world: World, follower: LightningNetwork) -> None:
    async with following(follower.watch_invoices_async(BEGINNING)) as updates:
        coming = asyncio.ensure_future(take(updates, 1))
        await until(lambda: follower.open_streams != 0)
        world.fault("error", party="provider", path="/v1/invoices", status=401)
        with pytest.raises(AuthenticationFailed):
            await coming


async def test_a_node_that_is_away_is_waited_for(world: World, follower: LightningNetwork) -> None:
    async with following(follower.watch_invoices_async(BEGINNING)) as updates:
        coming = asyncio.ensure_future(take(updates, 2))
        await until(lambda: follower.open_streams != 0)
        world.fault("down", party="provider")
        await until(lambda: follower.open_streams != 1)
        world.fault("none", party="provider")
        payment_hash = await paid(world)
        assert what(await coming) == [(MADE, payment_hash), (SETTLED, payment_hash)]
