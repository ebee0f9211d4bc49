"""Answers that are wrong, late, cut off or unexpected, over real TLS."""

from __future__ import annotations

from base64 import b64encode, urlsafe_b64encode
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from hashlib import sha256
from typing import Any

import pytest

from layer2.errors import (
    AuthenticationFailed,
    BadAnswer,
    NodeRefused,
    NodeUnreachable,
    Outcome,
    TransactionError,
)
from layer2.legs.leg import Htlc
from layer2.legs.lightning import LightningLeg
from layer2.legs.views import HeldPayment, LegState, Side
from layer2.model.money import BTC
from layer2.model.transactions import LightningPaymentId, TxState
from layer2.net.client_settings import ConnectionPoolConfig
from layer2.protocols.lightning import LightningNetwork
from layer2.protocols.lightning.lnd.rest import LndRest
from protocols.lightning import scripted_lnd as script
from protocols.lightning.scripted_lnd import Reply, ScriptedLnd, answer, messages, refusal
from protocols.lightning.world import HASH, PREIMAGE, World, htlc_of, offer_request, settings_of

TRACK = f"GET /v2/router/track/{urlsafe_b64encode(HASH).decode()}"
LOOKUP = f"GET /v1/invoice/{HASH.hex()}"
SEND = "POST /v2/router/send"
PAYMENT_ID = LightningPaymentId(HASH.hex())
IN_STANDARD = b64encode(PREIMAGE.secret).decode()


@pytest.fixture
async def rest(lnd: ScriptedLnd) -> AsyncIterator[LndRest]:
    async with rest_of(lnd) as rest:
        yield rest


@pytest.fixture
async def hasty_rest(lnd: ScriptedLnd) -> AsyncIterator[LndRest]:
    """An interface with a time-out of a third of a second, for answers that never come."""
    async with rest_of(lnd, default_timeout_ms=333) as rest:
        yield rest


@asynccontextmanager
async def rest_of(lnd: ScriptedLnd, **changes: Any) -> AsyncIterator[LndRest]:
    pool = ConnectionPoolConfig(max_response_bytes=1_024)
    async with aclosing(LndRest(settings_of(lnd.node, connection_pool=pool, **changes))) as rest:
        yield rest


@pytest.fixture
async def htlc(world: World) -> Htlc:
    """A leg with an invoice of the provider's simulated node."""
    return htlc_of(await world.provider.legs.offer(offer_request(expiry_seconds=30_000_000)))


def text_of(htlc: Htlc) -> str:
    assert isinstance(htlc.leg, LightningLeg)
    return htlc.leg.invoice


# Single calls


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(Reply((b"no JSON",)), id="no JSON"),
        pytest.param(answer([]), id="no object"),
        pytest.param(Reply((b"{" + b" " * 1_024 + b"}",)), id="too long"),
        pytest.param(Reply((b"<html>",), 500), id="an error without lnd's reason"),
        pytest.param(answer({}, 302, Location="/elsewhere"), id="a redirection"),
    ],
)
@pytest.mark.parametrize(("method", "outcome"), [("GET", Outcome.NOT_SENT), ("POST", Outcome.UNKNOWN)])
async def test_what_cannot_be_right_is_a_bad_answer(
    lnd: ScriptedLnd, rest: LndRest, method: str, outcome: Outcome, reply: Reply
) -> None:
    lnd.say(f"{method} /v1/x", reply)
    with pytest.raises(BadAnswer) as caught:
        await (rest.get("/v1/x") if method == "GET" else rest.post("/v1/x", {}))
    assert caught.value.outcome is outcome


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(Reply(silent=True), id="silence"),
        pytest.param(Reply(cut=True), id="cut before the answer"),
        pytest.param(Reply((b'{"a"',), cut=True), id="cut in the answer"),
        pytest.param(refusal("transport is closing", 14, 503), id="unavailable"),
        pytest.param(Reply((b"<html>",), 502), id="a gateway"),
    ],
)
@pytest.mark.parametrize(("method", "outcome"), [("GET", Outcome.NOT_SENT), ("POST", Outcome.UNKNOWN)])
async def test_no_answer_leaves_open_what_an_act_did(
    lnd: ScriptedLnd, hasty_rest: LndRest, method: str, outcome: Outcome, reply: Reply
) -> None:
    lnd.say(f"{method} /v1/x", reply)
    with pytest.raises(NodeUnreachable) as caught:
        await (hasty_rest.get("/v1/x") if method == "GET" else hasty_rest.post("/v1/x", {}))
    assert caught.value.outcome is outcome


async def test_the_macaroon_goes_with_every_request(lnd: ScriptedLnd, client: LightningNetwork) -> None:
    await client.receive_address_async()
    await client.get_transaction_status_async(PAYMENT_ID)
    assert len(lnd.requests) == 3
    assert {len(headers["Grpc-Metadata-macaroon"]) for _, headers, _ in lnd.requests} == {256}


async def test_a_macaroon_that_does_not_allow_the_call_is_named(lnd: ScriptedLnd, client: LightningNetwork) -> None:
    lnd.say("GET /v1/channels", refusal("permission denied"))
    with pytest.raises(AuthenticationFailed, match="GET /v1/channels: permission denied"):
        await client.balances_async()


async def test_control_characters_of_the_node_do_not_reach_the_reader(lnd: ScriptedLnd, rest: LndRest) -> None:
    lnd.say("GET /v1/x", refusal("a\x1b[31mb\n" + "c" * 500))
    with pytest.raises(NodeRefused) as caught:
        await rest.get("/v1/x")
    assert caught.value.node_message.startswith("a [31mb ccc")
    assert len(caught.value.node_message) < 310


# Balances of channels


async def test_balances_leave_out_what_the_opener_must_keep_and_what_is_not_active(
    lnd: ScriptedLnd, client: LightningNetwork
) -> None:
    held = script.channel_htlc(HASH, 30_000, incoming=False)
    coming = script.channel_htlc(HASH, 20_000, incoming=True)
    opened_there = script.channel(8, initiator=False, pending_htlcs=[held, coming])
    inactive = script.channel(9, active=False)
    lnd.say("GET /v1/channels", answer({"channels": [script.channel(), opened_there, inactive]}))
    balance = (await client.balances_async())[BTC]
    # BOLT 2: the opener keeps the fee for twice the fee rate and, in lnd, two more HTLCs: 2810 + 1720 sat.
    buffer = 2_810 + 2 * 2_500 * 2 * 172 // 1_000
    assert balance.spendable == (490_000 - buffer) + 490_000
    assert balance.receivable == 390_000 + (390_000 - buffer)
    assert balance.spendable + balance.reserved == 3 * 500_000 + 30_000


# Streams


async def read(rest: LndRest) -> list[str]:
    async with rest.stream("/v2/x") as results:
        return [result.text("a") async for result in results]


async def test_messages_are_found_in_any_division(lnd: ScriptedLnd, rest: LndRest) -> None:
    lnd.say("GET /v2/x", Reply((b'{"result":{"a', b'":"1"}}\n{"result":{"a":"2"}}\n\n', b'{"result":{"a":"3"}}')))
    assert await read(rest) == ["1", "2", "3"]


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        pytest.param(Reply((b'{"result":{}}\nno JSON\n',)), BadAnswer, id="no JSON"),
        pytest.param(Reply((b'{"other":{}}\n',)), BadAnswer, id="no result"),
        pytest.param(Reply((b" " * 1_025,), silent=True), BadAnswer, id="a line without an end"),
        pytest.param(Reply((b'{"error":{"code":2,"message":"going down"}}\n',)), NodeRefused, id="an error"),
        pytest.param(Reply((b'{"result":{"a":"1"}}\n',), cut=True), NodeUnreachable, id="cut"),
        pytest.param(refusal("no", 5, 404), NodeRefused, id="refused at once"),
    ],
)
async def test_a_stream_that_goes_wrong_ends_with_an_error(
    lnd: ScriptedLnd, rest: LndRest, reply: Reply, error: type[Exception]
) -> None:
    lnd.say("GET /v2/x", reply)
    with pytest.raises(error):
        await read(rest)


@pytest.mark.parametrize("reply", [Reply(silent=True), Reply((b"\n",))], ids=["silence", "no message"])
async def test_a_stream_without_a_first_message_leaves_an_act_unknown(
    lnd: ScriptedLnd, hasty_rest: LndRest, reply: Reply
) -> None:
    lnd.say("POST /v2/x", reply)
    with pytest.raises(NodeUnreachable) as caught:
        await hasty_rest.begin_stream("POST", "/v2/x", {})
    assert caught.value.outcome is Outcome.UNKNOWN


# Payments


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        pytest.param({"status": "INITIATED"}, TxState.PENDING, id="initiated"),
        pytest.param({"status": "IN_FLIGHT"}, TxState.PENDING, id="in flight"),
        pytest.param({"status": "FAILED", "failure_reason": "FAILURE_REASON_TIMEOUT"}, TxState.FAILED, id="failed"),
        pytest.param(
            {
                "status": "SUCCEEDED",
                "failure_reason": "FAILURE_REASON_TIMEOUT",
                "payment_preimage": PREIMAGE.secret.hex(),
            },
            TxState.FINAL,
            id="succeeded with a failure reason",
        ),
    ],
)
async def test_the_status_alone_decides(
    lnd: ScriptedLnd, client: LightningNetwork, changes: dict[str, object], state: TxState
) -> None:
    lnd.say(TRACK, messages(script.payment("lnbcrt", HASH, **changes)))
    status = await client.get_transaction_status_async(PAYMENT_ID)
    assert status.state is state
    assert (status.preimage is not None) == (state is TxState.FINAL)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"status": "SUCCEEDED"}, id="a preimage of another hash"),
        pytest.param({"status": "SUCCEEDED", "payment_preimage": "00"}, id="a short preimage"),
        pytest.param({"payment_hash": "00" * 32}, id="another payment"),
        pytest.param({"status": "DONE"}, id="a state that is not known"),
    ],
)
async def test_a_payment_that_cannot_be_is_a_bad_answer(
    lnd: ScriptedLnd, client: LightningNetwork, changes: dict[str, object]
) -> None:
    lnd.say(TRACK, messages(script.payment("lnbcrt", HASH, **changes)))
    with pytest.raises(BadAnswer):
        await client.get_transaction_status_async(PAYMENT_ID)


# Invoices


async def seen_by_payee(client: LightningNetwork, htlc: Htlc) -> tuple[LegState, bool]:
    view = await client.legs.observe(htlc, Side.PAYEE)
    return view.state, view.final


async def test_parts_count_by_the_lowest_expiry_and_the_smallest_amount(
    lnd: ScriptedLnd, client: LightningNetwork, htlc: Htlc
) -> None:
    parts = [
        script.invoice_htlc(20_000_000, 940),
        script.invoice_htlc(29_000_000, 930),
        script.invoice_htlc(1_000_000, 950),
        script.invoice_htlc(50_000, 801, state="CANCELED"),
    ]
    lnd.say(LOOKUP, answer(script.invoice(text_of(htlc), HASH, state="ACCEPTED", htlcs=parts)))
    view = await client.legs.observe(htlc, Side.PAYEE)
    assert view.state is LegState.FUNDED
    assert view.held == HeldPayment(expiry_height=930, parts=3, smallest_part_msat=1_000_000)


@pytest.mark.parametrize("held", [49_999_999, 50_000_001])
async def test_another_sum_than_the_legs_is_not_funded(
    lnd: ScriptedLnd, client: LightningNetwork, htlc: Htlc, held: int
) -> None:
    parts = [script.invoice_htlc(held, 940)]
    lnd.say(LOOKUP, answer(script.invoice(text_of(htlc), HASH, state="ACCEPTED", htlcs=parts)))
    assert await seen_by_payee(client, htlc) == (LegState.PENDING, False)


async def test_a_settled_invoice_is_final_only_when_no_channel_can_lose_it(
    lnd: ScriptedLnd, client: LightningNetwork, htlc: Htlc
) -> None:
    parts = [script.invoice_htlc(50_000_000, 940, state="SETTLED")]
    settled = script.invoice(text_of(htlc), HASH, state="SETTLED", r_preimage=IN_STANDARD, htlcs=parts)
    lnd.say(LOOKUP, answer(settled))
    lnd.say("GET /v1/channels/closed", answer({"channels": []}))

    holding = script.channel(7, pending_htlcs=[script.channel_htlc(HASH, incoming=True)])
    lnd.say("GET /v1/channels", answer({"channels": [holding]}))
    assert await seen_by_payee(client, htlc) == (LegState.COLLECTED, False)

    lnd.say("GET /v1/channels", answer({"channels": [script.channel(7)]}))
    assert await seen_by_payee(client, htlc) == (LegState.COLLECTED, True)

    lnd.say("GET /v1/channels", answer({"channels": [script.channel(9, alias_scids=["7"])]}))
    assert await seen_by_payee(client, htlc) == (LegState.COLLECTED, True)

    # The channel is closing. Its money is resolved when the channel is listed as closed.
    lnd.say("GET /v1/channels", answer({"channels": [script.channel(8)]}))
    assert await seen_by_payee(client, htlc) == (LegState.COLLECTED, False)
    lnd.say("GET /v1/channels/closed", answer({"channels": [script.channel(7)]}))
    assert await seen_by_payee(client, htlc) == (LegState.COLLECTED, True)


async def test_a_node_that_is_not_synced_shows_how_a_leg_ended(
    lnd: ScriptedLnd, client: LightningNetwork, htlc: Htlc
) -> None:
    lnd.say("GET /v1/getinfo", answer(script.information(synced_to_chain=False)))
    lnd.say(LOOKUP, answer(script.invoice(text_of(htlc), HASH, state="CANCELED")))
    assert await seen_by_payee(client, htlc) == (LegState.RETURNED, True)
    lnd.say(LOOKUP, answer(script.invoice(text_of(htlc), HASH)))
    with pytest.raises(BadAnswer, match="not synced"):
        await seen_by_payee(client, htlc)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"r_hash": ""}, id="another invoice"),
        pytest.param({"state": "SETTLED"}, id="settled without its preimage"),
        pytest.param({"state": "SETTLED", "r_preimage": b64encode(bytes(32)).decode()}, id="another preimage"),
        pytest.param({"state": "PAID"}, id="a state that is not known"),
        pytest.param({"htlcs": {}}, id="no list"),
    ],
)
async def test_an_invoice_that_cannot_be_is_a_bad_answer(
    lnd: ScriptedLnd, client: LightningNetwork, htlc: Htlc, changes: dict[str, object]
) -> None:
    lnd.say(LOOKUP, answer(script.invoice(text_of(htlc), HASH, **changes)))
    with pytest.raises(BadAnswer):
        await seen_by_payee(client, htlc)


async def test_an_invoice_of_another_node_is_not_taken_for_ours(
    lnd: ScriptedLnd, client: LightningNetwork, htlc: Htlc
) -> None:
    lnd.say("POST /v2/invoices/hodl", answer({"payment_request": text_of(htlc)}))
    with pytest.raises(BadAnswer, match="another invoice"):
        await client.legs.offer(offer_request(expiry_seconds=30_000_000))


async def test_a_preimage_goes_to_the_node_and_into_no_error(lnd: ScriptedLnd, client: LightningNetwork) -> None:
    lnd.say("POST /v2/invoices/settle", refusal("invoice still open"))
    lnd.say(LOOKUP, answer(script.invoice("lnbcrt", HASH)))
    with pytest.raises(TransactionError) as caught:
        await client.settle_invoice_async(PREIMAGE)
    assert lnd.bodies("POST /v2/invoices/settle")[0]["preimage"] == IN_STANDARD
    shown = str(caught.value) + repr(caught.value) + repr(vars(caught.value))
    assert IN_STANDARD not in shown
    assert PREIMAGE.secret.hex() not in shown
    assert sha256(PREIMAGE.secret).digest() == HASH


async def test_an_invoice_that_lnd_deletes_as_it_cancels_it_is_cancelled(
    lnd: ScriptedLnd, client: LightningNetwork
) -> None:
    lnd.say("POST /v2/invoices/cancel", answer({}))
    lnd.say(LOOKUP, refusal("unable to locate invoice", 5, 404))
    await client.cancel_invoice_async(HASH)
    lnd.say("POST /v2/invoices/cancel", refusal("unable to locate invoice", 5, 404))
    with pytest.raises(TransactionError, match="unable to locate invoice"):
        await client.cancel_invoice_async(HASH)
