"""Transfers to all kinds of recipients, once per idempotency key."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from layer2 import BTC, LightningNetwork
from layer2.errors import (
    AsyncTimeout,
    BadAnswer,
    FundsRulesError,
    IdempotencyConflict,
    InsufficientFunds,
    InvalidAmount,
    Layer2Error,
    NodeUnreachable,
    Outcome,
    ProtocolNotImplemented,
    TransactionError,
)
from layer2.model.transactions import LightningPaymentId, TxState
from layer2.ports.journal import SendRecord
from lnurl_service import LnurlService, running_service
from protocols.lightning.world import World, settings_of

AMOUNT = 50_000
ON_CHAIN = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"


@pytest.fixture
async def service(world: World) -> AsyncIterator[LnurlService]:
    """An LNURL service with invoices of the provider's node."""

    async def make_invoice(amount_msat: int, description_hash: bytes) -> str:
        assert amount_msat % 1_000 == 0
        made = await world.provider.create_invoice_async(amount_msat // 1_000, description_hash=description_hash)
        return made.text

    async with running_service(make_invoice) as service:
        yield service


@pytest.fixture
async def payer(world: World) -> AsyncIterator[LightningNetwork]:
    """A client of the taker's node that allows services on this machine."""
    async with world.restarted_taker(lnurl_on_this_machine=True) as payer:
        yield payer


async def received(world: World) -> int:
    return (await world.provider.balances_async())[BTC].spendable - 4_900_000


async def until_final(payer: LightningNetwork, tx_id: LightningPaymentId) -> None:
    assert (await payer.wait_for_status_async(tx_id, timeout=10)).state is TxState.FINAL


@pytest.mark.parametrize("way", ["address", "lnurl", "LNURL", "lightning:", "bitcoin:", "https:"])
async def test_a_service_is_paid_in_each_way_that_names_it(
    world: World, payer: LightningNetwork, service: LnurlService, way: str
) -> None:
    recipient = {
        "address": service.address,
        "lnurl": service.lnurl,
        "LNURL": service.lnurl.upper(),
        "lightning:": f"lightning:{service.address}",
        "bitcoin:": f"bitcoin:{ON_CHAIN}?amount=0.0005&label=tea&lightning={service.lnurl.upper()}",
        "https:": f"https://shop.example/tea?lightning={service.lnurl}",
    }[way]
    tx_id = await payer.transfer_asset_async(BTC, AMOUNT, recipient)
    await until_final(payer, tx_id)
    assert await received(world) == AMOUNT
    assert (await world.provider.get_transaction_status_async(tx_id)).state is TxState.FINAL


@pytest.mark.parametrize("prefix", ["", "lightning:", "bitcoin:?amount=0.00050&lightning="])
@pytest.mark.parametrize("with_amount", [True, False])
async def test_an_invoice_is_paid_with_or_without_an_amount_of_its_own(
    world: World, prefix: str, with_amount: bool
) -> None:
    invoice = await world.provider.create_invoice_async(AMOUNT if with_amount else None)
    tx_id = await world.taker.transfer_asset_async(BTC, AMOUNT, prefix + invoice.text)
    assert tx_id == invoice.payment_hash.hex()
    await until_final(world.taker, tx_id)
    assert await received(world) == AMOUNT


@pytest.mark.parametrize("form", ["{key}", "{key}@203.0.113.7:9735", "lightning:{key}"])
async def test_a_node_s_key_is_paid_without_an_invoice(world: World, form: str) -> None:
    key = await world.provider.receive_address_async()
    first = await world.taker.transfer_asset_async(BTC, AMOUNT, form.format(key=key))
    second = await world.taker.transfer_asset_async(BTC, AMOUNT, form.format(key=key))
    assert first != second
    for tx_id in (first, second):
        await until_final(world.taker, tx_id)
    assert await received(world) == 2 * AMOUNT


async def test_with_a_key_a_node_is_paid_once(world: World) -> None:
    key = await world.provider.receive_address_async()
    ids = await asyncio.gather(
        *[world.taker.transfer_asset_async(BTC, AMOUNT, key, idempotency_key="tea") for _ in range(5)]
    )
    async with world.restarted_taker() as after_restart:
        ids.append(await after_restart.transfer_asset_async(BTC, AMOUNT, key, idempotency_key="tea"))
    assert len(set(ids)) == 1
    await until_final(world.taker, ids[0])
    assert await received(world) == AMOUNT


async def test_with_a_key_a_service_is_asked_once_and_paid_once(
    world: World, payer: LightningNetwork, service: LnurlService
) -> None:
    first = await payer.transfer_asset_async(BTC, AMOUNT, service.address, idempotency_key="tea")
    assert len(service.requests) == 2
    for _ in range(2):
        assert await payer.transfer_asset_async(BTC, AMOUNT, service.address, idempotency_key="tea") == first
    # The recorded payment needs neither the service nor the setting that allows it.
    async with world.restarted_taker() as after_restart:
        assert await after_restart.transfer_asset_async(BTC, AMOUNT, service.address, idempotency_key="tea") == first
    assert len(service.requests) == 2
    await until_final(payer, first)
    assert await received(world) == AMOUNT


async def test_callers_of_one_key_at_the_same_time_pay_one_invoice(
    world: World, payer: LightningNetwork, service: LnurlService
) -> None:
    ids = await asyncio.gather(
        *[payer.transfer_asset_async(BTC, AMOUNT, service.address, idempotency_key="tea") for _ in range(5)]
    )
    assert len(set(ids)) == 1
    await until_final(payer, ids[0])
    assert (await received(world), await world.payments_sent()) == (AMOUNT, 1)


async def test_without_a_key_each_call_is_a_payment(
    world: World, payer: LightningNetwork, service: LnurlService
) -> None:
    ids = [await payer.transfer_asset_async(BTC, AMOUNT, service.address) for _ in range(2)]
    for tx_id in ids:
        await until_final(payer, tx_id)
    assert await received(world) == 2 * AMOUNT


async def test_a_key_stands_for_recipient_and_amount(
    world: World, payer: LightningNetwork, service: LnurlService
) -> None:
    await payer.transfer_asset_async(BTC, AMOUNT, service.address, idempotency_key="tea")
    for amount, recipient in ((AMOUNT + 1, service.address), (AMOUNT, service.lnurl)):
        with pytest.raises(IdempotencyConflict):
            await payer.transfer_asset_async(BTC, amount, recipient, idempotency_key="tea")
    assert (await world.payments_sent(), len(service.requests)) == (1, 2)


async def test_what_a_service_gave_is_durable_before_it_is_paid(
    world: World, payer: LightningNetwork, service: LnurlService
) -> None:
    """If the process ends between the record and the send, the next one pays the recorded invoice."""

    class Ends(Exception):
        pass

    add_send, written = world.sends.add_send, []

    async def end_after_writing(record: SendRecord) -> SendRecord:
        written.append(await add_send(record))
        raise Ends

    world.sends.add_send = end_after_writing  # type: ignore[method-assign]  # the injected fault
    with pytest.raises(Ends):
        await payer.transfer_asset_async(BTC, AMOUNT, service.address, idempotency_key="tea")
    world.sends.add_send = add_send  # type: ignore[method-assign]  # the injected fault
    assert await world.payments_sent() == 0

    async with world.restarted_taker() as after_restart:
        tx_id = await after_restart.transfer_asset_async(BTC, AMOUNT, service.address, idempotency_key="tea")
        await until_final(after_restart, tx_id)
    assert [record.tx_id for record in written] == [tx_id]
    assert (await received(world), len(service.requests)) == (AMOUNT, 2)


async def test_a_recorded_invoice_that_has_expired_is_not_replaced(
    world: World, payer: LightningNetwork, service: LnurlService
) -> None:
    """A key stays bound to its invoice even if the payment failed; a new invoice needs another key."""
    world.fault("error", path="/v2/router/send", status=500, count=1)
    with pytest.raises(TransactionError, match="refused the payment"):
        await payer.transfer_asset_async(BTC, AMOUNT, service.address, idempotency_key="tea")
    world.clock.advance(3_600)
    with pytest.raises(FundsRulesError, match="expires too soon"):
        await payer.transfer_asset_async(BTC, AMOUNT, service.address, idempotency_key="tea")
    await until_final(payer, await payer.transfer_asset_async(BTC, AMOUNT, service.address, idempotency_key="more tea"))
    assert await received(world) == AMOUNT


async def test_an_invoice_that_a_service_gives_again_does_not_pass_for_another_payment(
    world: World, payer: LightningNetwork, service: LnurlService
) -> None:
    given: list[str] = []
    make = service.make_invoice

    async def same(amount_msat: int, description_hash: bytes) -> str:
        if not given:
            given.append(await make(amount_msat, description_hash))
        return given[0]

    service.make_invoice = same
    first = await payer.transfer_asset_async(BTC, AMOUNT, service.address)
    await until_final(payer, first)
    with pytest.raises(BadAnswer, match="already paid") as again:
        await payer.transfer_asset_async(BTC, AMOUNT, service.address)
    assert (again.value.outcome, again.value.tx_id) == (Outcome.UNKNOWN, first)
    assert await received(world) == AMOUNT


async def test_services_on_this_machine_are_not_asked_unless_the_settings_allow_it(
    world: World, service: LnurlService
) -> None:
    with pytest.raises(Layer2Error):
        await world.taker.transfer_asset_async(BTC, AMOUNT, service.lnurl)
    with pytest.raises(Layer2Error):
        await world.taker.transfer_asset_async(BTC, AMOUNT, service.address)
    assert service.requests == []


async def test_a_service_s_wrong_invoice_is_not_paid(
    world: World, payer: LightningNetwork, service: LnurlService
) -> None:
    async def too_much(amount_msat: int, description_hash: bytes) -> str:
        made = await world.provider.create_invoice_async(2 * AMOUNT, description_hash=description_hash)
        return made.text

    service.make_invoice = too_much
    with pytest.raises(BadAnswer, match="100000000 msat; 50000000 msat were requested"):
        await payer.transfer_asset_async(BTC, AMOUNT, service.address)
    assert await world.payments_sent() == 0


async def test_what_the_channels_cannot_send_is_refused_before_a_service_is_asked(
    world: World, payer: LightningNetwork, service: LnurlService
) -> None:
    for recipient in (service.address, await world.provider.receive_address_async()):
        with pytest.raises(InsufficientFunds, match="4900001"):
            await payer.transfer_asset_async(BTC, 4_900_001, recipient)
    assert (service.requests, await world.payments_sent()) == ([], 0)


async def test_a_service_that_does_not_answer_ends_with_the_call_s_time_and_nothing_is_sent(
    world: World, payer: LightningNetwork, service: LnurlService
) -> None:
    done = asyncio.Event()

    async def hang(request: web.Request) -> web.Response:
        await done.wait()
        return web.Response()

    service.answer_second = hang
    with pytest.raises(AsyncTimeout) as late:
        await payer.transfer_asset_async(BTC, AMOUNT, service.address, idempotency_key="tea", timeout=0.5)
    assert (late.value.outcome, late.value.tx_id) == (Outcome.NOT_SENT, None)
    done.set()
    service.answer_second = None
    await until_final(payer, await payer.transfer_asset_async(BTC, AMOUNT, service.address, idempotency_key="tea"))
    assert await received(world) == AMOUNT


async def test_the_answer_of_lnd_that_is_lost_after_a_service_was_asked_leads_to_the_same_payment(
    world: World, payer: LightningNetwork, service: LnurlService
) -> None:
    world.fault("drop_reply", path="/v2/router/send", count=1)
    with pytest.raises(NodeUnreachable) as lost:
        await payer.transfer_asset_async(BTC, AMOUNT, service.address, idempotency_key="tea")
    assert lost.value.outcome is Outcome.UNKNOWN
    tx_id = await payer.transfer_asset_async(BTC, AMOUNT, service.address, idempotency_key="tea")
    assert tx_id == lost.value.tx_id
    await until_final(payer, tx_id)
    assert (await received(world), len(service.requests)) == (AMOUNT, 2)


@pytest.mark.parametrize("recipient", ["lno1pqpq86q2fgcnqvpsd4ek", f"bitcoin:{ON_CHAIN}?amount=0.0005", "a@b.onion"])
async def test_what_is_not_paid_in_this_version_is_refused(world: World, recipient: str) -> None:
    with pytest.raises(ProtocolNotImplemented):
        await world.taker.transfer_asset_async(BTC, AMOUNT, recipient)


async def test_an_amount_of_a_uri_that_is_not_the_one_sent_is_refused_with_numbers(world: World) -> None:
    key = await world.provider.receive_address_async()
    with pytest.raises(InvalidAmount, match="the URI asks for 50001000 msat; the transfer is of 50000000 msat"):
        await world.taker.transfer_asset_async(BTC, AMOUNT, f"bitcoin:?amount=0.00050001&lightning={key}")
    assert await world.payments_sent() == 0


async def test_the_blocking_twin_pays_an_address_too(world: World, service: LnurlService) -> None:
    settings = settings_of(world.nodes[0], lnurl_on_this_machine=True)

    def program() -> None:
        with LightningNetwork(settings, world.sends, world.clock) as lightning:
            lightning.wait_for_status_sync(lightning.transfer_asset_sync(BTC, AMOUNT, service.address), timeout=10)

    await asyncio.to_thread(program)
    assert await received(world) == AMOUNT


async def test_an_invoice_that_cannot_be_paid_is_not_what_a_key_stands_for(
    world: World, payer: LightningNetwork, service: LnurlService
) -> None:
    make = service.make_invoice

    async def of_the_payer(amount_msat: int, description_hash: bytes) -> str:
        return (await world.taker.create_invoice_async(AMOUNT, description_hash=description_hash)).text

    async def too_short(amount_msat: int, description_hash: bytes) -> str:
        made = await world.provider.create_invoice_async(AMOUNT, description_hash=description_hash, expiry_seconds=5)
        return made.text

    for unpayable, words in ((of_the_payer, "from your own node"), (too_short, "expires too soon")):
        service.make_invoice = unpayable
        with pytest.raises(FundsRulesError, match=words):
            await payer.transfer_asset_async(BTC, AMOUNT, service.address, idempotency_key="tea")
    service.make_invoice = make
    await until_final(payer, await payer.transfer_asset_async(BTC, AMOUNT, service.address, idempotency_key="tea"))
    assert await received(world) == AMOUNT
