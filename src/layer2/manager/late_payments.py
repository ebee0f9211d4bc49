"""Payments of others to a transfer's address after the transfer has ended: they are taken back."""

from __future__ import annotations

import logging
from typing import Final

from layer2.aio.background import Repeated
from layer2.errors import Layer2Error
from layer2.model.transactions import SwapId
from layer2.ports.clock import Clock
from layer2.ports.journal import Role, SwapJournal, SwapRecord
from layer2.swap_engine.engine import SwapEngine
from layer2.swap_engine.records import is_funded_by_others, record_terms

__all__ = ["LatePayments"]

LOG: Final = logging.getLogger("layer2.manager")
_POLL_SECONDS: Final = 15.0
_WATCHED_SECONDS: Final = 30 * 24 * 3600
"""Since the time to fund. After a restart, the blocks since the oldest watched transfer are read again."""


class LatePayments:
    """Watches the addresses of ended transfers that others fund. The journal's records of them are durable.

    Args:
        journal: has the transfers.
        engine: reopens a transfer whose address received a payment, and drives the refund.
    """

    def __init__(self, journal: SwapJournal, engine: SwapEngine, clock: Clock) -> None:
        self._journal = journal
        self._engine = engine
        self._clock = clock
        self._watched: dict[SwapId, int] = {}
        """Until which unix time."""
        self._is_loaded = False
        self.background = Repeated("late payments", self._look, _POLL_SECONDS)
        """Looks until it is closed, also at the journal's earlier transfers."""

    def add(self, record: SwapRecord) -> None:
        """Watch the address of a transfer, if others fund it."""
        signed = record_terms(record) if is_funded_by_others(record) else None
        if signed is not None:
            self._watched[record.swap_id] = signed.terms.fund_by + _WATCHED_SECONDS

    async def look_at(self, record: SwapRecord) -> None:
        """Look at the address of an ended transfer now, regardless of its age, and watch it from now on."""
        if not is_funded_by_others(record) or record.terms is None:
            return
        until = int(self._clock.now()) + _WATCHED_SECONDS
        self._watched[record.swap_id] = max(until, self._watched.get(record.swap_id, 0))
        await self._revisit(record)

    async def _look(self) -> None:
        if not self._is_loaded:
            for record in await self._journal.list(role=Role.TAKER):
                self.add(record)
            self._is_loaded = True
        for swap_id, until in tuple(self._watched.items()):
            if until < self._clock.now():
                del self._watched[swap_id]
                continue
            known = await self._journal.load(swap_id)
            if known is not None and known.is_final:
                await self._revisit(known)

    async def _revisit(self, record: SwapRecord) -> None:
        try:
            await self._engine.revisit(record)
        except Layer2Error as error:
            LOG.debug("transfer %s: its address cannot be read now: %s", record.swap_id, error)
