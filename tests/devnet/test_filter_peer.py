"""The wallet that reads compact filters from btcd: a peer that fails, and a wallet that was away."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from layer2 import BTC
from layer2.errors import NodeUnreachable
from layer2.local.network import LocalNetwork, LocalNetworkControl, Party
from layer2.protocols.bitcoin import BitcoinClient
from layer2.protocols.bitcoin.wallet import filters
from layer2.signers.bitcoin import BitcoinSeed
from memory_sends import MemoryRecords
from networks.forwarder import forwarding
from networks.parties import bitcoin_settings

pytestmark = pytest.mark.devnet

AMOUNT = 20_000


def client_of(network: LocalNetwork, party: Party, **changes: Any) -> BitcoinClient:
    settings = bitcoin_settings(network, party, poll_interval_ms=1, **changes)
    return BitcoinClient(settings, BitcoinSeed.from_file(party.bitcoin_seed_file), MemoryRecords())


async def spendable(client: BitcoinClient) -> int:
    return (await client.balances_async())[BTC].spendable


async def test_a_peer_that_falls_silent_is_an_error_until_a_new_connection_shows_the_block(
    network: LocalNetwork, control: LocalNetworkControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        forwarding(f"http://{network.bitcoin.filter_peer}") as peer,
        client_of(network, network.taker, filter_peer=peer.url.removeprefix("https://")) as client,
        client_of(network, network.provider) as other,
    ):
        await client.initialize_async()
        before = await spendable(client)
        await other.transfer_asset_async(BTC, AMOUNT, await client.receive_address_async())
        peer.withhold()
        await control.mine(1, chain="BITCOIN")
        monkeypatch.setattr(filters, "_PATIENCE", 1.0)
        with pytest.raises(NodeUnreachable, match="did not show block") as silent:
            await spendable(client)
        assert silent.value.retryable
        peer.pass_on()
        monkeypatch.setattr(filters, "_PATIENCE", 10.0)
        assert await spendable(client) == before + AMOUNT


async def test_a_peer_that_is_away_is_an_error_and_its_return_is_noticed(
    network: LocalNetwork, control: LocalNetworkControl
) -> None:
    async with forwarding(f"http://{network.bitcoin.filter_peer}") as peer:
        port = int(peer.url.rpartition(":")[2])
        await peer.stop()
        async with client_of(network, network.taker, filter_peer=f"127.0.0.1:{port}") as client:
            with pytest.raises(NodeUnreachable):
                await client.initialize_async()
            await peer.start(port)
            await client.initialize_async()
            assert await spendable(client) > 0


async def test_a_wallet_file_keeps_coins_and_addresses_and_learns_what_happened_meanwhile(
    network: LocalNetwork, control: LocalNetworkControl, tmp_path: Path
) -> None:
    settings = {"wallet_file": str(tmp_path / "wallet.sqlite")}
    async with client_of(network, network.taker, **settings) as client:
        await client.initialize_async()
        before = await spendable(client)
        addresses = [await client.receive_address_async() for _ in range(3)]
    async with client_of(network, network.provider) as other:
        for address in addresses:
            await other.transfer_asset_async(BTC, AMOUNT, address)
            await control.mine(1, chain="BITCOIN")
    async with client_of(network, network.taker, **settings) as client:
        await client.initialize_async()
        assert await spendable(client) == before + 3 * AMOUNT
        assert await client.receive_address_async() not in addresses
