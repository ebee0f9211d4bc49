"""The fake chain, and the real client on a simulated BOB, give the same results for the same calls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from layer2.errors import Layer2Error
from layer2.legs.evm import EvmLeg
from layer2.legs.leg import Htlc
from layer2.legs.views import ActStatus, Side, Verb
from layer2.model.layers import Layer2ProtocolType
from layer2.model.transactions import Finality, Preimage
from layer2.ports.journal import Json
from layer2.ports.legs import HtlcLayer
from protocols.evm.bob_network import bob_network
from swap_engine.fake_layers import FakeChain
from swap_engine.world import World

PREIMAGE = Preimage(b"\x21" * 32)
BOB = Layer2ProtocolType.BOB


@dataclass
class Stage:
    """A chain with both parties' clients on it, and an agreed lock."""

    payer: HtlcLayer
    payee: HtlcLayer
    htlc: Htlc


@asynccontextmanager
async def the_real_one() -> AsyncIterator[Stage]:
    async with bob_network() as network:
        taker, provider = await network.client("taker"), await network.client("provider")
        yield Stage(taker.legs, provider.legs, network.htlc(PREIMAGE))


@asynccontextmanager
async def the_fake_one() -> AsyncIterator[Stage]:
    world = World(owners={b"\x01" * 20: "taker", b"\x02" * 20: "provider"})
    world.chain(BOB).inclusion_seconds = lambda: 0
    leg = EvmLeg(
        BOB, 60808, bytes(20), bytes(20), 8, 100_420, b"\x01" * 20, b"\x02" * 20, world.now() + 7200, Finality.LATEST
    )
    htlc = Htlc(leg, PREIMAGE.payment_hash, b"\x03" * 32)
    yield Stage(FakeChain(world, "taker", BOB), FakeChain(world, "provider", BOB), htlc)


async def shown(stage: Stage) -> list[Any]:
    """Both parties' views of the lock."""
    sides = ((stage.payer, Side.PAYER), (stage.payee, Side.PAYEE))
    views = [await layer.observe(stage.htlc, side) for layer, side in sides]
    return [(one.state, one.arrived, one.preimage, one.tx_id is not None, one.reason is not None) for one in views]


async def error_of(call: Awaitable[Any]) -> str:
    try:
        await call
    except Layer2Error as error:
        return f"{type(error).__name__} {error.outcome.value}"
    return "no error"


async def end_of(layer: HtlcLayer, act: Json) -> ActStatus:
    """The status of a sent act once it is in a block."""
    for _ in range(500):
        status = await layer.act_status(act)
        if status in (ActStatus.DONE, ActStatus.FAILED):
            return status
        await asyncio.sleep(0.01)
    return ActStatus.UNDER_WAY


async def a_lock_that_is_claimed(stage: Stage) -> list[Any]:
    payer, payee, htlc = stage.payer, stage.payee, stage.htlc
    told: list[Any] = [
        await shown(stage),
        await error_of(payee.prepare(Verb.FUND, htlc)),
        await error_of(payer.prepare(Verb.COLLECT, htlc, PREIMAGE)),
        await error_of(payee.prepare(Verb.COLLECT, htlc)),
        await error_of(payer.prepare(Verb.RELEASE, htlc)),
        await error_of(payer.prepare(Verb.RECLAIM, htlc)),
        await error_of(payee.check_can_finish(htlc, Side.PAYER)),
    ]
    fund = await payer.prepare(Verb.FUND, htlc)
    told += [await payer.act_status(fund), await shown(stage)]
    await payer.perform(fund)
    told += [await end_of(payer, fund), await shown(stage), await payer.evidence(htlc, Side.PAYER)]
    # The same bytes again have no effect, and another lock under the hash is refused.
    await payer.perform(fund)
    told += [await payer.act_status(fund), await error_of(payer.prepare(Verb.FUND, htlc))]
    discarded = await payee.prepare(Verb.COLLECT, htlc, PREIMAGE)
    payee.discard(discarded)
    told += [await error_of(payee.perform(discarded)), await payee.act_status(discarded)]
    collect = await payee.prepare(Verb.COLLECT, htlc, PREIMAGE)
    told.append(await payee.act_status(collect))
    await payee.perform(collect)
    told += [await end_of(payee, collect), await shown(stage)]
    told += [await layer.evidence(htlc, side) is not None for layer, side in ((payer, Side.PAYER), (payee, Side.PAYEE))]
    assert isinstance(htlc.leg, EvmLeg)
    other = replace(htlc, leg=replace(htlc.leg, deadline=htlc.leg.deadline + 1))
    told.append(await error_of(payer.prepare(Verb.FUND, other)))
    return told


async def a_lock_that_is_given_back(stage: Stage) -> list[Any]:
    payer, payee, htlc = stage.payer, stage.payee, stage.htlc
    fund = await payer.prepare(Verb.FUND, htlc)
    await payer.perform(fund)
    told: list[Any] = [await end_of(payer, fund), await shown(stage)]
    release = await payee.prepare(Verb.RELEASE, htlc)
    again = await payee.prepare(Verb.RELEASE, htlc)
    # The second nonce waits for the first one.
    await payee.perform(again)
    await asyncio.sleep(0.05)
    told += [await payee.act_status(again), await shown(stage)]
    await payee.perform(release)
    told += [await end_of(payee, release), await end_of(payee, again), await shown(stage)]
    told.append(await payee.evidence(htlc, Side.PAYEE) is not None)
    return told


async def a_courtesy(stage: Stage) -> list[Any]:
    payer, htlc = stage.payer, stage.htlc
    fund = await payer.prepare(Verb.FUND, htlc)
    await payer.perform(fund)
    told: list[Any] = [await end_of(payer, fund)]
    await payer.courtesy(htlc, PREIMAGE)
    for _ in range(500):
        seen = await shown(stage)
        if seen[0][1]:
            break
        await asyncio.sleep(0.01)
    return [*told, seen]


async def both(story: Callable[[Stage], Awaitable[list[Any]]]) -> tuple[list[Any], list[Any]]:
    async with the_real_one() as stage:
        real = await story(stage)
    async with the_fake_one() as stage:
        return real, await story(stage)


async def test_a_lock_that_is_claimed_looks_the_same() -> None:
    real, fake = await both(a_lock_that_is_claimed)
    assert fake == real


async def test_a_lock_that_is_given_back_looks_the_same() -> None:
    real, fake = await both(a_lock_that_is_given_back)
    assert fake == real


async def test_a_claim_out_of_courtesy_looks_the_same() -> None:
    real, fake = await both(a_courtesy)
    assert fake == real
