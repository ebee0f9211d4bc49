"""The taker's side of transfers: from a request to a swap that the runner carries out, and its end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing

from layer2.errors import JournalBusy, Layer2Error, QuoteExpired
from layer2.manager.quoting import Quoter
from layer2.manager.records import TransferRecords
from layer2.manager.starting import Starter, check_key, maybe_under_way, within
from layer2.manager.store import TransferStore
from layer2.model.transactions import SwapId
from layer2.ports.journal import Role, SwapRecord
from layer2.provider_client import PairOffer
from layer2.swap_engine.runner import SwapRunner
from layer2.terms.transfers import Quote, Transfer, TransferRequest, TransferState

__all__ = ["Taker"]

_FIRST_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 5.0


class Taker:
    """Quotes, agreements and waits of the taker's own transfers."""

    def __init__(
        self, *, journal: TransferStore, records: TransferRecords, runner: SwapRunner, quoter: Quoter, starter: Starter
    ) -> None:
        self._journal = journal
        self._records = records
        self._runner = runner
        self._quoter = quoter
        self._starter = starter

    async def quote(self, request: TransferRequest) -> Quote:
        """The cheapest checked offer.

        Raises:
            InvalidRequest, QuoteRefused, ConfigurationError: as ``quote_transfer_async``.
        """
        return await self._quoter.quote(request)

    async def pairs(self) -> tuple[PairOffer, ...]:
        """What the providers offer."""
        return await self._quoter.pairs()

    async def start(self, quote: Quote, key: str | None, ends_at: float | None) -> Transfer:
        """Begin the transfer of a quote, unless the key has one. Raises: as ``start_transfer_async``."""
        check_key(key)
        return self._records.described(await self._starter.start(quote, key, ends_at))

    async def begin(self, request: TransferRequest, key: str | None, ends_at: float) -> Transfer:
        """Quote and start in one, again and again until the time is over, unless the key has a transfer already.

        Args:
            ends_at: by the loop's clock.

        Raises:
            As ``quote_transfer_async`` and ``start_transfer_async``.
        """
        check_key(key)
        known = await self._starter.known(key, request)
        if known is not None:
            return self._records.described(known)
        # Before anyone is asked: where another process acts, nothing can be begun.
        await self._journal.act()
        loop, pause = asyncio.get_running_loop(), _FIRST_PAUSE_SECONDS
        while True:
            try:
                async with within(ends_at, "no quote was given"):
                    quote = await self._quoter.quote(request)
                return self._records.described(await self._starter.start(quote, key, ends_at))
            except Layer2Error as error:
                is_worth_it = error.retryable or isinstance(error, QuoteExpired)
                if not is_worth_it or loop.time() + pause >= ends_at:
                    raise
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    async def resume(self) -> Sequence[Transfer]:
        """Drive every open transfer that has terms; one without can have moved nothing, and is abandoned.

        Raises:
            JournalBusy: another process drives them.
        """
        await self._journal.act()
        await self._starter.abandon_orphans()
        return [self._records.described(record) for record in await self._runner.resume((Role.TAKER,))]

    async def wait(self, swap_id: SwapId, until: TransferState) -> Transfer:
        """The transfer once it has ended, or once it has arrived where ``until`` is ARRIVED.

        Raises:
            UnknownTransfer: there is none with that id.
            TaskCancelled: the manager closed.
        """
        async with aclosing(self._followed(swap_id)) as records:
            async for record in records:
                transfer = self._records.described(record)
                if record.is_final or transfer.state is until:
                    return transfer
        raise AssertionError("following ends with a final record")

    async def watch(self, swap_id: SwapId) -> AsyncIterator[Transfer]:
        """Where the transfer is, and then every change. Raises: as ``wait``."""
        async with aclosing(self._followed(swap_id)) as records:
            async for record in records:
                yield self._records.described(record)

    async def _followed(self, swap_id: SwapId) -> AsyncGenerator[SwapRecord, None]:
        """A transfer's versions: from the runner, or from the journal where another process acts."""
        with maybe_under_way(swap_id):
            record = await self._records.load(swap_id)
            self._records.check_open(swap_id)
            try:
                if not record.is_final:
                    await self._starter.take_over(record)
            except JournalBusy:
                following = self._records.follow(swap_id)
            else:
                following = self._runner.watch(swap_id)
            async with aclosing(following) as records:
                async for each in records:
                    yield each
