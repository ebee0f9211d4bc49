"""A payment of a source leg counts as returned if lnd lists it as in flight and no channel has an HTLC of it.

lnd was seen to list such a payment for hours after it was killed while it paid.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from email.utils import formatdate

import pytest

from layer2.errors import BadAnswer
from layer2.legs.leg import Htlc
from layer2.legs.lightning import LightningLeg
from layer2.legs.timelock_settings import REGTEST
from layer2.legs.views import LegState, LegView, Side
from layer2.local.simnet.clock import SimClock
from layer2.protocols.lightning import LightningNetwork
from memory_sends import MemorySends
from protocols.lightning import scripted_lnd as script
from protocols.lightning.scripted_lnd import ScriptedLnd, answer, messages
from protocols.lightning.world import HASH, START, World, leg_to_provider, settings_of

TRACK = f"GET /v2/router/track/{urlsafe_b64encode(HASH).decode()}"
EXPIRES_AT = START + 600
"""Expiry of the invoice of ``leg_to_provider``."""
LAST_TRY = EXPIRES_AT + REGTEST.payment_timeout + 120
HTLC_EXPIRY = 900
LONG_RESOLVED = HTLC_EXPIRY + REGTEST.close_blocks + 1
CLOSING = {"channel": {"remote_node_pub": "02" + "11" * 32}}


@dataclass
class Payer:
    """A client of a scripted node that lists the payment of a leg as in flight."""

    lnd: ScriptedLnd
    client: LightningNetwork
    htlc: Htlc
    clock: SimClock

    def lists(self, *htlcs: dict[str, object], status: str = "IN_FLIGHT") -> None:
        assert isinstance(self.htlc.leg, LightningLeg)
        self.lnd.say(TRACK, messages(script.payment(self.htlc.leg.invoice, HASH, status=status, htlcs=list(htlcs))))

    def is_at(self, time: int, height: int, *, is_synced: bool = True) -> None:
        self.clock.advance(time - self.clock.now())
        information = script.information(block_height=height, synced_to_chain=is_synced)
        self.lnd.say("GET /v1/getinfo", answer(information, Date=formatdate(time, usegmt=True)))

    def has_closing_channels(self, *, waiting: int = 0, forced: int = 0) -> None:
        fields = {
            "waiting_close_channels": [CLOSING] * waiting,
            "pending_force_closing_channels": [CLOSING] * forced,
        }
        self.lnd.say("GET /v1/channels/pending", answer(fields))

    async def sees(self) -> LegView:
        return await self.client.legs.observe(self.htlc, Side.PAYER)


@pytest.fixture
async def payer(world: World, lnd: ScriptedLnd) -> AsyncIterator[Payer]:
    """The payment's only HTLC must be resolved on the chain by now, and no channel has it."""
    clock = SimClock.manual(START)
    async with LightningNetwork(settings_of(lnd.node), MemorySends(), clock) as client:
        payer = Payer(lnd, client, await leg_to_provider(world), clock)
        payer.lists(script.payment_htlc(50_000_000, status="IN_FLIGHT", expiry_height=HTLC_EXPIRY))
        payer.is_at(LAST_TRY + 1, LONG_RESOLVED)
        payer.has_closing_channels()
        yield payer


async def test_a_payment_in_no_channel_after_its_last_expiry_has_returned(payer: Payer) -> None:
    view = await payer.sees()
    assert (view.state, view.arrived, view.final, view.over) == (LegState.RETURNED, True, True, True)
    assert (view.preimage, view.tx_id) == (None, HASH.hex())
    assert view.reason is not None
    assert "no channel has an HTLC of it" in view.reason


async def test_until_every_htlc_is_long_resolved_it_is_in_flight(payer: Payer) -> None:
    payer.is_at(LAST_TRY + 1, LONG_RESOLVED - 1)
    assert (await payer.sees()).state is LegState.FUNDED
    payer.lists(
        script.payment_htlc(25_000_000, status="IN_FLIGHT", expiry_height=HTLC_EXPIRY),
        script.payment_htlc(25_000_000, status="IN_FLIGHT", expiry_height=HTLC_EXPIRY + 1),
    )
    payer.is_at(LAST_TRY + 1, LONG_RESOLVED)
    assert (await payer.sees()).state is LegState.FUNDED


async def test_while_the_invoice_could_still_be_paid_it_is_in_flight_at_any_height(payer: Payer) -> None:
    payer.clock = SimClock.manual(START)
    async with LightningNetwork(settings_of(payer.lnd.node), MemorySends(), payer.clock) as client:
        payer.client = client
        payer.is_at(LAST_TRY, LONG_RESOLVED + 10_000)
        view = await payer.sees()
        assert (view.state, view.over, view.final) == (LegState.FUNDED, False, False)


async def test_an_htlc_in_an_open_channel_keeps_it_in_flight(payer: Payer) -> None:
    carrying = script.channel(7, active=False, pending_htlcs=[script.channel_htlc(HASH, incoming=False)])
    payer.lnd.say("GET /v1/channels", answer({"channels": [script.channel(6), carrying]}))
    assert (await payer.sees()).state is LegState.FUNDED
    assert "GET /v1/channels/pending" not in payer.lnd.calls()


@pytest.mark.parametrize("closing", [{"waiting": 1}, {"forced": 1}], ids=["before the close is mined", "after"])
async def test_a_channel_that_is_closing_may_carry_it_so_it_stays_in_flight(
    payer: Payer, closing: dict[str, int]
) -> None:
    payer.has_closing_channels(**closing)
    assert (await payer.sees()).state is LegState.FUNDED
    payer.has_closing_channels()
    assert (await payer.sees()).state is LegState.RETURNED


async def test_a_payment_with_one_settled_part_has_not_returned(payer: Payer) -> None:
    payer.lists(
        script.payment_htlc(25_000_000, status="SUCCEEDED", expiry_height=HTLC_EXPIRY),
        script.payment_htlc(25_000_000, status="IN_FLIGHT", expiry_height=HTLC_EXPIRY),
    )
    assert (await payer.sees()).state is LegState.FUNDED


async def test_a_payment_without_an_htlc_has_returned_when_the_blocks_of_its_limit_have_surely_passed(
    payer: Payer,
) -> None:
    assert isinstance(payer.htlc.leg, LightningLeg)
    payer.lists(script.payment_htlc(50_000_000, status="FAILED", expiry_height=2_000))
    surely = LAST_TRY + REGTEST.bitcoin.latest(payer.htlc.leg.cltv_limit + REGTEST.close_blocks)
    payer.is_at(surely, LONG_RESOLVED)
    assert (await payer.sees()).state is LegState.FUNDED
    payer.is_at(surely + 1, LONG_RESOLVED)
    assert (await payer.sees()).state is LegState.RETURNED


async def test_a_node_that_is_not_synced_concludes_nothing(payer: Payer) -> None:
    payer.is_at(LAST_TRY + 1, LONG_RESOLVED, is_synced=False)
    with pytest.raises(BadAnswer, match="not synced"):
        await payer.sees()


async def test_a_provider_never_considers_its_own_payment_of_a_destination_returned(payer: Payer) -> None:
    """The provider would give the source back although its payment may have been collected."""
    assert isinstance(payer.htlc.leg, LightningLeg)
    payer.htlc = replace(payer.htlc, leg=replace(payer.htlc.leg, min_blocks_left=0))
    assert (await payer.sees()).state is LegState.FUNDED


async def test_a_payment_that_was_taken_but_not_begun_is_pending(payer: Payer) -> None:
    payer.lists(status="INITIATED")
    view = await payer.sees()
    assert (view.state, view.over) == (LegState.PENDING, False)
