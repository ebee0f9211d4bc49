"""Fundings that come after their swap has ended: one look at each layer serves all swaps that were never funded."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Protocol

import structlog

from layer2.errors import Layer2Error
from layer2.legs.timelock_settings import TimelockSettings
from layer2.model.layers import Layer2ProtocolType
from layer2.ports.clock import Clock
from layer2.ports.journal import SwapJournal, SwapRecord
from layer2.ports.legs import HtlcLayer
from layer2.swap_rules.states import ProviderReleased

__all__ = ["LateFundings", "Reviser"]


class Reviser(Protocol):
    """What this asks of the swap engine."""

    async def revisit(self, record: SwapRecord) -> SwapRecord:
        """Look once at a swap that has ended, and drive it if that reopens it."""
        ...


class LateFundings:
    """Has late fundings given back, of swaps that have ended.

    Without it their payers get the money back all the same, after the deadline.

    Args:
        legs: of every layer.
    """

    def __init__(
        self,
        legs: Mapping[Layer2ProtocolType, HtlcLayer],
        journal: SwapJournal,
        runner: Reviser,
        rules: TimelockSettings,
        clock: Clock,
        *,
        poll_seconds: float = 15.0,
    ) -> None:
        self._legs = legs
        self._journal = journal
        self._runner = runner
        self._clock = clock
        self._poll_seconds = poll_seconds
        # A funding can be seen here before its own swap, which waits for it, has ended without it.
        self._keep_seconds = rules.funding_window + rules.counter_funding_window
        self._since: dict[Layer2ProtocolType, int] = {}
        self._seen: dict[bytes, float] = {}
        self._waiting: set[bytes] = set()
        self._troubled: set[Layer2ProtocolType] = set()
        self._log = structlog.get_logger("layer2.provider")

    async def run(self) -> None:
        """Look at every layer again and again, until cancelled."""
        while True:
            try:
                await self.look()
            except Exception:  # noqa: BLE001 - logged, with its traceback
                # A fault of this package must not end the looks of all later fundings.
                self._log.exception("late_fundings_broke")
            await asyncio.sleep(self._poll_seconds)

    async def look(self) -> None:
        """Look at every layer once."""
        now = self._clock.now()
        for layer in tuple(self._legs):
            for payment_hash in await self._news(layer):
                self._seen[payment_hash] = now + self._keep_seconds
        for payment_hash, keep_until in tuple(self._seen.items()):
            is_done = await self._is_done(payment_hash)
            if is_done or keep_until < now:
                del self._seen[payment_hash]
                self._waiting.discard(payment_hash)

    async def _news(self, layer: Layer2ProtocolType) -> frozenset[bytes]:
        try:
            hashes, self._since[layer] = await self._legs[layer].late_fundings(self._since.get(layer, 0))
        except Layer2Error as error:
            if layer not in self._troubled:
                self._log.warning("late_fundings_unreadable", layer=layer.value, error=str(error))
            self._troubled.add(layer)
            return frozenset()
        self._troubled.discard(layer)
        return hashes

    async def _is_done(self, payment_hash: bytes) -> bool:
        """Whether a swap had ended under the hash, and was looked at where it ended without paying."""
        try:
            ended = await self._journal.released_under(payment_hash)
            for record in ended:
                if record.state.get("state") == ProviderReleased.name:
                    await self._runner.revisit(record)
        except Layer2Error as error:
            # Normally because the funding is not settled yet.
            if payment_hash not in self._waiting:
                self._log.info("late_funding_waits", payment_hash=payment_hash.hex(), reason=str(error))
            self._waiting.add(payment_hash)
            return False
        return bool(ended)
