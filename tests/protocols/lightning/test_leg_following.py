"""A leg that is followed without a task: what is reported, and what may not be missed before it."""

from __future__ import annotations

import asyncio

from layer2.errors import AuthenticationFailed
from layer2.legs.leg import Htlc
from layer2.legs.views import LegState, LegView, Side, Verb
from layer2.protocols.lightning import LightningNetwork
from protocols.leg_listeners import Noted
from protocols.lightning.requests import Requests
from protocols.lightning.waiting import SECONDS, streams_open, until
from protocols.lightning.world import (
    HASH,
    PREIMAGE,
    START,
    World,
    funded,
    leg_to_provider,
    reached,
    seen_by_payee,
    seen_by_payer,
    settings_of,
)

EXPIRY = START + 600


async def fund(world: World, htlc: Htlc) -> None:
    await world.taker.legs.perform(await world.taker.legs.prepare(Verb.FUND, htlc))


def followed(client: LightningNetwork, htlc: Htlc, side: Side, view: LegView) -> Noted:
    listener = Noted()
    assert client.legs.can_follow
    assert client.legs.follow(htlc, side, view, listener) is not None
    return listener


async def test_what_the_payee_sees_is_reported_and_its_expiry_is_a_time(world: World) -> None:
    htlc = await leg_to_provider(world)
    view, listener = await seen_by_payee(world, htlc), Noted()
    at = world.provider.legs.follow(htlc, Side.PAYEE, view, listener)
    assert at is not None
    assert 0 <= at - EXPIRY <= 2
    await fund(world, htlc)
    await until(lambda: listener.changes > 0)
    assert (await reached(world.provider, htlc, Side.PAYEE, LegState.FUNDED)).held is not None
    world.provider.legs.unfollow(HASH, listener)
    changes = listener.changes
    await world.provider.legs.perform(await world.provider.legs.prepare(Verb.COLLECT, htlc, PREIMAGE))
    await asyncio.sleep(0.1)
    assert (listener.changes, listener.misses) == (changes, 0)


async def test_what_the_payer_sees_is_reported(world: World) -> None:
    htlc, _ = await funded(world)
    view = await reached(world.taker, htlc, Side.PAYER, LegState.FUNDED)
    listener = followed(world.taker, htlc, Side.PAYER, view)
    await world.provider.legs.perform(await world.provider.legs.prepare(Verb.COLLECT, htlc, PREIMAGE))
    await until(lambda: listener.changes > 0)
    assert (await seen_by_payer(world, htlc)).state is LegState.COLLECTED


async def test_a_new_block_is_not_reported(world: World) -> None:
    htlc, _ = await funded(world)
    view = await reached(world.provider, htlc, Side.PAYEE, LegState.FUNDED)
    listener = followed(world.provider, htlc, Side.PAYEE, view)
    changes = listener.changes
    world.simulation.reach(world.simulation.height + 1)
    await asyncio.sleep(0.2)
    assert (listener.changes, listener.misses) == (changes, 0)


async def test_a_status_from_after_the_view_refuses_to_follow(world: World) -> None:
    htlc = await leg_to_provider(world)
    view = await seen_by_payee(world, htlc)
    other = followed(world.provider, htlc, Side.PAYEE, view)
    await fund(world, htlc)
    await until(lambda: other.changes > 0)
    assert world.provider.legs.follow(htlc, Side.PAYEE, view, Noted()) is None


async def test_a_payment_between_the_view_and_the_first_status_is_reported(world: World) -> None:
    htlc = await leg_to_provider(world)
    async with LightningNetwork(
        settings_of(world.nodes[1], poll_interval_ms=3_600_000), world.sends, world.clock
    ) as provider:
        view = await provider.legs.observe(htlc, Side.PAYEE)
        await fund(world, htlc)
        await reached(world.provider, htlc, Side.PAYEE, LegState.FUNDED)
        listener = Noted()
        if provider.legs.follow(htlc, Side.PAYEE, view, listener) is not None:
            await until(lambda: listener.changes > 0)
        assert (await provider.legs.observe(htlc, Side.PAYEE)).state is LegState.FUNDED


async def test_a_payment_while_the_stream_breaks_is_reported(world: World) -> None:
    htlc = await leg_to_provider(world)
    # No look-up comes in turn during the test.
    async with LightningNetwork(
        settings_of(world.nodes[1], poll_interval_ms=3_600_000), world.sends, world.clock
    ) as provider:
        view = await provider.legs.observe(htlc, Side.PAYEE)
        world.fault("cut_stream", party="provider", path="/v2/invoices/subscribe", message=2, count=1)
        listener = followed(provider, htlc, Side.PAYEE, view)
        await until(lambda: provider._parts.invoice_feed.holds.is_reported(HASH))
        changes = listener.changes
        await fund(world, htlc)
        await until(lambda: not provider._parts.invoice_feed.holds.is_reported(HASH))
        await until(lambda: listener.changes > changes)
        assert (await provider.legs.observe(htlc, Side.PAYEE)).state is LegState.FUNDED


async def test_a_settled_invoice_is_not_followed_until_its_channels_have_resolved_it(world: World) -> None:
    htlc, _ = await funded(world)
    await reached(world.provider, htlc, Side.PAYEE, LegState.FUNDED)
    await world.provider.legs.perform(await world.provider.legs.prepare(Verb.COLLECT, htlc, PREIMAGE))
    view = await reached(world.provider, htlc, Side.PAYEE, LegState.COLLECTED)
    assert world.provider.legs.follow(htlc, Side.PAYEE, view, Noted()) is None


async def test_a_payment_that_was_not_sent_costs_neither_a_request_nor_a_stream(
    world: World, requests: Requests
) -> None:
    htlc = await leg_to_provider(world)
    view = await seen_by_payer(world, htlc)
    world.taker.legs.free(htlc)
    await streams_open(world.taker, 0)
    requests.clear()
    listener = followed(world.taker, htlc, Side.PAYER, view)
    await asyncio.sleep(0.2)
    assert world.taker._parts.tracker.tracked(HASH) is None
    assert not [path for path in requests if HASH.hex() in path]
    assert (listener.changes, listener.misses) == (0, 0)


async def test_a_stream_that_cannot_be_opened_again_may_have_missed_something(world: World) -> None:
    htlc = await leg_to_provider(world)
    listener = followed(world.provider, htlc, Side.PAYEE, await seen_by_payee(world, htlc))
    tracked = world.provider._parts.tracker.tracked(HASH)
    assert tracked is not None
    world.provider._parts.tracker._failed(HASH, AuthenticationFailed("the macaroon was revoked"))
    assert listener.misses == 1
    world.provider.legs.unfollow(HASH, listener)
    # The next turn asks the node again, and can follow the leg.
    followed(world.provider, htlc, Side.PAYEE, await seen_by_payee(world, htlc))


async def test_a_leg_that_wakes_its_swap_is_observed_without_a_request(world: World, requests: Requests) -> None:
    htlc = await leg_to_provider(world)
    async with LightningNetwork(
        settings_of(world.nodes[1], poll_interval_ms=3_600_000), world.sends, world.clock
    ) as provider:
        listener = followed(provider, htlc, Side.PAYEE, await provider.legs.observe(htlc, Side.PAYEE))
        provider.legs.free(htlc)
        await until(lambda: provider._parts.invoice_feed.holds.is_reported(HASH))
        await fund(world, htlc)
        await until(lambda: listener.changes > 0)
        provider.legs.unfollow(HASH, listener)
        requests.clear()
        assert (await provider.legs.observe(htlc, Side.PAYEE)).state is LegState.FUNDED
        assert not requests


async def test_nothing_is_left_of_a_leg_that_is_followed_no_longer(world: World) -> None:
    htlc = await leg_to_provider(world)
    async with LightningNetwork(settings_of(world.nodes[1]), world.sends, world.clock) as provider:
        listeners = [
            followed(provider, htlc, Side.PAYEE, await provider.legs.observe(htlc, Side.PAYEE)) for _ in range(2)
        ]
        provider.legs.unfollow(HASH, listeners[0])
        provider.legs.free(htlc)
        provider.legs.unfollow(HASH, Noted())
        assert provider._parts.tracker.tracked(HASH) is not None
        provider.legs.unfollow(HASH, listeners[1])
        # It is observed next, if the swap is still open.
        assert provider._parts.tracker.tracked(HASH) is not None
        provider.legs.free(htlc)
        assert provider._parts.tracker.tracked(HASH) is None
        async with asyncio.timeout(SECONDS):
            await streams_open(provider, 0)


async def test_an_outage_of_the_node_hides_nothing(world: World) -> None:
    htlc = await leg_to_provider(world)
    async with LightningNetwork(settings_of(world.nodes[1], poll_interval_ms=50), world.sends, world.clock) as provider:
        listener = followed(provider, htlc, Side.PAYEE, await provider.legs.observe(htlc, Side.PAYEE))
        world.fault("down", party="provider")
        await asyncio.sleep(0.1)
        await fund(world, htlc)
        changes = listener.changes
        world.fault("none", party="provider")
        await until(lambda: listener.changes > changes)
        assert (await reached(provider, htlc, Side.PAYEE, LegState.FUNDED)).held is not None
