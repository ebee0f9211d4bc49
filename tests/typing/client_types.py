"""What type checkers infer for the clients' calls and their twins. Never run: checkers read it in ``make check``."""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, assert_type

from layer2 import (
    BTC,
    AssetId,
    Balance,
    BitcoinClient,
    BitcoinOutput,
    BitcoinPayment,
    BobClient,
    EvmTransactionRequest,
    Layer2ProtocolAsync,
    LightningNetwork,
    PaymentRequest,
    TxStatus,
)
from layer2.formats.bolt11 import Bolt11Invoice
from layer2.model.transactions import BitcoinTxId, EvmTxId, LightningPaymentId
from layer2.testing import MockBitcoinClient, MockLayer2Protocol

ADDRESS = "0x" + "11" * 20


async def bob_speaks_of_its_own_transactions(bob: BobClient) -> None:
    status = await bob.submit_transaction_async(EvmTransactionRequest(to=ADDRESS, value=1), idempotency_key="rent")
    assert_type(status, TxStatus[EvmTxId])
    tx_id = await bob.transfer_asset_async(BTC, 1_000, ADDRESS)
    assert_type(tx_id, EvmTxId)
    assert_type(await bob.get_transaction_status_async(tx_id), TxStatus[EvmTxId])
    assert_type(await bob.wait_for_status_async(tx_id), TxStatus[EvmTxId])
    assert_type(await bob.receive_address_async(), str)
    assert_type(await bob.balances_async(), Mapping[AssetId, Balance])


def the_twins_of_bob_keep_its_types(bob: BobClient) -> None:
    status = bob.submit_transaction_sync(EvmTransactionRequest(to=ADDRESS, value=1), idempotency_key="rent")
    assert_type(status, TxStatus[EvmTxId])
    tx_id = bob.transfer_asset_sync(BTC, 1_000, ADDRESS)
    assert_type(tx_id, EvmTxId)
    assert_type(bob.get_transaction_status_sync(tx_id), TxStatus[EvmTxId])
    assert_type(bob.wait_for_status_sync(tx_id), TxStatus[EvmTxId])
    assert_type(bob.receive_address_sync(), str)
    assert_type(bob.balances_sync(), Mapping[AssetId, Balance])


async def lightning_speaks_of_payments(lightning: LightningNetwork) -> None:
    invoice = await lightning.create_invoice_async(1_000)
    assert_type(invoice, Bolt11Invoice)
    assert_type(await lightning.transfer_asset_async(BTC, 1_000, invoice.text), LightningPaymentId)
    request = PaymentRequest(invoice.text, fee_limit_msat=1_000)
    assert_type(await lightning.submit_transaction_async(request), TxStatus[LightningPaymentId])


def the_twins_of_lightning_keep_its_types(lightning: LightningNetwork) -> None:
    invoice = lightning.create_invoice_sync(1_000)
    assert_type(invoice, Bolt11Invoice)
    payment = lightning.transfer_asset_sync(BTC, 1_000, invoice.text)
    assert_type(payment, LightningPaymentId)
    assert_type(lightning.get_transaction_status_sync(payment), TxStatus[LightningPaymentId])
    assert_type(lightning.wait_for_status_sync(payment, timeout=60), TxStatus[LightningPaymentId])


async def bitcoin_speaks_of_its_own_transactions(bitcoin: BitcoinClient) -> None:
    status = await bitcoin.submit_transaction_async(BitcoinPayment((BitcoinOutput(ADDRESS, 1_000),), fee_rate=2_000))
    assert_type(status, TxStatus[BitcoinTxId])
    tx_id = await bitcoin.transfer_asset_async(BTC, 1_000, ADDRESS, idempotency_key="rent")
    assert_type(tx_id, BitcoinTxId)
    assert_type(await bitcoin.replace_transaction_async(tx_id, fee_rate=4_000), BitcoinTxId)
    assert_type(await bitcoin.cancel_transaction_async(tx_id), BitcoinTxId)
    assert_type(await bitcoin.pay_for_parent_async(tx_id, fee_rate=4_000), BitcoinTxId)
    assert_type(await bitcoin.wait_for_status_async(tx_id), TxStatus[BitcoinTxId])
    assert_type(await bitcoin.estimate_fee_rate_async(2), int)


def the_twins_of_bitcoin_keep_its_types(bitcoin: BitcoinClient) -> None:
    tx_id = bitcoin.transfer_asset_sync(BTC, 1_000, ADDRESS)
    assert_type(tx_id, BitcoinTxId)
    assert_type(bitcoin.get_transaction_status_sync(tx_id), TxStatus[BitcoinTxId])
    assert_type(bitcoin.replace_transaction_sync(tx_id), BitcoinTxId)
    assert_type(bitcoin.estimate_fee_rate_sync(), int)


async def a_mock_of_bitcoin_keeps_its_types(mock: MockBitcoinClient) -> None:
    bitcoin: BitcoinClient = mock
    assert_type(await bitcoin.receive_address_async(), str)
    assert_type(await mock.transfer_asset_async(BTC, 1_000, ADDRESS), BitcoinTxId)
    assert_type(mock.balances_sync(), Mapping[AssetId, Balance])


def a_mock_stands_for_any_client(mock: MockLayer2Protocol) -> None:
    client: Layer2ProtocolAsync[Any, Any, Any, Any] = mock
    assert_type(client.balances_sync(), Mapping[AssetId, Balance])


def wrong_calls_are_found(bob: BobClient, payment: LightningPaymentId) -> None:
    bob.transfer_asset_sync(BTC, 1.5, ADDRESS)  # type: ignore[arg-type]  # no floats
    bob.transfer_asset_sync(BTC, 1_000)  # type: ignore[call-arg]  # no recipient
    bob.get_transaction_status_sync(payment)  # type: ignore[arg-type]  # another layer's id
    bob.balances_sync(timout=1)  # type: ignore[call-arg]  # misspelt
