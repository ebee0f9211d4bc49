"""Drives the open swaps of a journal to their ends without funding anything: those of a taker, or of a provider."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from layer2.aio.background import background
from layer2.assembly import Layers, open_journal, open_layers, swap_seed
from layer2.config import Layer2Config
from layer2.errors import Layer2Error
from layer2.legs.timelock_settings import TimelockSettings
from layer2.manager.late_payments import LatePayments
from layer2.manager.releases import Releases, open_releases
from layer2.model.layers import Layer2ProtocolType
from layer2.model.transactions import SwapId
from layer2.ports.clock import SystemClock
from layer2.ports.journal import Journal, Role, SwapRecord
from layer2.ports.legs import HtlcLayer
from layer2.swap_engine.runner import SwapRunner

if TYPE_CHECKING:
    from layer2.config import LayerSettings

__all__ = ["Rescue"]


class Rescue:
    """The open swaps of one role while they are driven. ``running`` makes one.

    Args:
        on_change: called with every version of a swap, the first one included.
    """

    def __init__(self, journal: Journal, layers: Layers, on_change: Callable[[SwapRecord], None]) -> None:
        self._journal = journal
        self._layers = layers
        self._on_change = on_change
        self._changed = asyncio.Event()
        self._failures: dict[Layer2ProtocolType, Layer2Error] = {}
        self._releases: Releases | None = None
        self.records: dict[SwapId, SwapRecord] = {}
        """The newest version of each swap that was open, the newest swap first."""

    @classmethod
    @asynccontextmanager
    async def running(
        cls, settings: LayerSettings, role: Role, rules: TimelockSettings, on_change: Callable[[SwapRecord], None]
    ) -> AsyncIterator[Rescue]:
        """Take the guard of the journal, and drive its open swaps while the block runs.

        Raises:
            JournalBusy: another process acts on the journal.
            ConfigurationError: code ``journal_owner``: the keys or the swap seed are not those of the journal's swaps;
                code ``no_transfers``: a taker's configuration has no swap seed.
            SignerError, JournalError: a key or the journal cannot be used.
        """
        seed = swap_seed(settings)
        async with AsyncExitStack() as closing:
            fingerprint = None if seed is None else seed.fingerprint
            journal = await open_journal(settings, closing, seed_fingerprint=fingerprint, act=True)
            layers = open_layers(settings, journal, SystemClock(), closing)
            self = cls(journal, layers, on_change)
            clock = SystemClock()
            runner = SwapRunner(journal, layers.legs, seed, rules, clock, self._note, may_fund=False)
            closing.push_async_callback(runner.aclose)
            records = await journal.list(role=role, open_only=True)
            # A transfer without terms has moved no money.
            self.records = {each.swap_id: each for each in records if each.terms is not None}
            if role is Role.TAKER:
                # Before a swap is announced.
                self._releases = _serve_taker(settings, journal, layers.legs, runner, closing)
            await runner.resume((role,))
            if role is Role.PROVIDER:
                # The provider is an extra.
                from layer2.provider.late_fundings import LateFundings

                late = LateFundings(layers.legs, journal, runner, rules, clock)
                closing.push_async_callback(background(late.run(), "late fundings"))
            for layer in layers.legs:
                closing.push_async_callback(background(self._join(layer), f"join {layer.value}"))
            yield self

    async def ended(self) -> None:
        """Return when no swap is open.

        Raises:
            JournalError: this process can no longer act, as ``Journal.replaced`` describes.
        """
        replaced = asyncio.ensure_future(self._journal.replaced())
        try:
            while any(not each.is_final for each in self.records.values()):
                self._changed.clear()
                changed = asyncio.ensure_future(self._changed.wait())
                await asyncio.wait((replaced, changed), return_when=asyncio.FIRST_COMPLETED)
                changed.cancel()
                if replaced.done():
                    raise replaced.result()
        finally:
            replaced.cancel()
            await asyncio.gather(replaced, return_exceptions=True)

    @property
    def down(self) -> Mapping[str, Layer2Error]:
        """The layers that could not be connected, by name, each with its error."""
        legs = self._layers.legs
        return {layer.value: error for layer, error in self._failures.items() if not legs[layer].has_joined}

    async def _join(self, layer: Layer2ProtocolType) -> None:
        # Its swaps do not wait for this: they connect it, too.
        try:
            await self._layers.legs[layer].join()
        except Layer2Error as error:
            self._failures[layer] = error
            await self._layers.legs[layer].keep_joining()

    def _note(self, record: SwapRecord) -> None:
        self.records[record.swap_id] = record
        if self._releases is not None:
            self._releases.note(record)
        self._changed.set()
        self._on_change(record)


def _serve_taker(
    settings: LayerSettings,
    journal: Journal,
    legs: Mapping[Layer2ProtocolType, HtlcLayer],
    runner: SwapRunner,
    closing: AsyncExitStack,
) -> Releases:
    """Fetch releases of providers, of which the caller notes the transfers, and watch for late payments."""
    assert isinstance(settings, Layer2Config)
    releases = open_releases(settings, journal, legs, closing)
    for work in (releases.background, LatePayments(journal, runner, SystemClock()).background):
        work.start()
        closing.push_async_callback(work.aclose)
    return releases
