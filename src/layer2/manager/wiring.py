"""From settings to working parts: clients, journal, runner, providers; opened and closed as one."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Self

from layer2.aio.blocking import Portal
from layer2.assembly import Client, JoiningLegs, check_owners, open_clients, open_provider, owners_of
from layer2.config import Layer2Config
from layer2.errors import ConfigurationError, Layer2Error
from layer2.legs.timelock_settings import settings_for
from layer2.manager.quoting import Quoter
from layer2.manager.records import TransferRecords
from layer2.manager.starting import Starter
from layer2.manager.taker import Taker
from layer2.model.layers import Layer2ProtocolType
from layer2.model.transactions import Finality
from layer2.ports.clock import Clock, Entropy
from layer2.ports.journal import Role
from layer2.proofs.model import TransferProof
from layer2.signers.software import SeedPreimages
from layer2.swap_engine.runner import SwapRunner
from layer2.terms.transfers import Transfer

if TYPE_CHECKING:
    from layer2.swap_engine.journal import SqliteJournal

__all__ = ["Wiring"]


class Wiring:
    """All parts of one entered manager. Made by ``open``, ended by ``close``."""

    def __init__(self, config: Layer2Config, journal: SqliteJournal, clock: Clock, entropy: Entropy) -> None:
        self._config = config
        self._journal = journal
        self._clock = clock
        self._entropy = entropy
        self._rules = settings_for(config.network)
        self._closing = AsyncExitStack()
        self._joining: dict[Layer2ProtocolType, asyncio.Task[None]] = {}
        self._runner: SwapRunner | None = None
        self._starter: Starter | None = None
        self._taker: Taker | None = None
        self.records = TransferRecords(journal, self._rules)
        self.clients: Mapping[Layer2ProtocolType, Client] = {}
        self.legs: Mapping[Layer2ProtocolType, JoiningLegs] = {}

    @classmethod
    async def open(cls, config: Layer2Config, portal: Portal, clock: Clock, entropy: Entropy) -> Self:
        """Open the journal and make every configured client; nothing is asked of any node.

        Raises:
            ConfigurationError, SignerError, JournalError: what is wrong, before anything was begun.
        """
        # The database's library is loaded by the caller that enters a manager, not by the import of its name.
        from layer2.swap_engine.journal import SqliteJournal

        seed = None if config.swap_seed_file is None else SeedPreimages.from_file(config.swap_seed_file)
        owners = owners_of(config, None if seed is None else seed.fingerprint)
        async with AsyncExitStack() as closing:
            journal = await SqliteJournal.open(config.journal.path)
            closing.push_async_callback(journal.aclose)
            await check_owners(journal, owners)
            self = cls(config, journal, clock, entropy)
            self._make_clients(portal, closing)
            # With one layer too: an open transfer still needs it where the other layer's table is gone.
            if seed is not None and self.clients:
                self._prepare_transfers(seed, closing)
            self._closing = closing.pop_all()
            return self
        raise AssertionError("the block above returns or raises")

    def _make_clients(self, portal: Portal, closing: AsyncExitStack) -> None:
        config = self._config
        self.clients = open_clients(config, self._journal, self._clock)
        limit = asyncio.Semaphore(config.max_concurrency)
        for client in self.clients.values():
            client.bind(portal, limit)
            closing.push_async_callback(client.aclose)
        self.legs = {layer: JoiningLegs(client) for layer, client in self.clients.items()}
        for legs in self.legs.values():
            closing.push_async_callback(legs.aclose)

    def _prepare_transfers(self, seed: SeedPreimages, closing: AsyncExitStack) -> None:
        config = self._config
        pool = config.connection_pool.settings()
        providers = [open_provider(each, pool, config.default_timeout_ms) for each in config.providers]
        for provider in providers:
            closing.push_async_callback(provider.aclose)
        self._runner = SwapRunner(
            self._journal,
            self.legs,
            seed,
            self._rules,
            self._clock,
            make_proof=lambda terms, source, destination: TransferProof(terms, source, destination).to_bytes(),
        )
        quoter = Quoter(
            legs=self.legs,
            providers=providers,
            rules=self._rules,
            clock=self._clock,
            least_finality=Finality(config.least_finality),
        )
        self._starter = Starter(
            journal=self._journal,
            runner=self._runner,
            legs=self.legs,
            quoter=quoter,
            secrets=seed,
            rules=self._rules,
            clock=self._clock,
            entropy=self._entropy,
        )
        self._taker = Taker(
            journal=self._journal, records=self.records, runner=self._runner, quoter=quoter, starter=self._starter
        )

    @property
    def can_transfer(self) -> bool:
        """Whether everything is configured that open transfers need."""
        return self._taker is not None

    def taker(self) -> Taker:
        """The taker's side.

        Raises:
            ConfigurationError: code ``no_transfers``: something that transfers need is not configured.
        """
        if self._taker is None:
            missing = [] if self.clients else ["two layers"]
            missing += [] if self._config.swap_seed_file is not None else ["swap_seed_file"]
            raise ConfigurationError(
                f"transfers need {' and '.join(missing)} in the configuration",
                code="no_transfers",
                remedy="run: layer2 config init",
            )
        return self._taker

    async def check_nothing_is_left_alone(self) -> None:
        """Check that no transfer is open where none can be carried out.

        Raises:
            ConfigurationError: code ``no_transfers``: money may be locked, and nothing claims it or takes it back.
        """
        records = await self._journal.list(role=Role.TAKER, open_only=True)
        left = [record for record in records if record.terms is not None]
        if left and self._taker is None:
            raise ConfigurationError(
                f"the journal has {len(left)} open transfers, and nothing claims or refunds them, because the "
                "configuration names no layer or no swap_seed_file",
                code="no_transfers",
                remedy="put back what the configuration had when they were started",
            )

    def keep_joining(self, layer: Layer2ProtocolType) -> None:
        """Have a layer that is away join when it is back."""
        if layer not in self._joining:
            task = asyncio.get_running_loop().create_task(self.legs[layer].keep_joining(), name="layer2-joining")
            self._joining[layer] = task
            task.add_done_callback(lambda _: self._joining.pop(layer))

    async def close(self) -> tuple[Transfer, ...]:
        """End everything without waiting for any swap; return the transfers that are open."""
        self.records.close()
        try:
            tasks = list(self._joining.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if self._runner is None or self._starter is None:
                return ()
            await self._starter.aclose()
            records = await self._runner.aclose()
            return tuple(self.records.described(record) for record in records)
        finally:
            await self._closing.aclose()


def failures_of(results: Mapping[Layer2ProtocolType, BaseException | None]) -> Mapping[Layer2ProtocolType, Layer2Error]:
    """The layers that failed; raises an error that is not of this package."""
    failures: dict[Layer2ProtocolType, Layer2Error] = {}
    for layer, result in results.items():
        if isinstance(result, Layer2Error):
            failures[layer] = result
        elif result is not None:
            raise result
    return failures
