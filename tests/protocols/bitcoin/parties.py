"""Two parties with funded wallets on one simnet chain."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from layer2.formats.bitcoin_transaction import Transaction, TxIn, TxOut
from layer2.local.simnet.bitcoin.chain import ANYONE, ANYONE_WITNESS
from layer2.local.simnet.bitcoin.node import BitcoinNode
from layer2.protocols.bitcoin.htlc.legs import BitcoinLegs
from layer2.protocols.bitcoin.parts import BitcoinParts
from layer2.protocols.bitcoin.settings import BitcoinSettings
from layer2.protocols.bitcoin.wallet.bdk import Wallet
from layer2.signers.bitcoin import BitcoinSeed
from memory_sends import MemoryRecords
from protocols.bitcoin.served_chain import served
from simnet.bitcoin.coins import NOW, REWARD, reward_of

WORDS = {
    "taker": "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about",
    "provider": "legal winner thank year wave sausage worth useful legal winner thank yellow",
}


class FixedClock:
    """The clock of the machines."""

    def now(self) -> float:
        return float(NOW)


class BitcoinParty:
    """One party: its parts and its legs."""

    def __init__(self, name: str, url: str) -> None:
        settings = BitcoinSettings(network="regtest", esplora_url=url, poll_interval_ms=1)
        self.parts = BitcoinParts(settings, BitcoinSeed(WORDS[name]), MemoryRecords(), FixedClock())
        self.legs = BitcoinLegs(self.parts)


@asynccontextmanager
async def two_parties(node: BitcoinNode) -> AsyncIterator[tuple[BitcoinParty, BitcoinParty]]:
    """The taker and the provider, each with three coins of 10,000,000 sat."""
    async with served(node) as url:
        taker, provider = BitcoinParty("taker", url), BitcoinParty("provider", url)
        await fund_wallets(node, [party.parts.coins.wallet for party in (taker, provider)])
        try:
            yield taker, provider
        finally:
            for party in (taker, provider):
                await party.parts.aclose()


async def fund_wallets(node: BitcoinNode, wallets: Sequence[Wallet], amount: int = 10_000_000, coins: int = 3) -> None:
    """Pay to fresh addresses from the first reward, in one block."""
    scripts = [await wallet.fresh_script() for wallet in wallets for _ in range(coins)]
    outputs = [TxOut(amount, script) for script in scripts]
    rest = REWARD - amount * len(outputs) - 10_000
    inputs = (TxIn(reward_of(node), 0xFFFF_FFFD, b"", ANYONE_WITNESS),)
    node.mine(1, [Transaction(2, inputs, (*outputs, TxOut(rest, ANYONE)), 0)])
