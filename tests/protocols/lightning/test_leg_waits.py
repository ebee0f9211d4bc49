"""A wait for a change of a leg ends with the change, and after the poll interval at the latest."""

from __future__ import annotations

import asyncio

import pytest

from layer2.errors import NodeUnreachable
from layer2.legs.views import LegState, Side, Verb
from layer2.protocols.lightning import LightningNetwork
from protocols.lightning.world import (
    PREIMAGE,
    START,
    World,
    funded,
    leg_to_provider,
    seen_by_payee,
    seen_by_payer,
    settings_of,
)


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


async def test_a_wait_for_a_payment_that_is_not_sent_ends_with_the_poll_interval(world: World) -> None:
    htlc = await leg_to_provider(world)
    async with world.restarted_taker(poll_interval_ms=50) as taker:
        await taker.legs.wait_for_change(htlc, await seen_by_payer(world, htlc))
    assert (await seen_by_payer(world, htlc)).state is LegState.NONE


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
