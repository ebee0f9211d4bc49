"""Macaroons at a real lnd: the required permissions suffice for every call, and missing ones are reported."""

from __future__ import annotations

import os
import re
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from ended_iterators import following
from layer2.errors import AuthenticationFailed, Layer2Error
from layer2.local.network import LightningNode, LocalNetwork
from layer2.model.money import BTC
from layer2.model.transactions import LightningPaymentId, Preimage, TxState
from layer2.ports.clock import SystemClock
from layer2.protocols.lightning import (
    PERMISSIONS,
    InvoiceCursor,
    LightningNetwork,
    LightningSettings,
    PaymentCursor,
    verify_message,
)
from layer2.protocols.lightning.lnd.rest import LndRest
from memory_sends import MemorySends

CHECK = "uri:/lnrpc.Lightning/CheckMacaroonPermissions"
WIDE = ("info:read", "onchain:read", "offchain:read", "offchain:write", "peers:read", "macaroon:read", "message:write")


def settings_of(node: LightningNode, macaroon_file: Path) -> LightningSettings:
    return LightningSettings(
        rest_url=node.rest_url,
        certificate_file=node.certificate_file,
        macaroon_file=str(macaroon_file),
        network="regtest",
        payment_timeout_seconds=20,
        poll_interval_ms=200,
    )


class Bakery:
    """Bakes macaroons of one node with its admin macaroon."""

    def __init__(self, node: LightningNode, directory: Path) -> None:
        self._node = node
        self._directory = directory
        self._rest = LndRest(settings_of(node, Path(node.macaroon_file).with_name("admin.macaroon")))

    async def bake(self, permissions: tuple[str, ...]) -> LightningSettings:
        """Settings with a macaroon that has only these permissions."""
        pairs = [permission.split(":", 1) for permission in permissions]
        asked = {"permissions": [{"entity": entity, "action": action} for entity, action in pairs]}
        macaroon = (await self._rest.post("/v1/macaroon", asked)).fields.text("macaroon")
        return self.write(bytes.fromhex(macaroon))

    def write(self, macaroon: bytes) -> LightningSettings:
        path = self._directory / f"{os.urandom(4).hex()}.macaroon"
        path.write_bytes(macaroon)
        return settings_of(self._node, path)

    async def aclose(self) -> None:
        await self._rest.aclose()


@pytest.fixture
async def bakery(network: LocalNetwork, tmp_path: Path) -> AsyncIterator[Bakery]:
    bakery = Bakery(network.taker.lightning, tmp_path)
    yield bakery
    await bakery.aclose()


async def refused(settings: LightningSettings) -> Layer2Error:
    async with LightningNetwork(settings, MemorySends(), SystemClock()) as client:
        with pytest.raises(Layer2Error) as caught:
            await client.initialize_async()
    return caught.value


def named(error: Layer2Error) -> set[str]:
    return set(re.findall(r"uri:[^\s,]+", error.message))


@pytest.mark.parametrize("missing", [each for each in PERMISSIONS if each != CHECK])
async def test_each_permission_that_is_missing_is_reported_by_its_name(bakery: Bakery, missing: str) -> None:
    error = await refused(await bakery.bake(tuple(each for each in PERMISSIONS if each != missing)))
    assert (type(error), error.code) == (AuthenticationFailed, "permissions")
    assert named(error) == {missing}
    assert (error.remedy or "").startswith("bake one with these permissions: lncli bakemacaroon ")


async def test_all_missing_permissions_are_reported_at_once(bakery: Bakery) -> None:
    some = PERMISSIONS[::2]
    error = await refused(await bakery.bake((*some, CHECK)))
    assert named(error) == set(PERMISSIONS) - {*some, CHECK}


async def test_a_macaroon_that_cannot_be_checked_is_reported(bakery: Bakery) -> None:
    error = await refused(await bakery.bake(tuple(each for each in PERMISSIONS if each != CHECK)))
    assert (error.code, named(error)) == ("permissions", {CHECK})


async def test_wider_permissions_suffice_and_missing_ones_are_reported(bakery: Bakery) -> None:
    whole = await bakery.bake((*WIDE, "invoices:read", "invoices:write"))
    async with LightningNetwork(whole, MemorySends(), SystemClock()) as client:
        await client.initialize_async()
    error = await refused(await bakery.bake((*WIDE, "invoices:read")))
    assert named(error) == {
        "uri:/lnrpc.Lightning/AddInvoice",
        "uri:/invoicesrpc.Invoices/AddHoldInvoice",
        "uri:/invoicesrpc.Invoices/SettleInvoice",
        "uri:/invoicesrpc.Invoices/CancelInvoice",
    }


@pytest.mark.parametrize("kind", ["another node's", "cut", "random", "short", "empty", "another root key's"])
async def test_a_macaroon_of_another_node_is_reported_as_such(network: LocalNetwork, bakery: Bakery, kind: str) -> None:
    error = await refused(bakery.write(wrong_macaroon(network, kind)))
    assert (type(error), error.code) == (AuthenticationFailed, "macaroon")
    assert error.operation == "POST /v1/macaroon/checkpermissions"


def wrong_macaroon(network: LocalNetwork, kind: str) -> bytes:
    own = Path(network.taker.lightning.macaroon_file).read_bytes()
    return {
        "another node's": Path(network.provider.lightning.macaroon_file).read_bytes(),
        "cut": own[:-1],
        "random": os.urandom(100),
        "short": b"abc",
        "empty": b"",
        # The root key's number is in the identifier, after 16 random bytes and a tag.
        "another root key's": own.replace(b"\x12\x01\x30", b"\x12\x01\x37", 1),
    }[kind]


async def test_what_is_needed_is_enough_for_every_call_and_allows_nothing_else(
    network: LocalNetwork, bakery: Bakery
) -> None:
    settings = await bakery.bake(PERMISSIONS)
    payee = network.provider.lightning
    async with AsyncExitStack() as closing:
        client = await closing.enter_async_context(LightningNetwork(settings, MemorySends(), SystemClock()))
        other = await closing.enter_async_context(
            LightningNetwork(settings_of(payee, Path(payee.macaroon_file)), MemorySends(), SystemClock())
        )
        await client.initialize_async()
        await a_round_of_calls(client, other)
        rest = LndRest(settings)
        closing.push_async_callback(rest.aclose)
        for method, path, body in FORBIDDEN:
            with pytest.raises(AuthenticationFailed) as caught:
                await (rest.get(path) if method == "GET" else rest.post(path, body))
            assert caught.value.code == "permissions", path


FORBIDDEN: tuple[tuple[str, str, dict[str, object]], ...] = (
    ("GET", "/v1/newaddress?type=0", {}),
    ("GET", "/v1/balance/blockchain", {}),
    ("GET", "/v1/peers", {}),
    ("GET", "/v1/macaroon/ids", {}),
    ("POST", "/v1/transactions", {"addr": "bcrt1q", "amount": "1000"}),
    ("POST", "/v1/channels", {"node_pubkey": b64encode(bytes(33)).decode(), "local_funding_amount": "100000"}),
    ("POST", "/v1/peers", {"addr": {"pubkey": "02" + "11" * 32, "host": "127.0.0.1:1"}}),
    ("POST", "/v1/macaroon", {"permissions": [{"entity": "info", "action": "read"}]}),
    ("POST", "/v2/wallet/psbt/fund", {}),
    ("POST", "/v2/signer/signmessage", {}),
    ("POST", "/v2/router/route/send", {}),
    ("POST", "/v1/debuglevel", {"show": True}),
)


async def a_round_of_calls(client: LightningNetwork, other: LightningNetwork) -> None:
    """Make every public call of the client, as payer and as payee."""
    await client.legs.read_clock()
    assert (await client.balances_async())[BTC].spendable > 0
    key = await client.receive_address_async()
    verify_message("hello", await client.sign_message_async("hello"), key)

    plain = await other.create_invoice_async(1_000)
    await client.estimate_fee_async(plain.text)
    status = await client.submit_transaction_async(plain.text, idempotency_key="one")
    assert (await client.wait_for_status_async(status.tx_id, timeout=20)).state is TxState.FINAL
    keysend = await client.transfer_asset_async(BTC, 1_000, await other.receive_address_async())
    assert (await client.wait_for_status_async(keysend, timeout=20)).state is TxState.FINAL

    preimage = Preimage(os.urandom(32))
    own = await client.create_invoice_async(1_000)
    to_hold = await client.create_hold_invoice_async(preimage.payment_hash, 1_000)
    to_cancel = await client.create_hold_invoice_async(os.urandom(32), 1_000)
    for invoice in (own, to_hold):
        await other.submit_transaction_async(invoice.text)
    own_id = LightningPaymentId(own.payment_hash.hex())
    assert (await client.wait_for_status_async(own_id, timeout=20)).state is TxState.FINAL
    async with following(client.watch_transaction_async(LightningPaymentId(preimage.payment_hash.hex()))) as statuses:
        async for held in statuses:
            if held.parts:
                break
    assert preimage.payment_hash in {hold.payment_hash for hold in await client.holds_async()}
    await client.settle_invoice_async(preimage)
    await client.cancel_invoice_async(to_cancel.payment_hash)
    async with following(client.watch_invoices_async(InvoiceCursor(0, 0))) as invoices:
        assert (await anext(invoices)).invoice.payment_hash
    async with following(client.watch_payments_async(PaymentCursor(0))) as payments:
        assert (await anext(payments)).payment.payment_hash
