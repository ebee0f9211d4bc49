"""Holds: the blocks that are left, and settling and cancelling at nodes that give wrong answers."""

from __future__ import annotations

import logging
from base64 import b64encode
from collections.abc import Mapping

import pytest

from layer2.errors import (
    AsyncRuntimeError,
    IdempotencyConflict,
    InvalidAmount,
    InvalidRequest,
    Layer2Error,
    NodeRefused,
    NodeUnreachable,
    Outcome,
    TransactionError,
)
from layer2.formats import bolt11
from layer2.ports.clock import SystemClock
from layer2.protocols.lightning import Hold, HoldPart, LightningNetwork
from layer2.protocols.lightning.invoices.holds import hold_of
from layer2.protocols.lightning.invoices.records import read_invoice
from layer2.protocols.lightning.lnd.answers import Answer, Call, LndObject
from layer2.protocols.lightning.lnd.rest import LndRest
from memory_sends import MemorySends
from protocols.lightning import scripted_lnd as script
from protocols.lightning.scripted_lnd import Reply, ScriptedLnd, answer, refusal, scripted
from protocols.lightning.world import HASH, PREIMAGE, World, settings_of

SETTLE, CANCEL = "POST /v2/invoices/settle", "POST /v2/invoices/cancel"
LOOKUP = f"GET /v1/invoice/{HASH.hex()}"
NO_INVOICE = refusal("unable to locate invoice", 5, 404)
PARTS = [script.invoice_htlc(700, 900), script.invoice_htlc(300, 890), script.invoice_htlc(5, 1, "CANCELED")]


def invoice(state: str) -> dict[str, object]:
    preimage = b64encode(PREIMAGE.secret).decode() if state == "SETTLED" else ""
    return script.invoice("lnbcrt1", HASH, state=state, r_preimage=preimage, htlcs=PARTS)


# Blocks that are left


@pytest.mark.parametrize(
    ("height", "blocks_left", "is_near"),
    [(844, 28, False), (853, 19, False), (854, 18, True), (872, 0, True), (880, -8, True)],
)
def test_a_hold_ends_where_the_node_gives_up_its_first_part(height: int, blocks_left: int, is_near: bool) -> None:
    record = read_invoice(LndObject(invoice("ACCEPTED"), Call("GET", "/v1/invoices")))
    assert hold_of(record, height, 18) == Hold(
        payment_hash=HASH,
        invoice="lnbcrt1",
        amount_msat=1_000,
        parts=(HoldPart(700, 900), HoldPart(300, 890)),
        expiry_height=890,
        given_up_height=872,
        blocks_left=blocks_left,
        is_near_expiry=is_near,
    )


async def test_holds_are_found_among_all_open_invoices_and_reported_once_when_they_are_near(
    lnd: ScriptedLnd, client: LightningNetwork, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, logger="layer2.lightning")
    full = [invoice("OPEN")] * 500
    pages = [{"invoices": full, "last_index_offset": "777"}, {"invoices": [invoice("ACCEPTED"), invoice("OPEN")]}]
    lnd.say("GET /v1/getdebuginfo", answer({"config": {"invoices.holdexpirydelta": "12"}}))
    lnd.say("GET /v1/getinfo", *[answer(script.information(block_height=height)) for height in (865, 866, 867)])
    lnd.say("GET /v1/invoices", *[answer(page) for page in pages] * 3)
    for blocks_left, warnings in ((13, 0), (12, 1), (11, 1)):
        (hold,) = await client.holds_async()
        assert (hold.payment_hash, hold.given_up_height, hold.blocks_left) == (HASH, 878, blocks_left)
        assert len(caplog.records) == warnings
    assert "1000 msat held under" in caplog.records[0].getMessage()
    assert lnd.queries("GET /v1/invoices")[:2] == [
        {"pending_only": "true", "index_offset": "0", "num_max_invoices": "500"},
        {"pending_only": "true", "index_offset": "777", "num_max_invoices": "500"},
    ]


async def test_a_node_that_is_behind_reports_no_holds(lnd: ScriptedLnd, client: LightningNetwork) -> None:
    lnd.say("GET /v1/getdebuginfo", answer({"config": {"invoices.holdexpirydelta": "12"}}))
    lnd.say("GET /v1/getinfo", answer(script.information(synced_to_chain=False)))
    lnd.say("GET /v1/invoices", answer({"invoices": [invoice("ACCEPTED")]}))
    with pytest.raises(Layer2Error) as caught:
        await client.holds_async()
    assert caught.value.code == "not_synced"


# Settling and cancelling


async def test_settling_is_a_success_only_where_the_node_then_shows_it(
    lnd: ScriptedLnd, client: LightningNetwork
) -> None:
    lnd.say(SETTLE, answer({}))
    lnd.say(LOOKUP, answer(invoice("SETTLED")))
    await client.settle_invoice_async(PREIMAGE)
    for state in ("CANCELED", "OPEN", "ACCEPTED"):
        lnd.say(LOOKUP, answer(invoice(state)))
        with pytest.raises(
            TransactionError, match=f"lnd accepted /v2/invoices/settle, but the invoice is {state}"
        ) as caught:
            await client.settle_invoice_async(PREIMAGE)
        assert (caught.value.outcome, caught.value.tx_id) == (Outcome.UNKNOWN, HASH.hex())


@pytest.mark.parametrize(
    ("words", "lookup"),
    [
        pytest.param("invoice already canceled", answer(invoice("CANCELED")), id="given up"),
        pytest.param("invoice still open", answer(invoice("OPEN")), id="nothing held"),
        pytest.param("unable to locate invoice", NO_INVOICE, id="no invoice"),
    ],
)
async def test_settling_what_is_not_held_is_rejected(
    lnd: ScriptedLnd, client: LightningNetwork, words: str, lookup: Reply
) -> None:
    lnd.say(SETTLE, refusal(words))
    lnd.say(LOOKUP, lookup)
    with pytest.raises(TransactionError, match=words) as caught:
        await client.settle_invoice_async(PREIMAGE)
    assert caught.value.outcome is Outcome.REJECTED


@pytest.mark.parametrize(
    ("call", "done", "contrary"), [(SETTLE, "SETTLED", "CANCELED"), (CANCEL, "CANCELED", "SETTLED")]
)
async def test_an_invoice_that_has_ended_already_is_not_an_error(
    lnd: ScriptedLnd, client: LightningNetwork, call: str, done: str, contrary: str
) -> None:
    act = client.settle_invoice_async(PREIMAGE) if call == SETTLE else client.cancel_invoice_async(HASH)
    again = client.settle_invoice_async(PREIMAGE) if call == SETTLE else client.cancel_invoice_async(HASH)
    lnd.say(call, refusal("it is over"))
    lnd.say(LOOKUP, answer(invoice(done)))
    await act
    lnd.say(LOOKUP, answer(invoice(contrary)))
    with pytest.raises(TransactionError):
        await again


@pytest.mark.parametrize("reply", [Reply(cut=True), Reply(silent=True)], ids=["cut", "silence"])
@pytest.mark.parametrize("broken", [SETTLE, LOOKUP])
async def test_a_lost_answer_leaves_it_unknown(world: World, lnd: ScriptedLnd, reply: Reply, broken: str) -> None:
    settings = settings_of(lnd.node, default_timeout_ms=100)
    lnd.say(SETTLE, answer({}))
    lnd.say(LOOKUP, answer(invoice("SETTLED")))
    lnd.say(broken, reply)
    async with LightningNetwork(settings, MemorySends(), SystemClock()) as client:
        with pytest.raises(NodeUnreachable) as caught:
            await client.settle_invoice_async(PREIMAGE, timeout=20)
    assert caught.value.outcome is Outcome.UNKNOWN
    assert PREIMAGE.secret.hex() not in repr(caught.value)


async def test_settling_is_unknown_if_the_client_is_closed_before_it_is_read_back(
    lnd: ScriptedLnd, client: LightningNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    lnd.say(SETTLE, answer({}))
    post = LndRest.post

    async def post_and_close(rest: LndRest, path: str, body: Mapping[str, object]) -> Answer:
        answered = await post(rest, path, body)
        await rest.aclose()
        return answered

    monkeypatch.setattr(LndRest, "post", post_and_close)
    with pytest.raises(AsyncRuntimeError, match="was closed") as caught:
        await client.settle_invoice_async(PREIMAGE)
    assert (caught.value.outcome, caught.value.tx_id) == (Outcome.UNKNOWN, HASH.hex())


# Making invoices


async def test_private_channels_are_named_where_that_is_asked_for(lnd: ScriptedLnd, client: LightningNetwork) -> None:
    lnd.say("POST /v1/invoices", refusal("not now"))
    for private, sent in ((True, True), (False, None)):
        with pytest.raises(NodeRefused):
            await client.create_invoice_async(1_000, private=private)
        assert lnd.bodies("POST /v1/invoices")[-1].get("private") == sent


async def test_an_invoice_of_another_amount_than_was_asked_for_is_not_handed_out(world: World) -> None:
    made = await world.taker.create_invoice_async(1_000)
    async with scripted(world.nodes[0]) as lnd:
        lnd.say("GET /v1/getinfo", answer(script.information(identity_pubkey=world.nodes[0].node_key)))
        lnd.say("POST /v1/invoices", answer({"payment_request": made.text}))
        async with LightningNetwork(settings_of(lnd.node), MemorySends(), SystemClock()) as client:
            assert (await client.create_invoice_async(1_000)).text == made.text
            for amount in (None, 1_001):
                with pytest.raises(Layer2Error, match="another invoice than requested"):
                    await client.create_invoice_async(amount)


@pytest.mark.parametrize("payment_hash", [b"", bytes(31), bytes(33), "ab" * 32])
async def test_an_invalid_payment_hash_is_refused(world: World, payment_hash: bytes) -> None:
    for call in (
        world.provider.create_hold_invoice_async(payment_hash, 1_000),
        world.provider.cancel_invoice_async(payment_hash),
    ):
        with pytest.raises(InvalidRequest, match="a payment hash is 32 bytes"):
            await call


async def test_zero_is_not_an_amount(world: World) -> None:
    for amount in (0, -1):
        with pytest.raises(InvalidAmount):
            await world.provider.create_hold_invoice_async(HASH, amount)


async def test_a_plain_invoice_does_not_pass_for_a_hold_invoice(world: World) -> None:
    plain = await world.provider.create_invoice_async(1_000)
    with pytest.raises(IdempotencyConflict) as caught:
        await world.provider.create_hold_invoice_async(plain.payment_hash, 1_000)
    assert (caught.value.code, caught.value.outcome) == ("payment_hash_used", Outcome.REJECTED)
    assert caught.value.tx_id == plain.payment_hash.hex()


async def test_a_hold_invoice_has_what_was_requested(world: World) -> None:
    invoice = await world.provider.create_hold_invoice_async(
        HASH, 1_000, memo="a room", expiry_seconds=120, final_cltv_delta=99
    )
    assert bolt11.decode(invoice.text) == invoice
    assert (invoice.payment_hash, invoice.amount_msat, invoice.description) == (HASH, 1_000_000, "a room")
    assert (invoice.expiry, invoice.min_final_cltv_expiry_delta) == (120, 99)
