"""Two parties with a simulated node each, and helpers for the tests of the Lightning client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from layer2.formats import bolt11
from layer2.legs.leg import Htlc
from layer2.legs.lightning import LightningLeg
from layer2.legs.views import LegState, LegView, OfferRequest, Side, Verb
from layer2.local.network import LightningNode
from layer2.local.simnet.clock import SimClock
from layer2.local.simnet.lightning.network import LightningSimulation
from layer2.model.money import BTC
from layer2.model.transactions import Preimage
from layer2.ports.journal import Json
from layer2.protocols.lightning import LightningNetwork, LightningSettings
from memory_sends import MemorySends

START = 1_800_000_000
PREIMAGE = Preimage(sha256(b"a preimage for tests").digest())
HASH = PREIMAGE.payment_hash
MIN_BLOCKS_LEFT = 60
"""``min_blocks_left`` of a source leg."""


def settings_of(node: LightningNode, **changes: Any) -> LightningSettings:
    settings = LightningSettings(
        rest_url=node.rest_url,
        certificate_file=node.certificate_file,
        macaroon_file=node.macaroon_file,
        network="regtest",
        default_timeout_ms=10_000,
        payment_timeout_seconds=20,
        poll_interval_ms=10_000,
    )
    return replace(settings, **changes)


@dataclass
class World:
    """Both nodes with a client each, and their controls."""

    simulation: LightningSimulation
    clock: SimClock
    nodes: tuple[LightningNode, LightningNode]
    sends: MemorySends
    taker: LightningNetwork
    provider: LightningNetwork

    def fault(self, kind: str, *, party: str = "taker", **arguments: Any) -> None:
        if party == "taker":
            self.simulation.set_fault("taker_lightning", kind, **arguments)
        else:
            self.simulation.set_fault("provider_lightning", kind, **arguments)

    def restarted_taker(self, **changes: Any) -> LightningNetwork:
        """Another client of the taker's node, as after a restart of its process."""
        return LightningNetwork(settings_of(self.nodes[0], **changes), self.sends, self.clock)

    async def payments_sent(self) -> int:
        """The number of payments that the taker's node was asked to make."""
        payments = self.simulation.status()["taker"]["payments"]
        assert isinstance(payments, int)
        return payments


@asynccontextmanager
async def running_world(directory: Path) -> AsyncIterator[World]:
    clock = SimClock.manual(START)
    simulation = LightningSimulation(b"a seed for tests", clock, directory)
    nodes = await simulation.start()
    sends = MemorySends()
    try:
        async with AsyncExitStack() as stack:
            taker, provider = [
                await stack.enter_async_context(LightningNetwork(settings_of(node), sends, clock)) for node in nodes
            ]
            yield World(simulation, clock, nodes, sends, taker, provider)
    finally:
        await simulation.stop()


async def paid(world: World, amount: int = 1_000) -> bytes:
    """Have the taker pay an invoice of the provider; return its hash."""
    invoice = await world.provider.create_invoice_async(amount)
    tx_id = await world.taker.transfer_asset_async(BTC, amount, invoice.text)
    await world.taker.wait_for_status_async(tx_id, timeout=10)
    return invoice.payment_hash


async def held(world: World, word: bytes) -> Preimage:
    """Have the taker pay a hold invoice of the provider; return its preimage."""
    preimage = Preimage(sha256(word).digest())
    invoice = await world.provider.create_hold_invoice_async(preimage.payment_hash, 1_000)
    await world.taker.transfer_asset_async(BTC, 1_000, invoice.text)
    return preimage


async def leg_to_provider(world: World, *, amount: int = 50_000) -> Htlc:
    """A leg with a hold invoice that the taker pays."""
    return htlc_of(await world.provider.legs.offer(offer_request(amount=amount)))


def offer_request(*, amount: int = 50_000, **changes: Any) -> OfferRequest:
    request = OfferRequest(
        side=Side.PAYEE, payment_hash=HASH, amount=amount, memo="swap", expiry_seconds=600, min_blocks=100
    )
    return replace(request, **changes)


def htlc_of(invoice: str) -> Htlc:
    decoded = bolt11.decode(invoice)
    assert decoded.amount_msat is not None
    leg = LightningLeg(
        prefix="bcrt",
        invoice=invoice,
        payee=decoded.payee,
        amount_msat=decoded.amount_msat,
        cltv_limit=decoded.min_final_cltv_expiry_delta + 20,
        min_blocks_left=MIN_BLOCKS_LEFT,
        fee_limit_msat=1_000,
    )
    return Htlc(leg, decoded.payment_hash, bytes(32))


async def seen_by_payer(world: World, htlc: Htlc) -> LegView:
    return await world.taker.legs.observe(htlc, Side.PAYER)


async def seen_by_payee(world: World, htlc: Htlc) -> LegView:
    return await world.provider.legs.observe(htlc, Side.PAYEE)


async def reached(client: LightningNetwork, htlc: Htlc, side: Side, state: LegState) -> LegView:
    """Wait as the engine does until the leg is in that state."""
    async with asyncio.timeout(10):
        while (view := await client.legs.observe(htlc, side)).state is not state:
            await client.legs.wait_for_change(htlc, view)
    return view


async def funded(world: World) -> tuple[Htlc, Json]:
    """Have the taker pay a hold invoice of the provider; return the leg and the act."""
    htlc = await leg_to_provider(world)
    act = await world.taker.legs.prepare(Verb.FUND, htlc)
    await world.taker.legs.perform(act)
    return htlc, act
