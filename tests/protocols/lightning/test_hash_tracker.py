"""Any number of waits share a few streams and paced look-ups, and every status is right."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import AsyncIterator
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest

from ended_iterators import following
from layer2.errors import AsyncTimeout, AuthenticationFailed, FormatError, InvalidRequest, NodeUnreachable
from layer2.model.transactions import LightningPaymentId, Preimage, TxState
from layer2.protocols.lightning import LightningNetwork
from layer2.protocols.lightning.invoices.records import InvoiceRecord, InvoiceState
from layer2.protocols.lightning.payments.records import PaymentState
from layer2.protocols.lightning.statuses import HashStatus, LightningStatus
from layer2.protocols.lightning.tracked import TrackedHash, seconds_to_next_look_up
from protocols.lightning.waiting import SECONDS, streams_open
from protocols.lightning.world import World, settings_of

MANY = 10_000
MAX_BYTES = 20 * 1024


def payee_of(world: World, **changes: Any) -> LightningNetwork:
    return LightningNetwork(settings_of(world.nodes[1], **changes), world.sends, world.clock)


def id_of(payment_hash: bytes) -> LightningPaymentId:
    return LightningPaymentId(payment_hash.hex())


def preimage_of(number: int) -> Preimage:
    return Preimage(sha256(b"preimage %d" % number).digest())


async def next_of(statuses: AsyncIterator[LightningStatus]) -> LightningStatus:
    return await asyncio.wait_for(anext(statuses), SECONDS)


async def test_ten_thousand_waits_have_two_streams_and_little_memory(world: World) -> None:
    async with payee_of(world) as client:
        tracemalloc.start()
        try:
            waits = [
                asyncio.ensure_future(client.wait_for_status_async(id_of(sha256(b"%d" % one).digest())))
                for one in range(MANY)
            ]
            await streams_open(client, 2)
            used, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert used / MANY < MAX_BYTES
        open_requests = world.simulation.status()["provider"]["open_requests"]
        assert isinstance(open_requests, int)
        assert open_requests < 20
        for wait in waits:
            wait.cancel()
        ends = await asyncio.gather(*waits, return_exceptions=True)
        assert all(isinstance(end, asyncio.CancelledError) for end in ends)


async def test_all_followers_of_one_hash_get_its_status(world: World) -> None:
    invoice = await world.provider.create_invoice_async(1_000)
    tx_id = id_of(invoice.payment_hash)
    # If the node's first invoice is settled before the stream is open, only the next look-up shows it.
    async with payee_of(world, poll_interval_ms=100) as client:
        waits = [asyncio.ensure_future(client.wait_for_status_async(tx_id, timeout=SECONDS)) for _ in range(100)]
        await streams_open(client, 1)
        waits[7].cancel()
        await world.taker.submit_transaction_async(invoice.text)
        ends = await asyncio.gather(*waits, return_exceptions=True)
    assert isinstance(ends.pop(7), asyncio.CancelledError)
    assert {end.state if not isinstance(end, BaseException) else end for end in ends} == {TxState.FINAL}


async def test_a_status_is_handed_out_once_and_the_last_one_ends_the_watch(world: World) -> None:
    preimage = preimage_of(1)
    invoice = await world.provider.create_hold_invoice_async(preimage.payment_hash, 1_000)
    async with (
        world.restarted_taker() as taker,
        payee_of(world) as payee,
        following(taker.watch_transaction_async(id_of(preimage.payment_hash))) as sent,
        following(payee.watch_transaction_async(id_of(preimage.payment_hash))) as received,
    ):
        assert (await next_of(sent)).state is TxState.UNKNOWN
        assert (await next_of(received)).state is TxState.PENDING
        await streams_open(payee, 2)
        await world.taker.submit_transaction_async(invoice.text)
        assert (await next_of(sent)).state is TxState.PENDING
        held = await next_of(received)
        assert (held.state, held.parts) == (TxState.PENDING, 1)
        await world.provider.settle_invoice_async(preimage)
        ends = [[status async for status in statuses] for statuses in (sent, received)]
    for end in ends:
        assert (end[-1].state, end[-1].preimage) == (TxState.FINAL, preimage)


async def test_what_is_decided_is_never_taken_back(world: World) -> None:
    invoice = await world.provider.create_invoice_async(1_000)
    async with world.restarted_taker() as client:
        done = await world.taker.submit_transaction_async(invoice.text)
        done = await client.wait_for_status_async(done.tx_id, timeout=SECONDS)
        known = await client._parts.payments.find(invoice.payment_hash)
        assert known is not None
        late = replace(known, state=PaymentState.IN_FLIGHT, preimage=None)
        async with following(client.watch_transaction_async(done.tx_id)) as statuses:
            coming = asyncio.ensure_future(anext(statuses))
            await asyncio.sleep(0)
            client._parts.payment_feed.report(known)
            client._parts.payment_feed.report(late)
            assert (await coming).state is TxState.FINAL


async def test_a_late_record_of_an_earlier_attempt_is_not_news(world: World) -> None:
    invoice = await world.provider.create_invoice_async(1_000)
    world.fault("hold_payments")
    async with world.restarted_taker() as client:
        # Another client sends it, because this client would follow its own payment on the payment's stream.
        status = await world.taker.submit_transaction_async(invoice.text)
        known = await client._parts.payments.find(invoice.payment_hash)
        assert known is not None
        async with following(client.watch_transaction_async(status.tx_id)) as statuses:
            assert (await next_of(statuses)).state is TxState.PENDING
            coming = asyncio.ensure_future(next_of(statuses))
            await turn()
            client._parts.payment_feed.report(replace(known, state=PaymentState.FAILED, index=known.index - 1))
            await turn()
            assert not coming.done()
            world.fault("none")
            assert (await coming).state is TxState.FINAL


async def test_a_failure_stands_until_the_hash_is_sent_again(world: World) -> None:
    invoice = await world.provider.create_invoice_async(1_000)
    world.fault("fail_payments", reason="no_route")
    async with world.restarted_taker() as client:
        await client.submit_transaction_async(invoice.text)
        async with following(client._parts.tracker.follow(invoice.payment_hash)) as statuses:
            async for status in statuses:
                failed = status.payment
                if failed is not None and failed.state is PaymentState.FAILED:
                    break
            assert failed is not None
            coming = asyncio.ensure_future(anext(statuses))
            await turn()
            client._parts.payment_feed.report(replace(failed, state=PaymentState.IN_FLIGHT, failure=None))
            await turn()
            assert not coming.done()
            again = replace(failed, state=PaymentState.IN_FLIGHT, failure=None, index=failed.index + 1)
            client._parts.payment_feed.report(again)
            assert (await coming).payment == again


async def turn() -> None:
    """Run the loop for a moment. Only messages that were under way arrive from the node in that time."""
    for _ in range(30):
        await asyncio.sleep(0)


def record(**changes: Any) -> InvoiceRecord:
    fields: dict[str, Any] = {
        "payment_hash": bytes(32),
        "text": "",
        "state": InvoiceState.OPEN,
        "htlcs": (),
        "preimage": None,
        "is_hold": False,
        "expires_at": 1_000,
        "paid_msat": 0,
        "made_at": 0,
        "settled_at": 0,
        "add_index": 1,
        "settle_index": 0,
    }
    return InvoiceRecord(**(fields | changes))


PAUSES = {
    "what is not known is looked up more and more rarely": (None, 3, 0, False, 16.0),
    "but at least once a minute": (None, 30, 0, False, 60.0),
    "a hold without a stream is looked up at the interval": (record(is_hold=True), 5, 0, False, 2.0),
    "a hold with a stream as rarely as others": (record(is_hold=True), 4, 0, True, 32.0),
    "an open invoice is looked up when it has expired": (record(), 5, 990, False, 11.0),
    "and not before the interval": (record(), 5, 1_000.5, False, 2.0),
    "one that should have been cancelled long ago as rarely as others": (record(), 2, 2_000, False, 8.0),
    "one that is held does not expire": (record(is_hold=True, state=InvoiceState.ACCEPTED), 4, 990, True, 32.0),
}


@pytest.mark.parametrize("case", PAUSES)
def test_look_ups_come_in_turn(case: str) -> None:
    invoice, turn, now, has_stream, seconds = PAUSES[case]
    status = HashStatus(None, invoice)
    assert seconds_to_next_look_up(status, turn, interval=2.0, now=now, has_stream=has_stream) == seconds


def status_of(state: InvoiceState) -> HashStatus:
    return HashStatus(None, record(state=state))


async def test_a_follower_gets_the_newest_status_only() -> None:
    tracked = TrackedHash(bytes(32))
    for state in (InvoiceState.OPEN, InvoiceState.ACCEPTED, InvoiceState.SETTLED):
        assert tracked.update(status_of(state))
    seen = await tracked.next(0)
    assert tracked.status == status_of(InvoiceState.SETTLED)
    coming = asyncio.ensure_future(tracked.next(seen))
    await asyncio.sleep(0)
    assert not tracked.update(status_of(InvoiceState.SETTLED))
    await asyncio.sleep(0)
    assert not coming.done()
    tracked.update(status_of(InvoiceState.CANCELED))
    assert await coming != seen
    assert tracked.status == status_of(InvoiceState.CANCELED)


async def test_a_follower_fails_after_the_newest_status_and_with_a_new_copy_each_time() -> None:
    tracked = TrackedHash(bytes(32))
    error = NodeUnreachable("gone")
    tracked.update(status_of(InvoiceState.OPEN))
    tracked.fail(error)
    seen = await tracked.next(0)
    assert tracked.status == status_of(InvoiceState.OPEN)
    raised = []
    for _ in range(2):
        with pytest.raises(NodeUnreachable, match="gone") as caught:
            await tracked.next(seen)
        raised.append(caught.value)
    assert raised[0] is not raised[1]
    assert all(copy is not error and copy.__cause__ is error for copy in raised)


async def test_a_cancelled_wait_loses_no_status_and_leaves_other_followers_theirs() -> None:
    tracked = TrackedHash(bytes(32))
    cancelled, other = (asyncio.ensure_future(tracked.next(0)) for _ in range(2))
    await asyncio.sleep(0)
    tracked.update(status_of(InvoiceState.OPEN))
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    assert await other == await tracked.next(0) == 1


async def test_holds_have_a_limited_number_of_streams_and_the_others_are_looked_up_in_turn(world: World) -> None:
    preimages = [preimage_of(number) for number in range(6)]
    invoices = [await world.provider.create_hold_invoice_async(preimage.payment_hash, 1_000) for preimage in preimages]
    async with payee_of(world, max_hold_streams=2, poll_interval_ms=10) as client:
        watches = [client.watch_transaction_async(id_of(preimage.payment_hash)) for preimage in preimages]
        for statuses in watches:
            assert (await next_of(statuses)).state is TxState.PENDING
        await streams_open(client, 3)  # Two of holds, and that of all invoices.
        for invoice in invoices:
            await world.taker.submit_transaction_async(invoice.text)
        for statuses in watches:
            assert (await next_of(statuses)).parts == 1
        assert client.open_streams <= 3  # A stream that replaces another one is not open for a moment.
        for preimage, statuses in zip(preimages, watches, strict=True):
            await world.provider.settle_invoice_async(preimage)
            assert (await next_of(statuses)).preimage == preimage


async def test_a_stream_that_is_free_again_is_the_next_holds(world: World) -> None:
    preimages = [preimage_of(number) for number in range(3)]
    invoices = [await world.provider.create_hold_invoice_async(preimage.payment_hash, 1_000) for preimage in preimages]
    # No look-up is repeated during the test.
    async with payee_of(world, max_hold_streams=1, poll_interval_ms=3_600_000) as client:
        for preimage, invoice in zip(preimages, invoices, strict=True):
            async with following(client.watch_transaction_async(id_of(preimage.payment_hash))) as statuses:
                assert (await next_of(statuses)).state is TxState.PENDING
                await world.taker.submit_transaction_async(invoice.text)
                assert (await next_of(statuses)).parts == 1
            await world.provider.settle_invoice_async(preimage)


async def test_without_a_stream_for_holds_they_are_looked_up(world: World) -> None:
    preimage = preimage_of(1)
    invoice = await world.provider.create_hold_invoice_async(preimage.payment_hash, 1_000)
    async with (
        payee_of(world, max_hold_streams=0, poll_interval_ms=10) as client,
        following(client.watch_transaction_async(id_of(preimage.payment_hash))) as statuses,
    ):
        assert (await next_of(statuses)).parts is None
        await world.taker.submit_transaction_async(invoice.text)
        assert (await next_of(statuses)).parts == 1


async def test_an_invoice_that_expires_is_seen_to_fail(world: World) -> None:
    invoice = await world.provider.create_invoice_async(1_000, expiry_seconds=60)
    async with payee_of(world, poll_interval_ms=20) as client:
        waiting = asyncio.ensure_future(client.wait_for_status_async(id_of(invoice.payment_hash), timeout=SECONDS))
        await streams_open(client, 1)
        world.clock.advance(61)
        assert (await waiting).state is TxState.FAILED


async def test_a_follower_keeps_waiting_while_the_node_is_away(world: World) -> None:
    invoice = await world.provider.create_invoice_async(1_000)
    async with payee_of(world, poll_interval_ms=20) as client:
        world.fault("down", party="provider")
        waiting = asyncio.ensure_future(client.wait_for_status_async(id_of(invoice.payment_hash), timeout=SECONDS))
        with pytest.raises(NodeUnreachable):
            await client.balances_async()
        assert not waiting.done()
        world.fault("none", party="provider")
        await world.taker.submit_transaction_async(invoice.text)
        assert (await waiting).state is TxState.FINAL


async def test_closing_the_client_ends_all_waits_with_an_error(world: World) -> None:
    async with payee_of(world) as client:
        waits = [
            asyncio.ensure_future(client.wait_for_status_async(id_of(sha256(b"%d" % one).digest())))
            for one in range(100)
        ]
        await streams_open(client, 2)
    ends = await asyncio.gather(*waits, return_exceptions=True)
    assert all(isinstance(end, NodeUnreachable) and "the client was closed" in str(end) for end in ends)
    assert len({id(end) for end in ends}) == 100
    assert client.open_streams == 0


async def test_a_macaroon_that_is_refused_ends_the_wait(world: World) -> None:
    async with payee_of(world) as client:
        world.fault("error", party="provider", path="/v1/invoice", status=401)
        with pytest.raises(AuthenticationFailed):
            await client.wait_for_status_async(id_of(bytes(32)), timeout=SECONDS)


async def test_a_slow_reader_does_not_keep_the_error_of_a_stream_for_later_waits(world: World) -> None:
    unknown = id_of(bytes(32))
    async with payee_of(world) as client, following(client.watch_transaction_async(unknown)) as slow:
        await next_of(slow)
        client._parts.payment_feed._shared.fail(AuthenticationFailed("refused"))
        with pytest.raises(AsyncTimeout):
            await client.wait_for_status_async(unknown, timeout=0.1)
        with pytest.raises(AuthenticationFailed):
            await next_of(slow)


async def test_a_wait_ends_when_its_time_is_over(world: World) -> None:
    async with payee_of(world) as client:
        with pytest.raises(AsyncTimeout) as timed_out:
            await client.wait_for_status_async(id_of(bytes(32)), timeout=0.05)
        assert timed_out.value.tx_id == id_of(bytes(32))


async def test_a_watch_of_no_payments_id_is_refused(world: World) -> None:
    with pytest.raises(FormatError):
        await anext(world.taker.watch_transaction_async(LightningPaymentId("ff")))
    with pytest.raises(InvalidRequest, match="every wait ends when the payment fails"):
        await world.taker.wait_for_status_async(id_of(bytes(32)), until=TxState.FAILED)
