"""Other ways to send between the two simulated nodes: to a key, in parts, and with estimates beforehand."""

from __future__ import annotations

from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from simnet.lightning_client import Refused, Running, from_base64, preimage_of, running, send_fields, standard, url_safe

PREIMAGE = preimage_of(1)
HASH = sha256(PREIMAGE).digest()


@pytest.fixture
async def network(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(tmp_path) as network:
        yield network


async def hold_invoice(network: Running, **fields: Any) -> str:
    return str((await network.provider.post("/v2/invoices/hodl", hash=standard(HASH), **fields))["payment_request"])


def keysend_fields(network: Running, **fields: Any) -> dict[str, Any]:
    return {
        "dest": standard(bytes.fromhex(network.provider.node.node_key)),
        "payment_hash": standard(HASH),
        "amt_msat": "2500",
        "dest_custom_records": {"5482373484": standard(PREIMAGE)},
        "timeout_seconds": 60,
    } | fields


async def keysend(network: Running, **fields: Any) -> dict[str, Any]:
    async with network.taker.stream("POST", "/v2/router/send", **keysend_fields(network, **fields)) as states:
        return [state async for state in states][-1]


async def test_a_payment_to_a_key_makes_the_payee_a_settled_invoice(network: Running) -> None:
    paid = await keysend(network)
    assert (paid["status"], paid["payment_preimage"], paid["payment_request"]) == ("SUCCEEDED", PREIMAGE.hex(), "")
    invoice = await network.provider.get(f"/v1/invoice/{HASH.hex()}")
    assert (invoice["is_keysend"], invoice["state"], invoice["amt_paid_msat"]) == (True, "SETTLED", "2500")
    assert (invoice["payment_request"], invoice["cltv_expiry"], invoice["add_index"]) == ("", "19", "1")
    assert from_base64(invoice["htlcs"][0]["custom_records"]["5482373484"]) == PREIMAGE
    with pytest.raises(Refused, match="invoice is already paid") as refused:
        await keysend(network)
    assert (refused.value.status, refused.value.code) == (409, 6)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        pytest.param({"payment_hash": standard(bytes(32))}, "INCORRECT_PAYMENT_DETAILS", id="another preimage"),
        pytest.param({"dest_custom_records": {}}, "INCORRECT_PAYMENT_DETAILS", id="no preimage"),
        pytest.param({"final_cltv_delta": 15}, "INCORRECT_PAYMENT_DETAILS", id="too few blocks"),
        pytest.param({"amt_msat": "4900000001"}, "INSUFFICIENT_BALANCE", id="more than the balance over the reserve"),
        pytest.param({"amt_msat": "999"}, "NO_ROUTE", id="less than a channel carries"),
        pytest.param({"dest": standard(b"\x02" * 33)}, "NO_ROUTE", id="a stranger"),
    ],
)
async def test_a_payment_to_a_key_that_does_not_fit_fails(
    network: Running, fields: dict[str, Any], reason: str
) -> None:
    failed = await keysend(network, **fields)
    assert (failed["status"], failed["failure_reason"]) == ("FAILED", f"FAILURE_REASON_{reason}")
    assert (await network.provider.get("/v1/invoices"))["invoices"] == []
    assert await network.taker.balance_sat() == 5_000_000


async def test_the_parts_of_a_payment_reach_the_invoice_together(network: Running) -> None:
    network.simulation.set_fault("taker_lightning", "split_payments", parts=3)
    async with network.taker.stream(
        "POST", "/v2/router/send", **send_fields(await hold_invoice(network, value="100000"))
    ) as states:
        await anext(states)
    held = await network.provider.get(f"/v1/invoice/{HASH.hex()}")
    assert [htlc["amt_msat"] for htlc in held["htlcs"]] == ["33333334", "33333334", "33333332"]
    assert {htlc["mpp_total_amt_msat"] for htlc in held["htlcs"]} == {"100000000"}
    await network.provider.post("/v2/invoices/settle", preimage=standard(PREIMAGE))
    async with network.taker.stream("GET", f"/v2/router/track/{url_safe(HASH)}") as states:
        paid = await anext(states)
    assert [htlc["status"] for htlc in paid["htlcs"]] == ["SUCCEEDED"] * 3
    assert (paid["status"], await network.taker.balance_sat()) == ("SUCCEEDED", 4_900_000)


async def test_a_payment_goes_in_no_more_parts_than_its_request_allows(network: Running) -> None:
    network.simulation.set_fault("taker_lightning", "split_payments", parts=3)
    made = await network.provider.invoice(value="100000")
    assert len((await network.taker.pay(made["payment_request"], max_parts=2))["htlcs"]) == 2
    network.simulation.set_fault("taker_lightning", "none")
    made = await network.provider.invoice(value="100000")
    assert len((await network.taker.pay(made["payment_request"]))["htlcs"]) == 1


async def test_more_htlcs_than_a_channel_carries_are_insufficient(network: Running) -> None:
    network.simulation.set_fault("taker_lightning", "split_payments", parts=480)
    request = await hold_invoice(network, value="1000000")
    async with network.taker.stream("POST", "/v2/router/send", **send_fields(request, max_parts=500)) as states:
        await anext(states)
    network.simulation.set_fault("taker_lightning", "split_payments", parts=4)
    made = await network.provider.invoice(value="1000")
    failed = await network.taker.pay(made["payment_request"])
    assert failed["failure_reason"] == "FAILURE_REASON_INSUFFICIENT_BALANCE"


async def test_the_fee_of_a_route_is_asked_without_touching_the_invoice(network: Running) -> None:
    request = await hold_invoice(network, value="100000", cltv_expiry="100")
    estimate = await network.taker.post("/v2/router/route/estimatefee", payment_request=request, timeout=10)
    assert (estimate["routing_fee_msat"], estimate["failure_reason"]) == ("0", "FAILURE_REASON_NONE")
    assert int(estimate["time_lock_delay"]) == network.simulation.height + 103
    assert (await network.provider.get(f"/v1/invoice/{HASH.hex()}"))["state"] == "OPEN"
    network.simulation.set_fault("taker_lightning", "hold_payments")
    with pytest.raises(Refused, match="probes no route while its payments are held"):
        await network.taker.post("/v2/router/route/estimatefee", payment_request=request, timeout=10)


async def test_a_message_is_signed_with_the_nodes_key(network: Running) -> None:
    message = standard(b"a message")
    signature = (await network.taker.post("/v1/signmessage", msg=message))["signature"]
    verified = await network.provider.post("/v1/verifymessage", msg=message, signature=signature)
    assert verified == {"valid": True, "pubkey": network.taker.node.node_key}
    other = await network.provider.post("/v1/verifymessage", msg=standard(b"another"), signature=signature)
    assert not other["valid"]
    assert other["pubkey"] != network.taker.node.node_key
