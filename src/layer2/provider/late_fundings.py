"""Finds fundings that arrive after their swap has ended. One request to each layer covers all such swaps."""

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
    """The part of the swap engine that this module uses."""

    async def revisit(self, record: SwapRecord) -> SwapRecord:
        """Observe an ended swap once, and drive it again if it must be reopened."""
        ...


class LateFundings:
    """Releases late fundings of ended swaps.

    Without it the payers can refund them after the deadline.

    Args:
        legs: the parts in swaps of all layers.
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
        # A funding can be seen here before its swap, which waits for it, ends.
        self._keep_seconds = rules.funding_window + rules.counter_funding_window
        self._since: dict[Layer2ProtocolType, int] = {}
        self._seen: dict[bytes, float] = {}
        self._waiting: set[bytes] = set()
        self._troubled: set[Layer2ProtocolType] = set()
        self._log = structlog.get_logger("layer2.provider")

    async def run(self) -> None:
        """Poll every layer until cancelled."""
        while True:
            try:
                await self.look()
            except Exception:  # noqa: BLE001 - logged, with its traceback
                # An internal error must not stop the search for later fundings.
                self._log.exception("late_fundings_failed")
            await asyncio.sleep(self._poll_seconds)

    async def look(self) -> None:
        """Poll every layer once."""
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
        """Whether a swap with this hash has ended and, if it ended without paying, was revisited."""
        try:
            ended = await self._journal.released_under(payment_hash)
            for record in ended:
                if record.state.get("state") == ProviderReleased.name:
                    await self._runner.revisit(record)
        except Layer2Error as error:
            # Normally the funding is not final yet.
            if payment_hash not in self._waiting:
                self._log.info("late_funding_waits", payment_hash=payment_hash.hex(), reason=str(error))
            self._waiting.add(payment_hash)
            return False
        return bool(ended)
