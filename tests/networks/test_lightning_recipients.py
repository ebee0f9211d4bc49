"""Lightning recipients of every kind, on both networks."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from hashlib import sha256

import pytest

from layer2 import BTC, LightningNetwork, TxState
from layer2.errors import BadAnswer, InvalidAmount, NodeRefused
from layer2.local.network import LocalNetwork
from layer2.ports.clock import SystemClock
from lnurl_service import LnurlService, running_service
from memory_sends import MemorySends
from networks.parties import Clients, lightning_settings
from networks.waiting import until

AMOUNT = 21_000
MSAT = AMOUNT * 1_000


@pytest.fixture
async def payer(network: LocalNetwork) -> AsyncIterator[LightningNetwork]:
    """A client of the taker's node that uses LNURL services on this machine."""
    settings = lightning_settings(network.taker, lnurl_on_this_machine=True)
    async with LightningNetwork(settings, MemorySends(), SystemClock()) as payer:
        yield payer


@pytest.fixture
def payee(provider: Clients) -> LightningNetwork:
    return provider.lightning


@pytest.fixture
async def service(payee: LightningNetwork) -> AsyncIterator[LnurlService]:
    """A service that returns the payee's invoices."""

    async def make_invoice(amount_msat: int, description_hash: bytes) -> str:
        made = await payee.create_invoice_async(amount_msat // 1_000, description_hash=description_hash)
        assert made.description_hash == description_hash
        return made.text

    async with running_service(make_invoice) as service:
        yield service


async def owned(client: LightningNetwork) -> int:
    balance = (await client.balances_async())[BTC]
    return balance.spendable + balance.reserved


async def pay(payer: LightningNetwork, payee: LightningNetwork, recipient: str, key: str | None = None) -> str:
    """Pay, and wait until the money has arrived."""
    before = await owned(payee)
    tx_id = await payer.transfer_asset_async(BTC, AMOUNT, recipient, idempotency_key=key)
    assert (await payer.wait_for_status_async(tx_id, timeout=30)).state is TxState.FINAL

    async def has_arrived() -> bool:
        return await owned(payee) == before + AMOUNT

    await until(has_arrived, f"{AMOUNT} sat have arrived")
    return tx_id


@pytest.mark.parametrize("way", ["address", "lnurl", "lightning:", "bitcoin:"])
async def test_a_service_is_asked_for_an_invoice_that_is_then_paid(
    payer: LightningNetwork, payee: LightningNetwork, service: LnurlService, way: str
) -> None:
    recipient = {
        "address": service.address,
        "lnurl": service.lnurl,
        "lightning:": f"LIGHTNING:{service.lnurl.upper()}",
        "bitcoin:": f"bitcoin:?amount=0.00021&lightning={service.address}",
    }[way]
    key = os.urandom(8).hex()
    tx_id = await pay(payer, payee, recipient, key)
    assert await payer.transfer_asset_async(BTC, AMOUNT, recipient, idempotency_key=key) == tx_id
    assert len(service.requests) == 2
    assert (await payee.get_transaction_status_async(tx_id)).state is TxState.FINAL  # type: ignore[arg-type]  # a hash as plain text


@pytest.mark.parametrize("with_amount", [True, False])
async def test_an_invoice_is_paid_with_and_without_an_amount(
    payer: LightningNetwork, payee: LightningNetwork, with_amount: bool
) -> None:
    invoice = await payee.create_invoice_async(AMOUNT if with_amount else None)
    assert invoice.amount_msat == (MSAT if with_amount else None)
    for text in (f"lightning:{invoice.text.upper()}", invoice.text):
        assert await payer.transfer_asset_async(BTC, AMOUNT, text) == invoice.payment_hash.hex()
    assert (await payer.wait_for_status_async(invoice.payment_hash.hex(), timeout=30)).state is TxState.FINAL  # type: ignore[arg-type]  # a hash as plain text


async def test_a_node_s_key_is_paid_by_keysend_once_for_a_key(payer: LightningNetwork, payee: LightningNetwork) -> None:
    node, key = await payee.receive_address_async(), os.urandom(8).hex()
    tx_id = await pay(payer, payee, node, key)
    assert await payer.transfer_asset_async(BTC, AMOUNT, node, idempotency_key=key) == tx_id
    assert await pay(payer, payee, f"{node}@203.0.113.7:9735") != tx_id


async def test_nothing_is_paid_if_the_service_refuses_or_gives_another_invoice(
    payer: LightningNetwork, payee: LightningNetwork, service: LnurlService
) -> None:
    before = await owned(payer)

    async def unbound(amount_msat: int, description_hash: bytes) -> str:
        made = await payee.create_invoice_async(amount_msat // 1_000, description_hash=sha256(b"coffee").digest())
        return made.text

    service.make_invoice = unbound
    with pytest.raises(BadAnswer, match="does not have the hash of the metadata"):
        await payer.transfer_asset_async(BTC, AMOUNT, service.address)
    service.changes = {"maxSendable": MSAT - 1}
    with pytest.raises(InvalidAmount, match=f"to {MSAT - 1} msat"):
        await payer.transfer_asset_async(BTC, AMOUNT, service.address)
    service.changes = {"status": "ERROR", "reason": "closed"}
    with pytest.raises(NodeRefused, match="closed"):
        await payer.transfer_asset_async(BTC, AMOUNT, service.address)
    assert await owned(payer) == before
