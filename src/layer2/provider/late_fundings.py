"""Finds fundings that arrive after their swap has ended. One request to each layer covers all such swaps."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from layer2.errors import JournalError, Layer2Error
from layer2.legs.timelock_settings import TimelockSettings
from layer2.model.layers import Layer2ProtocolType
from layer2.ports.clock import Clock
from layer2.ports.journal import SwapJournal, SwapRecord
from layer2.ports.legs import HtlcLayer
from layer2.swap_engine.engine import SwapEngine
from layer2.swap_rules.states import ProviderReleased

__all__ = ["LateFundings"]

LOG = structlog.get_logger("layer2.provider")
_POLL_SECONDS = 15.0


@dataclass(slots=True, eq=False)
class LateFundings:
    """Releases late fundings of ended swaps.

    Without it the payers can refund them after the deadline.
    """

    legs: Mapping[Layer2ProtocolType, HtlcLayer]
    journal: SwapJournal
    engine: SwapEngine
    rules: TimelockSettings
    clock: Clock
    _since: dict[Layer2ProtocolType, int] = field(default_factory=dict)
    _seen: dict[bytes, float] = field(default_factory=dict)
    _waiting: set[bytes] = field(default_factory=set)
    _troubled: set[Layer2ProtocolType] = field(default_factory=set)

    async def run(self) -> None:
        """Poll every layer until cancelled."""
        while True:
            try:
                await self.look()
            except Exception:
                # An internal error must not stop the search for later fundings.
                LOG.exception("late_fundings_failed")
            await asyncio.sleep(_POLL_SECONDS)

    async def look(self) -> None:
        """Poll every layer once."""
        now = self.clock.now()
        # A funding can be seen here before its swap, which waits for it, ends.
        keep_until = now + self.rules.funding_window + self.rules.counter_funding_window
        for layer in tuple(self.legs):
            for payment_hash in await self._news(layer):
                self._seen[payment_hash] = keep_until
        # One read for all: most of these swaps are open, and there can be very many.
        ended: defaultdict[bytes, list[SwapRecord]] = defaultdict(list)
        try:
            for record in await self.journal.released_under(self._seen.keys()):
                ended[record.payment_hash or b""].append(record)
        except JournalError as error:
            LOG.warning("late_fundings_unreadable", error=str(error))
        for payment_hash, until in tuple(self._seen.items()):
            is_done = await self._is_done(payment_hash, ended[payment_hash])
            if is_done or until < now:
                del self._seen[payment_hash]
                self._waiting.discard(payment_hash)

    async def _news(self, layer: Layer2ProtocolType) -> frozenset[bytes]:
        try:
            hashes, self._since[layer] = await self.legs[layer].late_fundings(self._since.get(layer, 0))
        except Layer2Error as error:
            if layer not in self._troubled:
                LOG.warning("late_fundings_unreadable", layer=layer.value, error=str(error))
            self._troubled.add(layer)
            return frozenset()
        self._troubled.discard(layer)
        return hashes

    async def _is_done(self, payment_hash: bytes, ended: Sequence[SwapRecord]) -> bool:
        """Whether a swap with this hash has ended and, if it ended without paying, was revisited.

        Args:
            ended: the final swaps with this hash.
        """
        try:
            for record in ended:
                if record.state.get("state") == ProviderReleased.name:
                    await self.engine.revisit(record)
        except Layer2Error as error:
            # Normally the funding is not final yet.
            if payment_hash not in self._waiting:
                LOG.info("late_funding_waits", payment_hash=payment_hash.hex(), reason=str(error))
            self._waiting.add(payment_hash)
            return False
        return bool(ended)
