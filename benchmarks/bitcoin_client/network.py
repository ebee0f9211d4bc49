"""A simnet with two Bitcoin wallets, one of which has many small coins."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import aiohttp

from layer2.journal.sql_journal import SqlJournal
from layer2.local.network import LocalNetwork, LocalNetworkControl, Party
from layer2.protocols.bitcoin import BitcoinClient, BitcoinOutput, BitcoinPayment, BitcoinSettings
from layer2.signers.bitcoin import BitcoinSeed

__all__ = ["Bench", "Effort", "client_of", "opened"]

COIN = 50_000
"""Satoshi of each coin."""
OUTPUTS = 50
"""Outputs of one funding transaction."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is measured."""

    rounds: int
    addresses: int
    """Addresses of the wallet, each with one coin."""
    payments: int
    """Payments in each round."""
    seconds: float
    """Length of a round of pure work."""
    outputs: int
    """Watched outputs."""
    blocks: int
    """Blocks with a payment to a watched output."""


def client_of(network: LocalNetwork, party: Party, journal: SqlJournal, **settings: Any) -> BitcoinClient:
    """A client of that party."""
    chosen = BitcoinSettings(network="regtest", esplora_url=network.bitcoin.esplora_url, **settings)
    return BitcoinClient(chosen, BitcoinSeed.from_file(party.bitcoin_seed_file), journal)


@asynccontextmanager
async def opened(network: LocalNetwork, party: Party, directory: Path) -> AsyncIterator[BitcoinClient]:
    """An initialized client with a journal in the directory."""
    journal = await SqlJournal.open(directory.with_suffix(".sqlite"))
    try:
        async with client_of(network, party, journal, poll_interval_ms=100) as client:
            await client.initialize_async()
            yield client
    finally:
        await journal.aclose()


@dataclass
class Bench:
    """What the measurements share."""

    network: LocalNetwork
    directory: Path
    taker: BitcoinClient
    provider: BitcoinClient
    control: LocalNetworkControl

    @classmethod
    @asynccontextmanager
    async def on(
        cls, network: LocalNetwork, directory: Path, taker: BitcoinClient, provider: BitcoinClient
    ) -> AsyncIterator[Self]:
        """The bench of a running network."""
        async with aiohttp.ClientSession() as session:
            yield cls(network, directory, taker, provider, LocalNetworkControl(network.control_url, session))

    async def spread(self, addresses: int) -> None:
        """Give the taker that many addresses with one confirmed coin each."""
        for first in range(0, addresses, OUTPUTS):
            count = min(OUTPUTS, addresses - first)
            paid = [await self.taker.receive_address_async() for _ in range(count)]
            outputs = tuple(BitcoinOutput(each, COIN) for each in paid)
            await self.provider.submit_transaction_async(BitcoinPayment(outputs))
            await self.control.mine_bitcoin(1)
