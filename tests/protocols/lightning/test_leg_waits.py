"""A wait for a change of a leg ends when the leg may look different, and not before; all waits share their requests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from hashlib import sha256

import pytest

from layer2.errors import NodeUnreachable
from layer2.legs.views import LegState, Side, Verb
from layer2.protocols.lightning import LightningNetwork, legs
from protocols.lightning.requests import Requests
from protocols.lightning.waiting import SECONDS, streams_open, until
from protocols.lightning.world import (
    HASH,
    PREIMAGE,
    START,
    World,
    funded,
    htlc_of,
    leg_to_provider,
    offer_request,
    reached,
    seen_by_payee,
    seen_by_payer,
    settings_of,
)


@asynccontextmanager
async def quick_clients(
    world: World, *, poll_interval_ms: int = 20
) -> AsyncIterator[tuple[LightningNetwork, LightningNetwork]]:
    """The taker's and the provider's client with a short poll interval."""
    async with (
        LightningNetwork(settings_of(world.nodes[0], poll_interval_ms=poll_interval_ms), world.sends, world.clock) as a,
        LightningNetwork(settings_of(world.nodes[1], poll_interval_ms=poll_interval_ms), world.sends, world.clock) as b,
    ):
        yield a, b


async def test_a_change_at_the_payee_ends_the_wait(world: World) -> None:
    htlc = await leg_to_provider(world)
    view = await seen_by_payee(world, htlc)
    waiting = asyncio.create_task(world.provider.legs.wait_for_change(htlc, view))
    await world.taker.legs.perform(await world.taker.legs.prepare(Verb.FUND, htlc))
    async with asyncio.timeout(5):
        await waiting
    assert (await seen_by_payee(world, htlc)).state is LegState.FUNDED


async def test_a_change_at_the_payer_ends_the_wait(world: World) -> None:
    htlc, _ = await funded(world)
    view = await seen_by_payer(world, htlc)
    waiting = asyncio.create_task(world.taker.legs.wait_for_change(htlc, view))
    await world.provider.legs.perform(await world.provider.legs.prepare(Verb.COLLECT, htlc, PREIMAGE))
    async with asyncio.timeout(5):
        await waiting
    assert (await seen_by_payer(world, htlc)).state is LegState.COLLECTED


async def test_a_view_that_is_old_already_does_not_wait(world: World) -> None:
    htlc = await leg_to_provider(world)
    view = await seen_by_payee(world, htlc)
    await world.taker.legs.perform(await world.taker.legs.prepare(Verb.FUND, htlc))
    async with asyncio.timeout(5):
        await world.provider.legs.wait_for_change(htlc, view)
    assert (view.state, (await seen_by_payee(world, htlc)).state) == (LegState.NONE, LegState.FUNDED)


async def test_a_wait_does_not_end_while_nothing_changes(world: World) -> None:
    htlc = await leg_to_provider(world)
    async with quick_clients(world) as (taker, provider):
        for client, side in ((taker, Side.PAYER), (provider, Side.PAYEE)):
            view = await client.legs.observe(htlc, side)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await client.legs.wait_for_change(htlc, view)


async def test_a_new_block_ends_every_wait_once(world: World) -> None:
    htlc = await leg_to_provider(world)
    async with quick_clients(world) as (taker, provider):
        for client, side in ((taker, Side.PAYER), (provider, Side.PAYEE)):
            view = await client.legs.observe(htlc, side)
            waiting = asyncio.create_task(client.legs.wait_for_change(htlc, view))
            world.simulation.reach(world.simulation.height + 1)
            await asyncio.wait_for(waiting, SECONDS)
            view = await client.legs.observe(htlc, side)
            assert view.clock.height == world.simulation.height
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await client.legs.wait_for_change(htlc, view)


async def test_a_wait_ends_when_the_clock_passes_the_invoices_expiry_without_a_message(world: World) -> None:
    htlc = await leg_to_provider(world)
    async with quick_clients(world) as (taker, provider):
        unpaid = await provider.legs.observe(htlc, Side.PAYEE)
        unsent = await taker.legs.observe(htlc, Side.PAYER)
        waiting = asyncio.create_task(provider.legs.wait_for_change(htlc, unpaid))
        await streams_open(provider, 1)
        world.clock.advance(601)
        await asyncio.wait_for(waiting, SECONDS)
        assert (await reached(provider, htlc, Side.PAYEE, LegState.RETURNED)).reason == "the invoice is cancelled"

        await asyncio.wait_for(taker.legs.wait_for_change(htlc, unsent), SECONDS)
        expired = await taker.legs.observe(htlc, Side.PAYER)
        assert not expired.over
        waiting = asyncio.create_task(taker.legs.wait_for_change(htlc, expired))
        await asyncio.sleep(0)
        world.clock.advance(121)
        await asyncio.wait_for(waiting, SECONDS)
        assert (await taker.legs.observe(htlc, Side.PAYER)).over


class SteppedClock:
    """This machine's clock, set by the test."""

    def __init__(self, world: World) -> None:
        self.ahead = 0.0
        self._world = world

    def now(self) -> float:
        return self._world.clock.now() + self.ahead


async def test_a_clock_that_becomes_wrong_ends_the_wait_and_its_correction_too(world: World) -> None:
    htlc, _ = await funded(world)
    clock = SteppedClock(world)
    async with LightningNetwork(settings_of(world.nodes[1], poll_interval_ms=20), world.sends, clock) as provider:
        view = await reached(provider, htlc, Side.PAYEE, LegState.FUNDED)
        waiting = asyncio.create_task(provider.legs.wait_for_change(htlc, view))
        await asyncio.sleep(0)
        clock.ahead = 3_600.0
        await asyncio.wait_for(waiting, SECONDS)
        wrong = await reached(provider, htlc, Side.PAYEE, LegState.PENDING)
        assert wrong.held == view.held
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await provider.legs.wait_for_change(htlc, wrong)
        clock.ahead = 0.0
        await asyncio.wait_for(provider.legs.wait_for_change(htlc, wrong), SECONDS)
        await reached(provider, htlc, Side.PAYEE, LegState.FUNDED)


async def test_a_payment_that_is_accepted_while_the_stream_breaks_ends_the_wait(world: World) -> None:
    htlc = await leg_to_provider(world)
    # No look-up comes in turn during the test.
    async with LightningNetwork(
        settings_of(world.nodes[1], poll_interval_ms=3_600_000), world.sends, world.clock
    ) as provider:
        view = await provider.legs.observe(htlc, Side.PAYEE)
        world.fault("cut_stream", party="provider", path="/v2/invoices/subscribe", message=2, count=1)
        waiting = asyncio.create_task(provider.legs.wait_for_change(htlc, view))
        await until(lambda: provider._parts.invoice_feed.holds.is_reported(HASH))
        await world.taker.legs.perform(await world.taker.legs.prepare(Verb.FUND, htlc))
        await until(lambda: not provider._parts.invoice_feed.holds.is_reported(HASH))
        await asyncio.wait_for(waiting, SECONDS)
        assert (await provider.legs.observe(htlc, Side.PAYEE)).state is LegState.FUNDED


@pytest.mark.parametrize("count", [1, 100])
async def test_any_number_of_waits_cost_the_same_reads_of_the_node(
    world: World, requests: Requests, count: int
) -> None:
    legs = [
        htlc_of(await world.provider.legs.offer(offer_request(amount=1_000, payment_hash=sha256(b"%d" % one).digest())))
        for one in range(count)
    ]
    async with quick_clients(world, poll_interval_ms=100) as (taker, _):
        views = [await taker.legs.observe(htlc, Side.PAYER) for htlc in legs]
        requests.clear()
        waits = [asyncio.create_task(taker.legs.wait_for_change(*each)) for each in zip(legs, views, strict=True)]
        _, pending = await asyncio.wait(waits, timeout=1.0)
        assert len(pending) == count
        # One in each interval for any number of waits, and no look-up.
        assert 1 <= requests["GET /v1/getinfo"] <= 11
        assert set(requests) == {"GET /v1/getinfo"}
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)


async def test_a_wait_at_a_node_that_goes_down_ends_with_the_poll_interval(world: World) -> None:
    htlc, _ = await funded(world)
    view = await seen_by_payee(world, htlc)
    async with LightningNetwork(settings_of(world.nodes[1], poll_interval_ms=50), world.sends, world.clock) as provider:
        await provider.legs.read_clock()
        world.fault("down", party="provider")
        await provider.legs.wait_for_change(htlc, view)
        with pytest.raises(NodeUnreachable):
            await provider.legs.observe(htlc, Side.PAYEE)


async def test_the_clock_is_the_nodes_own(world: World) -> None:
    world.simulation.reach(world.simulation.height + 3)
    world.clock.advance(5)
    reading = await world.taker.legs.read_clock()
    assert (reading.chain_time, reading.height) == (START + 5, world.simulation.height)


async def test_a_leg_that_is_freed_during_a_wait_still_ends_it_with_its_change(world: World) -> None:
    # A request for another swap with the same hash is refused, and frees the hash.
    htlc = await leg_to_provider(world)
    async with LightningNetwork(
        settings_of(world.nodes[1], poll_interval_ms=3_600_000), world.sends, world.clock
    ) as provider:
        view = await provider.legs.observe(htlc, Side.PAYEE)
        waiting = asyncio.create_task(provider.legs.wait_for_change(htlc, view))
        await until(lambda: provider._parts.invoice_feed.holds.is_reported(HASH))
        provider.legs.free(htlc)
        await world.taker.legs.perform(await world.taker.legs.prepare(Verb.FUND, htlc))
        await asyncio.wait_for(waiting, SECONDS)
        await streams_open(provider, 0)


async def test_an_invoice_that_the_node_has_deleted_does_not_end_every_wait(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    htlc, _ = await funded(world)
    settings = settings_of(world.nodes[1], poll_interval_ms=100, max_hold_streams=0)
    async with LightningNetwork(settings, world.sends, world.clock) as provider:
        view = await reached(provider, htlc, Side.PAYEE, LegState.FUNDED)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await provider.legs.wait_for_change(htlc, view)

        async def deleted(_: bytes) -> None:
            return None

        monkeypatch.setattr(provider._parts.invoices, "find", deleted)
        await provider._parts.invoices.cancel(HASH)
        async with asyncio.timeout(SECONDS):
            # Its record is used for a second.
            while (await provider.legs.observe(htlc, Side.PAYEE)).state is not LegState.NONE:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        turns = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(0.5):
                while True:
                    view = await provider.legs.observe(htlc, Side.PAYEE)
                    await provider.legs.wait_for_change(htlc, view)
                    turns += 1
        assert turns < 10


async def test_a_payment_counts_as_vanished_only_by_a_record_that_is_newer_than_the_channels(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    htlc, _ = await funded(world)
    taker = world.taker
    monkeypatch.setattr(legs, "is_past_its_locks", lambda *_: True)
    assert (await taker.legs.observe(htlc, Side.PAYER)).state is LegState.FUNDED
    # From now on its stream is silent, although it is open.
    monkeypatch.setattr(
        taker._parts.payment_feed,
        "listener",
        replace(taker._parts.payment_feed.listener, received=lambda _: None, send_ended=lambda _: None),
    )
    monkeypatch.setattr(taker._parts.payment_feed, "is_followed", lambda _: True)
    await world.provider.legs.perform(await world.provider.legs.prepare(Verb.COLLECT, htlc, PREIMAGE))
    async with asyncio.timeout(SECONDS):
        while any(HASH in channel.hashes for channel in await taker._parts.node.channels()):  # noqa: ASYNC110
            await asyncio.sleep(0)
    view = await taker.legs.observe(htlc, Side.PAYER)
    assert (view.state, view.preimage) == (LegState.COLLECTED, PREIMAGE)
