"""The contract of a layer's client, the same on every layer and network."""

from __future__ import annotations

import asyncio
import gc
import os
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import pytest

from layer2 import BTC, ETH, AsyncTimeout, BobClient, LightningNetwork, Preimage, TxState, TxStatus
from layer2.errors import (
    AuthenticationFailed,
    ConfigurationError,
    FormatError,
    IdempotencyConflict,
    InsufficientFunds,
    InvalidAmount,
    InvalidRequest,
    Layer2Error,
    NodeError,
    NodeUnreachable,
    Outcome,
    TransactionError,
    UnknownAsset,
    WrongNetwork,
)
from layer2.local.network import LocalNetwork, LocalNetworkControl
from layer2.model.money import AssetId
from layer2.ports.client import Layer2ProtocolAsync
from layer2.ports.clock import SystemClock
from layer2.protocols.bitcoin import BitcoinClient, BitcoinOutput, BitcoinPayment
from layer2.protocols.evm.client import EvmClient
from layer2.protocols.evm.requests import EvmTransactionRequest
from layer2.protocols.rootstock import RootstockClient
from layer2.signers.bitcoin import BitcoinSeed
from layer2.signers.software import SoftwareEvmSigner
from memory_sends import MemoryRecords, MemorySends
from networks.mining import BitcoinMiner
from networks.parties import Clients, bitcoin_settings, bob_settings, lightning_settings, rootstock_settings
from networks.waiting import until

AMOUNT = 20_000
LAYERS = ("bob", "rootstock", "bitcoin", "lightning")
WITH_FAULTS = pytest.mark.parametrize("layer_name", ["bob", "rootstock", "lightning"], indirect=True)
"""simnet's Bitcoin node has no fault switches; ``tests/protocols/bitcoin`` has these faults."""
UNKNOWN_ASSET, RBTC = AssetId("DOGE", 8), AssetId("RBTC", 18)
Client = Layer2ProtocolAsync[Any, Any, Any, Any]


@dataclass(frozen=True)
class Layer:
    """One layer: the taker's client, and a recipient for its payments."""

    client: Client
    payee: Client
    unknown_id: str
    control: LocalNetworkControl

    async def recipient(self, amount: int) -> str:
        """A recipient of the payee for that amount."""
        if isinstance(self.payee, LightningNetwork):
            return (await self.payee.create_invoice_async(amount)).text
        address: str = await self.payee.receive_address_async()
        return address

    async def until_final(self, tx_id: str) -> TxStatus[Any]:
        """Wait until the transaction is final; a chain needs some more blocks for that."""
        if isinstance(self.client, BitcoinClient):
            await self.control.mine(self.client.settings.final_depth, chain="BITCOIN")
        await self.client.wait_for_status_async(tx_id, until=TxState.INCLUDED, timeout=60)
        if isinstance(self.client, EvmClient):
            await self.control.mine(5, chain=self.client.protocol_type.value)
        return await self.client.wait_for_status_async(tx_id, until=TxState.FINAL, timeout=60)

    async def owned(self) -> tuple[int, int]:
        """Balances of payer and payee: in satoshi, or in wei if bitcoin is the coin that pays gas."""
        asset = RBTC if isinstance(self.client, RootstockClient) else BTC
        balances = [(await one.balances_async())[asset] for one in (self.client, self.payee)]
        payer, payee = (balance.spendable + balance.reserved for balance in balances)
        return payer, payee

    async def until_moved(self, before: tuple[int, int], final: TxStatus[Any]) -> None:
        """Wait until AMOUNT has moved from payer to payee. A Lightning payer knows before the payee's channel."""
        assert final.fee is not None
        received, fee = AMOUNT, 0
        # On BOB another asset pays the fee, and the tests' Lightning route has none.
        if isinstance(self.client, BitcoinClient):
            fee = final.fee
        elif isinstance(self.client, RootstockClient):
            received, fee = AMOUNT * 10**10, final.fee

        async def holds() -> bool:
            return await self.owned() == (before[0] - received - fee, before[1] + received)

        await until(holds, f"{AMOUNT} sat have moved once")


@pytest.fixture(params=LAYERS)
def layer_name(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
async def layer(layer_name: str, taker: Clients, provider: Clients, control: LocalNetworkControl) -> Layer:
    if layer_name == "bob":
        return Layer(taker.bob, provider.bob, "0x" + "ab" * 32, control)
    if layer_name == "rootstock":
        return Layer(taker.rootstock, provider.rootstock, "0x" + "ab" * 32, control)
    if layer_name == "bitcoin":
        await asyncio.gather(taker.bitcoin.initialize_async(), provider.bitcoin.initialize_async())
        return Layer(taker.bitcoin, provider.bitcoin, "ab" * 32, control)
    return Layer(taker.lightning, provider.lightning, "ab" * 32, control)


def make(layer_name: str, on: LocalNetwork, **changes: Any) -> Client:
    """Another client of the taker, with changed settings."""
    if layer_name == "bitcoin":
        seed = BitcoinSeed.from_file(on.taker.bitcoin_seed_file)
        return BitcoinClient(bitcoin_settings(on, on.taker, **changes), seed, MemoryRecords())
    if layer_name == "lightning":
        return LightningNetwork(lightning_settings(on.taker, **changes), MemorySends(), SystemClock())
    signer = SoftwareEvmSigner.from_file(on.taker.evm_key_file)
    if layer_name == "bob":
        return BobClient(bob_settings(on, **changes), signer, MemorySends())
    return RootstockClient(rootstock_settings(on, **changes), signer, MemorySends())


async def test_initializing_can_be_repeated(layer: Layer) -> None:
    await layer.client.initialize_async()
    await asyncio.gather(layer.client.initialize_async(), layer.client.initialize_async())
    assert await layer.client.balances_async()


TESTNET: dict[str, Any] = {"network": "testnet", "chain_id": 31, "dialect": "rskj"}
WRONG_NODES: dict[str, tuple[str, dict[str, Any], type[Layer2Error], str]] = {
    "chain_id": ("bob", {"chain_id": 808813}, WrongNetwork, "is on chain 60808.*808813"),
    "rootstock_chain_id": ("rootstock", TESTNET, WrongNetwork, "is on chain 33.*ROOTSTOCK.*31"),
    "token": ("bob", {"token_address": "0x" + "11" * 20}, ConfigurationError, "no ERC-20"),
    "token_decimals": ("bob", {"token_decimals": 18}, ConfigurationError, "token_decimals is 18"),
    "network": ("lightning", {"network": "mainnet"}, WrongNetwork, "lnd is on regtest.*mainnet"),
    "bitcoin_network": ("bitcoin", {"network": "signet"}, WrongNetwork, "serves Bitcoin's regtest.*signet"),
    "version": ("lightning", {"minimum_version": "9.0.0"}, ConfigurationError, "older than 9.0.0"),
}


@pytest.mark.parametrize("case", list(WRONG_NODES))
async def test_a_node_that_is_not_the_configured_one_is_refused(network: LocalNetwork, case: str) -> None:
    name, changes, error, words = WRONG_NODES[case]
    async with make(name, network, **changes) as client:
        with pytest.raises(error, match=words):
            await client.initialize_async()


async def test_a_certificate_that_is_not_the_pinned_one_is_refused(network: LocalNetwork) -> None:
    other = network.provider.lightning.certificate_file
    async with make("lightning", network, certificate_file=other) as client:
        with pytest.raises(AuthenticationFailed, match="certificate"):
            await client.initialize_async()


async def test_a_macaroon_of_another_node_is_refused(network: LocalNetwork) -> None:
    other = network.provider.lightning.macaroon_file
    async with make("lightning", network, macaroon_file=other) as client:
        with pytest.raises(AuthenticationFailed, match="macaroon"):
            await client.initialize_async()


async def test_a_node_that_is_down_is_a_typed_error_and_nothing_is_sent(network: LocalNetwork, layer_name: str) -> None:
    address = {"lightning": "rest_url", "bitcoin": "esplora_url"}.get(layer_name, "rpc_url")
    if layer_name == "bitcoin" and network.bitcoin.rpc_url is not None:
        address = "rpc_url"
    async with make(layer_name, network, **{address: "https://127.0.0.1:9"}) as client:
        with pytest.raises(NodeUnreachable) as down:
            await client.initialize_async()
        assert down.value.retryable
        with pytest.raises(NodeUnreachable):
            await client.balances_async()


async def test_balances_grow_and_shrink_by_what_is_sent(layer: Layer) -> None:
    before = await layer.owned()
    tx_id = await layer.client.transfer_asset_async(BTC, AMOUNT, await layer.recipient(AMOUNT))
    status = await layer.until_final(tx_id)
    assert (status.tx_id, status.state) == (tx_id, TxState.FINAL)
    await layer.until_moved(before, status)


async def test_a_submitted_transaction_is_known_at_once_and_ends_final(layer: Layer) -> None:
    request: Any = await layer.recipient(AMOUNT)
    if isinstance(layer.client, EvmClient):
        request = EvmTransactionRequest(to=request, value=1)
    if isinstance(layer.client, BitcoinClient):
        request = BitcoinPayment((BitcoinOutput(request, AMOUNT),))
    status = await layer.client.submit_transaction_async(request)
    assert (await layer.client.get_transaction_status_async(status.tx_id)).state is not TxState.UNKNOWN
    final = await layer.until_final(status.tx_id)
    assert final.state is TxState.FINAL
    if isinstance(layer.client, LightningNetwork):
        assert isinstance(final.preimage, Preimage)
        assert final.preimage.payment_hash.hex() == final.tx_id


async def test_an_unknown_id_is_unknown_and_not_failed(layer: Layer) -> None:
    status = await layer.client.get_transaction_status_async(layer.unknown_id)
    assert (status.tx_id, status.state) == (layer.unknown_id, TxState.UNKNOWN)


@pytest.mark.parametrize("tx_id", ["", "0x", "zz" * 32, "0x" + "AB" * 31])
async def test_an_invalid_id_is_refused(layer: Layer, tx_id: str) -> None:
    with pytest.raises(FormatError):
        await layer.client.get_transaction_status_async(tx_id)


async def test_the_same_idempotency_key_is_the_same_transaction(layer: Layer) -> None:
    before = await layer.owned()
    key, recipient = os.urandom(8).hex(), await layer.recipient(AMOUNT)

    async def send(amount: int = AMOUNT, to: str = recipient) -> str:
        tx_id: str = await layer.client.transfer_asset_async(BTC, amount, to, idempotency_key=key)
        return tx_id

    first, second = await asyncio.gather(send(), send())
    assert first == second == await send()
    final = await layer.until_final(first)
    assert first == await send()
    with pytest.raises(IdempotencyConflict):
        await send(AMOUNT + 1, await layer.recipient(AMOUNT + 1))
    await layer.until_moved(before, final)


@pytest.mark.parametrize("amount", [0, -1, 20_000.0, True, "20000", None], ids=repr)
async def test_an_amount_that_is_not_a_positive_integer_is_refused(layer: Layer, amount: Any) -> None:
    with pytest.raises(InvalidAmount):
        await layer.client.transfer_asset_async(BTC, amount, await layer.recipient(AMOUNT))


async def test_an_asset_that_the_layer_does_not_carry_is_refused(layer: Layer) -> None:
    with pytest.raises(UnknownAsset):
        await layer.client.transfer_asset_async(UNKNOWN_ASSET, AMOUNT, await layer.recipient(AMOUNT))
    if not isinstance(layer.client, BobClient):
        with pytest.raises(UnknownAsset):
            await layer.client.transfer_asset_async(ETH, AMOUNT, await layer.recipient(AMOUNT))


@pytest.mark.parametrize("recipient", ["", "nobody", "0x1234", "lnbcrt1qqqq", "02" + "00" * 32])
async def test_a_recipient_that_is_none_is_refused(layer: Layer, recipient: str) -> None:
    with pytest.raises(InvalidRequest):
        await layer.client.transfer_asset_async(BTC, AMOUNT, recipient)


async def test_more_than_there_is_cannot_be_sent(layer: Layer) -> None:
    balance = (await layer.client.balances_async())[BTC]
    too_much = balance.spendable + balance.reserved + 1
    with pytest.raises(TransactionError) as refused:
        await layer.client.transfer_asset_async(BTC, too_much, await layer.recipient(too_much))
    assert isinstance(refused.value, InsufficientFunds)
    assert refused.value.outcome in (Outcome.NOT_SENT, Outcome.REJECTED)


async def test_a_wait_that_ends_by_its_timeout_has_the_id(layer: Layer) -> None:
    with pytest.raises(AsyncTimeout) as waited:
        await layer.client.wait_for_status_async(layer.unknown_id, until=TxState.FINAL, timeout=0.05)
    assert waited.value.tx_id == layer.unknown_id


@WITH_FAULTS
@pytest.mark.only_on("simnet", reason="real nodes have no switch to delay answers")
async def test_a_send_that_ends_by_its_timeout_has_the_id_and_is_not_sent_twice(
    layer_name: str, layer: Layer, control: LocalNetworkControl
) -> None:
    recipient, key = await layer.recipient(AMOUNT), os.urandom(8).hex()
    before = await layer.owned()
    if isinstance(layer.client, EvmClient):
        await control.fault(layer_name, "delay", method="eth_sendRawTransaction", seconds=2, count=1)
    else:
        await control.fault("taker_lightning", "delay", path="/v2/router/send", seconds=2, count=1)
    with pytest.raises(AsyncTimeout) as timed_out:
        await layer.client.transfer_asset_async(BTC, AMOUNT, recipient, idempotency_key=key, timeout=1)
    assert timed_out.value.outcome is Outcome.UNKNOWN
    assert timed_out.value.tx_id is not None
    tx_id = await layer.client.transfer_asset_async(BTC, AMOUNT, recipient, idempotency_key=key)
    assert tx_id == timed_out.value.tx_id
    await layer.until_moved(before, await layer.until_final(tx_id))


@WITH_FAULTS
@pytest.mark.only_on("simnet", reason="real nodes have no switch to drop an answer")
async def test_a_send_whose_answer_is_lost_is_not_sent_twice(
    layer_name: str, layer: Layer, control: LocalNetworkControl
) -> None:
    recipient, key = await layer.recipient(AMOUNT), os.urandom(8).hex()
    before = await layer.owned()
    if isinstance(layer.client, EvmClient):
        await control.fault(layer_name, "drop_reply", method="eth_sendRawTransaction", count=1)
    else:
        await control.fault("taker_lightning", "drop_reply", path="/v2/router/send", count=1)
    lost: NodeError | None = None
    try:
        tx_id = await layer.client.transfer_asset_async(BTC, AMOUNT, recipient, idempotency_key=key)
    except NodeError as error:
        lost = error
        tx_id = await layer.client.transfer_asset_async(BTC, AMOUNT, recipient, idempotency_key=key)
    # A client may determine the outcome itself; otherwise its error has the id to query.
    assert lost is None or (lost.outcome, lost.tx_id) == (Outcome.UNKNOWN, tx_id)
    await layer.until_moved(before, await layer.until_final(tx_id))


async def test_a_wait_is_cancelled_at_once_and_leaves_no_task_behind(layer: Layer) -> None:
    before = asyncio.all_tasks()
    waits = [
        asyncio.create_task(layer.client.wait_for_status_async(layer.unknown_id, until=TxState.FINAL))
        for _ in range(10)
    ]
    # When this is answered, all of them have been sent.
    await layer.client.get_transaction_status_async(layer.unknown_id)
    for wait in waits:
        wait.cancel()
    ended = await asyncio.gather(*waits, return_exceptions=True)
    assert [type(one) for one in ended] == [asyncio.CancelledError] * 10
    await layer.client.aclose()
    gc.collect()
    assert asyncio.all_tasks() - before - set(waits) == set()


async def test_the_blocking_twins_do_the_same(
    layer_name: str, network: LocalNetwork, layer: Layer, control: LocalNetworkControl
) -> None:
    recipient = await layer.recipient(AMOUNT)

    def program() -> None:
        with make(layer_name, network) as client:
            client.initialize_sync()
            before = client.balances_sync()[BTC].spendable
            tx_id = client.transfer_asset_sync(BTC, AMOUNT, recipient)
            assert client.wait_for_status_sync(tx_id, until=TxState.INCLUDED, timeout=60).state is not TxState.FAILED
            assert client.get_transaction_status_sync(tx_id).tx_id == tx_id
            assert client.balances_sync()[BTC].spendable < before
            assert client.receive_address_sync()

    async with BitcoinMiner(control).running() if layer_name == "bitcoin" else nullcontext():
        await asyncio.to_thread(program)
