"""A leg asks its node a few times from its start to its end, however often the engine looks at it."""

from __future__ import annotations

import asyncio
from hashlib import sha256

import pytest

from layer2.legs.leg import Htlc
from layer2.legs.views import ActStatus, LegState, Side, Verb
from layer2.model.transactions import Preimage
from layer2.protocols.lightning import LightningNetwork
from protocols.lightning.requests import Requests
from protocols.lightning.waiting import SECONDS, streams_open, until
from protocols.lightning.world import (
    HASH,
    PREIMAGE,
    World,
    htlc_of,
    leg_to_provider,
    offer_request,
    reached,
    settings_of,
)

BY_TIME = {"GET /v1/getinfo", "GET /v1/channels"}
"""Requests that serve all swaps of a moment together."""


def per_swap(requests: Requests) -> dict[str, int]:
    return {name: count for name, count in requests.items() if name not in BY_TIME}


async def look_often(client: LightningNetwork, htlc: Htlc, side: Side, state: LegState) -> None:
    for _ in range(10):
        assert (await client.legs.observe(htlc, side)).state is state


async def test_a_payees_leg_has_one_stream_and_two_look_ups(world: World, requests: Requests) -> None:
    legs = world.provider.legs
    await world.provider.initialize_async()
    requests.clear()
    htlc = htlc_of(await legs.offer(offer_request()))
    await legs.check_can_finish(htlc, Side.PAYEE)
    await look_often(world.provider, htlc, Side.PAYEE, LegState.NONE)
    unpaid = await legs.observe(htlc, Side.PAYEE)
    for _ in range(3):
        waiting = asyncio.create_task(legs.wait_for_change(htlc, unpaid))
        await asyncio.sleep(0.01)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    at_provider = requests.copy()

    await world.taker.legs.perform(await world.taker.legs.prepare(Verb.FUND, htlc))
    requests.clear()
    await reached(world.provider, htlc, Side.PAYEE, LegState.FUNDED)
    await look_often(world.provider, htlc, Side.PAYEE, LegState.FUNDED)
    collect = await legs.prepare(Verb.COLLECT, htlc, PREIMAGE)
    assert await legs.act_status(collect) is ActStatus.UNSEEN
    await legs.perform(collect)
    assert await legs.act_status(collect) is ActStatus.DONE
    while not (view := await legs.observe(htlc, Side.PAYEE)).final:
        await asyncio.wait_for(legs.wait_for_change(htlc, view), SECONDS)
    await look_often(world.provider, htlc, Side.PAYEE, LegState.COLLECTED)
    assert await legs.evidence(htlc, Side.PAYEE) is not None
    legs.free(htlc)
    at_provider.update(requests)
    assert per_swap(Requests(at_provider)) == {
        "GET /v2/router/track/HASH": 1,
        "POST /v2/invoices/hodl": 1,
        "GET /v2/invoices/subscribe/HASH": 1,
        "POST /v2/invoices/settle": 1,
        "GET /v1/invoice/HASH": 1,
    }
    assert at_provider["GET /v1/getinfo"] <= 2
    assert at_provider["GET /v1/channels"] <= 3
    await streams_open(world.provider, 0)


async def test_a_payers_leg_has_its_payment_and_two_look_ups(world: World, requests: Requests) -> None:
    htlc = await leg_to_provider(world)
    legs = world.taker.legs
    await world.taker.initialize_async()
    requests.clear()
    await look_often(world.taker, htlc, Side.PAYER, LegState.NONE)
    await legs.check_can_finish(htlc, Side.PAYER)
    await look_often(world.taker, htlc, Side.PAYER, LegState.NONE)
    act = await legs.prepare(Verb.FUND, htlc)
    await legs.perform(act)
    assert await legs.act_status(act) is ActStatus.UNDER_WAY
    await look_often(world.taker, htlc, Side.PAYER, LegState.FUNDED)
    at_taker = requests.copy()

    await world.provider.legs.perform(await world.provider.legs.prepare(Verb.COLLECT, htlc, PREIMAGE))
    requests.clear()
    await reached(world.taker, htlc, Side.PAYER, LegState.COLLECTED)
    assert await legs.act_status(act) is ActStatus.DONE
    assert await legs.evidence(htlc, Side.PAYER) is not None
    legs.free(htlc)
    at_taker.update(requests)
    assert per_swap(Requests(at_taker)) == {"GET /v2/router/track/HASH": 2, "POST /v2/router/send": 1}
    assert at_taker["GET /v1/getinfo"] <= 2
    assert at_taker["GET /v1/channels"] <= 1
    await streams_open(world.taker, 0)


async def test_swaps_that_start_together_share_the_reads_of_the_node(world: World, requests: Requests) -> None:
    await world.provider.initialize_async()
    requests.clear()
    hashes = [sha256(b"%d" % number).digest() for number in range(50)]
    offers = [offer_request(amount=1_000, payment_hash=each) for each in hashes]
    legs = [htlc_of(text) for text in await asyncio.gather(*map(world.provider.legs.offer, offers))]
    await asyncio.gather(*(world.provider.legs.check_can_finish(htlc, Side.PAYEE) for htlc in legs))
    await asyncio.gather(*(world.provider.legs.observe(htlc, Side.PAYEE) for htlc in legs))
    assert requests["GET /v1/getinfo"] <= 2
    assert requests["GET /v1/channels"] == 1


async def test_settled_invoices_wait_together_for_their_channels(world: World, requests: Requests) -> None:
    preimages = [Preimage(sha256(b"%d" % number).digest()) for number in range(20)]
    offers = [offer_request(amount=1_000, payment_hash=each.payment_hash) for each in preimages]
    legs = [htlc_of(await world.provider.legs.offer(each)) for each in offers]
    for htlc in legs:
        await world.taker.legs.perform(await world.taker.legs.prepare(Verb.FUND, htlc))
    requests.clear()

    async def collect(htlc: Htlc, preimage: Preimage) -> None:
        await world.provider.legs.perform(await world.provider.legs.prepare(Verb.COLLECT, htlc, preimage))
        while not (view := await world.provider.legs.observe(htlc, Side.PAYEE)).final:
            await world.provider.legs.wait_for_change(htlc, view)

    started = asyncio.get_running_loop().time()
    await asyncio.wait_for(asyncio.gather(*map(collect, legs, preimages)), SECONDS)
    seconds = asyncio.get_running_loop().time() - started
    assert requests["GET /v1/channels"] <= 2 + seconds / 0.2


async def test_a_payment_that_may_have_been_sent_is_looked_up_each_time(world: World, requests: Requests) -> None:
    # A send without an answer can reach the node later. Its absence must not be remembered.
    htlc = await leg_to_provider(world)
    legs = world.taker.legs
    await legs.observe(htlc, Side.PAYER)
    act = await legs.prepare(Verb.FUND, htlc)
    assert await legs.act_status(act) is ActStatus.UNSEEN
    requests.clear()
    for _ in range(3):
        assert await legs.act_status(act) is ActStatus.UNSEEN
        assert (await legs.observe(htlc, Side.PAYER)).state is LegState.NONE
    assert requests["GET /v2/router/track/HASH"] == 6
    # The client does not take part in this payment.
    async with world.restarted_taker() as other:
        await other.legs.perform(act)
    assert (await legs.observe(htlc, Side.PAYER)).state is LegState.FUNDED


async def test_that_it_is_too_late_to_pay_is_concluded_from_a_new_look_up(world: World) -> None:
    htlc = await leg_to_provider(world)
    assert (await world.taker.legs.observe(htlc, Side.PAYER)).state is LegState.NONE
    async with world.restarted_taker() as other:
        await other.legs.perform(await other.legs.prepare(Verb.FUND, htlc))
    world.clock.advance(600 + 121)
    view = await world.taker.legs.observe(htlc, Side.PAYER)
    assert (view.state, view.over) == (LegState.FUNDED, False)


async def test_a_hold_whose_stream_has_been_silent_is_looked_up(world: World, requests: Requests) -> None:
    # Its connection may have died unnoticed, and the provider is about to rely on the payment.
    htlc = await leg_to_provider(world)
    await world.provider.legs.check_can_finish(htlc, Side.PAYEE)
    await world.taker.legs.perform(await world.taker.legs.prepare(Verb.FUND, htlc))
    await reached(world.provider, htlc, Side.PAYEE, LegState.FUNDED)
    requests.clear()
    await look_often(world.provider, htlc, Side.PAYEE, LegState.FUNDED)
    assert per_swap(requests) == {}
    tracked = world.provider._parts.tracker.tracked(HASH)
    assert tracked is not None
    tracked.invoice_at -= 6.0
    await look_often(world.provider, htlc, Side.PAYEE, LegState.FUNDED)
    assert per_swap(requests) == {"GET /v1/invoice/HASH": 1}


async def test_a_leg_that_is_not_freed_is_left_after_a_while(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("layer2.protocols.lightning.leg_records._GRACE", 0.2)
    htlc = await leg_to_provider(world)
    async with LightningNetwork(settings_of(world.nodes[1]), world.sends, world.clock) as provider:
        await provider.legs.check_can_finish(htlc, Side.PAYEE)
        view = await provider.legs.observe(htlc, Side.PAYEE)
        waiting = asyncio.create_task(provider.legs.wait_for_change(htlc, view))
        await asyncio.sleep(0.5)
        assert provider.open_streams == 1
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await until(lambda: provider.open_streams == 0)


async def test_holds_without_a_stream_are_read_in_one_list(world: World, requests: Requests) -> None:
    preimages = [Preimage(sha256(b"%d" % number).digest()) for number in range(30)]
    offers = [offer_request(amount=1_000, payment_hash=each.payment_hash) for each in preimages]
    legs = [htlc_of(await world.provider.legs.offer(each)) for each in offers]
    async with LightningNetwork(
        settings_of(world.nodes[1], max_hold_streams=2, poll_interval_ms=100), world.sends, world.clock
    ) as provider:
        views = [await provider.legs.observe(htlc, Side.PAYEE) for htlc in legs]
        waits = [
            asyncio.create_task(provider.legs.wait_for_change(htlc, view))
            for htlc, view in zip(legs, views, strict=True)
        ]
        holds = provider._parts.invoice_feed.holds
        await until(lambda: all(holds.is_reported(each.payment_hash) for each in preimages))
        requests.clear()
        _, pending = await asyncio.wait(waits, timeout=1.0)
        assert len(pending) == len(legs)
        # On a busy machine the list is read less often.
        assert requests["GET /v1/invoices"] <= 11
        assert set(requests) <= {"GET /v1/invoices", "GET /v1/getinfo"}

        await world.taker.legs.perform(await world.taker.legs.prepare(Verb.FUND, legs[-1]))
        await asyncio.wait_for(waits[-1], SECONDS)
        requests.clear()
        assert (await provider.legs.observe(legs[-1], Side.PAYEE)).state is LegState.FUNDED
        assert set(requests) <= {"GET /v1/invoices", "GET /v1/getinfo"}

        # An invoice that the list leaves out is looked up.
        await world.provider.legs.perform(await world.provider.legs.prepare(Verb.RELEASE, legs[-2]))
        await asyncio.wait_for(waits[-2], SECONDS)
        assert (await provider.legs.observe(legs[-2], Side.PAYEE)).state is LegState.RETURNED
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
