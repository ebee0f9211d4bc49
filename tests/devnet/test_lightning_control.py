"""A devnet's lnd is killed and restarted, and the clients' macaroons allow what clients need."""

from __future__ import annotations

import os
import ssl
import stat
from base64 import b64encode
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import aiohttp
import pytest

from layer2.errors import NodeRefused
from layer2.local import devnet
from layer2.local.network import LocalNetwork, LocalNetworkControl, Party

pytestmark = pytest.mark.devnet

Who = Literal["taker", "provider"]
ADMIN = "admin.macaroon"
KEYSEND_RECORD = "5482373484"


async def call(party: Party, method: str, path: str, session: aiohttp.ClientSession, **changes: Any) -> dict[str, Any]:
    """The answer of the party's lnd, also if it is an error."""
    lightning = party.lightning
    macaroon = Path(lightning.macaroon_file)
    if "macaroon" in changes:
        macaroon = macaroon.with_name(changes["macaroon"])
    tls = ssl.create_default_context(cafile=lightning.certificate_file)
    headers = {"Grpc-Metadata-macaroon": macaroon.read_bytes().hex()}
    async with session.request(
        method, lightning.rest_url + path, json=changes.get("body"), headers=headers, ssl=tls
    ) as response:
        answer: dict[str, Any] = await response.json()
        return answer


def content(file: str) -> bytes:
    return Path(file).read_bytes()


async def channel_is_active(party: Party, session: aiohttp.ClientSession) -> bool:
    (channel,) = (await call(party, "GET", "/v1/channels", session))["channels"]
    is_active: bool = channel["active"]
    return is_active


@pytest.mark.parametrize("who", ["taker", "provider"])
async def test_an_lnd_that_was_killed_is_started_again_with_its_channel_and_the_network_continues(
    network: LocalNetwork, control: LocalNetworkControl, session: aiohttp.ClientSession, who: Who
) -> None:
    party, other = network.taker, network.provider
    if who == "provider":
        party, other = other, party
    certificate = content(party.lightning.certificate_file)
    await control.stop_lightning(who)
    with pytest.raises(aiohttp.ClientConnectorError):
        await call(party, "GET", "/v1/getinfo", session)
    assert not await channel_is_active(other, session)
    height = await control.mine_bitcoin(1)
    assert (await control.status())["bitcoin"]["height"] == height
    with pytest.raises(NodeRefused, match="is not running"):
        await control.stop_lightning(who)

    await control.start_lightning(who)

    assert content(party.lightning.certificate_file) == certificate
    information = await call(party, "GET", "/v1/getinfo", session)
    assert (information["identity_pubkey"], information["block_height"]) == (party.lightning.node_key, height)
    assert await channel_is_active(party, session)
    assert await channel_is_active(other, session)
    with pytest.raises(NodeRefused, match="is already running"):
        await control.start_lightning(who)
    assert devnet.status(Path(network.directory)).network == network
    assert all(is_running for _, is_running in devnet.status(Path(network.directory)).processes)


async def test_an_lnd_restarts_with_a_new_certificate_in_the_same_file(
    network: LocalNetwork, control: LocalNetworkControl, session: aiohttp.ClientSession
) -> None:
    before = content(network.taker.lightning.certificate_file)
    await control.stop_lightning("taker")
    await control.start_lightning("taker", new_certificate=True)
    assert content(network.taker.lightning.certificate_file) != before
    assert await channel_is_active(network.taker, session)


async def test_there_are_two_parties_and_no_others(control: LocalNetworkControl) -> None:
    nobody: Any = "nobody"
    for operation in (control.stop_lightning, control.start_lightning):
        with pytest.raises(NodeRefused, match="unknown party 'nobody'"):
            await operation(nobody)


def test_the_macaroons_are_their_owners_alone(network: LocalNetwork) -> None:
    for party in (network.taker, network.provider):
        macaroon = Path(party.lightning.macaroon_file)
        assert macaroon.name == "layer2.macaroon"
        for file in (macaroon, macaroon.with_name(ADMIN)):
            assert stat.S_IMODE(file.stat().st_mode) == 0o600


async def test_the_clients_macaroon_allows_what_clients_need_and_no_more(
    network: LocalNetwork, session: aiohttp.ClientSession
) -> None:
    for party in (network.taker, network.provider):
        refused = await call(party, "GET", "/v1/newaddress", session)
        assert "permission denied" in refused["message"]
        assert "address" in await call(party, "GET", "/v1/newaddress", session, macaroon=ADMIN)
        assert "message" not in await call(party, "GET", "/v1/invoices", session)


async def test_a_payment_to_a_nodes_key_is_taken(network: LocalNetwork, session: aiohttp.ClientSession) -> None:
    preimage = os.urandom(32)
    body = {
        "dest": b64encode(bytes.fromhex(network.provider.lightning.node_key)).decode(),
        "amt": "1000",
        "payment_hash": b64encode(sha256(preimage).digest()).decode(),
        "dest_custom_records": {KEYSEND_RECORD: b64encode(preimage).decode()},
        "timeout_seconds": 10,
        "no_inflight_updates": True,
    }
    sent = await call(network.taker, "POST", "/v2/router/send", session, body=body)
    assert sent["result"]["status"] == "SUCCEEDED"
