"""The REST server of the simulated Lightning nodes: authentication and fault switches."""

from __future__ import annotations

import ssl
import stat
from collections.abc import AsyncIterator
from email.utils import parsedate_to_datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from layer2.errors import InvalidRequest
from simnet.lightning_client import (
    START,
    Client,
    Refused,
    Running,
    preimage_of,
    running,
    send_fields,
    standard,
    url_safe,
)

HASH = sha256(preimage_of(1)).digest()


@pytest.fixture
async def network(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(tmp_path) as network:
        yield network


async def hold_invoice(client: Client) -> str:
    answer = await client.post("/v2/invoices/hodl", hash=standard(HASH), value="1000")
    return str(answer["payment_request"])


async def payment_status(client: Client) -> str:
    async with client.stream("GET", f"/v2/router/track/{url_safe(HASH)}") as states:
        return str((await anext(states))["status"])


async def test_each_node_shows_its_own_certificate(network: Running) -> None:
    pinned_to_the_other = ssl.create_default_context(cafile=network.provider.node.certificate_file)
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await session.get(f"{network.taker.node.rest_url}/v1/getinfo", ssl=pinned_to_the_other)


async def test_the_macaroon_of_the_other_node_is_refused(network: Running) -> None:
    network.taker.macaroon = network.provider.macaroon
    with pytest.raises(Refused, match="verification failed: signature mismatch") as refused:
        await network.taker.get("/v1/getinfo")
    assert (refused.value.status, refused.value.code) == (500, 2)


async def test_a_refused_macaroon_starts_no_payment(network: Running) -> None:
    request = await hold_invoice(network.provider)
    macaroon, network.taker.macaroon = network.taker.macaroon, None
    with pytest.raises(Refused, match="expected 1 macaroon, got 0"):
        await network.taker.pay(request)
    network.taker.macaroon = macaroon
    with pytest.raises(Refused, match="payment isn't initiated"):
        await payment_status(network.taker)


async def test_secrets_are_written_for_their_owner_alone(network: Running) -> None:
    for client in (network.taker, network.provider):
        macaroon = Path(client.node.macaroon_file)
        for secret in (macaroon, macaroon.with_name("tls.key")):
            assert stat.S_IMODE(secret.stat().st_mode) == 0o600


async def test_both_nodes_listen_on_the_loopback_only(network: Running) -> None:
    for client in (network.taker, network.provider):
        assert client.node.rest_url.startswith("https://127.0.0.1:")


async def test_answers_and_streams_are_dated_by_the_simulated_clock(network: Running) -> None:
    await hold_invoice(network.provider)
    network.clock.advance(60)
    for path in ("/v1/getinfo", f"/v2/invoices/subscribe/{url_safe(HASH)}", "/v1/nothing"):
        async with network.provider.open("GET", path) as response:
            assert parsedate_to_datetime(response.headers["Date"]).timestamp() == START + 60


async def test_a_node_that_is_down_resets_connections_and_executes_nothing(network: Running) -> None:
    request = await hold_invoice(network.provider)
    network.simulation.set_fault("taker_lightning", "down")
    with pytest.raises(aiohttp.ClientError):
        await network.taker.pay(request)
    assert (await network.provider.get("/v1/getinfo"))["num_peers"] == 1
    network.simulation.set_fault("taker_lightning", "none")
    with pytest.raises(Refused, match="payment isn't initiated"):
        await payment_status(network.taker)


async def test_going_down_cuts_open_streams(network: Running) -> None:
    await hold_invoice(network.provider)
    async with network.provider.stream("GET", f"/v2/invoices/subscribe/{url_safe(HASH)}") as states:
        assert (await anext(states))["state"] == "OPEN"
        network.simulation.set_fault("provider_lightning", "down")
        with pytest.raises(aiohttp.ClientError):
            await anext(states)


async def test_a_dropped_reply_has_been_executed(network: Running) -> None:
    request = await hold_invoice(network.provider)
    network.simulation.set_fault("taker_lightning", "drop_reply", path="/v2/router/send", count=1)
    with pytest.raises(aiohttp.ClientError):
        await network.taker.pay(request)
    assert await payment_status(network.taker) == "IN_FLIGHT"
    with pytest.raises(Refused, match="payment is in transition"):
        await network.taker.pay(request)


async def test_a_fault_hits_only_its_path_and_as_often_as_it_says(network: Running) -> None:
    network.simulation.set_fault("taker_lightning", "error", status=503, path="/v1/balance", count=2)
    assert (await network.taker.get("/v1/getinfo"))["block_height"] == network.simulation.height
    for _ in range(2):
        with pytest.raises(Refused) as refused:
            await network.taker.get("/v1/balance/channels")
        assert refused.value.status == 503
    assert await network.taker.balance_sat() == 5_000_000


async def test_an_error_is_answered_without_executing(network: Running) -> None:
    request = await hold_invoice(network.provider)
    network.simulation.set_fault("provider_lightning", "error", status=500, path="/v2/invoices/cancel")
    with pytest.raises(Refused):
        await network.provider.post("/v2/invoices/cancel", payment_hash=standard(HASH))
    assert (await network.provider.get(f"/v1/invoice/{HASH.hex()}"))["state"] == "OPEN"
    assert request.startswith("lnbcrt")


async def test_a_delayed_request_whose_client_gives_up_is_not_executed(network: Running) -> None:
    request = await hold_invoice(network.provider)
    network.simulation.set_fault("taker_lightning", "delay", seconds=30, path="/v2/router/send")
    impatient = aiohttp.ClientTimeout(total=0.2)
    async with aiohttp.ClientSession(timeout=impatient) as session:
        with pytest.raises(TimeoutError):
            await Client(network.taker.node, session).pay(request)
    await network.wait_for_open_requests("taker", 0)
    with pytest.raises(Refused, match="payment isn't initiated"):
        await payment_status(network.taker)


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        pytest.param("broken", {}, id="unknown kind"),
        pytest.param("delay", {}, id="missing argument"),
        pytest.param("down", {"path": "/v1"}, id="argument that the kind does not take"),
        pytest.param("error", {"status": "503"}, id="text for a number"),
        pytest.param("fail_payments", {"reason": "bad luck"}, id="reason that lnd does not have"),
    ],
)
async def test_a_switch_that_does_not_exist_is_refused(network: Running, kind: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        network.simulation.set_fault("taker_lightning", kind, **arguments)


async def test_the_status_has_balances_and_switches(network: Running) -> None:
    request = await hold_invoice(network.provider)
    network.simulation.set_fault("taker_lightning", "hold_payments")
    async with network.taker.stream("POST", "/v2/router/send", **send_fields(request)) as states:
        await anext(states)
        status = network.simulation.status()
    taker = status["taker"]
    assert (taker["balance_msat"], taker["sending_msat"]) == (4_999_000_000, 1_000_000)
    assert (taker["payments"], taker["faults"]) == (1, ["hold_payments"])
    assert status["provider"]["invoices"] == 1


async def test_a_field_that_the_simulation_does_not_follow_is_refused_not_ignored(network: Running) -> None:
    request = await hold_invoice(network.provider)
    with pytest.raises(Refused, match="does not support the field cancelable") as refused:
        await network.taker.pay(request, cancelable=True)
    assert refused.value.status == 501
    with pytest.raises(Refused, match="does not support the field min_confs") as refused:
        await network.taker.get("/v1/balance/blockchain?min_confs=1")
    assert refused.value.status == 501


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/peers"),
        ("POST", "/v1/channels"),
        ("DELETE", f"/v1/channels/{'00' * 32}/0"),
        ("GET", "/v2/router/mc"),
    ],
)
async def test_a_call_of_lnd_that_is_not_simulated_is_answered_with_501(
    network: Running, method: str, path: str
) -> None:
    async with network.taker.open(method, path) as response:
        answer = await response.json()
    assert (response.status, answer["code"]) == (501, 12)
    assert answer["message"] == f"the simulated node does not support {method} {path}"


async def test_a_peer_has_its_alias_where_the_request_asks_for_it(network: Running) -> None:
    aliases = [
        (await network.taker.get(f"/v1/channels{query}"))["channels"][0]["peer_alias"]
        for query in ("", "?peer_alias_lookup=true")
    ]
    assert aliases == ["", (await network.provider.get("/v1/getinfo"))["alias"]]


async def test_a_body_that_is_nested_too_deeply_is_malformed(network: Running) -> None:
    body = "[" * 100_000
    async with network.taker.open("POST", "/v1/invoices", body) as response:
        assert response.status == 400
