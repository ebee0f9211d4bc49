"""The parts of an entered manager: clients, journal, engine and providers, opened and closed together."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from functools import partial
from typing import Self

from layer2.aio.background import Repeated
from layer2.aio.blocking import Portal
from layer2.assembly import (
    JoiningLegs,
    journal_place,
    needing_temporal,
    open_journal,
    open_layers,
    open_providers,
)
from layer2.config import Layer2Config
from layer2.errors import ConfigurationError, Layer2Error
from layer2.legs.timelock_settings import settings_for
from layer2.manager.records import TransferRecords
from layer2.manager.taker import Taker
from layer2.model.layers import Layer2ProtocolType
from layer2.model.transactions import Finality
from layer2.ports.client import Client
from layer2.ports.clock import Clock, Entropy
from layer2.ports.journal import Journal, Role, SwapRecord
from layer2.signers.software import SeedPreimages
from layer2.swap_engine.engine import SwapEngine
from layer2.swap_engine.runner import SwapRunner
from layer2.swap_engine.turns import Turns
from layer2.terms.transfers import Transfer

__all__ = ["Wiring"]


class Wiring:
    """All parts of one entered manager. ``open`` creates them, ``close`` ends them."""

    def __init__(self, config: Layer2Config, journal: Journal, clock: Clock, entropy: Entropy) -> None:
        self._config = config
        self._journal = journal
        self._clock = clock
        self._entropy = entropy
        self._rules = settings_for(config.network)
        self._closing = AsyncExitStack()
        self._joining: dict[Layer2ProtocolType, asyncio.Task[None]] = {}
        self._taker: Taker | None = None
        self.records = TransferRecords(journal, self._rules, journal_name=f"the journal {journal_place(config)}")
        self.clients: Mapping[Layer2ProtocolType, Client] = {}
        self.legs: Mapping[Layer2ProtocolType, JoiningLegs] = {}

    @classmethod
    async def open(cls, config: Layer2Config, portal: Portal, clock: Clock, entropy: Entropy) -> Self:
        """Open the journal and create every configured client. No node is asked.

        Raises:
            ConfigurationError, SignerError, JournalError: nothing was started.
        """
        seed = None if config.swap_seed_file is None else SeedPreimages.from_file(config.swap_seed_file)
        async with AsyncExitStack() as closing:
            journal = await open_journal(config, closing, seed_fingerprint=None if seed is None else seed.fingerprint)
            self = cls(config, journal, clock, entropy)
            self._make_clients(portal, closing)
            # One layer is enough: an open transfer still needs it if the other layer's table was removed.
            if seed is not None and self.clients:
                await self._prepare_transfers(seed, closing)
            self._closing = closing.pop_all()
            return self
        raise AssertionError("the block above returns or raises")

    def _make_clients(self, portal: Portal, closing: AsyncExitStack) -> None:
        layers = open_layers(self._config, self._journal, self._clock, closing)
        self.clients, self.legs = layers.clients, layers.legs
        limit = asyncio.Semaphore(self._config.max_concurrency)
        for client in self.clients.values():
            client.bind(portal, limit)

    async def _prepare_transfers(self, seed: SeedPreimages, closing: AsyncExitStack) -> None:
        config = self._config
        self._taker = Taker(
            journal=self._journal,
            records=self.records,
            engine=await self._open_engine(seed, closing),
            legs=self.legs,
            providers=open_providers(config, closing),
            secrets=seed,
            rules=self._rules,
            clock=self._clock,
            entropy=self._entropy,
            least_finality=Finality(config.least_finality),
            shared=config.temporal is not None,
        )

    async def _open_engine(self, seed: SeedPreimages, closing: AsyncExitStack) -> SwapEngine:
        parts = self._journal, self.legs, seed, self._rules, self._clock
        if self._config.temporal is None:
            return SwapRunner(*parts, self._changed)
        with needing_temporal():
            from layer2.workers.connection import Temporal
            from layer2.workers.engine import READ_SECONDS, WorkflowEngine
        turns = Turns(*parts, lambda _: None)
        closing.push_async_callback(turns.aclose)
        temporal = await Temporal.connect(self._config.temporal, lazy=True)
        engine = WorkflowEngine(self._journal, temporal, turns, self._changed)
        reading = Repeated("versions", partial(engine.read, Role.TAKER), READ_SECONDS)
        reading.start()
        closing.push_async_callback(reading.aclose)
        return engine

    @property
    def can_transfer(self) -> bool:
        """Whether the configuration has everything that open transfers need."""
        return self._taker is not None

    def taker(self) -> Taker:
        """The part that carries out transfers.

        Raises:
            ConfigurationError: code ``no_transfers``: the configuration lacks something that transfers need.
        """
        if self._taker is None:
            missing = [] if self.clients else ["two layers"]
            missing += [] if self._config.swap_seed_file is not None else ["swap_seed_file"]
            raise ConfigurationError(
                f"transfers need {' and '.join(missing)} in the configuration",
                code="no_transfers",
                remedy="layer2 config init writes a configuration with both",
            )
        return self._taker

    def _changed(self, record: SwapRecord) -> None:
        if self._taker is not None:
            self._taker.changed(record)

    async def check_nothing_is_left_alone(self) -> None:
        """Check that no transfer is open that this configuration cannot carry out.

        Raises:
            ConfigurationError: code ``no_transfers``: money may be locked, and nothing claims or refunds it.
        """
        records = await self._journal.list(role=Role.TAKER, open_only=True)
        left = [record for record in records if record.terms is not None]
        if left and self._taker is None:
            raise ConfigurationError(
                f"the journal has {len(left)} open transfers, and nothing claims or refunds them, because the "
                "configuration names no layer or no swap_seed_file",
                code="no_transfers",
                remedy="restore the layers and the swap_seed_file that the configuration had when they were started",
            )

    def keep_joining(self, layer: Layer2ProtocolType) -> None:
        """Retry in the background until a layer whose node is down has joined."""
        if layer not in self._joining:
            task = asyncio.get_running_loop().create_task(self.legs[layer].keep_joining(), name="layer2-joining")
            self._joining[layer] = task
            task.add_done_callback(lambda _: self._joining.pop(layer))

    async def close(self) -> tuple[Transfer, ...]:
        """Close everything without waiting for any swap; return the open transfers."""
        try:
            tasks = list(self._joining.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            return () if self._taker is None else tuple(await self._taker.aclose())
        finally:
            await self._closing.aclose()


def failures_of(results: Mapping[Layer2ProtocolType, BaseException | None]) -> Mapping[Layer2ProtocolType, Layer2Error]:
    """The layers that failed. Raises an error that is not a ``Layer2Error``."""
    failures: dict[Layer2ProtocolType, Layer2Error] = {}
    for layer, result in results.items():
        if isinstance(result, Layer2Error):
            failures[layer] = result
        elif result is not None:
            raise result
    return failures
