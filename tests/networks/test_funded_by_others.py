"""Whole transfers whose source another wallet pays: in time, with a wrong amount, twice, and too late."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import pytest

from layer2 import (
    BTC,
    BitcoinClient,
    BitcoinOutput,
    BitcoinPayment,
    FundingRequest,
    Layer2Manager,
    Layer2ProtocolType,
    Transfer,
    TransferAbandoned,
    TransferRefunded,
    TransferState,
)
from layer2.errors import InitializationError, InvalidRequest
from layer2.manager import late_payments
from layer2.ports.clock import SystemClock
from layer2.signers.bitcoin import BitcoinSeed
from memory_sends import MemoryRecords
from networks.money import Changes
from networks.parties import bitcoin_settings, clients_of
from networks.swaps import AMOUNT, DIRECTIONS, FEE, Swaps, completed, until_state
from networks.waiting import until

BITCOIN: Final = Layer2ProtocolType.BITCOIN
PAID: Final = AMOUNT + FEE
TO_LIGHTNING = pytest.mark.parametrize("direction", ["bitcoin_to_lightning"])
SIMNET_ONLY = pytest.mark.only_on("simnet", reason="each test needs a network of its own, and a devnet takes longer")
WORDS: Final = "zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo wrong"


class LaterClock(SystemClock):
    """A clock that shows a later time."""

    def __init__(self, seconds: int) -> None:
        self._seconds = seconds

    def now(self) -> float:
        return super().now() + self._seconds


@asynccontextmanager
async def exchange(swaps: Swaps) -> AsyncIterator[BitcoinClient]:
    """The wallet of another party, with coins from the taker's wallet."""
    settings = bitcoin_settings(swaps.network, swaps.network.taker)
    async with BitcoinClient(settings, BitcoinSeed(WORDS), MemoryRecords()) as client:
        async with clients_of(swaps.network, swaps.network.taker) as taker:
            outputs = [BitcoinOutput(await client.receive_address_async(), 2_000_000) for _ in range(3)]
            await taker.bitcoin.submit_transaction_async(BitcoinPayment(tuple(outputs)))

        async def has_coins() -> bool:
            return (await client.balances_async())[BTC].spendable >= 6_000_000

        await until(has_coins, "the other party has coins")
        yield client


async def pay(wallet: BitcoinClient, request: FundingRequest, *amounts: int) -> None:
    """Pay these amounts to the address in one transaction."""
    outputs = tuple([BitcoinOutput(request.address, amount) for amount in amounts])
    await wallet.submit_transaction_async(BitcoinPayment(outputs))


async def begin(layers: Layer2Manager, direction: str) -> tuple[Transfer, FundingRequest]:
    """Start a transfer that others fund."""
    quote = await layers.quote_transfer_async(BTC, AMOUNT, *DIRECTIONS[direction], funded_by_others=True)
    transfer = await layers.start_transfer_async(quote, idempotency_key="order-1")
    request = transfer.funding_request
    assert request is not None
    assert (request.amount, request.fund_by) == (PAID, transfer.deadline)
    assert request.uri.startswith(f"bitcoin:{request.address}?amount=0.00")
    return transfer, request


def returned(amount: int) -> Changes:
    """The taker receives a refund of what another wallet has paid."""
    return {("taker", BITCOIN): amount}


@pytest.mark.parametrize("direction", ["bitcoin_to_lightning", "bitcoin_to_bob"])
async def test_a_payment_of_another_wallet_completes_the_transfer(swaps: Swaps, direction: str) -> None:
    async with exchange(swaps) as wallet:
        before = await swaps.money()
        async with swaps.manager() as layers, swaps.quick_finality():
            transfer, request = await begin(layers, direction)
            await until_state(layers, transfer.transfer_id, TransferState.FUNDING)
            await pay(wallet, request, PAID)
            proof = await layers.wait_for_transfer_async(transfer.transfer_id, timeout=60)
            assert await layers.verify_cross_layer_proof_async(proof)
            ended = await layers.get_transfer_async(transfer.transfer_id)
            assert (ended.state, ended.funding_request) == (TransferState.COMPLETED, None)
            await swaps.until_provider_has(transfer.transfer_id, "completed")
        changes = {**completed(direction)}
        del changes["taker", BITCOIN]
        await swaps.until_moved(before, changes)


@SIMNET_ONLY
@TO_LIGHTNING
async def test_a_wrong_amount_is_not_credited_and_is_refunded(own_swaps: Swaps, direction: str) -> None:
    swaps = own_swaps
    async with exchange(swaps) as wallet:
        before = await swaps.money()
        async with swaps.manager() as layers, swaps.quick_finality():
            transfer, request = await begin(layers, direction)
            await pay(wallet, request, PAID - 1)
            await swaps.until_provider_has(transfer.transfer_id, "agreed", sees_funding=False)
            swaps.provider.kill()
            await swaps.let_deadlines_pass(transfer.transfer_id)
            with pytest.raises(TransferRefunded, match="amount differs"):
                await layers.wait_for_transfer_async(transfer.transfer_id, timeout=60)
        await swaps.until_moved(before, returned(PAID - 1))


@SIMNET_ONLY
@TO_LIGHTNING
async def test_two_payments_are_both_refunded_and_the_preimage_stays_secret(own_swaps: Swaps, direction: str) -> None:
    swaps = own_swaps
    async with exchange(swaps) as wallet:
        before = await swaps.money()
        async with swaps.manager() as layers, swaps.quick_finality():
            transfer, request = await begin(layers, direction)
            await pay(wallet, request, PAID, PAID)
            await until_state(layers, transfer.transfer_id, TransferState.REFUNDING)
            assert await swaps.intents(transfer.transfer_id, "collect") == []
            # The taker refuses the provider's payment, so the provider has its money back before any deadline.
            await swaps.until_provider_has(transfer.transfer_id, "released")
            await swaps.let_deadlines_pass(transfer.transfer_id)
            with pytest.raises(TransferRefunded, match="more than one payment"):
                await layers.wait_for_transfer_async(transfer.transfer_id, timeout=60)
        await swaps.until_moved(before, returned(2 * PAID))


@SIMNET_ONLY
@TO_LIGHTNING
@pytest.mark.timeout(240)
async def test_a_late_payment_is_refunded_by_a_manager_that_runs_later(
    own_swaps: Swaps, direction: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(late_payments, "_POLL_SECONDS", 0.2)
    swaps = own_swaps
    async with exchange(swaps) as wallet:
        before = await swaps.money()
        async with swaps.manager() as layers:
            transfer, request = await begin(layers, direction)
            await until_state(layers, transfer.transfer_id, TransferState.FUNDING)
        async with later_manager(swaps) as layers:
            with pytest.raises(TransferAbandoned, match="nothing arrived"):
                await layers.wait_for_transfer_async(transfer.transfer_id, timeout=60)
            abandoned = await layers.get_transfer_async(transfer.transfer_id)
            assert abandoned.refundable_from is not None
            assert abandoned.refundable_from > request.fund_by
            assert "still arrives is refunded" in abandoned.funds
        await pay(wallet, request, PAID)
        # Only the journal knows the address now.
        async with later_manager(swaps) as layers, swaps.quick_finality():
            await until_reopened(layers, transfer.transfer_id)
            await swaps.let_deadlines_pass(transfer.transfer_id)
            with pytest.raises(TransferRefunded, match="after the time to fund"):
                await layers.wait_for_transfer_async(transfer.transfer_id, timeout=60)
            await swaps.until_moved(before, returned(PAID))
            # What arrives after the refund is refunded too.
            await pay(wallet, request, PAID)
            await swaps.until_moved(before, returned(2 * PAID))
            assert (await layers.get_transfer_async(transfer.transfer_id)).state is TransferState.REFUNDED


@SIMNET_ONLY
@TO_LIGHTNING
async def test_waiting_for_an_ended_transfer_looks_at_its_address_first(own_swaps: Swaps, direction: str) -> None:
    swaps = own_swaps
    async with exchange(swaps) as wallet:
        before = await swaps.money()
        async with swaps.manager() as layers:
            transfer, request = await begin(layers, direction)
            await until_state(layers, transfer.transfer_id, TransferState.FUNDING)
        async with later_manager(swaps) as layers, swaps.quick_finality():
            with pytest.raises(TransferAbandoned):
                await layers.wait_for_transfer_async(transfer.transfer_id, timeout=60)
            await pay(wallet, request, PAID)
            await swaps.let_deadlines_pass(transfer.transfer_id)
            with pytest.raises(TransferRefunded):
                await layers.wait_for_transfer_async(transfer.transfer_id, timeout=60)
        await swaps.until_moved(before, returned(PAID))


@TO_LIGHTNING
async def test_only_a_bitcoin_source_can_be_funded_by_others(swaps: Swaps, direction: str) -> None:
    async with swaps.manager() as layers:
        with pytest.raises(InvalidRequest) as refused:
            await layers.quote_transfer_async(
                BTC, AMOUNT, Layer2ProtocolType.BOB, Layer2ProtocolType.LIGHTNING, funded_by_others=True
            )
        assert refused.value.code == "funded_by_others"


@asynccontextmanager
async def later_manager(swaps: Swaps) -> AsyncIterator[Layer2Manager]:
    """A manager after ``fund_by``. The destination's node refuses its clock, and a refund does not need that node."""
    async with Layer2Manager(swaps.config(), clock=LaterClock(200)) as layers:
        with pytest.raises(InitializationError, match="LIGHTNING"):
            await layers.initialize_all_async()
        yield layers


async def until_reopened(layers: Layer2Manager, transfer_id: str) -> None:
    async def is_open() -> bool:
        return (await layers.get_transfer_async(transfer_id)).state is TransferState.REFUNDING

    await until(is_open, "the late payment is seen")
