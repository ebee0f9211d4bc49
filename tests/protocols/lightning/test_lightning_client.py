"""Payments and invoices with two simulated nodes, over REST and TLS."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from hashlib import sha256
from pathlib import Path

import pytest

from layer2.aio.blocking import Portal
from layer2.errors import (
    AsyncRuntimeError,
    AsyncTimeout,
    AuthenticationFailed,
    ConfigurationError,
    FormatError,
    FundsRulesError,
    IdempotencyConflict,
    InsufficientFunds,
    InvalidAmount,
    InvalidRequest,
    NodeRefused,
    NodeUnreachable,
    Outcome,
    ProofUndecided,
    TransactionError,
    UnknownAsset,
    WrongNetwork,
)
from layer2.legs.evidence import LightningPaymentEvidence
from layer2.legs.views import Verb
from layer2.model.money import BTC, ETH
from layer2.model.transactions import LightningPaymentId, Preimage, TxState
from layer2.net.client_settings import ConnectionPoolConfig
from layer2.protocols.lightning import LightningNetwork, PaymentRequest
from protocols.lightning.waiting import requests_open, streams_open
from protocols.lightning.world import HASH, PREIMAGE, START, World, leg_to_provider, offer_request, settings_of

PAYMENT_ID = LightningPaymentId(HASH.hex())


async def test_a_payment_is_followed_from_invoice_to_preimage(world: World) -> None:
    await world.taker.initialize_async()
    invoice = await world.provider.create_invoice_async(50_000, memo="tea")
    status = await world.taker.submit_transaction_async(invoice.text)
    assert status.state in (TxState.PENDING, TxState.FINAL)

    paid = await world.taker.wait_for_status_async(status.tx_id)

    assert (paid.state, paid.fee, paid.tx_id) == (TxState.FINAL, 0, invoice.payment_hash.hex())
    assert paid.preimage is not None
    assert paid.preimage.payment_hash == invoice.payment_hash
    received = await world.provider.get_transaction_status_async(status.tx_id)
    assert (received.state, received.preimage) == (TxState.FINAL, paid.preimage)


async def test_an_invoice_has_what_was_requested(world: World) -> None:
    invoice = await world.provider.create_invoice_async(1_234, memo="two cups", expiry_seconds=90)
    assert (invoice.amount_msat, invoice.description, invoice.expires_at) == (1_234_000, "two cups", START + 90)
    assert invoice.payee.hex() == world.nodes[1].node_key == await world.provider.receive_address_async()


async def test_an_own_invoice_is_pending_until_it_is_paid_and_failed_when_its_time_is_over(world: World) -> None:
    invoice = await world.provider.create_invoice_async(1_000, expiry_seconds=60)
    tx_id = LightningPaymentId(invoice.payment_hash.hex())
    pending = await world.provider.get_transaction_status_async(tx_id)
    assert (pending.state, pending.preimage) == (TxState.PENDING, None)
    world.clock.advance(61)
    assert (await world.provider.get_transaction_status_async(tx_id)).state is TxState.FAILED


async def test_an_id_that_the_node_does_not_know_is_unknown_and_not_failed(world: World) -> None:
    assert (await world.taker.get_transaction_status_async(PAYMENT_ID)).state is TxState.UNKNOWN
    with pytest.raises(FormatError):
        await world.taker.get_transaction_status_async(LightningPaymentId("0x12"))


async def test_an_asset_is_transferred_to_an_invoice_over_exactly_its_amount(world: World) -> None:
    invoice = await world.provider.create_invoice_async(50_000)
    for amount in (49_999, 50_001):
        with pytest.raises(InvalidAmount, match="the invoice asks for 50000000 msat"):
            await world.taker.transfer_asset_async(BTC, amount, invoice.text)
    with pytest.raises(UnknownAsset):
        await world.taker.transfer_asset_async(ETH, 50_000, invoice.text)
    assert await world.payments_sent() == 0

    tx_id = await world.taker.transfer_asset_async(BTC, 50_000, invoice.text)

    assert (await world.taker.wait_for_status_async(tx_id)).state is TxState.FINAL
    before, after = 5_000_000 - 100_000, 5_000_000 - 100_000 - 50_000
    assert (await world.taker.balances_async())[BTC].spendable == after
    assert (await world.provider.balances_async())[BTC].spendable == before + 50_000


async def test_more_than_the_channels_can_send_is_refused_before_anything_is_sent(world: World) -> None:
    invoice = await world.provider.create_invoice_async(4_900_001)
    with pytest.raises(InsufficientFunds, match="4900001 sat cannot be sent: the channels allow at most 4900000 sat"):
        await world.taker.transfer_asset_async(BTC, 4_900_001, invoice.text)
    assert await world.payments_sent() == 0


async def test_balances_include_what_is_in_flight(world: World) -> None:
    leg = await leg_to_provider(world)
    await world.taker.legs.perform(await world.taker.legs.prepare(Verb.FUND, leg))
    balance = (await world.taker.balances_async())[BTC]
    assert (balance.spendable, balance.reserved, balance.receivable) == (4_850_000, 150_000, 4_900_000)


async def test_the_same_key_pays_once_also_after_a_restart(world: World) -> None:
    invoice = await world.provider.create_invoice_async(50_000)
    first = await world.taker.submit_transaction_async(invoice.text, idempotency_key="order 1")
    async with world.restarted_taker() as taker:
        second = await taker.submit_transaction_async(invoice.text, idempotency_key="order 1")
    assert first.tx_id == second.tx_id
    assert await world.payments_sent() == 1


async def test_a_key_that_was_used_for_another_request_is_refused(world: World) -> None:
    invoice = await world.provider.create_invoice_async(50_000)
    await world.taker.submit_transaction_async(invoice.text, idempotency_key="order 1")
    other = PaymentRequest(invoice.text, fee_limit_msat=1)
    with pytest.raises(IdempotencyConflict):
        await world.taker.submit_transaction_async(other, idempotency_key="order 1")
    assert await world.payments_sent() == 1


async def test_callers_at_the_same_time_join_one_payment(world: World) -> None:
    invoice = await world.provider.create_invoice_async(50_000)
    statuses = await asyncio.gather(*(world.taker.submit_transaction_async(invoice.text) for _ in range(5)))
    assert {status.tx_id for status in statuses} == {invoice.payment_hash.hex()}
    assert await world.payments_sent() == 1


async def test_a_failed_payment_is_sent_again_for_another_key_only(world: World) -> None:
    world.fault("fail_payments", reason="no_route")
    invoice = await world.provider.create_invoice_async(50_000)
    tx_id = (await world.taker.submit_transaction_async(invoice.text, idempotency_key="order 1")).tx_id
    failed = await world.taker.wait_for_status_async(tx_id)
    assert (failed.state, failed.reason, failed.preimage) == (TxState.FAILED, "FAILURE_REASON_NO_ROUTE", None)
    world.fault("none")

    again = await world.taker.submit_transaction_async(invoice.text, idempotency_key="order 1")
    assert again.state is TxState.FAILED
    assert await world.payments_sent() == 1

    await world.taker.submit_transaction_async(invoice.text, idempotency_key="order 2")
    assert (await world.taker.wait_for_status_async(tx_id)).state is TxState.FINAL


async def test_a_lost_answer_to_a_send_is_unknown_and_asking_again_does_not_pay_twice(world: World) -> None:
    invoice = await world.provider.create_invoice_async(50_000)
    world.fault("drop_reply", path="/v2/router/send", count=1)
    with pytest.raises(NodeUnreachable) as caught:
        await world.taker.submit_transaction_async(invoice.text, idempotency_key="order 1")
    assert (caught.value.outcome, caught.value.tx_id) == (Outcome.UNKNOWN, invoice.payment_hash.hex())

    status = await world.taker.submit_transaction_async(invoice.text, idempotency_key="order 1")

    assert (await world.taker.wait_for_status_async(status.tx_id)).state is TxState.FINAL
    assert await world.payments_sent() == 1


async def test_a_node_that_is_down_before_the_send_leaves_nothing_sent(world: World) -> None:
    invoice = await world.provider.create_invoice_async(50_000)
    world.fault("down")
    with pytest.raises(NodeUnreachable) as caught:
        await world.taker.submit_transaction_async(invoice.text)
    assert caught.value.outcome is Outcome.NOT_SENT
    world.fault("none")
    assert (await world.taker.submit_transaction_async(invoice.text)).state in (TxState.PENDING, TxState.FINAL)


async def test_a_time_out_of_a_payment_has_the_outcome_unknown_and_the_payment_continues(world: World) -> None:
    invoice = await world.provider.create_invoice_async(50_000)
    world.fault("hold_payments")
    status = await world.taker.submit_transaction_async(invoice.text)
    with pytest.raises(AsyncTimeout) as caught:
        await world.taker.wait_for_status_async(status.tx_id, timeout=0.05)
    assert (caught.value.outcome, caught.value.tx_id) == (Outcome.UNKNOWN, status.tx_id)

    waiting = asyncio.create_task(world.taker.wait_for_status_async(status.tx_id))
    world.fault("none")
    assert (await waiting).state is TxState.FINAL


async def test_what_lnd_refuses_is_rejected_with_its_message(world: World) -> None:
    invoice = await world.provider.create_invoice_async(50_000)
    world.fault("error", path="/v2/router/send", status=500)
    with pytest.raises(TransactionError, match="fault switch: error") as caught:
        await world.taker.submit_transaction_async(invoice.text)
    assert caught.value.outcome is Outcome.REJECTED
    assert caught.value.tx_id == invoice.payment_hash.hex()


async def test_an_own_or_expired_invoice_is_not_paid(world: World) -> None:
    own = await world.taker.create_invoice_async(1_000)
    with pytest.raises(FundsRulesError, match="from your own node"):
        await world.taker.submit_transaction_async(own.text)
    invoice = await world.provider.create_invoice_async(1_000, expiry_seconds=60)
    world.clock.advance(41)
    with pytest.raises(FundsRulesError, match="expires too soon"):
        await world.taker.submit_transaction_async(invoice.text)
    assert await world.payments_sent() == 0


async def test_the_evidence_of_a_payment_holds_at_both_nodes_and_another_preimage_does_not(world: World) -> None:
    await world.taker.submit_transaction_async(await world.provider.legs.offer(offer_request()))
    await world.provider.settle_invoice_async(PREIMAGE)
    await world.taker.wait_for_status_async(PAYMENT_ID)
    evidence = LightningPaymentEvidence(PREIMAGE)
    assert await world.taker.verify_proof_async(evidence)
    assert await world.provider.verify_proof_async(evidence)
    assert not await world.taker.verify_proof_async(LightningPaymentEvidence(Preimage(bytes(32))))


async def test_the_evidence_of_a_payment_in_flight_is_undecided(world: World) -> None:
    invoice = await world.provider.legs.offer(offer_request())
    world.fault("hold_payments")
    await world.taker.submit_transaction_async(invoice)
    for client in (world.taker, world.provider):
        with pytest.raises(ProofUndecided):
            await client.verify_proof_async(LightningPaymentEvidence(PREIMAGE))


async def test_a_node_on_another_network_is_refused(world: World) -> None:
    async with world.restarted_taker(network="mainnet") as taker:
        with pytest.raises(WrongNetwork, match="lnd is on regtest, but the configuration has mainnet"):
            await taker.initialize_async()


async def test_a_node_older_than_the_minimum_is_refused_with_a_remedy(world: World) -> None:
    async with world.restarted_taker(minimum_version="0.22.0") as taker:
        with pytest.raises(ConfigurationError, match=r"older than 0\.22\.0.*update the node"):
            await taker.initialize_async()


async def test_another_certificate_than_the_pinned_one_is_refused_before_the_macaroon_is_shown(world: World) -> None:
    async with world.restarted_taker(certificate_file=world.nodes[1].certificate_file) as taker:
        with pytest.raises(AuthenticationFailed, match=r"does not present the pinned certificate.*copy its tls\.cert"):
            await taker.initialize_async()


async def test_a_new_certificate_is_taken_from_its_file_after_a_refusal(world: World, tmp_path: Path) -> None:
    copy = tmp_path / "copy.cert"
    shutil.copyfile(world.nodes[1].certificate_file, copy)
    async with world.restarted_taker(certificate_file=str(copy)) as taker:
        with pytest.raises(AuthenticationFailed):
            await taker.initialize_async()
        shutil.copyfile(world.nodes[0].certificate_file, copy)
        await taker.initialize_async()


async def test_a_macaroon_of_another_node_is_refused_and_never_shown(world: World) -> None:
    macaroon_file = world.nodes[1].macaroon_file
    secret = content_of(macaroon_file).hex()
    async with world.restarted_taker(macaroon_file=macaroon_file) as taker:
        with pytest.raises(AuthenticationFailed, match="refused the macaroon") as caught:
            await taker.initialize_async()
        assert secret not in repr(caught.value) + str(caught.value) + repr(taker) + repr(vars(taker))


async def test_files_that_cannot_be_read_are_named(world: World, tmp_path: Path) -> None:
    for name in ("certificate_file", "macaroon_file"):
        async with world.restarted_taker(**{name: str(tmp_path / "nowhere")}) as taker:
            with pytest.raises(ConfigurationError, match=f"{name} .*nowhere cannot be read"):
                await taker.initialize_async()


async def test_a_clock_that_is_off_is_refused(world: World) -> None:
    class Fast:
        def now(self) -> float:
            return world.clock.now() + 62.0

    async with LightningNetwork(settings_of(world.nodes[0]), world.sends, Fast()) as taker:
        with pytest.raises(Exception, match="differ by 61 s"):
            await taker.initialize_async()


async def test_cancelling_calls_leaves_no_request_open(world: World) -> None:
    invoice = await world.provider.create_invoice_async(50_000)
    world.fault("hold_payments")
    status = await world.taker.submit_transaction_async(invoice.text)
    async with world.restarted_taker(poll_interval_ms=10) as taker:
        waits = [asyncio.create_task(taker.wait_for_status_async(status.tx_id)) for _ in range(5)]
        await requests_open(world, 2)  # One of them is the stream of the sent payment.
        for wait in waits:
            wait.cancel()
        ends = await asyncio.gather(*waits, return_exceptions=True)
        assert all(isinstance(end, asyncio.CancelledError) for end in ends)
        await requests_open(world, 1)
    assert (await world.taker.get_transaction_status_async(status.tx_id)).state is TxState.PENDING


async def test_a_client_can_be_entered_again_elsewhere(world: World) -> None:
    client = world.restarted_taker()
    async with client:
        balances = await client.balances_async()

    def blocking_program() -> None:
        with client:
            assert client.balances_sync() == balances

    await asyncio.to_thread(blocking_program)


async def test_more_waits_than_connections_do_not_stop_calls(world: World) -> None:
    pool = ConnectionPoolConfig(max_connections=2)
    settings = settings_of(world.nodes[1], connection_pool=pool)
    async with LightningNetwork(settings, world.sends, world.clock) as payee:
        invoices = [await payee.create_hold_invoice_async(sha256(b"%d" % one).digest(), 1_000) for one in range(10)]
        ids = [LightningPaymentId(invoice.payment_hash.hex()) for invoice in invoices]
        waits = [asyncio.create_task(payee.wait_for_status_async(tx_id)) for tx_id in ids]
        await streams_open(payee, len(ids) + 1)  # One for each invoice that may be held, and that of all invoices.
        assert (await payee.get_transaction_status_async(ids[0])).state is TxState.PENDING
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)


async def test_the_blocking_twins_work_from_a_thread(world: World) -> None:
    def blocking_program() -> TxState:
        with LightningNetwork(settings_of(world.nodes[0]), world.sends, world.clock) as lightning:
            lightning.initialize_sync()
            tx_id = lightning.transfer_asset_sync(BTC, 1_000, invoice.text)
            return lightning.wait_for_status_sync(tx_id).state

    invoice = await world.provider.create_invoice_async(1_000)
    assert await asyncio.to_thread(blocking_program) is TxState.FINAL


async def test_a_client_of_another_loop_is_refused(world: World) -> None:
    await world.taker.balances_async()

    def elsewhere() -> None:
        portal = Portal.with_own_thread()
        try:
            portal.run("balances_async", world.taker.balances_async)
        finally:
            portal.close()

    with pytest.raises(Exception, match="belongs to the event loop"):
        await asyncio.to_thread(elsewhere)


async def test_an_invoice_that_lnd_refuses_is_an_error_with_its_message(world: World) -> None:
    with pytest.raises(NodeRefused, match="data length too big"):
        await world.taker.create_invoice_async(1_000, memo="x" * 640)


def content_of(path: str) -> bytes:
    return Path(path).read_bytes()


async def test_a_client_that_was_closed_refuses_every_call(world: World) -> None:
    client = world.taker
    await client.aclose()
    calls: list[Callable[[], Awaitable[object]]] = [
        client.balances_async,
        client.legs.read_clock,
        client.legs.leg_offer,
        lambda: client.wait_for_status_async(PAYMENT_ID),
        lambda: anext(client.watch_transaction_async(PAYMENT_ID)),
        lambda: anext(client.watch_payments_async()),
        lambda: anext(client.watch_invoices_async()),
    ]
    for call in calls:
        with pytest.raises(AsyncRuntimeError, match="was closed; create a new one"):
            await asyncio.wait_for(call(), 5)


@pytest.mark.parametrize("timeout", ["3", True, b"3"])
async def test_a_timeout_is_a_number(world: World, timeout: object) -> None:
    with pytest.raises(InvalidRequest, match="timeout must be a number of seconds"):
        await world.taker.balances_async(timeout=timeout)  # type: ignore[arg-type]  # a caller without type checks


async def test_an_invalid_timeout_ends_the_call_at_once(world: World) -> None:
    for seconds in (0, -1, float("nan")):
        with pytest.raises(AsyncTimeout):
            await world.taker.balances_async(timeout=seconds)
