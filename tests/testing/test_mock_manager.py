"""The mock manager: transfers end as scripted, and everything else is as with the real manager."""

from __future__ import annotations

import asyncio
from itertools import permutations
from pathlib import Path

import pytest

from layer2 import (
    BTC,
    OFFLINE,
    AsyncTimeout,
    Layer2Manager,
    Layer2ProtocolType,
    Outcome,
    ProofOutcome,
    SwapId,
    TransferAbandoned,
    TransferLost,
    TransferProof,
    TransferRefunded,
    TransferState,
    check_proof,
)
from layer2.errors import (
    IdempotencyConflict,
    InitializationError,
    InvalidAmount,
    NodeUnreachable,
    QuoteExpired,
    QuoteRefused,
    StatementRefused,
    TermsRefused,
    UnknownTransfer,
)
from layer2.testing import MockLayer2Manager, MockLightningNetwork, UnmetExpectations

BOB, LIGHTNING, ROOTSTOCK = Layer2ProtocolType.BOB, Layer2ProtocolType.LIGHTNING, Layer2ProtocolType.ROOTSTOCK
BITCOIN = Layer2ProtocolType.BITCOIN
PAIRS = list(permutations((BITCOIN, BOB, LIGHTNING, ROOTSTOCK), 2))


async def pay_rent(layers: Layer2Manager) -> TransferProof:
    """A user's program, which knows nothing of mocks."""
    return await layers.cross_layer_transfer_async(BTC, 100_000, BOB, LIGHTNING, idempotency_key="rent")


async def start_rent(layers: Layer2Manager) -> SwapId:
    """The same, without waiting for its end."""
    quote = await layers.quote_transfer_async(BTC, 100_000, BOB, LIGHTNING)
    return (await layers.start_transfer_async(quote, idempotency_key="rent")).transfer_id


async def test_a_mock_provider_states_nothing_and_opens_no_connection() -> None:
    async with MockLayer2Manager() as layers:
        proof = await pay_rent(layers)
        with pytest.raises(StatementRefused) as refused:
            await layers._provider.completion_statement(proof.terms.terms, bytes(32))
        assert not refused.value.retryable


@pytest.mark.parametrize(("source", "destination"), PAIRS)
async def test_a_transfer_completes_with_a_proof(source: Layer2ProtocolType, destination: Layer2ProtocolType) -> None:
    async with MockLayer2Manager() as layers:
        await layers.initialize_all_async()
        proof = await layers.cross_layer_transfer_async(BTC, 100_000, source, destination, max_fee=1_000)
        assert await layers.verify_cross_layer_proof_async(proof)
        assert check_proof(proof, OFFLINE).outcome is ProofOutcome.COMPLETED
        assert proof.terms.terms.source_amount == 100_420


async def test_the_evidence_has_the_form_of_its_layer() -> None:
    async with MockLayer2Manager() as layers:
        first = await layers.cross_layer_transfer_async(BTC, 100_000, ROOTSTOCK, BITCOIN)
        second = await layers.cross_layer_transfer_async(BTC, 100_000, LIGHTNING, BOB)
        legs = (first.source_leg, first.destination_leg, second.source_leg, second.destination_leg)
        assert [leg.type for leg in legs if leg is not None] == [
            "rootstock_receipt", "bitcoin_spend", "lightning_payment", "evm_receipt",
        ]  # fmt: skip


async def test_a_proof_of_one_mock_manager_holds_at_another_and_a_changed_one_nowhere() -> None:
    async with MockLayer2Manager() as layers, MockLayer2Manager() as others:
        proof = await pay_rent(layers)
        assert await others.verify_cross_layer_proof_async(proof)
        changed = TransferProof.from_bytes(proof.to_bytes().replace(b'"100000"', b'"900000"'))
        assert not await others.verify_cross_layer_proof_async(changed)


@pytest.mark.parametrize("source", [BOB, ROOTSTOCK, BITCOIN])
async def test_a_refund_holds_the_refund_s_proof(source: Layer2ProtocolType) -> None:
    async with MockLayer2Manager() as layers:
        layers.next_transfer(TransferState.REFUNDED, reason="the provider was away")
        with pytest.raises(TransferRefunded, match="the provider was away") as caught:
            await layers.cross_layer_transfer_async(BTC, 100_000, source, LIGHTNING, max_fee=1_000)
        assert caught.value.proof is not None
        assert caught.value.proof.outcome is ProofOutcome.REFUNDED
        assert not await layers.verify_cross_layer_proof_async(caught.value.proof)
        assert (await layers.get_transfer_async(str(caught.value.transfer_id))).state is TransferState.REFUNDED


async def test_a_refund_from_lightning_has_no_proof() -> None:
    async with MockLayer2Manager() as layers:
        layers.next_transfer(TransferState.REFUNDED)
        with pytest.raises(TransferRefunded) as caught:
            await layers.cross_layer_transfer_async(BTC, 100_000, LIGHTNING, BOB)
        assert caught.value.proof is None


async def test_an_abandoned_transfer_gives_its_key_back() -> None:
    async with MockLayer2Manager() as layers:
        layers.next_transfer(TransferState.ABANDONED)
        with pytest.raises(TransferAbandoned) as caught:
            await pay_rent(layers)
        assert caught.value.outcome is Outcome.NOT_SENT
        proof = await pay_rent(layers)
        assert proof.terms.terms.swap_id != caught.value.transfer_id


async def test_a_loss_names_amounts_and_transactions() -> None:
    async with MockLayer2Manager() as layers:
        layers.next_transfer(TransferState.LOST)
        with pytest.raises(TransferLost) as caught:
            await pay_rent(layers)
        error = caught.value
        assert (error.send_amount, error.receive_amount) == (100_420, 100_000)
        assert error.source_tx_id
        assert error.destination_tx_id


async def test_a_transfer_that_takes_longer_than_the_timeout_continues() -> None:
    async with MockLayer2Manager() as layers:
        layers.next_transfer(after=0.5)
        transfer_id = await start_rent(layers)
        with pytest.raises(AsyncTimeout) as caught:
            await layers.wait_for_transfer_async(transfer_id, timeout=0.05)
        error = caught.value
        assert error.code == "transfer_timeout"
        assert error.funds is not None
        assert "100,420 sat" in error.funds
        assert error.deadline is not None
        # The same key finds the same transfer, and waits for it.
        assert (await pay_rent(layers)).terms.terms.swap_id == error.transfer_id == transfer_id


async def test_an_open_transfer_is_continued_by_the_test() -> None:
    async with MockLayer2Manager() as layers:
        layers.next_transfer(TransferState.FUNDED)
        transfer_id = await start_rent(layers)
        seen: list[TransferState] = []
        async for event in layers.transfer_events(transfer_id):
            seen.append(event.transfer.state)
            if event.transfer.state is TransferState.FUNDED:
                layers.continue_transfer(transfer_id, TransferState.REFUNDED)
        assert seen[-3:] == [TransferState.FUNDED, TransferState.REFUNDING, TransferState.REFUNDED]


async def test_arrived_is_waited_for() -> None:
    async with MockLayer2Manager() as layers:
        layers.next_transfer(TransferState.ARRIVED)
        proof = await layers.cross_layer_transfer_async(BTC, 100_000, BOB, LIGHTNING, until=TransferState.ARRIVED)
        assert proof.outcome is ProofOutcome.COMPLETED
        (transfer,) = await layers.list_transfers_async(open_only=True)
        assert transfer.state is TransferState.ARRIVED


async def test_a_key_is_one_transfer_and_another_request_under_it_a_conflict() -> None:
    async with MockLayer2Manager() as layers:
        first, second = await asyncio.gather(pay_rent(layers), pay_rent(layers))
        assert first.proof_id == second.proof_id
        with pytest.raises(IdempotencyConflict):
            await layers.cross_layer_transfer_async(BTC, 200_000, BOB, LIGHTNING, idempotency_key="rent")
        found = await layers.get_transfer_by_key_async("rent")
        assert found is not None
        assert (found.state, found.send_amount, found.fee) == (TransferState.COMPLETED, 100_420, 420)
        assert [each.transfer_id for each in await layers.list_transfers_async()] == [found.transfer_id]


async def test_a_refused_quote_locks_nothing() -> None:
    async with MockLayer2Manager() as layers:
        layers.next_quote_fails(QuoteRefused("the provider has no inventory", code="quote_inventory"))
        with pytest.raises(QuoteRefused, match="no inventory"):
            await pay_rent(layers)
        assert await layers.get_transfer_by_key_async("rent") is None
        with pytest.raises(QuoteRefused):
            await layers.quote_transfer_async(BTC, 100_000, BOB, LIGHTNING, max_fee=419)


async def test_a_start_that_fails_leaves_the_key_free() -> None:
    async with MockLayer2Manager() as layers:
        layers.next_start_fails(TermsRefused("the terms are forged"))
        with pytest.raises(TermsRefused) as caught:
            await pay_rent(layers)
        assert caught.value.funds == "nothing has left your account"
        assert (await pay_rent(layers)).outcome is ProofOutcome.COMPLETED


async def test_what_is_retryable_is_tried_again() -> None:
    async with MockLayer2Manager() as layers:
        layers.next_quote_fails(NodeUnreachable("the provider is away"))
        layers.next_start_fails(NodeUnreachable("the provider is away"))
        assert (await pay_rent(layers)).outcome is ProofOutcome.COMPLETED


async def test_an_expired_quote_is_refused() -> None:
    class Clock:
        time = 1_790_000_000.0

        def now(self) -> float:
            return self.time

    clock = Clock()
    async with MockLayer2Manager(clock=clock) as layers:
        quote = await layers.quote_transfer_async(BTC, 100_000, BOB, LIGHTNING)
        clock.time = quote.valid_until + 1
        with pytest.raises(QuoteExpired):
            await layers.start_transfer_async(quote)


async def test_an_invoice_of_a_stranger_is_paid() -> None:
    async with MockLayer2Manager() as layers:
        invoice = layers.make_invoice(50_000)
        proof = await layers.cross_layer_transfer_async(BTC, 50_000, BOB, LIGHTNING, recipient=invoice)
        assert await layers.verify_cross_layer_proof_async(proof)


async def test_what_is_sent_can_be_given_instead_of_what_arrives() -> None:
    async with MockLayer2Manager() as layers:
        quote = await layers.quote_transfer_async(BTC, None, BOB, LIGHTNING, send_amount=100_420)
        assert (quote.send_amount, quote.receive_amount) == (100_420, 100_000)
        pairs = {(pair.source, pair.destination): pair for pair in await layers.pairs_async()}
        assert pairs[BOB, LIGHTNING].fee(100_000) == 420
        assert pairs.keys() == set(PAIRS)


async def test_an_output_on_bitcoin_has_the_smallest_amount_of_the_real_manager() -> None:
    async with MockLayer2Manager() as layers:
        pairs = {(pair.source, pair.destination): pair for pair in await layers.pairs_async()}
        assert (pairs[BOB, BITCOIN].min_amount, pairs[BOB, LIGHTNING].min_amount) == (10_000, 1)
        with pytest.raises(InvalidAmount):
            await layers.quote_transfer_async(BTC, 9_999, BOB, BITCOIN)


async def test_wrong_requests_are_refused_as_by_the_real_manager() -> None:
    async with MockLayer2Manager() as layers:
        with pytest.raises(InvalidAmount):
            await layers.quote_transfer_async(BTC, 0, BOB, LIGHTNING)
        with pytest.raises(UnknownTransfer):
            await layers.get_transfer_async("00" * 16)


async def test_an_initialization_that_fails_names_the_layers() -> None:
    async with MockLayer2Manager() as layers:
        layers.next_initialization_fails({BOB: NodeUnreachable("no answer")})
        with pytest.raises(InitializationError, match="BOB"):
            await layers.initialize_all_async()
        await layers.initialize_all_async()


async def test_a_restart_finds_open_transfers_and_their_keys(tmp_path: Path) -> None:
    async with MockLayer2Manager(directory=tmp_path) as layers:
        layers.next_transfer(TransferState.FUNDED)
        transfer_id = await start_rent(layers)
    async with MockLayer2Manager(directory=tmp_path) as layers:
        await layers.initialize_all_async()
        assert (await pay_rent(layers)).terms.terms.swap_id == transfer_id


async def test_the_mocks_of_clients_are_given_out_and_verified() -> None:
    lightning = MockLightningNetwork()
    lightning.expect("receive_address_async").returns("02ab")
    async with MockLayer2Manager(lightning) as layers:
        client = await layers.get_protocol_async(Layer2ProtocolType.LIGHTNING)
        with pytest.raises(UnmetExpectations, match="receive_address_async"):
            layers.verify()
        assert await client.receive_address_async() == "02ab"


async def test_scripts_that_were_not_used_are_reported() -> None:
    layers = MockLayer2Manager()
    layers.next_transfer(TransferState.REFUNDED)
    layers.next_quote_fails(QuoteRefused("no"))
    with pytest.raises(UnmetExpectations, match="1 x next_transfer, 1 x next_quote_fails"):
        layers.verify()


def test_a_state_before_the_agreement_cannot_be_scripted() -> None:
    with pytest.raises(ValueError, match="PLANNED"):
        MockLayer2Manager().next_transfer(TransferState.PLANNED)


def test_a_blocking_program_uses_it_with_the_twins() -> None:
    with MockLayer2Manager() as layers:
        layers.initialize_all_sync()
        layers.next_transfer(TransferState.FUNDED)
        layers.next_transfer(TransferState.REFUNDED)
        started = layers.start_transfer_sync(layers.quote_transfer_sync(BTC, 100_000, BOB, LIGHTNING))
        with pytest.raises(AsyncTimeout):
            layers.wait_for_transfer_sync(started.transfer_id, timeout=0.01)
        with pytest.raises(TransferRefunded):
            layers.cross_layer_transfer_sync(BTC, 100_000, BOB, LIGHTNING)
        layers.continue_transfer(started.transfer_id, TransferState.COMPLETED)
        layers.wait_for_transfer_sync(started.transfer_id, timeout=30)


async def test_a_way_that_does_not_exist_is_refused_at_once() -> None:
    async with MockLayer2Manager() as layers:
        layers.next_transfer(TransferState.REFUNDING)
        transfer_id = await start_rent(layers)
        with pytest.raises(ValueError, match="refunding cannot become completed"):
            layers.continue_transfer(transfer_id, TransferState.COMPLETED)
        layers.continue_transfer(transfer_id, TransferState.REFUNDED)
        with pytest.raises(TransferRefunded):
            await layers.wait_for_transfer_async(transfer_id, timeout=30)
