"""The streams of all invoices and all payments of a simulated Lightning node, and their faults."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from layer2.errors import InvalidRequest
from simnet.lightning_client import Client, Refused, Running, preimage_of, running, send_fields, standard, url_safe

INVOICES = "/v1/invoices/subscribe"
PAYMENTS = "/v2/router/payments"


@pytest.fixture
async def network(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(tmp_path) as network:
        yield network


def hash_of(number: int) -> bytes:
    return sha256(preimage_of(number)).digest()


async def hold_invoice(network: Running, number: int, **fields: Any) -> str:
    fields = {"hash": standard(hash_of(number)), "value": "1000", "memo": str(number)} | fields
    return str((await network.provider.post("/v2/invoices/hodl", **fields))["payment_request"])


async def plain_invoice(network: Running, number: int) -> str:
    made = await network.provider.invoice(value="1000", memo=str(number), r_preimage=standard(preimage_of(number)))
    return str(made["payment_request"])


async def accepted(network: Running, number: int) -> None:
    request = await hold_invoice(network, number)
    async with network.taker.stream("POST", "/v2/router/send", **send_fields(request)) as states:
        await anext(states)


async def settle(network: Running, number: int) -> None:
    await network.provider.post("/v2/invoices/settle", preimage=standard(preimage_of(number)))


async def listen(client: Client, path: str, count: int) -> list[dict[str, Any]]:
    """Read the first messages of a stream."""
    async with client.stream("GET", path) as messages:
        return [await anext(messages) for _ in range(count)]


def told(invoices: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(invoice["memo"], invoice["state"]) for invoice in invoices]


async def test_each_stream_hears_of_its_own_invoice_only(network: Running) -> None:
    numbers = range(60)
    for number in numbers:
        await hold_invoice(network, number)

    async def last_two(number: int) -> list[str]:
        path = f"/v2/invoices/subscribe/{url_safe(hash_of(number))}"
        return [invoice["state"] for invoice in await listen(network.provider, path, 2)]

    async with asyncio.TaskGroup() as group:
        listening = [group.create_task(last_two(number)) for number in numbers[:40]]
        await network.wait_for_open_requests("provider", 40)
        for number in numbers:
            await network.provider.post("/v2/invoices/cancel", payment_hash=standard(hash_of(number)))
    assert [task.result() for task in listening] == [["OPEN", "CANCELED"]] * 40


async def test_the_stream_of_all_invoices_reports_what_was_missed_and_continues(network: Running) -> None:
    for number in (1, 2):
        await network.taker.pay(await plain_invoice(network, number))
    await accepted(network, 3)
    await hold_invoice(network, 4)
    async with network.provider.stream("GET", f"{INVOICES}?add_index=1&settle_index=1") as invoices:
        missed = [await anext(invoices) for _ in range(3)]
        assert told(missed) == [("2", "SETTLED"), ("4", "OPEN"), ("2", "SETTLED")]
        assert [invoice["settle_index"] for invoice in missed] == ["2", "0", "2"]
        await settle(network, 3)
        await plain_invoice(network, 5)
        assert told([await anext(invoices) for _ in range(2)]) == [("3", "SETTLED"), ("5", "OPEN")]


async def test_indexes_that_are_ahead_keep_later_events_back_until_they_are_reached(network: Running) -> None:
    listening = asyncio.create_task(listen(network.provider, f"{INVOICES}?add_index=2", 1))
    await network.wait_for_open_requests("provider", 1)
    for number in (1, 2, 3):
        await hold_invoice(network, number)
    assert told(await listening) == [("3", "OPEN")]


async def test_two_streams_hear_the_same(network: Running) -> None:
    listening = [asyncio.create_task(listen(network.provider, INVOICES, 3)) for _ in range(2)]
    await network.wait_for_open_requests("provider", 2)
    await network.taker.pay(await plain_invoice(network, 1))
    await plain_invoice(network, 2)
    first, second = [await task for task in listening]
    assert told(first) == [("1", "OPEN"), ("1", "SETTLED"), ("2", "OPEN")]
    assert first == second


async def test_the_stream_of_all_payments_begins_with_those_under_way(network: Running) -> None:
    await network.taker.pay(await plain_invoice(network, 1))
    for number in (2, 3):
        await accepted(network, number)
    async with network.taker.stream("GET", PAYMENTS) as payments:
        first = [await anext(payments) for _ in range(2)]
        assert [payment["payment_hash"] for payment in first] == sorted(hash_of(number).hex() for number in (2, 3))
        await settle(network, 2)
        done = await anext(payments)
        assert (done["payment_hash"], done["status"]) == (hash_of(2).hex(), "SUCCEEDED")


async def test_the_stream_of_the_payments_is_its_own_nodes(network: Running) -> None:
    listening = asyncio.create_task(listen(network.provider, PAYMENTS, 1))
    await network.wait_for_open_requests("provider", 1)
    await network.taker.pay(await plain_invoice(network, 1))
    made = await network.taker.invoice(value="2", r_preimage=standard(preimage_of(2)))
    await network.provider.pay(made["payment_request"])
    assert [payment["payment_hash"] for payment in await listening] == [hash_of(2).hex()]


async def test_a_closed_stream_is_forgotten(network: Running) -> None:
    await hold_invoice(network, 1)
    for _ in range(3):
        await listen(network.provider, f"/v2/invoices/subscribe/{url_safe(hash_of(1))}", 1)
    await network.wait_for_open_requests("provider", 0)


async def test_a_stream_is_cut_in_place_of_a_message(network: Running) -> None:
    network.simulation.set_fault("provider_lightning", "cut_stream", path=INVOICES, message=2, count=1)
    for number in (1, 2, 3):
        await hold_invoice(network, number)
    async with network.provider.stream("GET", f"{INVOICES}?add_index=1") as invoices:
        assert told([await anext(invoices)]) == [("2", "OPEN")]
        with pytest.raises(aiohttp.ClientError):
            await anext(invoices)
    assert told(await listen(network.provider, f"{INVOICES}?add_index=2", 1)) == [("3", "OPEN")]


async def test_a_message_is_repeated(network: Running) -> None:
    network.simulation.set_fault("provider_lightning", "repeat_message", path=INVOICES, count=1)
    for number in (1, 2, 3):
        await hold_invoice(network, number)
    heard = await listen(network.provider, f"{INVOICES}?add_index=1", 3)
    assert told(heard) == [("2", "OPEN"), ("2", "OPEN"), ("3", "OPEN")]


async def test_a_message_is_withheld_and_the_stream_continues(network: Running) -> None:
    network.simulation.set_fault("provider_lightning", "withhold_message", path=INVOICES, message=2)
    for number in (1, 2, 3, 4):
        await hold_invoice(network, number)
    heard = await listen(network.provider, f"{INVOICES}?add_index=1", 2)
    assert told(heard) == [("2", "OPEN"), ("4", "OPEN")]


async def test_the_last_message_of_a_payment_can_be_withheld(network: Running) -> None:
    request = await plain_invoice(network, 1)
    network.simulation.set_fault("taker_lightning", "withhold_message", path="/v2/router/send", message=3)
    assert (await network.taker.pay(request))["status"] == "IN_FLIGHT"
    (tracked,) = await listen(network.taker, f"/v2/router/track/{url_safe(hash_of(1))}", 1)
    assert tracked["status"] == "SUCCEEDED"


async def test_lookups_fail_as_often_as_asked(network: Running) -> None:
    await hold_invoice(network, 1)
    network.simulation.set_fault("provider_lightning", "error", path="/v1/invoice/", status=503, count=2)
    for _ in range(2):
        with pytest.raises(Refused):
            await network.provider.get(f"/v1/invoice/{hash_of(1).hex()}")
    assert (await network.provider.get(f"/v1/invoice/{hash_of(1).hex()}"))["state"] == "OPEN"


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        pytest.param("cut_stream", {"seconds": 1}, id="argument of another kind"),
        pytest.param("withhold_message", {"message": "2"}, id="text for a number"),
        pytest.param("split_payments", {}, id="no parts"),
        pytest.param("split_payments", {"parts": 0}, id="less than one part"),
        pytest.param("split_payments", {"parts": 484}, id="more parts than a channel carries"),
    ],
)
async def test_a_stream_fault_that_does_not_exist_is_refused(
    network: Running, kind: str, arguments: dict[str, Any]
) -> None:
    with pytest.raises(InvalidRequest):
        network.simulation.set_fault("taker_lightning", kind, **arguments)
