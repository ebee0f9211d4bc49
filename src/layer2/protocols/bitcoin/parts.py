"""The parts of a Bitcoin client."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from layer2.errors import BadAnswer, ConfigurationError, FundsRulesError, WrongNetwork
from layer2.ports.clock import Clock
from layer2.ports.journal import CoinHolds
from layer2.protocols.bitcoin.chain.follower import ChainFollower
from layer2.protocols.bitcoin.chain.news import ChainNews
from layer2.protocols.bitcoin.settings import BitcoinSettings
from layer2.protocols.bitcoin.source.http import BITCOIN
from layer2.protocols.bitcoin.source.opening import open_source
from layer2.protocols.bitcoin.source.port import BlockId
from layer2.signers.bitcoin import BitcoinSeed

__all__ = ["BitcoinParts"]

_GENESIS: Final = {
    "mainnet": "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f",
    "testnet": "00000000da84f2bafbbc53dee25a72ae507ff4914b867c565be350b0da8bf043",
    "signet": "00000008819873e925422c1ff0f99f7cc9bbb232af63a077a480a3633bee1ef6",
    "regtest": "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206",
}
"""The first block of each network; testnet is testnet4 (BIP 94)."""
_EASIEST: Final = {
    # A hundredth of the difficulty of 2025; no block since 2018 had less.
    "mainnet": (0xFFFF << 208) // 10**12,
    "testnet": 0xFFFF << 208,
    "signet": 0x0377_AE << 216,
    "regtest": (1 << 255) - 1,
}
"""The highest target of a block that the client accepts."""


class BitcoinParts:
    """What the client and its legs share.

    Args:
        settings: sources, wallet and limits.
        seed: the wallet's.
        holds: the durable record of held coins.
        clock: this machine's.

    Raises:
        ConfigurationError: a setting is invalid, or ``layer2[bitcoin]`` is not installed.
    """

    def __init__(self, settings: BitcoinSettings, seed: BitcoinSeed, holds: CoinHolds, clock: Clock) -> None:
        try:
            # BDK is an extra, and loads for a tenth of a second.
            from layer2.protocols.bitcoin.wallet.bdk import Wallet, WalletSync
            from layer2.protocols.bitcoin.wallet.coins import Coins
            from layer2.protocols.bitcoin.wallet.esplora import EsploraSync
            from layer2.protocols.bitcoin.wallet.filters import LOOKAHEAD, FilterSync
        except ImportError as error:
            raise ConfigurationError(
                "Bitcoin needs the package bdkpython",
                remedy="install layer2 again, from where you got it, with its extra 'bitcoin'; or delete [bitcoin]",
            ) from error
        self.settings = settings
        self.clock = clock
        self.keys = seed.swap_keys()
        self.source = open_source(settings)
        sync: WalletSync
        path = None if settings.wallet_file is None else Path(settings.wallet_file)
        if settings.esplora_url is not None:
            wallet, sync = Wallet(seed.words, settings.network, path), EsploraSync(settings.esplora_url)
        else:
            assert settings.filter_peer is not None
            wallet = Wallet(seed.words, settings.network, path, LOOKAHEAD)
            files = None if path is None else path.with_suffix(".filters")
            sync = FilterSync(settings.filter_peer, files, self.source.tip)
        seconds = settings.poll_interval_ms / 1_000
        self.follower = ChainFollower(self.source, seconds, _EASIEST[settings.network])
        self.news = ChainNews(self.follower, seconds)
        self.coins = Coins(wallet, sync, holds, self._tip, seconds)

    async def _tip(self) -> BlockId:
        return (await self.follower.read()).tip

    async def check_network(self) -> None:
        """Check the chain's first block.

        Raises:
            WrongNetwork: the source serves another network.
            NodeError: it cannot be read.
        """
        served = await self.source.block_hash(0)
        expected = _GENESIS[self.settings.network]
        if served is None:
            raise BadAnswer("the source has no first block", protocol=BITCOIN)
        if served[::-1].hex() != expected:
            serves = next((name for name, block in _GENESIS.items() if block == served[::-1].hex()), "another network")
            raise WrongNetwork(
                f"the source serves Bitcoin's {serves}, the configuration names {self.settings.network}",
                code="genesis",
                protocol=BITCOIN,
                remedy="correct network, or the source's address",
            )

    def check_fee_rate(self, rate: int) -> None:
        """Check the fee rate of a send or a funding, in satoshi per 1,000 virtual bytes.

        Raises:
            FundsRulesError: code ``fee_cap``: it exceeds ``max_fee_rate``.
        """
        most = self.settings.max_fee_rate
        if rate > most:
            raise FundsRulesError(
                f"the fee rate of {rate / 1_000:g} sat/vB exceeds max_fee_rate, {most / 1_000:g} sat/vB",
                code="fee_cap",
                protocol=BITCOIN,
            )

    async def aclose(self) -> None:
        """Close the connections and the wallet."""
        await self.news.aclose()
        await self.follower.aclose()
        await self.source.aclose()
        await self.coins.aclose()
