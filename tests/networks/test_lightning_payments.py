"""Payments on real and simulated nodes: amounts, keys, joins, failures, estimates, and many at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from layer2 import BTC, KeysendRequest, LightningNetwork, PaymentRequest, RouteEstimate, TxState
from layer2.errors import FundsRulesError, InsufficientFunds, NodeRefused, TransactionError
from layer2.local.network import LocalNetwork
from layer2.model.transactions import LightningPaymentId
from layer2.net.client_settings import ConnectionPoolConfig
from layer2.ports.clock import SystemClock
from layer2.protocols.lightning.lnd.failures import ALREADY_EXISTS
from layer2.protocols.lightning.lnd.rest import LndRest
from memory_sends import MemorySends
from networks.parties import Clients, lightning_settings
from networks.waiting import until

SECONDS = 30
STRANGER = bytes.fromhex("0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798")
"""The key of a node outside these networks."""


@pytest.fixture
async def rest_of_taker(network: LocalNetwork) -> AsyncIterator[LndRest]:
    rest = LndRest(lightning_settings(network.taker))
    yield rest
    await rest.aclose()


@pytest.fixture
async def rest_of_provider(network: LocalNetwork) -> AsyncIterator[LndRest]:
    rest = LndRest(lightning_settings(network.provider))
    yield rest
    await rest.aclose()


async def invoice_without_amount(rest: LndRest) -> str:
    return (await rest.post("/v1/invoices", {"value_msat": "0"})).fields.text("payment_request")


async def test_a_node_is_paid_by_its_key_and_once_for_a_key(
    network: LocalNetwork, taker: Clients, provider: Clients
) -> None:
    request = KeysendRequest(bytes.fromhex(network.provider.lightning.node_key), 2_000_001)
    tx_id = (await taker.lightning.submit_transaction_async(request, idempotency_key="keysend 1")).tx_id
    paid = await taker.lightning.wait_for_status_async(tx_id, timeout=SECONDS)
    again = await taker.lightning.submit_transaction_async(request, idempotency_key="keysend 1")
    assert (paid.state, paid.parts, again.tx_id, again.state) == (TxState.FINAL, 1, tx_id, TxState.FINAL)
    received = await provider.lightning.wait_for_status_async(tx_id, timeout=SECONDS)
    assert (received.state, received.preimage) == (TxState.FINAL, paid.preimage)


async def test_a_keysend_locks_no_longer_than_its_limit(network: LocalNetwork, taker: Clients) -> None:
    payee = bytes.fromhex(network.provider.lightning.node_key)
    request = KeysendRequest(payee, 2_000_000, fee_limit_msat=0, cltv_limit=84)
    tx_id = (await taker.lightning.submit_transaction_async(request)).tx_id
    assert (await taker.lightning.wait_for_status_async(tx_id, timeout=SECONDS)).state is TxState.FINAL
    with pytest.raises(FundsRulesError, match="between 84 and 2016"):
        await taker.lightning.submit_transaction_async(replace(request, cltv_limit=83))


async def test_a_payment_that_finds_no_way_has_failed_with_lnds_reason(taker: Clients) -> None:
    tx_id = (await taker.lightning.submit_transaction_async(KeysendRequest(STRANGER, 2_000_000))).tx_id
    failed = await taker.lightning.wait_for_status_async(tx_id, timeout=SECONDS)
    assert (failed.state, failed.reason, failed.parts) == (TxState.FAILED, "FAILURE_REASON_NO_ROUTE", None)


async def test_an_invoice_without_an_amount_is_paid_once_with_the_payers(
    taker: Clients, provider: Clients, rest_of_provider: LndRest
) -> None:
    invoice = await invoice_without_amount(rest_of_provider)
    request = PaymentRequest(invoice, amount_msat=2_000_001, max_parts=1)
    tx_id = (await taker.lightning.submit_transaction_async(request)).tx_id
    paid = await taker.lightning.wait_for_status_async(tx_id, timeout=SECONDS)
    assert paid.state is TxState.FINAL
    assert (await provider.lightning.wait_for_status_async(tx_id, timeout=SECONDS)).preimage == paid.preimage
    assert await taker.lightning.submit_transaction_async(request) == paid
    with pytest.raises(FundsRulesError, match="over 2000001 msat; a hash is paid once"):
        await taker.lightning.submit_transaction_async(replace(request, amount_msat=2_000_002))


async def test_a_hash_that_was_paid_or_is_under_way_is_refused_by_lnd_with_the_code_that_we_know(
    taker: Clients, provider: Clients, rest_of_taker: LndRest
) -> None:
    invoice = await provider.lightning.create_invoice_async(2_000)
    tx_id = (await taker.lightning.submit_transaction_async(invoice.text)).tx_id
    await taker.lightning.wait_for_status_async(tx_id, timeout=SECONDS)
    body = {"payment_request": invoice.text, "fee_limit_msat": "0", "timeout_seconds": 5}
    with pytest.raises(NodeRefused, match="invoice is already paid") as caught:
        await rest_of_taker.begin_stream("POST", "/v2/router/send", body)
    assert caught.value.node_code == ALREADY_EXISTS


async def test_two_clients_of_one_node_make_one_payment_of_many_calls(
    network: LocalNetwork, taker: Clients, provider: Clients
) -> None:
    invoice = await provider.lightning.create_invoice_async(2_000)
    async with LightningNetwork(lightning_settings(network.taker), MemorySends(), SystemClock()) as other:
        clients = (taker.lightning, other)
        statuses = await asyncio.gather(
            *(client.submit_transaction_async(invoice.text) for client in clients for _ in range(5))
        )
        assert {status.state for status in statuses} <= {TxState.PENDING, TxState.FINAL}
        ends = [await client.wait_for_status_async(statuses[0].tx_id, timeout=SECONDS) for client in clients]
    assert ends[0] == ends[1]
    assert ends[0].state is TxState.FINAL


async def test_a_payment_that_failed_is_sent_again_only_for_a_new_request(taker: Clients, provider: Clients) -> None:
    lightning = taker.lightning
    invoice = await provider.lightning.create_invoice_async(2_000)
    tx_id = LightningPaymentId(invoice.payment_hash.hex())
    await provider.lightning.cancel_invoice_async(invoice.payment_hash)
    numbers = []
    for key in ("first", "first", "second", None):
        await lightning.submit_transaction_async(invoice.text, idempotency_key=key)
        failed = await lightning.wait_for_status_async(tx_id, timeout=SECONDS)
        assert (failed.state, failed.reason) == (TxState.FAILED, "FAILURE_REASON_INCORRECT_PAYMENT_DETAILS")
        known = await lightning._parts.payments.find(invoice.payment_hash)
        assert known is not None
        numbers.append(known.index)
    assert numbers[0] == numbers[1] < numbers[2] < numbers[3]


async def test_what_a_payment_would_cost_is_what_it_costs(
    network: LocalNetwork, taker: Clients, provider: Clients
) -> None:
    invoice = await provider.lightning.create_invoice_async(2_000)
    by_graph = await taker.lightning.estimate_fee_async(invoice.text)
    by_key = await taker.lightning.estimate_fee_async(network.provider.lightning.node_key, 2_000)
    assert by_graph == by_key == RouteEstimate(fee_msat=0, lock_blocks=83)
    tx_id = (await taker.lightning.submit_transaction_async(invoice.text)).tx_id
    assert (await taker.lightning.wait_for_status_async(tx_id, timeout=SECONDS)).fee == 0


async def test_without_an_estimate_the_error_has_the_reason(network: LocalNetwork, taker: Clients) -> None:
    with pytest.raises(InsufficientFunds):
        await taker.lightning.estimate_fee_async(network.provider.lightning.node_key, 10_000_000_000)
    with pytest.raises(TransactionError, match="FAILURE_REASON_NO_ROUTE") as caught:
        await taker.lightning.estimate_fee_async(STRANGER.hex(), 2_000)
    assert caught.value.code == "no_route"


async def test_many_payments_at_once_over_few_connections_all_end(network: LocalNetwork, provider: Clients) -> None:
    invoices = [(await provider.lightning.create_invoice_async(1_000)).text for _ in range(30)]
    settings = lightning_settings(
        network.taker, max_payment_streams=3, connection_pool=ConnectionPoolConfig(max_connections=5)
    )
    async with LightningNetwork(settings, MemorySends(), SystemClock()) as payer:

        async def owned() -> int:
            balance = (await payer.balances_async())[BTC]
            return balance.spendable + balance.reserved

        before = await owned()

        async def pay(invoice: str) -> TxState:
            tx_id = (await payer.submit_transaction_async(invoice, timeout=SECONDS)).tx_id
            assert payer._parts.payment_feed.open_sends <= 3
            return (await payer.wait_for_status_async(tx_id, timeout=SECONDS)).state

        assert set(await asyncio.gather(*map(pay, invoices))) == {TxState.FINAL}

        async def each_is_paid_once() -> bool:
            return before - await owned() == 30_000

        # The commitment fee for the last HTLCs is returned with the next signatures.
        await until(each_is_paid_once, "exactly 30 payments of 1,000 satoshi are paid", seconds=SECONDS)
