"""The mock manager with a source on Bitcoin that others pay: right, wrong, late, twice, or not at all."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from layer2 import (
    BTC,
    AsyncTimeout,
    FundingRequest,
    Layer2Manager,
    Layer2ProtocolType,
    ProofOutcome,
    SwapId,
    Transfer,
    TransferAbandoned,
    TransferProof,
    TransferRefunded,
    TransferState,
)
from layer2.errors import InvalidRequest, UnknownTransfer
from layer2.testing import MockLayer2Manager
from networks.waiting import until

BITCOIN, BOB, LIGHTNING = Layer2ProtocolType.BITCOIN, Layer2ProtocolType.BOB, Layer2ProtocolType.LIGHTNING


class SetClock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.time = 1_800_000_000.0

    def now(self) -> float:
        return self.time


async def start_withdrawal(layers: Layer2Manager) -> Transfer:
    """A user's program, which shows the address to an exchange."""
    quote = await layers.quote_transfer_async(BTC, 100_000, BITCOIN, BOB, max_fee=1_000, funded_by_others=True)
    return await layers.start_transfer_async(quote, idempotency_key="withdrawal")


def request_of(transfer: Transfer) -> FundingRequest:
    """What the exchange has to pay."""
    assert transfer.funding_request is not None
    return transfer.funding_request


async def state_is(layers: Layer2Manager, transfer_id: SwapId, state: TransferState) -> Transfer:
    """Wait until a transfer is in a state."""

    async def is_there() -> bool:
        return (await layers.get_transfer_async(transfer_id)).state is state

    await until(is_there, state.value, seconds=10)
    return await layers.get_transfer_async(transfer_id)


async def refunded(layers: Layer2Manager, transfer_id: SwapId) -> TransferRefunded:
    """The error of a transfer that was refunded."""
    await state_is(layers, transfer_id, TransferState.REFUNDED)
    with pytest.raises(TransferRefunded) as caught:
        await layers.wait_for_transfer_async(transfer_id, timeout=10)
    return caught.value


async def test_a_right_payment_completes_the_transfer() -> None:
    async with MockLayer2Manager() as layers:
        started = await start_withdrawal(layers)
        request = request_of(started)
        assert request.amount == started.send_amount == 100_420
        assert request.address.startswith("bcrt1q")
        assert request.fund_by == started.deadline
        tx_id = await layers.pay_funding_request_async(started.transfer_id)
        proof = await layers.wait_for_transfer_async(started.transfer_id, timeout=10)
        assert await layers.verify_cross_layer_proof_async(proof)
        ended = await layers.get_transfer_async(started.transfer_id)
        assert (ended.source_tx_id, ended.funding_request) == (tx_id, None)


async def test_nothing_completes_until_the_payment(caplog: pytest.LogCaptureFixture) -> None:
    async with MockLayer2Manager() as layers:
        started = await start_withdrawal(layers)
        with pytest.raises(AsyncTimeout) as caught:
            await layers.wait_for_transfer_async(started.transfer_id, timeout=0.1)
        assert caught.value.funds is not None
        assert "are to be paid to the transfer's address" in caught.value.funds
        waiting = await layers.get_transfer_async(started.transfer_id)
        assert waiting.state is TransferState.FUNDING
        assert waiting.funding_request == started.funding_request
        await layers.pay_funding_request_async(started.transfer_id, request_of(waiting).amount)
        # The same key finds the same transfer.
        assert (await start_withdrawal(layers)).transfer_id == started.transfer_id
        await layers.wait_for_transfer_async(started.transfer_id, timeout=10)
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_addresses_are_fresh() -> None:
    async with MockLayer2Manager() as layers:
        quotes = [await layers.quote_transfer_async(BTC, 100_000, BITCOIN, BOB, funded_by_others=True) for _ in "12"]
        started = [await layers.start_transfer_async(quote) for quote in quotes]
        assert request_of(started[0]).address != request_of(started[1]).address


@pytest.mark.parametrize("amount", [100_419, 100_421])
async def test_a_wrong_amount_is_refunded_and_never_credited(amount: int) -> None:
    async with MockLayer2Manager() as layers:
        transfer_id = (await start_withdrawal(layers)).transfer_id
        await layers.pay_funding_request_async(transfer_id, amount)
        error = await refunded(layers, transfer_id)
        assert "amount differs" in str(error)
        assert error.proof is None
        # A right payment after it changes nothing.
        await layers.pay_funding_request_async(transfer_id)
        await asyncio.sleep(0.05)
        assert (await layers.get_transfer_async(transfer_id)).state is TransferState.REFUNDED


async def test_a_payment_that_is_not_worth_a_refund_has_no_effect() -> None:
    async with MockLayer2Manager() as layers:
        transfer_id = (await start_withdrawal(layers)).transfer_id
        await layers.pay_funding_request_async(transfer_id, 999)
        with pytest.raises(AsyncTimeout):
            await layers.wait_for_transfer_async(transfer_id, timeout=0.1)
        await layers.pay_funding_request_async(transfer_id)
        await layers.wait_for_transfer_async(transfer_id, timeout=10)


async def test_without_a_payment_the_transfer_is_abandoned_and_a_late_one_is_refunded() -> None:
    clock = SetClock()
    async with MockLayer2Manager(clock=clock) as layers:
        started = await start_withdrawal(layers)
        await state_is(layers, started.transfer_id, TransferState.FUNDING)
        clock.time = request_of(started).fund_by + 1
        with pytest.raises(TransferAbandoned, match="nothing arrived"):
            await layers.wait_for_transfer_async(started.transfer_id, timeout=10)
        tx_id = await layers.pay_funding_request_async(started.transfer_id)
        error = await refunded(layers, started.transfer_id)
        assert "after the time to fund" in str(error)
        assert error.proof is not None
        assert error.proof.outcome is ProofOutcome.REFUNDED
        assert (await layers.get_transfer_async(started.transfer_id)).source_tx_id == tx_id


async def test_the_clock_decides_whether_a_payment_is_late() -> None:
    clock = SetClock()
    async with MockLayer2Manager(clock=clock) as layers:
        in_time = await start_withdrawal(layers)
        await layers.pay_funding_request_async(in_time.transfer_id)
        clock.time = request_of(in_time).fund_by + 1
        await layers.wait_for_transfer_async(in_time.transfer_id, timeout=10)
        quote = await layers.quote_transfer_async(BTC, 100_000, BITCOIN, LIGHTNING, funded_by_others=True)
        late = await layers.start_transfer_async(quote)
        await state_is(layers, late.transfer_id, TransferState.FUNDING)
        clock.time = request_of(late).fund_by + 1
        await layers.pay_funding_request_async(late.transfer_id)
        assert "after the time to fund" in str(await refunded(layers, late.transfer_id))


async def test_a_scripted_end_without_a_payment_can_be_paid_late() -> None:
    async with MockLayer2Manager() as layers:
        layers.next_transfer(TransferState.ABANDONED, reason="the exchange never paid")
        transfer_id = (await start_withdrawal(layers)).transfer_id
        with pytest.raises(TransferAbandoned, match="the exchange never paid"):
            await layers.wait_for_transfer_async(transfer_id, timeout=10)
        await layers.pay_funding_request_async(transfer_id)
        assert "after the time to fund" in str(await refunded(layers, transfer_id))


async def test_a_second_payment_before_the_collection_refunds_both() -> None:
    async with MockLayer2Manager() as layers:
        layers.next_transfer(TransferState.FUNDED)
        transfer_id = (await start_withdrawal(layers)).transfer_id
        await layers.pay_funding_request_async(transfer_id)
        await state_is(layers, transfer_id, TransferState.FUNDED)
        await layers.pay_funding_request_async(transfer_id)
        assert "more than one payment arrived" in str(await refunded(layers, transfer_id))
        with pytest.raises(ValueError, match="refunded cannot become completed"):
            layers.continue_transfer(transfer_id, TransferState.COMPLETED)


async def test_two_payments_at_once_refund_both() -> None:
    async with MockLayer2Manager() as layers:
        transfer_id = (await start_withdrawal(layers)).transfer_id
        await asyncio.gather(*(layers.pay_funding_request_async(transfer_id) for _ in "12"))
        error = await refunded(layers, transfer_id)
        assert "more than one payment arrived" in str(error)
        assert error.proof is not None


async def test_a_payment_after_the_end_changes_nothing() -> None:
    async with MockLayer2Manager() as layers:
        transfer_id = (await start_withdrawal(layers)).transfer_id
        await layers.pay_funding_request_async(transfer_id)
        await layers.wait_for_transfer_async(transfer_id, timeout=10)
        await layers.pay_funding_request_async(transfer_id)
        await asyncio.sleep(0.05)
        assert (await layers.get_transfer_async(transfer_id)).state is TransferState.COMPLETED


async def test_a_paid_transfer_follows_its_script() -> None:
    async with MockLayer2Manager() as layers:
        layers.next_transfer(TransferState.REFUNDED, reason="the provider was away")
        transfer_id = (await start_withdrawal(layers)).transfer_id
        await layers.pay_funding_request_async(transfer_id)
        error = await refunded(layers, transfer_id)
        assert "the provider was away" in str(error)
        assert error.proof is not None


async def test_after_a_restart_an_open_request_is_paid_and_an_abandoned_one_refunded(tmp_path: Path) -> None:
    async with MockLayer2Manager(directory=tmp_path) as layers:
        layers.next_transfer(TransferState.ABANDONED)
        abandoned = (await start_withdrawal(layers)).transfer_id
        await state_is(layers, abandoned, TransferState.ABANDONED)
        # The key of an abandoned transfer is free.
        waiting = (await start_withdrawal(layers)).transfer_id
        assert waiting != abandoned
        await state_is(layers, waiting, TransferState.FUNDING)
    async with MockLayer2Manager(directory=tmp_path) as layers:
        await layers.initialize_all_async()
        assert request_of(await layers.get_transfer_async(waiting)).amount == 100_420
        await layers.pay_funding_request_async(waiting)
        proof: TransferProof = await layers.wait_for_transfer_async(waiting, timeout=10)
        assert proof.outcome is ProofOutcome.COMPLETED
        await layers.pay_funding_request_async(abandoned)
        await refunded(layers, abandoned)


async def test_only_a_transfer_that_others_fund_can_be_paid() -> None:
    async with MockLayer2Manager() as layers:
        with pytest.raises(InvalidRequest, match="funded by your own client only"):
            await layers.quote_transfer_async(BTC, 100_000, BOB, BITCOIN, funded_by_others=True)
        with pytest.raises(InvalidRequest, match="pays only your own account"):
            await layers.quote_transfer_async(
                BTC, 100_000, BITCOIN, LIGHTNING, recipient=layers.make_invoice(100_000), funded_by_others=True
            )
        own = await layers.start_transfer_async(await layers.quote_transfer_async(BTC, 100_000, BITCOIN, BOB))
        assert own.funding_request is None
        with pytest.raises(ValueError, match="no address that others pay"):
            await layers.pay_funding_request_async(own.transfer_id)
        with pytest.raises(UnknownTransfer):
            await layers.pay_funding_request_async("00" * 16)


def test_a_blocking_program_is_paid_with_the_twin() -> None:
    with MockLayer2Manager() as layers:
        quote = layers.quote_transfer_sync(BTC, 100_000, BITCOIN, BOB, funded_by_others=True)
        started = layers.start_transfer_sync(quote)
        layers.pay_funding_request_sync(started.transfer_id)
        layers.wait_for_transfer_sync(started.transfer_id, timeout=10)
