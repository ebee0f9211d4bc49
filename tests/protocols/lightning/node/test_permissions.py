"""The macaroon needs a permission for each procedure that the client calls; the error names all that are missing."""

from __future__ import annotations

import re
from base64 import b64encode
from pathlib import Path

import pytest

import layer2.protocols.lightning
from layer2.errors import AuthenticationFailed, Layer2Error
from layer2.protocols.lightning import LightningNetwork
from layer2.protocols.lightning.node.permissions import BAKE_COMMAND, PERMISSIONS
from protocols.lightning.scripted_lnd import Reply, ScriptedLnd, answer, refusal

CHECK = "POST /v1/macaroon/checkpermissions"
PROCEDURES = {
    # lnd's REST paths and their procedures, from its .yaml files, without variable parts.
    "GET /v1/getinfo": "/lnrpc.Lightning/GetInfo",
    "GET /v1/getdebuginfo": "/lnrpc.Lightning/GetDebugInfo",
    "GET /v1/channels": "/lnrpc.Lightning/ListChannels",
    "GET /v1/channels/pending": "/lnrpc.Lightning/PendingChannels",
    "GET /v1/channels/closed": "/lnrpc.Lightning/ClosedChannels",
    "POST /v1/invoices": "/lnrpc.Lightning/AddInvoice",
    "GET /v1/invoice/": "/lnrpc.Lightning/LookupInvoice",
    "GET /v1/invoices": "/lnrpc.Lightning/ListInvoices",
    "GET /v1/invoices/subscribe": "/lnrpc.Lightning/SubscribeInvoices",
    "POST /v2/invoices/hodl": "/invoicesrpc.Invoices/AddHoldInvoice",
    "POST /v2/invoices/settle": "/invoicesrpc.Invoices/SettleInvoice",
    "POST /v2/invoices/cancel": "/invoicesrpc.Invoices/CancelInvoice",
    "GET /v2/invoices/subscribe/": "/invoicesrpc.Invoices/SubscribeSingleInvoice",
    "POST /v2/router/send": "/routerrpc.Router/SendPaymentV2",
    "GET /v2/router/track/": "/routerrpc.Router/TrackPaymentV2",
    "GET /v2/router/payments": "/routerrpc.Router/TrackPayments",
    "POST /v2/router/route/estimatefee": "/routerrpc.Router/EstimateRouteFee",
    "GET /v1/payments": "/lnrpc.Lightning/ListPayments",
    "POST /v1/signmessage": "/lnrpc.Lightning/SignMessage",
    CHECK: "/lnrpc.Lightning/CheckMacaroonPermissions",
}
WITHOUT_MACAROON = {"/v1/state"}


def paths_in_the_code() -> set[str]:
    (room,) = layer2.protocols.lightning.__path__
    found: set[str] = set()
    for source in Path(room).rglob("*.py"):
        found |= set(re.findall(r'"(/v[12]/[a-z0-9/]*)', source.read_text(encoding="utf-8")))
    return found - WITHOUT_MACAROON


def test_the_permissions_are_those_of_the_calls_in_the_code() -> None:
    assert paths_in_the_code() == {call.partition(" ")[2] for call in PROCEDURES}
    assert set(PERMISSIONS) == {f"uri:{procedure}" for procedure in PROCEDURES.values()}
    assert len(set(PERMISSIONS)) == len(PERMISSIONS)


def test_the_command_bakes_exactly_what_is_needed() -> None:
    assert BAKE_COMMAND.startswith("lncli bakemacaroon --save_to layer2.macaroon uri:/")
    assert tuple(BAKE_COMMAND.split()[4:]) == PERMISSIONS


def macaroon_of(lnd: ScriptedLnd) -> bytes:
    return Path(lnd.node.macaroon_file).read_bytes()


async def test_one_question_is_enough_for_a_macaroon_baked_with_them(
    lnd: ScriptedLnd, client: LightningNetwork
) -> None:
    lnd.say("GET /v1/getdebuginfo", answer({"config": {"invoices.holdexpirydelta": "12"}}))
    await client.initialize_async()
    (asked,) = lnd.bodies(CHECK)
    assert {f"{each['entity']}:{each['action']}" for each in asked["permissions"]} == set(PERMISSIONS)
    assert asked["macaroon"] == b64encode(macaroon_of(lnd)).decode()


@pytest.mark.parametrize(
    "missing",
    [
        pytest.param({"/lnrpc.Lightning/SignMessage"}, id="one"),
        pytest.param({"/invoicesrpc.Invoices/SettleInvoice", "/routerrpc.Router/TrackPayments"}, id="two"),
        pytest.param(set(), id="none, by wider permissions"),
    ],
)
async def test_all_that_is_missing_is_named_at_once(
    lnd: ScriptedLnd, client: LightningNetwork, missing: set[str]
) -> None:
    ask = "/lnrpc.Lightning/CheckMacaroonPermissions"
    procedures = [permission.removeprefix("uri:") for permission in PERMISSIONS]
    no, yes = refusal("permission denied", 3, 400), answer({"valid": True})
    lnd.say(CHECK, no, yes, *(no if procedure in missing else yes for procedure in procedures))
    lnd.say("GET /v1/getdebuginfo", answer({"config": {"invoices.holdexpirydelta": "12"}}))
    if not missing:
        await client.initialize_async()
    else:
        error = await refused(client)
        assert set(re.findall(r"uri:(\S+?)(?:,|$)", error.message)) == missing
        assert error.remedy == f"bake one with these permissions: {BAKE_COMMAND}"
    # Each was checked by its name, with the wider permissions that allow it.
    asked = lnd.bodies(CHECK)
    assert [body["fullMethod"] for body in asked] == ["", ask, *procedures]
    assert asked[1]["permissions"] == [{"entity": "macaroon", "action": "read"}]


async def test_a_macaroon_that_cannot_be_checked_is_reported_first(lnd: ScriptedLnd, client: LightningNetwork) -> None:
    lnd.say(CHECK, refusal("permission denied"))
    error = await refused(client)
    assert error.message == "the macaroon does not allow uri:/lnrpc.Lightning/CheckMacaroonPermissions"


async def test_a_macaroon_that_does_not_even_allow_to_ask_what_the_node_is_gets_the_whole_list(
    lnd: ScriptedLnd, client: LightningNetwork
) -> None:
    lnd.say("GET /v1/getinfo", refusal("permission denied"))
    no, yes = refusal("permission denied", 3, 400), answer({"valid": True})
    lnd.say(CHECK, no, yes, no, yes)
    error = await refused(client)
    assert error.message == "the macaroon does not allow uri:/lnrpc.Lightning/GetInfo"


@pytest.mark.parametrize(
    "words",
    [
        # Messages of lnd 0.21: another node's macaroon, a cut one, random bytes, a deleted root key, an empty file.
        "verification failed: signature mismatch after caveat verification",
        "unmarshal v2: field data extends past end of buffer",
        "unmarshal v1: packet too short",
        "cannot determine data format of binary-encoded macaroon",
        "cannot get macaroon: root key with id 7 doesn't exist",
        "empty macaroon data",
    ],
)
async def test_a_macaroon_of_another_node_is_reported_as_such(
    lnd: ScriptedLnd, client: LightningNetwork, words: str
) -> None:
    lnd.say("GET /v1/getinfo", refusal(words))
    lnd.say(CHECK, refusal(words))
    error = await refused(client)
    assert (type(error), error.code) == (AuthenticationFailed, "macaroon")
    assert words in error.message
    assert lnd.node.macaroon_file in (error.remedy or "")


async def test_a_node_without_macaroons_is_not_asked_about_one(lnd: ScriptedLnd, client: LightningNetwork) -> None:
    lnd.needs_macaroon = False
    lnd.say(CHECK, Reply(cut=True))
    lnd.say("GET /v1/getdebuginfo", answer({"config": {"invoices.holdexpirydelta": "12"}}))
    await client.initialize_async()
    assert lnd.bodies(CHECK) == []


async def test_the_macaroon_is_in_no_error(lnd: ScriptedLnd, client: LightningNetwork) -> None:
    lnd.say(CHECK, refusal("permission denied"))
    error = await refused(client)
    macaroon = macaroon_of(lnd)
    for spelled in (macaroon.hex(), b64encode(macaroon).decode()):
        assert spelled[:16] not in f"{error!r} {error}"


async def refused(client: LightningNetwork) -> Layer2Error:
    with pytest.raises(AuthenticationFailed) as caught:
        await client.initialize_async()
    return caught.value
