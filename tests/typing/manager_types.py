"""What type checkers infer for a manager's calls. Never run: mypy and basedpyright read it in ``make check``."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, assert_type

from layer2 import (
    BTC,
    AssetId,
    Balance,
    BitcoinClient,
    BobClient,
    FundingRequest,
    Layer2Config,
    Layer2Manager,
    Layer2ProtocolAsync,
    Layer2ProtocolType,
    LightningNetwork,
    PairOffer,
    Quote,
    RootstockClient,
    Transfer,
    TransferEvent,
    TransferProof,
    TransferState,
)
from layer2.config import BobSection
from layer2.proofs import HolderAnswer, make_challenge
from layer2.testing import MockLayer2Manager


async def a_literal_layer_gives_its_own_client(layers: Layer2Manager, some: Layer2ProtocolType) -> None:
    assert_type(await layers.get_protocol_async(Layer2ProtocolType.BOB), BobClient)
    assert_type(await layers.get_protocol_async(Layer2ProtocolType.LIGHTNING), LightningNetwork)
    assert_type(await layers.get_protocol_async(Layer2ProtocolType.BITCOIN), BitcoinClient)
    assert_type(await layers.get_protocol_async(some), Layer2ProtocolAsync[Any, Any, Any, Any])


def the_twin_keeps_the_overloads(layers: Layer2Manager, some: Layer2ProtocolType) -> None:
    assert_type(layers.get_protocol_sync(Layer2ProtocolType.BOB), BobClient)
    assert_type(layers.get_protocol_sync(Layer2ProtocolType.ROOTSTOCK), RootstockClient)
    assert_type(layers.get_protocol_sync(Layer2ProtocolType.LIGHTNING), LightningNetwork)
    assert_type(layers.get_protocol_sync(Layer2ProtocolType.BITCOIN), BitcoinClient)
    assert_type(layers.get_protocol_sync(some), Layer2ProtocolAsync[Any, Any, Any, Any])


async def transfers_are_typed(layers: Layer2Manager) -> None:
    bob, lightning = Layer2ProtocolType.BOB, Layer2ProtocolType.LIGHTNING
    quote = await layers.quote_transfer_async(BTC, 100_000, bob, lightning, max_fee=1_000)
    assert_type(quote, Quote)
    transfer = await layers.start_transfer_async(quote, idempotency_key="rent")
    assert_type(transfer, Transfer)
    assert_type(await layers.list_transfers_async(open_only=True), Sequence[Transfer])
    assert_type(await layers.get_transfer_by_key_async("rent"), Transfer | None)
    assert_type(await layers.pairs_async(), tuple[PairOffer, ...])
    assert_type(layers.transfer_events(transfer.transfer_id), AsyncIterator[TransferEvent])
    proof = await layers.wait_for_transfer_async(transfer.transfer_id, timeout=60)
    assert_type(proof, TransferProof)
    assert_type(await layers.cross_layer_transfer_async(BTC, 100_000, bob, lightning), TransferProof)
    swept = layers.cross_layer_transfer_async(
        BTC, None, bob, lightning, send_amount=100_000, until=TransferState.ARRIVED
    )
    assert_type(await swept, TransferProof)
    assert_type(await layers.verify_cross_layer_proof_async(proof), bool)
    challenge = make_challenge(proof, verifier="Example Bank", expires_at=1_790_000_000, nonce=bytes(32))
    assert_type(await layers.answer_holder_challenge_async(proof, challenge), HolderAnswer)
    assert_type(await layers.close_async(), tuple[Transfer, ...])


def the_twins_keep_the_types_of_transfers(layers: Layer2Manager) -> None:
    bob, lightning = Layer2ProtocolType.BOB, Layer2ProtocolType.LIGHTNING
    quote = layers.quote_transfer_sync(BTC, 100_000, bob, lightning, max_fee=1_000)
    assert_type(quote, Quote)
    transfer = layers.start_transfer_sync(quote, idempotency_key="rent")
    assert_type(transfer, Transfer)
    assert_type(layers.list_transfers_sync(open_only=True), Sequence[Transfer])
    assert_type(layers.get_transfer_by_key_sync("rent"), Transfer | None)
    assert_type(layers.pairs_sync(), tuple[PairOffer, ...])
    assert_type(layers.transfer_events_sync(transfer.transfer_id), Iterator[TransferEvent])
    proof = layers.wait_for_transfer_sync(transfer.transfer_id, timeout=60)
    assert_type(proof, TransferProof)
    assert_type(layers.cross_layer_transfer_sync(BTC, 100_000, bob, lightning), TransferProof)
    assert_type(layers.verify_cross_layer_proof_sync(proof), bool)
    challenge = make_challenge(proof, verifier="Example Bank", expires_at=1_790_000_000, nonce=bytes(32))
    assert_type(layers.answer_holder_challenge_sync(proof, challenge), HolderAnswer)
    assert_type(layers.close_sync(), tuple[Transfer, ...])


async def a_mock_is_paid_as_by_others(layers: MockLayer2Manager, transfer: Transfer) -> None:
    assert_type(transfer.funding_request, FundingRequest | None)
    assert_type(await layers.pay_funding_request_async(transfer.transfer_id), str)
    assert_type(layers.pay_funding_request_sync(transfer.transfer_id, 1_000), str)


def entering_gives_the_manager(config: Layer2Config) -> None:
    with Layer2Manager(config) as layers:
        assert_type(layers, Layer2Manager)


async def entering_in_a_loop_gives_the_manager(config: Layer2Config) -> None:
    async with Layer2Manager(config) as layers:
        assert_type(layers, Layer2Manager)
        client = await layers.get_protocol_async(Layer2ProtocolType.BOB)
        assert_type(await client.balances_async(), Mapping[AssetId, Balance])


def settings_with_defaults_can_be_left_out() -> None:
    bob = BobSection(
        network="regtest",
        rpc_url="http://127.0.0.1:8545",
        token_address="0x" + "11" * 20,
        token_decimals=8,
        key_file=Path("key"),
    )
    assert_type(Layer2Config(network="regtest", bob=bob), Layer2Config)
    assert_type(Layer2Config.load("layer2.toml", default_timeout_ms=1), Layer2Config)
