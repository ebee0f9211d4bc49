"""Sending payments: one request, one payment per hash and per key, followed to its end."""

from __future__ import annotations

import asyncio
import logging
from base64 import b64encode, urlsafe_b64encode
from dataclasses import replace

import pytest

from layer2.errors import (
    AsyncTimeout,
    BadAnswer,
    FundsRulesError,
    IdempotencyConflict,
    InvalidAmount,
    NodeUnreachable,
    Outcome,
    TransactionError,
)
from layer2.formats import bolt11
from layer2.model.transactions import LightningPaymentId, TxState
from layer2.net.client_settings import ConnectionPoolConfig
from layer2.ports.clock import SystemClock
from layer2.protocols.lightning import KeysendRequest, LightningNetwork, PaymentRequest
from layer2.protocols.lightning.acts import Keysend, Pay, read_act
from layer2.protocols.lightning.lnd.rest import LndRest
from layer2.protocols.lightning.payments.payments import Payments
from layer2.protocols.lightning.payments.records import PaymentRecord
from memory_sends import MemorySends
from protocols.lightning import scripted_lnd as script
from protocols.lightning.scripted_lnd import Reply, ScriptedLnd, answer, messages, refusal
from protocols.lightning.waiting import requests_open, streams_open
from protocols.lightning.world import HASH, PREIMAGE, World, offer_request, settings_of

TRACK = f"GET /v2/router/track/{urlsafe_b64encode(HASH).decode()}"
LIST = "GET /v1/payments"
SEND = "POST /v2/router/send"
PAYMENT_ID = LightningPaymentId(HASH.hex())
IN_TRANSITION = refusal("payment is in transition", 6, 409)
SUCCEEDED = {"status": "SUCCEEDED", "payment_preimage": PREIMAGE.secret.hex()}
FAILED = {"status": "FAILED", "failure_reason": "FAILURE_REASON_NO_ROUTE"}


@pytest.fixture
async def invoice(world: World) -> str:
    """A hold invoice of the provider's simulated node over 50,000 satoshi, with ``HASH``."""
    return await world.provider.legs.offer(offer_request(expiry_seconds=30_000_000))


async def invoice_without_amount(world: World) -> str:
    rest = LndRest(settings_of(world.nodes[1]))
    try:
        return (await rest.post("/v1/invoices", {"value_msat": "0"})).fields.text("payment_request")
    finally:
        await rest.aclose()


# One request


async def test_a_payment_is_one_request(lnd: ScriptedLnd, client: LightningNetwork, invoice: str) -> None:
    lnd.say(SEND, messages(script.payment(invoice, HASH)))
    await client.submit_transaction_async(invoice)
    await client.submit_transaction_async(invoice)
    assert lnd.calls().count(SEND) == 2
    assert set(lnd.calls()) == {"GET /v1/getinfo", "GET /v1/channels", SEND}
    assert lnd.calls().count("GET /v1/getinfo") == 1


async def test_a_follower_gets_the_outcome_from_the_stream_of_the_send_without_other_requests(
    lnd: ScriptedLnd, client: LightningNetwork, invoice: str
) -> None:
    lnd.say(SEND, messages(script.payment(invoice, HASH), script.payment(invoice, HASH, **SUCCEEDED)))
    assert (await client.submit_transaction_async(invoice)).state is TxState.PENDING
    paid = await client.wait_for_status_async(PAYMENT_ID)
    assert (paid.state, paid.preimage) == (TxState.FINAL, PREIMAGE)
    assert set(lnd.calls()) == {"GET /v1/getinfo", "GET /v1/channels", SEND}


async def test_a_payment_that_ends_leaves_its_connection_to_the_next(
    lnd: ScriptedLnd, client: LightningNetwork, invoice: str
) -> None:
    lnd.say(SEND, messages(script.payment(invoice, HASH), script.payment(invoice, HASH, **SUCCEEDED)))
    await client.submit_transaction_async(invoice)
    await client.wait_for_status_async(PAYMENT_ID)
    lnd.connections.clear()
    for _ in range(3):
        await client.submit_transaction_async(invoice)
        await streams_open(client, 0)
    assert len(lnd.connections) == 1


async def test_looking_a_payment_up_that_has_ended_keeps_the_connection(
    lnd: ScriptedLnd, client: LightningNetwork, invoice: str
) -> None:
    lnd.say(TRACK, messages(script.payment(invoice, HASH, **SUCCEEDED)), script.NOT_FOUND)
    lnd.say(f"GET /v1/invoice/{HASH.hex()}", refusal("unable to locate invoice", 5, 404))
    states = [(await client.get_transaction_status_async(PAYMENT_ID)).state for _ in range(3)]
    assert states == [TxState.FINAL, TxState.UNKNOWN, TxState.UNKNOWN]
    assert len(lnd.connections) == 1


async def test_a_payment_under_way_is_looked_up_again_by_its_index_on_the_same_connection(
    lnd: ScriptedLnd, client: LightningNetwork, invoice: str
) -> None:
    lnd.say(TRACK, replace(messages(script.payment(invoice, HASH, payment_index="7")), silent=True))
    lnd.say(
        LIST,
        answer({"payments": [script.payment(invoice, HASH, payment_index="7")]}),
        answer({"payments": [script.payment(invoice, HASH, payment_index="7")]}),
        answer({"payments": [script.payment(invoice, HASH, payment_index="7", **SUCCEEDED)]}),
    )
    states = [(await client.get_transaction_status_async(PAYMENT_ID)).state for _ in range(2)]
    lnd.connections.clear()
    states += [(await client.get_transaction_status_async(PAYMENT_ID)).state for _ in range(2)]
    assert states == [TxState.PENDING, TxState.PENDING, TxState.PENDING, TxState.FINAL]
    assert lnd.calls().count(TRACK) == len(lnd.connections) == 1
    assert lnd.queries(LIST) == [{"include_incomplete": "true", "index_offset": "6", "max_payments": "1"}] * 3


@pytest.mark.parametrize(
    "listed",
    [
        pytest.param(answer({"payments": []}), id="none"),
        pytest.param(refusal("no payment with the sequence number"), id="refused"),
        pytest.param("another index", id="another_index"),
        pytest.param("another hash", id="another_hash"),
    ],
)
async def test_a_hash_that_was_sent_again_is_not_looked_up_by_its_old_index(
    lnd: ScriptedLnd, client: LightningNetwork, invoice: str, listed: Reply | str
) -> None:
    if listed == "another index":
        listed = answer({"payments": [script.payment(invoice, HASH, payment_index="8", **FAILED)]})
    if listed == "another hash":
        listed = answer({"payments": [script.payment(invoice, b"\x05" * 32, payment_index="7", **FAILED)]})
    assert isinstance(listed, Reply)
    under_way = replace(messages(script.payment(invoice, HASH, payment_index="7")), silent=True)
    lnd.say(TRACK, under_way, messages(script.payment(invoice, HASH, payment_index="9", **SUCCEEDED)))
    lnd.say(LIST, listed)
    states = [(await client.get_transaction_status_async(PAYMENT_ID)).state for _ in range(2)]
    assert states == [TxState.PENDING, TxState.FINAL]
    assert lnd.calls().count(LIST) == 1


async def test_a_stream_that_breaks_leaves_the_outcome_to_a_look(
    lnd: ScriptedLnd, client: LightningNetwork, invoice: str
) -> None:
    in_flight = messages(script.payment(invoice, HASH))
    lnd.say(SEND, replace(in_flight, cut=True))
    lnd.say(TRACK, messages(script.payment(invoice, HASH, **SUCCEEDED)))
    assert (await client.submit_transaction_async(invoice)).state is TxState.PENDING
    assert (await client.wait_for_status_async(PAYMENT_ID)).state is TxState.FINAL
    assert lnd.calls().count(SEND) == 1


async def test_payments_under_way_take_no_connection_from_calls(world: World) -> None:
    invoices = [(await world.provider.create_invoice_async(1_000)).text for _ in range(5)]
    world.fault("hold_payments")
    async with world.restarted_taker(connection_pool=ConnectionPoolConfig(max_connections=1)) as taker:
        ids = [(await taker.submit_transaction_async(invoice)).tx_id for invoice in invoices]
        await requests_open(world, 5)
        assert (await taker.get_transaction_status_async(ids[0])).state is TxState.PENDING
        world.fault("none")
        for tx_id in ids:
            assert (await taker.wait_for_status_async(tx_id)).state is TxState.FINAL


async def test_beyond_the_limit_the_oldest_stream_is_given_up_and_its_payment_is_not(world: World) -> None:
    invoices = [(await world.provider.create_invoice_async(1_000)).text for _ in range(4)]
    world.fault("hold_payments")
    async with world.restarted_taker(max_payment_streams=2) as taker:
        ids = [(await taker.submit_transaction_async(invoice)).tx_id for invoice in invoices]
        await requests_open(world, 2)
        assert taker.open_streams == 2
        world.fault("none")
        for tx_id in ids:
            assert (await taker.wait_for_status_async(tx_id)).state is TxState.FINAL
    assert await world.payments_sent() == 4


async def test_closing_ends_the_streams_of_payments_and_leaves_no_task(world: World) -> None:
    invoice = await world.provider.create_invoice_async(1_000)
    world.fault("hold_payments")
    before = asyncio.all_tasks()
    async with world.restarted_taker() as taker:
        tx_id = (await taker.submit_transaction_async(invoice.text)).tx_id
        await requests_open(world, 1)
    await requests_open(world, 0)
    left = {task for task in asyncio.all_tasks() - before if "layer2/protocols" in repr(task.get_coro())}
    assert left == set()
    assert (await world.taker.get_transaction_status_async(tx_id)).state is TxState.PENDING


async def test_closing_ends_the_stream_of_an_earlier_send_of_the_same_hash_too(lnd: ScriptedLnd, invoice: str) -> None:
    lnd.say(SEND, replace(messages(script.payment(invoice, HASH)), silent=True))
    async with LightningNetwork(settings_of(lnd.node), MemorySends(), SystemClock()) as client:
        for _ in range(2):
            await client.submit_transaction_async(invoice)
        assert (lnd.calls().count(SEND), client._parts.payment_feed.open_sends) == (2, 1)
        await asyncio.wait_for(client.aclose(), 5)


# One payment for a hash


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        pytest.param({}, TxState.PENDING, id="in flight"),
        pytest.param(SUCCEEDED, TxState.FINAL, id="paid"),
        pytest.param(FAILED, TxState.FAILED, id="failed since"),
    ],
)
async def test_a_hash_that_lnd_has_taken_is_joined(
    lnd: ScriptedLnd, client: LightningNetwork, invoice: str, changes: dict[str, object], state: TxState
) -> None:
    lnd.say(SEND, IN_TRANSITION)
    lnd.say(TRACK, messages(script.payment(invoice, HASH, **changes)))
    assert (await client.submit_transaction_async(invoice)).state is state
    assert lnd.calls().count(SEND) == 1


async def test_a_hash_that_lnd_refuses_as_taken_and_does_not_know_is_unknown(
    lnd: ScriptedLnd, client: LightningNetwork, invoice: str
) -> None:
    lnd.say(SEND, refusal("invoice is already paid", 6, 409))
    lnd.say(TRACK, script.NOT_FOUND)
    with pytest.raises(BadAnswer, match="may have been deleted") as caught:
        await client.submit_transaction_async(invoice)
    assert (caught.value.outcome, caught.value.tx_id) == (Outcome.UNKNOWN, PAYMENT_ID)


async def test_a_refused_payment_is_unknown_if_the_client_is_closed_before_it_is_looked_up(
    lnd: ScriptedLnd, client: LightningNetwork, invoice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lnd.say(SEND, IN_TRANSITION)
    send = Payments._send

    async def send_and_close(payments: Payments, pay: Pay | Keysend) -> PaymentRecord:
        try:
            return await send(payments, pay)
        finally:
            await client.aclose()

    monkeypatch.setattr(Payments, "_send", send_and_close)
    with pytest.raises(NodeUnreachable, match="could not be asked about it") as caught:
        await client.submit_transaction_async(invoice)
    assert (caught.value.outcome, caught.value.tx_id) == (Outcome.UNKNOWN, PAYMENT_ID)


async def test_a_refusal_of_a_payment_that_had_failed_before_is_rejected(
    lnd: ScriptedLnd, client: LightningNetwork, invoice: str
) -> None:
    lnd.say(SEND, refusal("invoice expired"))
    lnd.say(TRACK, messages(script.payment(invoice, HASH, **FAILED)))
    with pytest.raises(TransactionError, match="invoice expired") as caught:
        await client.submit_transaction_async(invoice)
    assert caught.value.outcome is Outcome.REJECTED


@pytest.mark.parametrize("changes", [{"value_msat": "49999999"}, {"payment_request": "lnbcrt1another"}], ids=str)
async def test_another_payment_with_the_same_hash_is_not_taken_for_this_one(
    lnd: ScriptedLnd, client: LightningNetwork, invoice: str, changes: dict[str, object]
) -> None:
    lnd.say(SEND, IN_TRANSITION)
    lnd.say(TRACK, messages(script.payment(invoice, HASH, **{**SUCCEEDED, **changes})))
    with pytest.raises(FundsRulesError, match="another payment with this hash") as caught:
        await client.submit_transaction_async(invoice)
    assert (caught.value.outcome, caught.value.tx_id) == (Outcome.REJECTED, PAYMENT_ID)


async def test_two_clients_of_one_node_pay_once(world: World) -> None:
    invoice = await world.provider.create_invoice_async(50_000)
    world.fault("hold_payments")
    async with world.restarted_taker() as other:
        statuses = await asyncio.gather(
            *(client.submit_transaction_async(invoice.text) for client in (world.taker, other) for _ in range(3))
        )
        assert {status.state for status in statuses} == {TxState.PENDING}
        world.fault("none")
        for client in (world.taker, other):
            assert (await client.wait_for_status_async(statuses[0].tx_id)).state is TxState.FINAL
    assert await world.payments_sent() == 1


async def test_an_invoice_that_was_paid_and_has_expired_since_is_joined(world: World) -> None:
    invoice = await world.provider.create_invoice_async(50_000, expiry_seconds=60)
    tx_id = (await world.taker.submit_transaction_async(invoice.text)).tx_id
    await world.taker.wait_for_status_async(tx_id)
    world.clock.advance(3_600)
    again = await world.taker.submit_transaction_async(invoice.text)
    assert (again.tx_id, again.state) == (tx_id, TxState.FINAL)
    assert await world.payments_sent() == 1


async def test_a_time_out_while_lnd_is_silent_is_unknown_and_before_that_nothing_was_sent(
    lnd: ScriptedLnd, client: LightningNetwork, invoice: str
) -> None:
    lnd.say("GET /v1/getinfo", Reply(silent=True), answer(script.information()))
    with pytest.raises(AsyncTimeout):
        await client.submit_transaction_async(invoice, timeout=0.05)
    assert SEND not in lnd.calls()
    lnd.say(SEND, Reply(silent=True))
    with pytest.raises(AsyncTimeout) as caught:
        await client.submit_transaction_async(invoice, timeout=0.5)
    assert (caught.value.outcome, caught.value.tx_id) == (Outcome.UNKNOWN, PAYMENT_ID)
    assert lnd.calls().count(SEND) == 1


# Amounts


async def test_an_invoice_without_an_amount_is_paid_with_the_payers(world: World) -> None:
    invoice = await invoice_without_amount(world)
    with pytest.raises(InvalidAmount, match="leaves the amount to the payer"):
        await world.taker.submit_transaction_async(invoice)
    before = await world.provider.balances_async()
    tx_id = (await world.taker.submit_transaction_async(PaymentRequest(invoice, amount_msat=7_000_000))).tx_id
    assert (await world.taker.wait_for_status_async(tx_id)).state is TxState.FINAL
    (gained,) = [
        (await world.provider.balances_async())[asset].spendable - old.spendable for asset, old in before.items()
    ]
    assert gained == 7_000


async def test_paying_another_amount_to_a_paid_hash_is_reported(world: World) -> None:
    invoice = await invoice_without_amount(world)
    tx_id = (await world.taker.submit_transaction_async(PaymentRequest(invoice, amount_msat=7_000_000))).tx_id
    await world.taker.wait_for_status_async(tx_id)
    with pytest.raises(FundsRulesError, match="over 7000000 msat; a hash is paid once"):
        await world.taker.submit_transaction_async(PaymentRequest(invoice, amount_msat=8_000_000))
    assert await world.payments_sent() == 1


async def test_lnd_gets_an_amount_only_if_the_invoice_has_none(
    world: World, lnd: ScriptedLnd, client: LightningNetwork, invoice: str
) -> None:
    open_invoice = await invoice_without_amount(world)
    payment_hash = bolt11.decode(open_invoice).payment_hash
    lnd.say(SEND, messages(script.payment(invoice, HASH)), messages(script.payment(open_invoice, payment_hash)))
    await client.submit_transaction_async(PaymentRequest(invoice, amount_msat=50_000_000))
    await client.submit_transaction_async(PaymentRequest(open_invoice, amount_msat=50_000_000, max_parts=2))
    first, second = lnd.bodies(SEND)
    assert "amt_msat" not in first
    assert (second["amt_msat"], second["max_parts"]) == ("50000000", 2)


@pytest.mark.parametrize(
    ("amount_msat", "fee_msat"), [(50_000_000, 250_001), (50_000_001, 0), (49_999_999, 0)], ids=["fee", "more", "less"]
)
async def test_what_lnd_spent_beyond_the_request_is_logged_and_the_payment_has_succeeded(
    lnd: ScriptedLnd,
    client: LightningNetwork,
    invoice: str,
    caplog: pytest.LogCaptureFixture,
    amount_msat: int,
    fee_msat: int,
) -> None:
    htlcs = [script.payment_htlc(amount_msat, fee_msat)]
    lnd.say(SEND, messages(script.payment(invoice, HASH, **SUCCEEDED, htlcs=htlcs, fee_msat=str(fee_msat))))
    assert (await client.submit_transaction_async(invoice)).state is TxState.FINAL
    (said,) = [record for record in caplog.records if record.levelno == logging.CRITICAL]
    assert f"paid {amount_msat} msat and a fee of {fee_msat} msat; requested were 50000000" in said.getMessage()
    assert PREIMAGE.secret.hex() not in said.getMessage()


async def test_what_lnd_spent_as_ordered_is_not_remarked(
    lnd: ScriptedLnd, client: LightningNetwork, invoice: str, caplog: pytest.LogCaptureFixture
) -> None:
    htlcs = [
        script.payment_htlc(20_000_000, 200_000),
        script.payment_htlc(9, 1, status="FAILED"),
        script.payment_htlc(30_000_000, 50_000),
    ]
    lnd.say(SEND, messages(script.payment(invoice, HASH, **SUCCEEDED, htlcs=htlcs, fee_msat="250000")))
    status = await client.submit_transaction_async(invoice)
    assert (status.fee, status.parts) == (250_000, 2)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_a_status_has_the_parts_in_flight_and_the_reason_of_a_failure(
    lnd: ScriptedLnd, client: LightningNetwork, invoice: str
) -> None:
    htlcs = [script.payment_htlc(25_000_000, status="IN_FLIGHT"), script.payment_htlc(25_000_000, status="FAILED")]
    lnd.say(
        TRACK,
        messages(script.payment(invoice, HASH, htlcs=htlcs)),
        messages(script.payment(invoice, HASH, **FAILED, htlcs=htlcs[1:])),
    )
    flying = await client.get_transaction_status_async(PAYMENT_ID)
    assert (flying.state, flying.parts, flying.reason) == (TxState.PENDING, 1, None)
    failed = await client.get_transaction_status_async(PAYMENT_ID)
    assert (failed.state, failed.parts, failed.reason) == (TxState.FAILED, None, "FAILURE_REASON_NO_ROUTE")


# To a node's key


async def test_a_node_is_paid_by_its_key(world: World) -> None:
    payee = bytes.fromhex(world.nodes[1].node_key)
    request = KeysendRequest(payee, 5_000_000)
    tx_id = (await world.taker.submit_transaction_async(request)).tx_id
    paid = await world.taker.wait_for_status_async(tx_id)
    assert paid.state is TxState.FINAL
    assert paid.preimage is not None
    assert paid.preimage.payment_hash.hex() == tx_id
    received = await world.provider.get_transaction_status_async(tx_id)
    assert (received.state, received.preimage) == (TxState.FINAL, paid.preimage)
    assert (await world.taker.submit_transaction_async(request)).tx_id != tx_id


async def test_the_preimage_of_a_keysend_is_recorded_before_it_is_sent_and_pays_once_for_a_key(world: World) -> None:
    request = KeysendRequest(bytes.fromhex(world.nodes[1].node_key), 5_000_000)
    world.fault("drop_reply", path="/v2/router/send", count=1)
    with pytest.raises(NodeUnreachable) as caught:
        await world.taker.submit_transaction_async(request, idempotency_key="gift 1")
    (record,) = world.sends.records.values()
    act = read_act(record.act)
    assert isinstance(act, Keysend)
    assert caught.value.tx_id == record.tx_id == act.payment_id
    assert act.preimage.secret.hex() not in repr(caught.value) + repr(act)

    async with world.restarted_taker() as taker:
        status = await taker.submit_transaction_async(request, idempotency_key="gift 1")
        paid = await taker.wait_for_status_async(status.tx_id)
    assert (paid.state, paid.tx_id, paid.preimage) == (TxState.FINAL, act.payment_id, act.preimage)
    assert await world.payments_sent() == 1
    with pytest.raises(IdempotencyConflict):
        await world.taker.submit_transaction_async(replace(request, amount_msat=1), idempotency_key="gift 1")


async def test_callers_with_one_key_at_the_same_time_make_one_keysend(world: World) -> None:
    request = KeysendRequest(bytes.fromhex(world.nodes[1].node_key), 5_000_000)
    calls = (world.taker.submit_transaction_async(request, idempotency_key="gift 1") for _ in range(5))
    statuses = await asyncio.gather(*calls)
    assert len({status.tx_id for status in statuses}) == 1
    assert await world.payments_sent() == 1


async def test_lnd_gets_the_same_keysend_as_from_its_own_tool(lnd: ScriptedLnd, client: LightningNetwork) -> None:
    payee = bytes.fromhex(lnd.node.node_key)
    lnd.say(SEND, refusal("no"))
    with pytest.raises(TransactionError):
        await client.submit_transaction_async(KeysendRequest(payee, 5_000_001, fee_limit_msat=0, cltv_limit=144))
    (body,) = lnd.bodies(SEND)
    preimage = body["dest_custom_records"].pop("5482373484")
    assert body.pop("payment_hash") != preimage
    assert body == {
        "dest": b64encode(payee).decode(),
        "dest_custom_records": {},
        "amt_msat": "5000001",
        "final_cltv_delta": 80,
        "max_parts": 1,
        "fee_limit_msat": "0",
        "cltv_limit": 144,
        "timeout_seconds": 20,
    }


async def test_the_own_node_is_not_paid_by_its_key(world: World) -> None:
    with pytest.raises(FundsRulesError, match="the payee is your own node"):
        await world.taker.submit_transaction_async(KeysendRequest(bytes.fromhex(world.nodes[0].node_key), 1_000))
    assert await world.payments_sent() == 0


@pytest.mark.parametrize("is_keysend", [True, False], ids=["keysend", "invoice"])
async def test_wherever_a_send_is_cancelled_asking_again_pays_exactly_once(world: World, is_keysend: bool) -> None:
    payee, is_over = bytes.fromhex(world.nodes[1].node_key), False
    steps = payments = 0
    # Each call opens a connection, so that a call has as many steps as possible.
    pool = ConnectionPoolConfig(keepalive_seconds=0)
    async with world.restarted_taker(connection_pool=pool) as taker:
        while not is_over:
            key = f"order {steps}"
            request: KeysendRequest | PaymentRequest = KeysendRequest(payee, 1_000_000)
            if not is_keysend:
                request = PaymentRequest((await world.provider.create_invoice_async(1_000)).text)
            sending = asyncio.create_task(taker.submit_transaction_async(request, idempotency_key=key))
            for _ in range(steps):
                await asyncio.sleep(0)
            is_over = sending.done()
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            tx_id = (await taker.submit_transaction_async(request, idempotency_key=key)).tx_id
            assert (await taker.wait_for_status_async(tx_id)).state is TxState.FINAL
            steps, payments = steps + 1, payments + 1
            assert await world.payments_sent() == payments
    assert steps > 10
