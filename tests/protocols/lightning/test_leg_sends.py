"""Sends of a leg's payment: once, and a missing answer never counts as a failure."""

from __future__ import annotations

import asyncio
from base64 import urlsafe_b64encode
from typing import Any

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey

from layer2.errors import AuthenticationFailed, BadAnswer, NodeUnreachable, Outcome, TransactionError
from layer2.legs.leg import Htlc
from layer2.legs.lightning import LightningLeg
from layer2.legs.views import Verb
from layer2.model.transactions import TxState
from layer2.ports.clock import SystemClock
from layer2.protocols.lightning import LightningNetwork
from layer2.protocols.lightning.lnd.connections import AbortingConnector
from layer2.protocols.lightning.lnd.rest import LndRest
from memory_sends import MemorySends
from protocols.lightning import scripted_lnd as script
from protocols.lightning.scripted_lnd import Reply, ScriptedLnd, answer, messages, refusal
from protocols.lightning.waiting import until
from protocols.lightning.world import HASH, World, htlc_of, offer_request, settings_of

TRACK = f"GET /v2/router/track/{urlsafe_b64encode(HASH).decode()}"
SEND = "POST /v2/router/send"


@pytest.fixture
async def htlc(world: World) -> Htlc:
    """A leg with an invoice of the provider's simulated node."""
    return htlc_of(await world.provider.legs.offer(offer_request(expiry_seconds=30_000_000)))


def text_of(htlc: Htlc) -> str:
    assert isinstance(htlc.leg, LightningLeg)
    return htlc.leg.invoice


async def test_a_payment_goes_out_with_its_limits(lnd: ScriptedLnd, client: LightningNetwork, htlc: Htlc) -> None:
    lnd.say(TRACK, script.NOT_FOUND)
    lnd.say(SEND, messages(script.payment(text_of(htlc), HASH)))
    await client.legs.perform(await client.legs.prepare(Verb.FUND, htlc))
    assert lnd.bodies(SEND) == [
        {
            "payment_request": text_of(htlc),
            "fee_limit_msat": "1000",
            "cltv_limit": 120,
            "timeout_seconds": 20,
            "max_parts": settings_of(lnd.node).timelocks.max_parts,
        }
    ]


async def test_an_error_of_a_node_that_had_taken_the_payment_is_not_a_refusal(
    lnd: ScriptedLnd, client: LightningNetwork, htlc: Htlc
) -> None:
    lnd.say(TRACK, script.NOT_FOUND)
    act = await client.legs.prepare(Verb.FUND, htlc)
    lnd.say(SEND, refusal("routerrpc server shutting down"))
    lnd.say(TRACK, script.NOT_FOUND, messages(script.payment(text_of(htlc), HASH)))
    await client.legs.perform(act)
    assert len(lnd.bodies(SEND)) == 1


async def test_an_error_of_a_node_that_then_is_silent_is_unknown(
    lnd: ScriptedLnd, client: LightningNetwork, htlc: Htlc
) -> None:
    lnd.say(TRACK, script.NOT_FOUND)
    act = await client.legs.prepare(Verb.FUND, htlc)
    lnd.say(SEND, refusal("routerrpc server shutting down"))
    lnd.say(TRACK, script.NOT_FOUND, Reply(cut=True))
    with pytest.raises(NodeUnreachable) as caught:
        await client.legs.perform(act)
    assert (caught.value.outcome, caught.value.tx_id) == (Outcome.UNKNOWN, HASH.hex())


async def test_a_send_that_was_cancelled_is_looked_up_before_anything_is_sent_again(
    lnd: ScriptedLnd, client: LightningNetwork, htlc: Htlc
) -> None:
    lnd.say(TRACK, script.NOT_FOUND)
    lnd.say(SEND, Reply(silent=True))
    sending = asyncio.create_task(client.submit_transaction_async(text_of(htlc), idempotency_key="order 1"))
    await until(lambda: bool(lnd.bodies(SEND)))
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    lnd.say(TRACK, messages(script.payment(text_of(htlc), HASH)))
    status = await client.submit_transaction_async(text_of(htlc), idempotency_key="order 1")
    assert status.state is TxState.PENDING
    assert len(lnd.bodies(SEND)) == 1


async def test_an_answer_to_a_payment_that_cannot_be_leaves_it_unknown(
    lnd: ScriptedLnd, client: LightningNetwork, htlc: Htlc
) -> None:
    lnd.say(TRACK, script.NOT_FOUND)
    act = await client.legs.prepare(Verb.FUND, htlc)
    lnd.say(SEND, messages(script.payment(text_of(htlc), HASH, status="DONE")))
    with pytest.raises(BadAnswer) as caught:
        await client.legs.perform(act)
    assert (caught.value.outcome, caught.value.tx_id) == (Outcome.UNKNOWN, HASH.hex())


async def test_a_payment_that_fails_in_the_first_message_is_rejected(
    lnd: ScriptedLnd, client: LightningNetwork, htlc: Htlc
) -> None:
    lnd.say(TRACK, script.NOT_FOUND)
    act = await client.legs.prepare(Verb.FUND, htlc)
    failed = script.payment(text_of(htlc), HASH, status="FAILED", failure_reason="FAILURE_REASON_NO_ROUTE")
    lnd.say(SEND, messages(failed))
    with pytest.raises(TransactionError, match="NO_ROUTE") as caught:
        await client.legs.perform(act)
    assert caught.value.outcome is Outcome.REJECTED


@pytest.mark.parametrize(
    "answered",
    [
        pytest.param(refusal("the RPC server is in the process of starting up"), id="starting"),
        pytest.param(answer(script.information(synced_to_chain=False)), id="not synced"),
        pytest.param(answer({}), id="nonsense"),
        pytest.param(Reply(cut=True), id="cut"),
    ],
)
async def test_a_payment_is_not_sent_where_the_node_could_not_be_asked_before(
    lnd: ScriptedLnd, htlc: Htlc, answered: Reply
) -> None:
    lnd.say(TRACK, script.NOT_FOUND)
    # A state of the node from the last poll interval would count.
    async with LightningNetwork(settings_of(lnd.node, poll_interval_ms=1), MemorySends(), SystemClock()) as client:
        act = await client.legs.prepare(Verb.FUND, htlc)
        lnd.say("GET /v1/getinfo", answered)
        await asyncio.sleep(0.01)
        with pytest.raises(NodeUnreachable, match="the payment was not sent") as caught:
            await client.legs.perform(act)
    assert (caught.value.outcome, caught.value.tx_id) == (Outcome.NOT_SENT, HASH.hex())
    assert lnd.bodies(SEND) == []


async def test_a_payment_whose_macaroon_was_refused_may_have_left(
    lnd: ScriptedLnd, client: LightningNetwork, htlc: Htlc
) -> None:
    lnd.say(TRACK, script.NOT_FOUND)
    act = await client.legs.prepare(Verb.FUND, htlc)
    lnd.say(SEND, refusal("verification failed: signature mismatch after caveat verification"))
    with pytest.raises(AuthenticationFailed) as caught:
        await client.legs.perform(act)
    assert (caught.value.outcome, caught.value.tx_id) == (Outcome.UNKNOWN, HASH.hex())


async def test_a_payment_without_a_connection_did_not_leave(
    lnd: ScriptedLnd, client: LightningNetwork, htlc: Htlc, monkeypatch: pytest.MonkeyPatch
) -> None:
    lnd.say(TRACK, script.NOT_FOUND)
    act = await client.legs.prepare(Verb.FUND, htlc)

    async def no_connection(*_: object, **__: object) -> None:
        key = ConnectionKey("127.0.0.1", 1, True, True, None, None, None)
        raise aiohttp.ClientConnectorError(key, OSError(111, "Connection refused"))

    begin_stream = LndRest.begin_stream

    async def cut_off_to_send(self: LndRest, method: str, path: str, body: Any = None) -> Any:
        if method == "POST":
            monkeypatch.setattr(AbortingConnector, "connect", no_connection)
        return await begin_stream(self, method, path, body)

    monkeypatch.setattr(LndRest, "begin_stream", cut_off_to_send)
    with pytest.raises(NodeUnreachable, match="no connection") as caught:
        await client.legs.perform(act)
    assert (caught.value.outcome, lnd.bodies(SEND)) == (Outcome.NOT_SENT, [])
