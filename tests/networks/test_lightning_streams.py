"""Payments and invoices are followed on both networks, across node and client restarts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from ended_iterators import following
from layer2 import BTC, LightningNetwork, TxState
from layer2.errors import Layer2Error, NodeRefused
from layer2.local.network import LocalNetwork, LocalNetworkControl
from layer2.model.transactions import LightningPaymentId, Preimage
from layer2.ports.clock import SystemClock
from layer2.protocols.lightning import InvoiceCursor, InvoiceEvent, InvoiceUpdate, PaymentCursor, PaymentUpdate
from layer2.protocols.lightning.lnd.answers import LndObject
from layer2.protocols.lightning.statuses import LightningStatus
from memory_sends import MemorySends
from networks.conftest import running
from networks.parties import Clients, lightning_settings
from networks.waiting import until

SECONDS = 60
FOR_EVER_MS = 3_600_000
"""A poll interval longer than any test, so that only the streams report changes."""


@pytest.fixture(scope="module")
def network(network_name: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalNetwork]:
    """A network for these tests only, because they stop its nodes."""
    with running(network_name, tmp_path_factory.mktemp(f"followed-{network_name}")) as network:
        yield network


@pytest.fixture(autouse=True)
async def both_run_in_the_end(control: LocalNetworkControl) -> AsyncIterator[None]:
    yield
    for party in ("taker", "provider"):
        with suppress(NodeRefused):
            await control.start_lightning(party)


@asynccontextmanager
async def payee(network: LocalNetwork, **changes: Any) -> AsyncIterator[LightningNetwork]:
    """Another client of the provider's node."""
    settings = lightning_settings(network.provider, **changes)
    async with LightningNetwork(settings, MemorySends(), SystemClock()) as client:
        yield client


@asynccontextmanager
async def payer(network: LocalNetwork, **changes: Any) -> AsyncIterator[LightningNetwork]:
    """Another client of the taker's node."""
    settings = lightning_settings(network.taker, **changes)
    async with LightningNetwork(settings, MemorySends(), SystemClock()) as client:
        yield client


async def soon(updates: AsyncIterator[InvoiceUpdate]) -> InvoiceUpdate:
    return await asyncio.wait_for(anext(updates), SECONDS)


async def next_payment(updates: AsyncIterator[PaymentUpdate]) -> PaymentUpdate:
    return await asyncio.wait_for(anext(updates), SECONDS)


async def next_status(statuses: AsyncIterator[LightningStatus]) -> LightningStatus:
    return await asyncio.wait_for(anext(statuses), SECONDS)


async def end_of_invoices(client: LightningNetwork, maker: LightningNetwork) -> InvoiceCursor:
    """The position of a subscriber that has received everything until now."""
    async with following(client.watch_invoices_async()) as updates:
        coming = asyncio.ensure_future(anext(updates))
        newest = b""
        while not coming.done():
            # The client does not report an invoice that was created before it listened.
            newest = (await maker.create_invoice_async(1_000, memo="a marker")).payment_hash
            await asyncio.wait({coming}, timeout=0.1)
        last = coming.result()
        while last.invoice.payment_hash != newest:
            last = await soon(updates)
        return last.cursor


async def paid(taker: LightningNetwork, provider: LightningNetwork, amount: int) -> bytes:
    invoice = await provider.create_invoice_async(amount)
    tx_id = await taker.transfer_asset_async(BTC, amount, invoice.text)
    await taker.wait_for_status_async(tx_id, timeout=SECONDS)
    return invoice.payment_hash


def what(updates: list[InvoiceUpdate]) -> list[tuple[InvoiceEvent, bytes]]:
    return [(update.event, update.invoice.payment_hash) for update in updates]


async def test_invoices_are_reported_when_they_are_made_and_when_they_are_settled(
    network: LocalNetwork, taker: Clients, provider: Clients
) -> None:
    async with payee(network, poll_interval_ms=FOR_EVER_MS) as client:
        cursor = await end_of_invoices(client, provider.lightning)
        first = await paid(taker.lightning, provider.lightning, 1_000)
        second = await paid(taker.lightning, provider.lightning, 2_000)
        async with following(client.watch_invoices_async(cursor)) as updates:
            told = what([await soon(updates) for _ in range(4)])
    made, settled = InvoiceEvent.MADE, InvoiceEvent.SETTLED
    assert sorted(told, key=repr) == sorted(
        [(made, first), (settled, first), (made, second), (settled, second)], key=repr
    )
    assert told.index((made, first)) < told.index((settled, first))
    assert told.index((settled, first)) < told.index((settled, second))


async def test_a_client_that_restarts_between_making_and_settling_gets_each_once(
    network: LocalNetwork, taker: Clients, provider: Clients
) -> None:
    async with payee(network) as client:
        cursor = await end_of_invoices(client, provider.lightning)
        invoice = await provider.lightning.create_invoice_async(3_000)
        async with following(client.watch_invoices_async(cursor)) as updates:
            made = await soon(updates)
    await taker.lightning.transfer_asset_async(BTC, 3_000, invoice.text)
    await provider.lightning.wait_for_status_async(
        LightningPaymentId(invoice.payment_hash.hex()), until=TxState.FINAL, timeout=SECONDS
    )
    async with payee(network) as client, following(client.watch_invoices_async(made.cursor)) as updates:
        settled = await soon(updates)
        coming = asyncio.ensure_future(anext(updates))
        later = await provider.lightning.create_invoice_async(4_000)
        after = await asyncio.wait_for(coming, SECONDS)
    assert what([made, settled, after]) == [
        (InvoiceEvent.MADE, invoice.payment_hash),
        (InvoiceEvent.SETTLED, invoice.payment_hash),
        (InvoiceEvent.MADE, later.payment_hash),
    ]
    assert settled.invoice.paid_msat == 3_000_000


async def test_invoices_are_reported_once_over_a_node_that_is_stopped_in_between(
    network: LocalNetwork, control: LocalNetworkControl, taker: Clients, provider: Clients
) -> None:
    async with payee(network) as client:
        cursor = await end_of_invoices(client, provider.lightning)
        async with following(client.watch_invoices_async(cursor)) as updates:
            before = await paid(taker.lightning, provider.lightning, 1_000)
            told = what([await soon(updates) for _ in range(2)])
            coming = asyncio.ensure_future(anext(updates))
            await control.stop_lightning("provider")
            await control.start_lightning("provider")
            await until_it_can_be_paid(taker.lightning, provider.lightning)
            again = await paid(taker.lightning, provider.lightning, 2_000)
            first = await asyncio.wait_for(coming, SECONDS)
            told += what([first])
            while told[-1] != (InvoiceEvent.SETTLED, again):
                told += what([await soon(updates)])
    assert len(told) == len(set(told))
    assert [event for event in told if event[1] in (before, again)] == [
        (InvoiceEvent.MADE, before),
        (InvoiceEvent.SETTLED, before),
        (InvoiceEvent.MADE, again),
        (InvoiceEvent.SETTLED, again),
    ]


async def test_every_update_arrives_once_while_both_nodes_are_killed_under_traffic(
    network: LocalNetwork, control: LocalNetworkControl, taker: Clients, provider: Clients
) -> None:
    made: list[int] = []
    settled: list[int] = []
    decided: list[int] = []

    async def follow_invoices(client: LightningNetwork) -> None:
        async with following(client.watch_invoices_async(InvoiceCursor(0, 0))) as updates:
            async for update in updates:
                if update.event is InvoiceEvent.MADE:
                    made.append(update.invoice.add_index)
                else:
                    settled.append(update.invoice.settle_index)

    async def follow_payments(client: LightningNetwork) -> None:
        async with following(client.watch_payments_async(PaymentCursor(0))) as updates:
            # One by one, so that those received before the cancellation are kept.
            async for update in updates:
                decided.extend([update.payment.index] if update.payment.state.is_final else [])

    async def pay_on() -> None:
        while True:
            # Ignore calls that fail while the node is killed. This test checks the lists.
            with suppress(Layer2Error):
                invoice = await provider.lightning.create_invoice_async(1_000)
                await taker.lightning.submit_transaction_async(invoice.text)
            await asyncio.sleep(0.01)

    async with payee(network) as received, payer(network) as sent:
        followers = [asyncio.ensure_future(follow_invoices(received)), asyncio.ensure_future(follow_payments(sent))]
        traffic = [asyncio.ensure_future(pay_on()) for _ in range(3)]
        for party in ("provider", "taker"):
            before = len(settled)

            async def has_gone_on(before: int = before) -> bool:
                return len(settled) >= before + 5

            await until(has_gone_on, "payments are made")
            await control.stop_lightning(party)
            await control.start_lightning(party)
        await until_it_can_be_paid(taker.lightning, provider.lightning)
        for task in traffic:
            task.cancel()
        await asyncio.gather(*traffic, return_exceptions=True)
        await paid(taker.lightning, provider.lightning, 1_000)

        async def is_as_the_nodes_say() -> bool:
            invoices = await listed(provider.lightning, "/v1/invoices?num_max_invoices=100000", "invoices")
            payments = await listed(
                taker.lightning, "/v1/payments?include_incomplete=true&max_payments=100000", "payments"
            )
            return (
                made == [invoice.integer("add_index") for invoice in invoices]
                and settled == sorted(filter(None, (invoice.integer("settle_index") for invoice in invoices)))
                and sorted(decided)
                == [one.integer("payment_index") for one in payments if one.text("status") in ("SUCCEEDED", "FAILED")]
            )

        await until(is_as_the_nodes_say, "the streams match the nodes' lists")
        for task in followers:
            task.cancel()
        await asyncio.gather(*followers, return_exceptions=True)


async def listed(client: LightningNetwork, path: str, name: str) -> list[LndObject]:
    """The node's complete list."""
    return (await client._parts.rest.get(path)).fields.objects(name)


async def until_it_can_be_paid(taker: LightningNetwork, provider: LightningNetwork) -> None:
    async def is_paid() -> bool:
        try:
            invoice = await provider.create_invoice_async(1_000)
            tx_id = await taker.transfer_asset_async(BTC, 1_000, invoice.text)
            return (await taker.wait_for_status_async(tx_id, timeout=SECONDS)).state is TxState.FINAL
        except Exception:  # noqa: BLE001 - any error of a starting node
            return False

    await until(is_paid, "a payment arrives")


async def test_payments_are_reported_under_way_and_decided_and_continue_where_a_client_stopped(
    network: LocalNetwork, taker: Clients, provider: Clients
) -> None:
    preimage = Preimage(sha256(b"held" + network.name.encode()).digest())
    held = await provider.lightning.create_hold_invoice_async(preimage.payment_hash, 5_000)
    async with payer(network) as client, following(client.watch_payments_async()) as updates:
        coming = asyncio.ensure_future(anext(updates))
        status = await taker.lightning.submit_transaction_async(held.text)
        begun = await asyncio.wait_for(coming, SECONDS)
        while begun.payment.payment_hash != preimage.payment_hash:  # payments of an earlier test may be decided now
            begun = await next_payment(updates)
        quick = await paid(taker.lightning, provider.lightning, 1_000)
        others = [begun]
        while not (others[-1].payment.payment_hash == quick and others[-1].payment.preimage is not None):
            others.append(await next_payment(updates))
    assert not begun.payment.state.is_final
    assert begun.payment.index in others[-1].cursor.open
    await provider.lightning.wait_for_status_async(status.tx_id, until=TxState.PENDING, timeout=SECONDS)
    await provider.lightning.settle_invoice_async(preimage)
    assert (await taker.lightning.wait_for_status_async(status.tx_id, timeout=SECONDS)).state is TxState.FINAL
    async with payer(network) as client, following(client.watch_payments_async(others[-1].cursor)) as updates:
        decided = await next_payment(updates)
        assert (decided.payment.payment_hash, decided.payment.preimage) == (preimage.payment_hash, preimage)
        last = await paid(taker.lightning, provider.lightning, 1_000)
        assert (await next_payment(updates)).payment.payment_hash == last


async def test_all_payments_are_handed_out_from_the_beginning(
    network: LocalNetwork, taker: Clients, provider: Clients
) -> None:
    hashes = [await paid(taker.lightning, provider.lightning, 1_000) for _ in range(3)]
    seen: list[bytes] = []
    async with following(taker.lightning.watch_payments_async(PaymentCursor(0))) as updates:
        while not set(hashes) <= set(seen):
            seen.append((await next_payment(updates)).payment.payment_hash)
    assert [payment_hash for payment_hash in seen if payment_hash in hashes] == hashes


async def test_a_held_invoice_is_reported_by_its_own_stream_with_its_expiry_height(
    network: LocalNetwork, taker: Clients, provider: Clients
) -> None:
    preimage = Preimage(sha256(b"followed" + network.name.encode()).digest())
    invoice = await provider.lightning.create_hold_invoice_async(preimage.payment_hash, 5_000)
    tx_id = LightningPaymentId(preimage.payment_hash.hex())
    async with (
        payee(network, poll_interval_ms=FOR_EVER_MS) as client,
        following(client.watch_transaction_async(tx_id)) as statuses,
    ):
        first = await next_status(statuses)
        assert (first.state, first.expiry_height) == (TxState.PENDING, None)
        await taker.lightning.submit_transaction_async(invoice.text)
        held = await next_status(statuses)
        assert (held.state, held.parts) == (TxState.PENDING, 1)
        assert held.expiry_height is not None
        await provider.lightning.settle_invoice_async(preimage)
        last = await next_status(statuses)
        assert (last.state, last.preimage) == (TxState.FINAL, preimage)
        assert [status async for status in statuses] == []


async def test_more_held_invoices_than_streams_are_all_reported(
    network: LocalNetwork, taker: Clients, provider: Clients
) -> None:
    preimages = [Preimage(sha256(f"{number} of many {network.name}".encode()).digest()) for number in range(4)]
    async with payee(network, max_hold_streams=1, poll_interval_ms=100) as client:
        invoices = [
            await provider.lightning.create_hold_invoice_async(preimage.payment_hash, 2_000) for preimage in preimages
        ]
        tx_ids = [LightningPaymentId(preimage.payment_hash.hex()) for preimage in preimages]
        waits = [asyncio.ensure_future(client.wait_for_status_async(tx_id, timeout=SECONDS)) for tx_id in tx_ids]
        for invoice in invoices:
            await taker.lightning.submit_transaction_async(invoice.text)
        for tx_id, preimage in zip(tx_ids, preimages, strict=True):
            async with following(client.watch_transaction_async(tx_id)) as statuses:
                while (await next_status(statuses)).parts is None:
                    pass
            assert client.open_streams <= 3
            await provider.lightning.settle_invoice_async(preimage)
        assert [status.preimage for status in await asyncio.gather(*waits)] == preimages


async def test_a_plain_invoice_that_is_cancelled_is_noticed_in_turn(network: LocalNetwork, provider: Clients) -> None:
    invoice = await provider.lightning.create_invoice_async(1_000)
    async with payee(network, poll_interval_ms=100) as client:
        waiting = asyncio.ensure_future(
            client.wait_for_status_async(LightningPaymentId(invoice.payment_hash.hex()), timeout=SECONDS)
        )
        await until_open(client, 1)
        await provider.lightning.cancel_invoice_async(invoice.payment_hash)
        assert (await waiting).state is TxState.FAILED


async def until_open(client: LightningNetwork, streams: int) -> None:
    async def are_open() -> bool:
        return client.open_streams == streams

    await until(are_open, f"{streams} streams are open")


async def test_streams_are_open_while_they_have_subscribers(network: LocalNetwork) -> None:
    async with payee(network, poll_interval_ms=50) as client:
        assert client.open_streams == 0
        waits = [
            asyncio.ensure_future(client.wait_for_status_async(LightningPaymentId(f"{number:064x}")))
            for number in range(100)
        ]
        await until_open(client, 2)
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
        await until_open(client, 0)


async def test_a_blocking_program_follows_invoices(network: LocalNetwork, provider: Clients, tmp_path: Path) -> None:
    async with payee(network) as client:
        cursor = await end_of_invoices(client, provider.lightning)
    invoice = await provider.lightning.create_invoice_async(1_000)

    def program() -> bytes:
        with LightningNetwork(lightning_settings(network.provider), MemorySends(), SystemClock()) as client:
            for update in client.watch_invoices_sync(cursor):
                return update.invoice.payment_hash
        raise AssertionError("the invoices ended")

    assert await asyncio.to_thread(program) == invoice.payment_hash
