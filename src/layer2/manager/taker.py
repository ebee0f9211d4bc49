"""The taker's side of transfers: from a request to the end of the swap."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from typing import Final

from layer2.aio.background import Repeated
from layer2.errors import JournalBusy, Layer2Error, QuoteExpired
from layer2.legs.timelock_settings import TimelockSettings
from layer2.manager.arguments import check_key
from layer2.manager.late_payments import LatePayments
from layer2.manager.quoting import Quoter, asked_pause
from layer2.manager.records import TransferRecords
from layer2.manager.releases import Releases
from layer2.manager.starting import Starter, SwapSecrets, maybe_under_way, within
from layer2.manager.statements import StatementRequests
from layer2.model.layers import Layer2ProtocolType
from layer2.model.transactions import Finality, SwapId
from layer2.ports.clock import Clock, Entropy
from layer2.ports.journal import Journal, Role, SwapRecord
from layer2.ports.legs import HtlcLayer
from layer2.provider_client import ProviderClient
from layer2.swap_engine.engine import SwapEngine
from layer2.swap_engine.records import has_arrived, is_funded_by_others
from layer2.terms.transfers import Quote, Transfer, TransferRequest, TransferState

__all__ = ["Taker"]

LOG: Final = logging.getLogger("layer2.manager")
_FIRST_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 5.0
_PLANS_SECONDS = 15.0
_POLL_SECONDS = 1.0
"""The interval at which a journal that another process writes is read."""


class Taker:
    """Starts transfers, drives them and follows them.

    Args:
        engine: it must announce every change to ``changed``.
        secrets: the secrets of the swaps, derived from the swap seed.
        least_finality: a quote is refused if its destination can be collected at a lower finality.
        shared: whether other processes act on the journal, too.
    """

    def __init__(
        self,
        *,
        journal: Journal,
        records: TransferRecords,
        engine: SwapEngine,
        legs: Mapping[Layer2ProtocolType, HtlcLayer],
        providers: Sequence[ProviderClient],
        secrets: SwapSecrets,
        rules: TimelockSettings,
        clock: Clock,
        entropy: Entropy,
        least_finality: Finality,
        shared: bool = False,
    ) -> None:
        self._journal = journal
        self._records = records
        self._engine = engine
        self._shared = shared
        by_name = {provider.endpoint.name: provider for provider in providers}
        self._replacement: asyncio.Task[None] | None = None
        self._late = LatePayments(journal, engine, clock)
        self._releases = Releases(journal, legs, by_name)
        self._statements = StatementRequests(journal, by_name)
        self.quoter = Quoter(
            legs=legs,
            providers=by_name,
            rules=rules,
            clock=clock,
            least_finality=least_finality,
        )
        """Asks the providers."""
        self._starter = Starter(
            journal=journal,
            engine=engine,
            legs=legs,
            quoter=self.quoter,
            secrets=secrets,
            rules=rules,
            clock=clock,
            entropy=entropy,
            shared=shared,
        )
        self._plans = Repeated("plans", self._starter.abandon_orphans, _PLANS_SECONDS)

    def changed(self, record: SwapRecord) -> None:
        """Note a version that the engine announces."""
        self._releases.note(record)
        self._statements.note(record)

    async def aclose(self) -> Sequence[Transfer]:
        """Stop every start and every driver, without waiting for any transfer; return the open transfers."""
        if self._replacement is not None:
            self._replacement.cancel()
            await asyncio.gather(self._replacement, return_exceptions=True)
        await self._late.background.aclose()
        await self._releases.background.aclose()
        await self._statements.background.aclose()
        await self._plans.aclose()
        await self._starter.aclose()
        left: list[Transfer] = []
        for swap_id in await self._engine.aclose():
            try:
                transfer = await self._records.get(swap_id)
            except Layer2Error as error:
                # The other transfers are still named, and so is this one.
                LOG.warning("transfer %s is still open, and cannot be read: %s", swap_id, error)
            else:
                left.append(transfer)
        return left

    async def start(self, quote: Quote, key: str | None, ends_at: float) -> Transfer:
        """Start the transfer of a quote, unless the key has a transfer. Raises: as ``start_transfer_async``."""
        check_key(key)
        started = await self._starter.start(quote, key, ends_at)
        self._late.add(started)
        self._begin_background()
        return self._records.described(started)

    async def begin(self, request: TransferRequest, key: str | None, ends_at: float) -> Transfer:
        """Quote and start, with retries until the time is over, unless the key already has a transfer.

        Args:
            ends_at: by the loop's clock.

        Raises:
            As ``quote_transfer_async`` and ``start_transfer_async``.
        """
        check_key(key)
        known = await self._starter.known(key, request)
        if known is not None:
            return self._records.described(known)
        # Before a provider is asked: if another process acts, no transfer can start.
        await self._journal.act(shared=self._shared)
        loop, pause = asyncio.get_running_loop(), _FIRST_PAUSE_SECONDS
        while True:
            try:
                async with within(ends_at, "no quote was given"):
                    quote = await self.quoter.quote(request)
                return await self.start(quote, key, ends_at)
            except Layer2Error as error:
                is_worth_it = error.retryable or isinstance(error, QuoteExpired)
                seconds = max(pause, asked_pause(error))
                if not is_worth_it or loop.time() + seconds >= ends_at:
                    raise
            await asyncio.sleep(seconds)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    async def resume(self) -> Sequence[Transfer]:
        """Drive every open transfer that has terms. One without terms cannot have moved money, and is abandoned.

        Raises:
            JournalBusy: another process drives them.
        """
        await self._journal.act(shared=self._shared)
        await self._starter.abandon_orphans()
        self._begin_background()
        resumed = frozenset(await self._engine.resume((Role.TAKER,)))
        records = await self._journal.list(role=Role.TAKER, open_only=True)
        return [self._records.described(record) for record in records if record.swap_id in resumed]

    def _begin_background(self) -> None:
        if self._replacement is None:
            self._replacement = asyncio.get_running_loop().create_task(
                self._await_replacement(), name="layer2-replaced"
            )
        self._releases.background.start()
        self._statements.background.start()
        self._late.background.start()
        if self._shared:
            # Another process that starts one may be gone before it is agreed.
            self._plans.start()

    async def _await_replacement(self) -> None:
        """End every wait when this process can no longer write: no transfer continues in it."""
        problem = await self._journal.replaced()
        LOG.error("no transfer continues in this process: %s", problem)
        await self._engine.aclose(problem)

    async def wait(self, swap_id: SwapId, until: TransferState) -> Transfer:
        """The transfer when it has ended, or when it has arrived if ``until`` is ARRIVED.

        Raises:
            UnknownTransfer: the journal has no transfer with this id.
            TaskCancelled: the manager closed.
            JournalError: this process can no longer write the journal, as ``Journal.replaced`` describes.
        """
        async with aclosing(self._followed(swap_id)) as records:
            async for record in records:
                if record.is_final or (until is TransferState.ARRIVED and has_arrived(record)):
                    return self._records.described(record)
        raise AssertionError("the last record of a transfer is final")

    async def watch(self, swap_id: SwapId) -> AsyncIterator[Transfer]:
        """The current state of a transfer, then every change. Raises: as ``wait``."""
        async with aclosing(self._followed(swap_id)) as records:
            async for record in records:
                yield self._records.described(record)

    async def _followed(self, swap_id: SwapId) -> AsyncGenerator[SwapRecord, None]:
        """The versions of a transfer. If another process acts, they are read from the journal."""
        with maybe_under_way(swap_id):
            known, poll_seconds = self._engine.awake_record(swap_id), None
            record = await self._records.load(swap_id) if known is None else known
            self._engine.check_open(swap_id)
            if record.is_final and not is_funded_by_others(record):
                yield record
                return
            try:
                if known is None and not record.is_final:
                    await self._starter.take_over(record)
                elif record.is_final:
                    await self._journal.act(shared=self._shared)
                    await self._late.look_at(record)
            except JournalBusy:
                poll_seconds = _POLL_SECONDS
            async with aclosing(self._engine.watch(swap_id, poll_seconds=poll_seconds)) as records:
                async for each in records:
                    yield each
