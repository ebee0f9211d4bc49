"""Paying invoices and hold invoices between the two simulated nodes, over REST."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from layer2.local.simnet.lightning.channel import CAPACITY_SAT, PUSHED_SAT, RESERVE_SAT
from simnet.lightning_client import (
    START,
    Client,
    Refused,
    Running,
    from_base64,
    preimage_of,
    running,
    send_fields,
    standard,
    url_safe,
)

PREIMAGE = preimage_of(1)
HASH = sha256(PREIMAGE).digest()


@pytest.fixture
async def network(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(tmp_path) as network:
        yield network


async def hold_invoice(client: Client, payment_hash: bytes = HASH, **fields: Any) -> str:
    fields = {"value": "100000"} | fields
    answer = await client.post("/v2/invoices/hodl", hash=standard(payment_hash), **fields)
    return str(answer["payment_request"])


async def tracked(client: Client) -> dict[str, Any]:
    """The current state of a payment."""
    async with client.stream("GET", f"/v2/router/track/{url_safe(HASH)}") as states:
        return await anext(states)


async def invoice_state(client: Client) -> str:
    return str((await client.get(f"/v1/invoice/{HASH.hex()}"))["state"])


async def accepted(network: Running, **fields: Any) -> str:
    """A hold invoice of the provider, paid by the taker and held."""
    request = await hold_invoice(network.provider, **fields)
    async with network.taker.stream("POST", "/v2/router/send", **send_fields(request)) as states:
        assert (await anext(states))["status"] == "IN_FLIGHT"
    assert await invoice_state(network.provider) == "ACCEPTED"
    return request


async def test_a_paid_invoice_gives_its_preimage_and_moves_the_balance(network: Running) -> None:
    invoice = await network.provider.invoice(value="100000", memo="tea", r_preimage=standard(PREIMAGE))
    assert from_base64(invoice["r_hash"]) == HASH

    payment = await network.taker.pay(invoice["payment_request"])

    assert payment["status"] == "SUCCEEDED"
    assert payment["payment_preimage"] == PREIMAGE.hex()
    assert payment["payment_hash"] == HASH.hex()
    assert await network.taker.balance_sat() == 4_900_000
    assert await network.provider.balance_sat() == 5_100_000
    settled = await network.provider.get(f"/v1/invoice/{HASH.hex()}")
    assert (settled["state"], settled["settled"], settled["amt_paid_sat"]) == ("SETTLED", True, "100000")
    assert settled["htlcs"][0]["state"] == "SETTLED"


async def test_the_stream_of_a_payment_shows_each_state_once(network: Running) -> None:
    invoice = await network.provider.invoice(value="1000")
    async with network.taker.stream("POST", "/v2/router/send", **send_fields(invoice["payment_request"])) as states:
        seen = [(state["status"], len(state["htlcs"])) async for state in states]
    assert seen == [("IN_FLIGHT", 0), ("IN_FLIGHT", 1), ("SUCCEEDED", 1)]


async def test_a_payment_without_updates_in_flight_streams_only_its_end(network: Running) -> None:
    invoice = await network.provider.invoice(value="1000")
    fields = send_fields(invoice["payment_request"], no_inflight_updates=True)
    async with network.taker.stream("POST", "/v2/router/send", **fields) as states:
        assert [state["status"] async for state in states] == ["SUCCEEDED"]


async def test_both_directions_can_be_paid(network: Running) -> None:
    invoice = await network.taker.invoice(value_msat="1500")
    payment = await network.provider.pay(invoice["payment_request"])
    assert payment["value_msat"] == "1500"
    balance = await network.taker.get("/v1/balance/channels")
    assert balance["local_balance"] == {"sat": "5000001", "msat": "5000001500"}
    assert balance["remote_balance"] == {"sat": "4999998", "msat": "4999998500"}


async def test_a_hold_invoice_waits_until_it_is_settled(network: Running) -> None:
    request = await hold_invoice(network.provider, cltv_expiry="200")
    async with (
        network.provider.stream("GET", f"/v2/invoices/subscribe/{url_safe(HASH)}") as invoices,
        network.taker.stream("POST", "/v2/router/send", **send_fields(request)) as payments,
    ):
        opened = await anext(invoices)
        assert (opened["state"], opened["r_preimage"], opened["htlcs"]) == ("OPEN", "", [])
        held = await anext(invoices)
        htlc = held["htlcs"][0]
        height = network.simulation.height
        assert (held["state"], htlc["state"]) == ("ACCEPTED", "ACCEPTED")
        assert (htlc["accept_height"], htlc["expiry_height"]) == (height, height + 200 + 3)
        assert htlc["amt_msat"] == "100000000"

        balances = await network.taker.get("/v1/balance/channels")
        assert balances["local_balance"]["sat"] == "4900000"
        assert balances["unsettled_remote_balance"]["sat"] == "100000"
        assert await network.provider.balance_sat() == 5_000_000

        assert await network.provider.post("/v2/invoices/settle", preimage=standard(PREIMAGE)) == {}
        settled = await anext(invoices)
        assert (settled["state"], from_base64(settled["r_preimage"])) == ("SETTLED", PREIMAGE)
        assert [state["status"] async for state in payments][-1] == "SUCCEEDED"
        assert [state async for state in invoices] == []
    assert await network.provider.balance_sat() == 5_100_000
    assert (await tracked(network.taker))["payment_preimage"] == PREIMAGE.hex()


async def test_each_of_several_channels_shows_its_own_htlcs(tmp_path: Path) -> None:
    async with running(tmp_path, channels=2) as network:
        network.simulation.set_fault("taker_lightning", "split_payments", parts=2)
        most = CAPACITY_SAT - PUSHED_SAT - RESERVE_SAT
        request = await hold_invoice(network.provider, value=str(2 * most))
        async with network.taker.stream("POST", "/v2/router/send", **send_fields(request)) as states:
            while len((await anext(states))["htlcs"]) < 2:
                continue
            payer, payee = [await client.get("/v1/channels") for client in (network.taker, network.provider)]
            names = [channel["chan_id"] for channel in payer["channels"]]
            assert len(set(names)) == 2
            assert names == [channel["chan_id"] for channel in payee["channels"]]
            for channel in payer["channels"] + payee["channels"]:
                assert [htlc["amount"] for htlc in channel["pending_htlcs"]] == [str(most)]
            (invoice,) = (await network.provider.get("/v1/invoices"))["invoices"]
            assert [htlc["chan_id"] for htlc in invoice["htlcs"]] == names
        assert (await network.taker.get("/v1/getinfo"))["num_active_channels"] == 2
        balance = await network.taker.get("/v1/balance/channels")
        assert balance["unsettled_remote_balance"]["sat"] == str(2 * most)
        assert balance["local_balance"]["sat"] == str(2 * RESERVE_SAT)


async def test_a_held_htlc_shows_on_the_channel_of_both_nodes(network: Running) -> None:
    await accepted(network)
    for client, incoming in ((network.taker, False), (network.provider, True)):
        channel = (await client.get("/v1/channels"))["channels"][0]
        (htlc,) = channel["pending_htlcs"]
        assert (htlc["incoming"], htlc["amount"]) == (incoming, "100000")
        assert from_base64(htlc["hash_lock"]) == HASH
        assert channel["unsettled_balance"] == "100000"


async def test_a_cancelled_hold_invoice_gives_the_money_back(network: Running) -> None:
    await accepted(network)
    await network.provider.post("/v2/invoices/cancel", payment_hash=standard(HASH))

    payment = await tracked(network.taker)
    assert payment["status"] == "FAILED"
    assert payment["failure_reason"] == "FAILURE_REASON_INCORRECT_PAYMENT_DETAILS"
    assert payment["htlcs"][0]["failure"]["code"] == "INCORRECT_OR_UNKNOWN_PAYMENT_DETAILS"
    assert await network.taker.balance_sat() == 5_000_000
    cancelled = await network.provider.get(f"/v2/invoices/lookup?payment_hash={url_safe(HASH)}")
    assert (cancelled["state"], cancelled["htlcs"][0]["state"]) == ("CANCELED", "CANCELED")


async def test_cancelling_and_settling_twice_succeed_and_crosswise_are_refused(network: Running) -> None:
    await accepted(network)
    for _ in range(2):
        await network.provider.post("/v2/invoices/settle", preimage=standard(PREIMAGE))
    with pytest.raises(Refused, match="invoice already settled"):
        await network.provider.post("/v2/invoices/cancel", payment_hash=standard(HASH))
    other = preimage_of(2)
    await hold_invoice(network.provider, sha256(other).digest())
    with pytest.raises(Refused, match="invoice still open"):
        await network.provider.post("/v2/invoices/settle", preimage=standard(other))
    for _ in range(2):
        await network.provider.post("/v2/invoices/cancel", payment_hash=standard(sha256(other).digest()))
    with pytest.raises(Refused, match="invoice already canceled"):
        await network.provider.post("/v2/invoices/settle", preimage=standard(other))
    with pytest.raises(Refused, match="unable to locate invoice") as refused:
        await network.provider.post("/v2/invoices/settle", preimage=standard(preimage_of(3)))
    assert (refused.value.status, refused.value.code) == (500, 2)


async def test_the_node_gives_up_a_hold_invoice_18_blocks_before_the_htlc_expires(network: Running) -> None:
    await accepted(network, cltv_expiry="24")
    blocks_left = 24 + 3
    network.simulation.reach(network.simulation.height + blocks_left - 19)
    assert await invoice_state(network.provider) == "ACCEPTED"
    network.simulation.reach(network.simulation.height + 1)
    assert await invoice_state(network.provider) == "CANCELED"
    assert (await tracked(network.taker))["status"] == "FAILED"
    assert await network.taker.balance_sat() == 5_000_000


async def test_an_unpaid_invoice_is_cancelled_when_its_time_is_over(network: Running) -> None:
    request = await hold_invoice(network.provider, expiry="600")
    network.clock.advance(600)
    assert await invoice_state(network.provider) == "OPEN"
    network.clock.advance(1)
    assert await invoice_state(network.provider) == "CANCELED"
    with pytest.raises(Refused, match=r"invoice expired\. Valid until 2027-01-15 08:10:00") as refused:
        await network.taker.pay(request)
    assert refused.value.status == 500


async def test_a_subscriber_hears_of_the_expiry_without_asking(network: Running) -> None:
    await hold_invoice(network.provider, expiry="600")
    async with network.provider.stream("GET", f"/v2/invoices/subscribe/{url_safe(HASH)}") as invoices:
        assert (await anext(invoices))["state"] == "OPEN"
        network.clock.advance(601)
        assert (await anext(invoices))["state"] == "CANCELED"


async def test_an_accepted_invoice_outlives_its_expiry(network: Running) -> None:
    await accepted(network, expiry="600")
    network.clock.advance(10_000)
    assert await invoice_state(network.provider) == "ACCEPTED"
    await network.provider.post("/v2/invoices/settle", preimage=standard(PREIMAGE))
    assert await invoice_state(network.provider) == "SETTLED"


async def test_a_payment_hash_is_paid_once_at_a_time(network: Running) -> None:
    request = await accepted(network)
    with pytest.raises(Refused, match="payment is in transition") as refused:
        await network.taker.pay(request)
    assert (refused.value.status, refused.value.code) == (409, 6)
    await network.provider.post("/v2/invoices/settle", preimage=standard(PREIMAGE))
    with pytest.raises(Refused, match="invoice is already paid") as refused:
        await network.taker.pay(request)
    assert (refused.value.status, refused.value.code) == (409, 6)


async def test_a_failed_payment_may_be_sent_again(network: Running) -> None:
    network.simulation.set_fault("taker_lightning", "fail_payments", reason="no_route")
    request = await hold_invoice(network.provider)
    payment = await network.taker.pay(request)
    assert (payment["status"], payment["failure_reason"]) == ("FAILED", "FAILURE_REASON_NO_ROUTE")
    network.simulation.set_fault("taker_lightning", "none")
    async with network.taker.stream("POST", "/v2/router/send", **send_fields(request)) as states:
        again = await anext(states)
        assert (again["status"], again["payment_index"]) == ("IN_FLIGHT", "2")
    assert await invoice_state(network.provider) == "ACCEPTED"


async def test_a_cancelled_invoice_cannot_be_paid(network: Running) -> None:
    request = await hold_invoice(network.provider)
    await network.provider.post("/v2/invoices/cancel", payment_hash=standard(HASH))
    payment = await network.taker.pay(request)
    assert payment["failure_reason"] == "FAILURE_REASON_INCORRECT_PAYMENT_DETAILS"
    assert await network.taker.balance_sat() == 5_000_000


async def test_more_than_the_balance_over_the_reserve_is_insufficient(network: Running) -> None:
    spendable_sat = 5_000_000 - 100_000
    most = await network.provider.invoice(value=str(spendable_sat))
    too_much = await network.provider.invoice(value=str(spendable_sat + 1))
    payment = await network.taker.pay(too_much["payment_request"])
    assert payment["failure_reason"] == "FAILURE_REASON_INSUFFICIENT_BALANCE"
    assert payment["htlcs"] == []
    assert (await network.taker.pay(most["payment_request"]))["status"] == "SUCCEEDED"


async def test_what_is_in_flight_cannot_be_spent_again(network: Running) -> None:
    await accepted(network, value="4900000")
    invoice = await network.provider.invoice(value="1")
    payment = await network.taker.pay(invoice["payment_request"])
    assert payment["failure_reason"] == "FAILURE_REASON_INSUFFICIENT_BALANCE"


@pytest.mark.parametrize(
    ("limit", "message"),
    [
        pytest.param(203, "cltv limit 203 should be greater than 203", id="no room for the padding"),
        pytest.param(2017, "total time lock of 2017 exceeds max allowed 2016", id="above lnd's maximum"),
    ],
)
async def test_a_cltv_limit_that_cannot_be_kept_is_refused(network: Running, limit: int, message: str) -> None:
    request = await hold_invoice(network.provider, cltv_expiry="200")
    with pytest.raises(Refused, match=message):
        await network.taker.pay(request, cltv_limit=limit)
    with pytest.raises(Refused, match="payment isn't initiated"):
        await tracked(network.taker)


async def test_the_smallest_sufficient_cltv_limit_is_enough(network: Running) -> None:
    invoice = await network.provider.invoice(value="1", cltv_expiry="200")
    assert (await network.taker.pay(invoice["payment_request"], cltv_limit=204))["status"] == "SUCCEEDED"


async def test_an_amount_goes_with_an_invoice_that_has_none_and_only_there(network: Running) -> None:
    with_amount = await network.provider.invoice(value="1000")
    without = await network.provider.invoice()
    with pytest.raises(Refused, match="amount must not be specified when paying a non-zero amount invoice"):
        await network.taker.pay(with_amount["payment_request"], amt="1000")
    with pytest.raises(Refused, match="amount must be specified when paying a zero amount invoice"):
        await network.taker.pay(without["payment_request"])
    assert (await network.taker.pay(without["payment_request"], amt="7"))["value_sat"] == "7"


async def test_a_node_does_not_pay_itself(network: Running) -> None:
    invoice = await network.taker.invoice(value="1000")
    with pytest.raises(Refused, match="self-payments not allowed"):
        await network.taker.pay(invoice["payment_request"])


async def test_an_unknown_payment_is_not_found(network: Running) -> None:
    with pytest.raises(Refused, match="payment isn't initiated") as refused:
        await tracked(network.taker)
    assert (refused.value.status, refused.value.code) == (404, 5)


async def test_an_invoice_may_be_awaited_before_it_exists(network: Running) -> None:
    async def first_state() -> dict[str, Any]:
        path = f"/v2/invoices/subscribe/{url_safe(HASH)}"
        async with network.provider.stream("GET", path) as invoices:
            return await anext(invoices)

    waiting = asyncio.create_task(first_state())
    await network.wait_for_open_requests("provider", 1)
    await hold_invoice(network.provider)
    assert (await waiting)["state"] == "OPEN"


async def test_held_payments_stay_in_flight_until_they_are_released(network: Running) -> None:
    network.simulation.set_fault("taker_lightning", "hold_payments")
    invoice = await network.provider.invoice(value="1000", r_preimage=standard(PREIMAGE))
    async with network.taker.stream("POST", "/v2/router/send", **send_fields(invoice["payment_request"])) as states:
        assert [(await anext(states))["status"] for _ in range(2)] == ["IN_FLIGHT", "IN_FLIGHT"]
        assert await invoice_state(network.provider) == "OPEN"
        network.simulation.set_fault("taker_lightning", "none")
        assert (await anext(states))["status"] == "SUCCEEDED"
    assert await invoice_state(network.provider) == "SETTLED"


async def test_a_held_payment_returns_when_its_htlc_expires(network: Running) -> None:
    network.simulation.set_fault("taker_lightning", "hold_payments")
    request = await hold_invoice(network.provider, cltv_expiry="24")
    async with network.taker.stream("POST", "/v2/router/send", **send_fields(request)) as states:
        await anext(states)
        network.simulation.reach(network.simulation.height + 26)
        assert (await tracked(network.taker))["status"] == "IN_FLIGHT"
        network.simulation.reach(network.simulation.height + 1)
        assert [state["status"] async for state in states][-1] == "FAILED"
    assert await network.taker.balance_sat() == 5_000_000


async def test_the_same_seed_and_calls_make_the_same_invoices(tmp_path: Path) -> None:
    seen = []
    for name in ("first", "second"):
        async with running(tmp_path / name) as network:
            invoice = await network.provider.invoice(value="1000", memo="tea")
            hold = await hold_invoice(network.taker)
            payment = await network.taker.pay(invoice["payment_request"])
            seen.append((invoice, hold, payment, network.taker.node.node_key, network.taker.macaroon))
    assert seen[0] == seen[1]
    async with running(tmp_path / "third", seed=b"another seed") as network:
        assert (await network.provider.invoice(value="1000", memo="tea")) != seen[0][0]


async def test_a_payment_request_is_decoded_as_it_was_made(network: Running) -> None:
    request = await hold_invoice(network.provider, memo="swap", expiry="600", cltv_expiry="427")
    decoded = await network.taker.get(f"/v1/payreq/{request}")
    assert decoded["destination"] == network.provider.node.node_key
    assert decoded["payment_hash"] == HASH.hex()
    assert (decoded["num_satoshis"], decoded["num_msat"]) == ("100000", "100000000")
    assert (decoded["timestamp"], decoded["expiry"]) == (str(START), "600")
    assert (decoded["description"], decoded["cltv_expiry"]) == ("swap", "427")
    assert decoded["features"]["14"] == {"name": "payment-addr", "is_required": True, "is_known": True}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        pytest.param({"cltv_expiry": "23"}, "CLTV delta of 23 must be greater than minimum of 24", id="delta"),
        pytest.param({"value": "-1"}, "amount cannot be negative", id="negative"),
        pytest.param({"value": "1", "value_msat": "1"}, "mutually exclusive", id="two amounts"),
        pytest.param({"expiry": "31536001"}, "greater than max expiry", id="expiry"),
        pytest.param({"hash": standard(b"short")}, "invalid hash length of 5, want 32", id="short hash"),
        pytest.param({"memo": "m" * 640}, "data length too big", id="memo for an invoice"),
        pytest.param({"memo": "m" * 1025}, "memo too large", id="memo for the node"),
    ],
)
async def test_an_invoice_that_lnd_would_not_make_is_refused(
    network: Running, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(Refused, match=message) as refused:
        await network.provider.post("/v2/invoices/hodl", **({"hash": standard(HASH)} | fields))
    assert (refused.value.status, refused.value.code) == (500, 2)


async def test_a_hash_is_used_for_one_invoice_of_a_node(network: Running) -> None:
    await hold_invoice(network.provider)
    with pytest.raises(Refused, match="invoice with payment hash already exists"):
        await hold_invoice(network.provider)


async def test_lists_are_paged_backwards_and_forwards(network: Running) -> None:
    for number in range(5):
        await network.provider.invoice(value=str(number + 1))
    newest = await network.provider.get("/v1/invoices?reversed=true&num_max_invoices=2")
    assert [invoice["add_index"] for invoice in newest["invoices"]] == ["4", "5"]
    assert (newest["first_index_offset"], newest["last_index_offset"]) == ("4", "5")
    before = await network.provider.get("/v1/invoices?reversed=true&num_max_invoices=2&index_offset=4")
    assert [invoice["add_index"] for invoice in before["invoices"]] == ["2", "3"]
    after = await network.provider.get("/v1/invoices?index_offset=3")
    assert [invoice["add_index"] for invoice in after["invoices"]] == ["4", "5"]
    none = await network.provider.get("/v1/invoices?index_offset=5")
    assert none == {"invoices": [], "last_index_offset": "0", "first_index_offset": "0"}


async def test_payments_that_did_not_succeed_are_listed_on_request(network: Running) -> None:
    invoice = await network.provider.invoice(value="1000")
    await network.taker.pay(invoice["payment_request"])
    await accepted(network)
    succeeded = await network.taker.get("/v1/payments")
    assert [payment["status"] for payment in succeeded["payments"]] == ["SUCCEEDED"]
    everything = await network.taker.get("/v1/payments?include_incomplete=true&count_total_payments=true")
    assert [payment["status"] for payment in everything["payments"]] == ["SUCCEEDED", "IN_FLIGHT"]
    assert everything["total_num_payments"] == "2"
