"""From settings to working parts: clients, journal, runner, providers; opened and closed as one."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from layer2.blocking import Portal
from layer2.config import Layer2Config
from layer2.contracts.htlc import HTLC_ADDRESS
from layer2.errors import ConfigurationError
from layer2.formats.evm_address import parse_address
from layer2.interfaces import Clock, Entropy, EvmSigner
from layer2.layers import Layer2ProtocolType
from layer2.manager.taker import Taker
from layer2.manager.verification import configured_policy
from layer2.proofs.model import TransferProof
from layer2.proofs.policy import ProofPolicy
from layer2.protocol_client import Layer2ProtocolAsync
from layer2.protocols.bob import BobClient
from layer2.protocols.lightning import LightningNetwork, LightningSettings
from layer2.provider_client import ProviderClient, ProviderEndpoint
from layer2.signers.software import SeedPreimages
from layer2.swap_engine.records import describe
from layer2.swap_engine.runner import SwapRunner
from layer2.swap_rules.quotes import TakerNetwork
from layer2.swap_rules.timelocks import settings_for
from layer2.transactions import Finality
from layer2.transfers import Transfer

if TYPE_CHECKING:
    from layer2.swap_engine.journal import SqliteJournal

__all__ = ["Wiring"]


@dataclass(slots=True)
class _Transferring:
    """What exists only where both layers, a swap seed and an account are configured."""

    runner: SwapRunner
    signer: EvmSigner
    preimages: SeedPreimages
    providers: tuple[ProviderClient, ...]


class Wiring:
    """All parts of one entered manager. Made by ``open``, ended by ``close``."""

    def __init__(
        self, config: Layer2Config, journal: SqliteJournal, closing: AsyncExitStack, clock: Clock, entropy: Entropy
    ) -> None:
        self._config = config
        self._journal = journal
        self._closing = closing
        self._clock = clock
        self._entropy = entropy
        self._timelocks = settings_for(config.network)
        self._transferring: _Transferring | None = None
        self._taker: Taker | None = None
        self.bob: BobClient | None = None
        self.lightning: LightningNetwork | None = None

    @classmethod
    async def open(cls, config: Layer2Config, portal: Portal, clock: Clock, entropy: Entropy) -> Self:
        """Open the journal and make every configured client; nothing is asked of any node.

        Raises:
            ConfigurationError, SignerError, JournalError: what is wrong, before anything was begun.
        """
        # The database's library is loaded by who enters a manager, not by who imports its name.
        from layer2.swap_engine.journal import SqliteJournal

        async with AsyncExitStack() as closing:
            journal = await SqliteJournal.open(config.journal.path)
            closing.push_async_callback(journal.aclose)
            self = cls(config, journal, closing, clock, entropy)
            signer = self._make_clients(portal)
            if signer is not None:
                self._prepare_transfers(signer)
            self._closing = closing.pop_all()
            return self
        raise AssertionError("the block above returns or raises")

    def _make_clients(self, portal: Portal) -> EvmSigner | None:
        config, signer = self._config, None
        if config.bob is not None:
            settings = config.bob.settings(config.network, config.default_timeout_ms, config.connection_pool)
            signer = config.bob.signer()
            self.bob = BobClient(settings, signer, self._journal, self._clock)
        if config.lightning is not None:
            self.lightning = LightningNetwork(self._lightning_settings(), self._journal, self._clock)
        limit = asyncio.Semaphore(config.max_concurrency)
        for client in self.clients.values():
            client.bind(portal, limit)
            self._closing.push_async_callback(client.aclose)
        return signer

    def _lightning_settings(self) -> LightningSettings:
        config = self._config
        assert config.lightning is not None
        return config.lightning.settings(config.network, config.default_timeout_ms, config.connection_pool)

    def _prepare_transfers(self, signer: EvmSigner) -> None:
        config = self._config
        if self.bob is None or self.lightning is None or config.swap_seed_file is None:
            return
        preimages = SeedPreimages.from_file(config.swap_seed_file)
        runner = SwapRunner(
            self._journal,
            {Layer2ProtocolType.BOB: self.bob, Layer2ProtocolType.LIGHTNING: self.lightning},
            preimages,
            self._timelocks,
            self._clock,
            make_proof=lambda terms, source, destination: TransferProof(terms, source, destination).to_bytes(),
        )
        providers = tuple(
            ProviderClient(
                ProviderEndpoint(each.name, each.url, bytes.fromhex(each.identity_key)),
                config.connection_pool.settings(),
                config.default_timeout_ms,
            )
            for each in config.providers
        )
        for provider in providers:
            self._closing.push_async_callback(provider.aclose)
        self._transferring = _Transferring(runner, signer, preimages, providers)

    @property
    def clients(self) -> Mapping[Layer2ProtocolType, Layer2ProtocolAsync[Any, Any, Any, Any]]:
        """The clients of all configured layers."""
        return {client.protocol_type: client for client in (self.bob, self.lightning) if client is not None}

    @property
    def can_transfer(self) -> bool:
        """Whether everything that transfers need is configured."""
        return self._transferring is not None

    def taker(self) -> Taker:
        """The taker's side.

        Raises:
            ConfigurationError: something that transfers need is not configured; or the layers are not initialized.
        """
        if self._taker is not None:
            return self._taker
        config, parts, bob, lightning = self._config, self._transferring, self.bob, self.lightning
        if parts is None or config.bob is None or bob is None or lightning is None:
            missing = [
                name
                for name, value in (
                    ("[bob]", config.bob),
                    ("[lightning]", config.lightning),
                    ("swap_seed_file", config.swap_seed_file),
                )
                if value is None
            ]
            raise ConfigurationError(
                f"transfers need {' and '.join(missing)} in the configuration",
                code="no_transfers",
                remedy="run: layer2 config init",
            )
        self._taker = Taker(
            journal=self._journal,
            runner=parts.runner,
            layers={Layer2ProtocolType.BOB: bob, Layer2ProtocolType.LIGHTNING: lightning},
            providers=parts.providers,
            preimages=parts.preimages,
            settings=self._timelocks,
            network=self._network,
            address=parts.signer.address,
            clock=self._clock,
            entropy=self._entropy,
        )
        return self._taker

    async def _network(self) -> TakerNetwork:
        bob, lightning = self._config.bob, self.lightning
        assert bob is not None
        assert lightning is not None
        return TakerNetwork(
            chain_id=bob.chain_id,
            contract=HTLC_ADDRESS,
            token=parse_address(bob.token_address),
            token_decimals=bob.token_decimals,
            least_finality=Finality(self._config.least_finality),
            lightning_network=self._lightning_settings().invoice_prefix,
            # Asked for once; the client keeps it.
            node_key=bytes.fromhex(await lightning.receive_address_async()),
        )

    def proof_policy(self, policy: ProofPolicy | None) -> ProofPolicy:
        """The policy of this configuration, or the given one with what it leaves open filled in from here."""
        return configured_policy(self._config, policy)

    async def close(self) -> tuple[Transfer, ...]:
        """End everything without waiting for any swap; return the transfers that are open."""
        try:
            if self._transferring is None:
                return ()
            records = await self._transferring.runner.aclose()
            return tuple(describe(record, self._timelocks) for record in records)
        finally:
            await self._closing.aclose()
