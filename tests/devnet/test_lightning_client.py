"""The Lightning client with two real lnd nodes: its reports about payments, legs and balances match the nodes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from hashlib import sha256

import pytest

from layer2.errors import InsufficientFunds, TransactionError
from layer2.legs.evidence import LightningPaymentEvidence
from layer2.legs.leg import Htlc
from layer2.legs.views import ActStatus, LegState, LegView, Side, Verb
from layer2.local.network import LocalNetwork
from layer2.model.money import BTC
from layer2.model.transactions import LightningPaymentId, Preimage, TxState
from layer2.ports.clock import SystemClock
from layer2.protocols.lightning import LightningNetwork, PaymentRequest
from memory_sends import MemorySends
from protocols.lightning.world import htlc_of, offer_request, settings_of

pytestmark = pytest.mark.devnet


@dataclass
class Clients:
    taker: LightningNetwork
    provider: LightningNetwork


@pytest.fixture
async def clients(network: LocalNetwork) -> AsyncIterator[Clients]:
    async with AsyncExitStack() as stack:
        taker, provider = [
            await stack.enter_async_context(
                LightningNetwork(settings_of(party.lightning, poll_interval_ms=500), MemorySends(), SystemClock())
            )
            for party in (network.taker, network.provider)
        ]
        for client in (taker, provider):
            await client.initialize_async()
        yield Clients(taker, provider)


def preimage(name: str) -> Preimage:
    return Preimage(sha256(f"devnet {name}".encode()).digest())


async def hold_leg(clients: Clients, secret: Preimage) -> Htlc:
    return htlc_of(await clients.provider.legs.offer(replace(offer_request(), payment_hash=secret.payment_hash)))


async def seen(client: LightningNetwork, htlc: Htlc, side: Side, *, final: bool = False, state: LegState) -> LegView:
    """Wait until the leg is in that state, and return it."""
    async with asyncio.timeout(30):
        while True:
            view = await client.legs.observe(htlc, side)
            if view.state is state and view.final is final:
                return view
            await client.legs.wait_for_change(htlc, view)


async def test_a_payment_is_final_with_its_preimage_at_both_nodes(clients: Clients) -> None:
    invoice = await clients.provider.create_invoice_async(1_000, memo="tea")
    tx_id = await clients.taker.transfer_asset_async(BTC, 1_000, invoice.text, idempotency_key="tea")
    paid = await clients.taker.wait_for_status_async(tx_id, timeout=30)
    assert (paid.state, paid.fee) == (TxState.FINAL, 0)
    assert paid.preimage is not None
    received = await clients.provider.get_transaction_status_async(tx_id)
    assert (received.state, received.preimage) == (TxState.FINAL, paid.preimage)
    again = await clients.taker.submit_transaction_async(invoice.text)
    assert again == paid
    for client in (clients.taker, clients.provider):
        assert await client.verify_proof_async(LightningPaymentEvidence(paid.preimage))


async def test_a_held_leg_is_collected(clients: Clients) -> None:
    secret = preimage("collected")
    htlc = await hold_leg(clients, secret)
    act = await clients.taker.legs.prepare(Verb.FUND, htlc)
    assert await clients.taker.legs.act_status(act) is ActStatus.UNSEEN
    for _ in range(2):
        await clients.taker.legs.perform(act)
    held = await seen(clients.provider, htlc, Side.PAYEE, state=LegState.FUNDED)
    assert held.held is not None
    assert held.held.expiry_height == held.clock.height + 100 + 3
    assert (await seen(clients.taker, htlc, Side.PAYER, state=LegState.FUNDED)).preimage is None
    collect = await clients.provider.legs.prepare(Verb.COLLECT, htlc, secret)
    for _ in range(2):
        await clients.provider.legs.perform(collect)
    for client, side in ((clients.provider, Side.PAYEE), (clients.taker, Side.PAYER)):
        assert (await seen(client, htlc, side, final=True, state=LegState.COLLECTED)).preimage == secret
    assert await clients.taker.legs.act_status(act) is ActStatus.DONE


async def test_a_held_leg_is_released(clients: Clients) -> None:
    secret = preimage("released")
    htlc = await hold_leg(clients, secret)
    await clients.taker.legs.perform(await clients.taker.legs.prepare(Verb.FUND, htlc))
    await seen(clients.provider, htlc, Side.PAYEE, state=LegState.FUNDED)
    release = await clients.provider.legs.prepare(Verb.RELEASE, htlc)
    for _ in range(2):
        await clients.provider.legs.perform(release)
    for client, side in ((clients.provider, Side.PAYEE), (clients.taker, Side.PAYER)):
        assert (await seen(client, htlc, side, final=True, state=LegState.RETURNED)).over
    with pytest.raises(TransactionError, match="already canceled"):
        await clients.provider.legs.perform(await clients.provider.legs.prepare(Verb.COLLECT, htlc, secret))


async def test_an_id_that_neither_node_knows_is_unknown(clients: Clients) -> None:
    tx_id = LightningPaymentId(preimage("nobody's").payment_hash.hex())
    assert (await clients.taker.get_transaction_status_async(tx_id)).state is TxState.UNKNOWN


async def test_all_that_is_spendable_can_be_sent_and_not_one_satoshi_more(clients: Clients) -> None:
    spendable = await settled_spendable(clients)
    too_much = await clients.provider.create_invoice_async(spendable + 1)
    with pytest.raises(InsufficientFunds, match=f"{spendable} sat"):
        await clients.taker.submit_transaction_async(too_much.text)
    # The client refuses it beforehand. The node also fails it, so the client does not refuse possible payments.
    pay = PaymentRequest(too_much.text).resolved(too_much, clients.taker._settings)
    await clients.taker._parts.payments.send(pay)
    tx_id = LightningPaymentId(too_much.payment_hash.hex())
    assert (await clients.taker.wait_for_status_async(tx_id, timeout=30)).state is TxState.FAILED
    invoice = await clients.provider.create_invoice_async(spendable)
    status = await clients.taker.submit_transaction_async(invoice.text)
    assert (await clients.taker.wait_for_status_async(status.tx_id, timeout=30)).state is TxState.FINAL
    # Return half of it, for later tests.
    back = await clients.taker.create_invoice_async(spendable // 2)
    status = await clients.provider.submit_transaction_async(back.text)
    assert (await clients.provider.wait_for_status_async(status.tx_id, timeout=30)).state is TxState.FINAL


async def settled_spendable(clients: Clients) -> int:
    """The taker's sendable amount, once both nodes have the same commitment, which settles earlier payments."""
    async with asyncio.timeout(30):
        while True:
            balances = [(await client.balances_async())[BTC] for client in (clients.taker, clients.provider)]
            if balances[0].spendable == balances[1].receivable and balances[0].receivable == balances[1].spendable:
                return balances[0].spendable
            await asyncio.sleep(0.05)
