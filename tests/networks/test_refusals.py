"""Refusals before any money moves, and the use and closing of managers."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import pytest

from layer2 import (
    BTC,
    ETH,
    AsyncRuntimeError,
    AsyncTimeout,
    Layer2Manager,
    Layer2ProtocolType,
    TaskCancelled,
    TransferState,
)
from layer2.errors import (
    InitializationError,
    InsufficientFunds,
    InvalidAmount,
    InvalidRequest,
    Layer2Error,
    NodeUnreachable,
    Outcome,
    ProtocolNotImplemented,
    QuoteExpired,
    QuoteRefused,
    TermsRefused,
    UnknownAsset,
    UnknownTransfer,
)
from layer2.ports.clock import SystemClock
from layer2.terms.transfers import Quote
from networks.money import NOTHING
from networks.parties import clients_of, write_secret
from networks.swaps import AMOUNT, DIRECTIONS, FEE, Swaps, until_state

BOB: Final = Layer2ProtocolType.BOB
LIGHTNING: Final = Layer2ProtocolType.LIGHTNING
BOTH_WAYS = pytest.mark.parametrize("direction", ["bob_to_lightning", "lightning_to_bob"])


class LaterClock(SystemClock):
    """This machine's clock plus some seconds."""

    ahead = 0

    def now(self) -> float:
        return super().now() + self.ahead


WRONG_REQUESTS: dict[str, tuple[dict[str, Any], type[Layer2Error], str]] = {
    "amount_zero": ({"amount": 0}, InvalidAmount, "positive"),
    "amount_negative": ({"amount": -1}, InvalidAmount, "positive"),
    "amount_float": ({"amount": 100_000.0}, InvalidAmount, "float"),
    "amount_bool": ({"amount": True}, InvalidAmount, "bool"),
    "amount_too_small": ({"amount": 9_999}, QuoteRefused, "10000 to 4000000"),
    "amount_too_large": ({"amount": 4_000_001}, QuoteRefused, "10000 to 4000000"),
    "asset": ({"asset_id": ETH}, UnknownAsset, "ETH"),
    "same_layer": ({"destination_protocol": BOB}, InvalidRequest, "both BOB"),
    "layer_without_client": ({"destination_protocol": Layer2ProtocolType.LIQUID}, ProtocolNotImplemented, "LIQUID"),
    "max_fee": ({"max_fee": FEE - 1}, QuoteRefused, f"{FEE} sat; the maximum is {FEE - 1} sat"),
    "recipient_no_invoice": ({"recipient": "lnbcrt1"}, InvalidRequest, "invoice"),
    "recipient_on_bob": (
        {"source_protocol": LIGHTNING, "destination_protocol": BOB, "recipient": "0x" + "11" * 20},
        InvalidRequest,
        "own account",
    ),
}


@pytest.mark.parametrize("name", list(WRONG_REQUESTS))
async def test_a_wrong_request_is_refused_and_leaves_no_transfer(swaps: Swaps, name: str) -> None:
    changes, error, words = WRONG_REQUESTS[name]
    request: dict[str, Any] = {
        "asset_id": BTC,
        "amount": AMOUNT,
        "source_protocol": BOB,
        "destination_protocol": LIGHTNING,
    }
    async with swaps.manager() as layers:
        with pytest.raises(error, match=words):
            await layers.cross_layer_transfer_async(**(request | changes))
        assert await layers.list_transfers_async() == []


async def test_an_invoice_that_cannot_be_paid_by_a_swap_is_refused(swaps: Swaps) -> None:
    async with swaps.manager() as layers, clients_of(swaps.network, swaps.network.provider) as provider:
        lightning = await layers.get_protocol_async(LIGHTNING)
        expiring = await lightning.create_invoice_async(AMOUNT, expiry_seconds=15)
        other_amount = await lightning.create_invoice_async(AMOUNT + 1, expiry_seconds=600)
        of_provider = await provider.lightning.create_invoice_async(AMOUNT, expiry_seconds=600)
        for invoice, code in (
            (expiring, "invoice_expired"),
            (other_amount, "invoice_amount"),
            (of_provider, "invoice_payee"),
        ):
            with pytest.raises(InvalidRequest) as refused:
                await layers.cross_layer_transfer_async(BTC, AMOUNT, BOB, LIGHTNING, recipient=invoice.text)
            assert refused.value.code == code
        assert await layers.list_transfers_async() == []


async def test_an_expired_quote_begins_nothing(swaps: Swaps) -> None:
    clock = LaterClock()
    async with Layer2Manager(swaps.config(), clock=clock) as layers:
        await layers.initialize_all_async()
        quote = await layers.quote_transfer_async(BTC, AMOUNT, BOB, LIGHTNING)
        clock.ahead = 61
        with pytest.raises(QuoteExpired):
            await layers.start_transfer_async(quote)
        assert await layers.list_transfers_async() == []


def with_lower_fee(quote: Quote) -> Quote:
    return replace(quote, offer=replace(quote.offer, quote=replace(quote.offer.quote, provider_fee=0)))


def of_another_provider(quote: Quote) -> Quote:
    return replace(quote, offer=replace(quote.offer, quote=replace(quote.offer.quote, provider=bytes(31) + b"\x01")))


def with_another_signature(quote: Quote) -> Quote:
    return replace(quote, offer=replace(quote.offer, signature=replace(quote.offer.signature, data=bytes(64))))


@pytest.mark.parametrize("forge", [with_lower_fee, of_another_provider, with_another_signature])
async def test_a_forged_quote_begins_nothing(swaps: Swaps, forge: Callable[[Quote], Quote]) -> None:
    async with swaps.manager() as layers:
        quote = await layers.quote_transfer_async(BTC, AMOUNT, BOB, LIGHTNING)
        with pytest.raises(TermsRefused):
            await layers.start_transfer_async(forge(quote))
        assert await layers.list_transfers_async() == []


async def test_a_lock_that_is_not_settled_enough_for_the_taker_is_not_waited_for(swaps: Swaps) -> None:
    async with swaps.manager(least_finality="safe") as layers:
        with pytest.raises(TermsRefused, match="the minimum is safe") as refused:
            await layers.quote_transfer_async(BTC, AMOUNT, LIGHTNING, BOB)
        assert refused.value.code == "quote_finality"
        # Here the provider waits for the taker's lock, at the provider's risk.
        await layers.quote_transfer_async(BTC, AMOUNT, BOB, LIGHTNING)


@BOTH_WAYS
async def test_a_taker_without_gas_to_finish_is_refused_before_money_moves(swaps: Swaps, direction: str) -> None:
    source, destination = DIRECTIONS[direction]
    key = write_secret(swaps.directory / "account-without-gas", os.urandom(32))
    before = await swaps.money()
    async with swaps.manager(bob={"key_file": key}) as layers:
        with pytest.raises(InsufficientFunds) as refused:
            await layers.cross_layer_transfer_async(BTC, AMOUNT, source, destination, timeout=60)
        (transfer,) = await layers.list_transfers_async()
        assert (transfer.transfer_id, transfer.state) == (refused.value.transfer_id, TransferState.ABANDONED)
        assert refused.value.outcome is Outcome.NOT_SENT
    await swaps.until_moved(before, NOTHING)


async def test_a_taker_that_cannot_pay_is_named_and_its_provider_is_not_asked_for_terms(swaps: Swaps) -> None:
    key = write_secret(swaps.directory / "empty-account", os.urandom(32))
    async with swaps.manager(bob={"key_file": key}) as layers:
        quote = await layers.quote_transfer_async(BTC, AMOUNT, BOB, LIGHTNING)
        swaps.provider.kill()
        account = await (await layers.get_protocol_async(BOB)).receive_address_async()
        with pytest.raises(InsufficientFunds) as refused:
            await layers.start_transfer_async(quote, timeout=20)
        assert refused.value.message == (
            f"your account {account} on BOB can spend 0 sat; the transfer needs {AMOUNT + FEE} sat"
        )
        assert (refused.value.protocol, refused.value.outcome) == ("BOB", Outcome.NOT_SENT)
        (transfer,) = await layers.list_transfers_async()
        assert transfer.state is TransferState.ABANDONED


async def test_a_provider_that_is_away_is_named_and_nothing_is_begun(swaps: Swaps) -> None:
    async with swaps.manager() as layers:
        quote = await layers.quote_transfer_async(BTC, AMOUNT, BOB, LIGHTNING)
        swaps.provider.kill()
        with pytest.raises(NodeUnreachable, match="provider 'provider'"):
            await layers.quote_transfer_async(BTC, AMOUNT, BOB, LIGHTNING)
        # The client retries the agreement until its deadline.
        with pytest.raises(AsyncTimeout, match="cannot be reached"):
            await layers.start_transfer_async(quote, timeout=1)
        (transfer,) = await layers.list_transfers_async()
        assert transfer.state is TransferState.ABANDONED


async def test_a_layer_that_fails_is_listed_and_the_other_stays_usable(swaps: Swaps) -> None:
    nowhere = {"rpc_url": "http://127.0.0.1:9"}
    async with Layer2Manager(swaps.config(bob=nowhere)) as layers:
        with pytest.raises(InitializationError) as failed:
            await layers.initialize_all_async()
        assert list(failed.value.failures) == ["BOB"]
        assert isinstance(failed.value.failures["BOB"], NodeUnreachable)
        lightning = await layers.get_protocol_async(LIGHTNING)
        assert (await lightning.balances_async())[BTC].spendable > 0


async def test_what_a_manager_does_not_have_is_said(swaps: Swaps) -> None:
    async with swaps.manager() as layers:
        with pytest.raises(ProtocolNotImplemented, match="LIQUID"):
            await layers.get_protocol_async(Layer2ProtocolType.LIQUID)
        with pytest.raises(UnknownTransfer):
            await layers.get_transfer_async("ab" * 16)
        with pytest.raises(UnknownTransfer):
            await layers.wait_for_transfer_async("ab" * 16)


async def test_a_closed_manager_returns_open_transfers_ends_waits_and_the_next_one_completes_them(
    swaps: Swaps,
) -> None:
    await swaps.control.set_automatic(False)
    async with swaps.manager() as layers:
        quote = await layers.quote_transfer_async(BTC, AMOUNT, BOB, LIGHTNING)
        transfer_id = (await layers.start_transfer_async(quote)).transfer_id
        await until_state(layers, transfer_id, TransferState.FUNDING)
        wait = asyncio.create_task(layers.wait_for_transfer_async(transfer_id))
        # Let the wait start.
        await layers.get_transfer_async(transfer_id)
        (left_open,) = await layers.close_async()
        assert (left_open.transfer_id, left_open.state) == (transfer_id, TransferState.FUNDING)
        assert left_open.deadline is not None
        with pytest.raises(TaskCancelled):
            await wait
    await swaps.control.set_automatic(True)
    async with swaps.manager() as layers:
        proof = await layers.wait_for_transfer_async(transfer_id, timeout=60)
        assert await layers.verify_cross_layer_proof_async(proof)
        await swaps.until_provider_has(transfer_id, "completed")


async def test_a_manager_is_refused_in_another_event_loop(swaps: Swaps) -> None:
    async with swaps.manager() as layers:

        async def use() -> None:
            await layers.list_transfers_async()

        with pytest.raises(AsyncRuntimeError, match="event loop"):
            await asyncio.to_thread(asyncio.run, use())


async def test_a_blocking_twin_inside_the_loop_asks_for_await_and_works_from_a_thread(swaps: Swaps) -> None:
    async with swaps.manager() as layers:
        with pytest.raises(AsyncRuntimeError, match="await list_transfers_async"):
            layers.list_transfers_sync()
        assert await asyncio.to_thread(layers.list_transfers_sync) == []


@BOTH_WAYS
async def test_a_blocking_program_transfers_in_a_plain_with(swaps: Swaps, direction: str) -> None:
    source, destination = DIRECTIONS[direction]
    config = swaps.config()

    def program() -> tuple[bool, list[TransferState]]:
        with Layer2Manager(config) as layers:
            layers.initialize_all_sync()
            proof = layers.cross_layer_transfer_sync(BTC, AMOUNT, source, destination, max_fee=1_000, timeout=60)
            (transfer,) = layers.list_transfers_sync()
            events = [event.transfer.state for event in layers.transfer_events_sync(transfer.transfer_id)]
            return layers.verify_cross_layer_proof_sync(proof), events

    assert await asyncio.to_thread(program) == (True, [TransferState.COMPLETED])
