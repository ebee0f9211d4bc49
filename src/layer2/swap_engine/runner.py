"""Runs swaps: one driver for each open swap, and a method that follows one.

A swap outlives every wait, every runner and every process: cancelling or closing only stops this process's work on it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence

from layer2.errors import JournalError, NodeError, NodeUnreachable, TaskCancelled, UnknownTransfer
from layer2.legs.timelock_settings import TimelockSettings
from layer2.legs.views import LegState, LegView
from layer2.model.layers import Layer2ProtocolType
from layer2.model.transactions import SwapId
from layer2.ports.clock import Clock
from layer2.ports.journal import Role, SwapJournal, SwapRecord
from layer2.ports.legs import HtlcLayer
from layer2.ports.signing import PreimageSource
from layer2.swap_engine.driver import Driver
from layer2.swap_engine.runner_context import RunnerContext

__all__ = ["SwapRunner"]

LOG = logging.getLogger("layer2.swap_engine")


def _closed(swap_id: SwapId) -> TaskCancelled:
    return TaskCancelled("the runner was closed; the swap resumes at the next start", transfer_id=swap_id)


def _check_shows_an_end(source: LegView | None) -> None:
    if source is None:
        raise NodeUnreachable("the source leg cannot be read now")
    if source.state is LegState.PENDING:
        raise NodeError("the source leg holds money that is not settled yet", retryable=True)


class SwapRunner:
    """Drives swaps of both roles. It belongs to the event loop in which it is used.

    One runner at a time drives the swaps of a journal: call the journal's ``act`` before creating one.

    Args:
        legs: the layers that are up. A missing layer counts as unreadable, and can be added later.
        preimages: makes the preimages of the taker's swaps; None for a provider.
        rules: the settings of the network of all swaps.
        on_change: called in the loop with every new version of a record; must not block.
        poll_seconds: maximum interval between two reads of a swap, even if no layer announces a change.
    """

    def __init__(
        self,
        journal: SwapJournal,
        legs: Mapping[Layer2ProtocolType, HtlcLayer],
        preimages: PreimageSource | None,
        rules: TimelockSettings,
        clock: Clock,
        on_change: Callable[[SwapRecord], None] | None = None,
        *,
        poll_seconds: float = 15.0,
    ) -> None:
        self._journal = journal
        self._on_change = on_change
        self._poll_seconds = poll_seconds
        self._context = RunnerContext(journal, legs, preimages, rules, clock, self.announce, poll_seconds)
        self._drivers: dict[SwapId, Driver] = {}
        self._tasks: dict[SwapId, asyncio.Task[None]] = {}
        self._watchers: dict[SwapId, set[asyncio.Queue[SwapRecord | None]]] = {}
        self._closed = False

    def drive(self, record: SwapRecord) -> None:
        """Drive an agreed swap in the background. Does nothing for a swap that is already driven.

        Raises:
            JournalError: the record has no terms.
            TaskCancelled: the runner is closed; the swap resumes at the next start.
        """
        self.check_open(record.swap_id)
        if record.swap_id in self._tasks:
            return
        driver = Driver(self._context, record)
        self.announce(record)
        if record.is_final:
            driver.free()
        else:
            self._start(driver)

    async def revisit(self, record: SwapRecord) -> SwapRecord:
        """Check a final swap once: a late funding reopens it. A provider then returns the funding, and a taker whose
        source others fund takes it back.

        Returns:
            The newest record. If it is open, the swap is being driven.

        Raises:
            NodeError: the source cannot be read now, or holds money that is not settled yet; try again later.
            JournalError: the record has no terms, or another task has advanced the swap.
            TaskCancelled: the runner is closed; the swap resumes at the next start.
        """
        self.check_open(record.swap_id)
        if not record.is_final or record.swap_id in self._tasks:
            self.drive(record)
            return record
        driver = Driver(self._context, record)
        looked = await driver.turn()
        if not driver.record.is_final and record.swap_id not in self._tasks:
            self.check_open(record.swap_id)
            self._start(driver)
        elif looked is not None:
            _check_shows_an_end(looked[0].source)
        return driver.record

    def check_open(self, swap_id: SwapId) -> None:
        """Check that the runner is open.

        Raises:
            TaskCancelled: it is closed; the swap resumes at the next start.
        """
        if self._closed:
            raise _closed(swap_id)

    def _start(self, driver: Driver) -> None:
        swap_id = driver.record.swap_id
        self._drivers[swap_id] = driver
        name = f"layer2-swap-{driver.record.role.value}"
        task = self._tasks[swap_id] = asyncio.get_running_loop().create_task(driver.run(), name=name)
        task.add_done_callback(lambda ended: self._ended(swap_id, ended))

    def announce(self, record: SwapRecord) -> None:
        """Send a version that was written to watchers and ``on_change``."""
        for queue in self._watchers.get(record.swap_id, ()):
            queue.put_nowait(record)
        if self._on_change is not None:
            try:
                self._on_change(record)
            except Exception:
                # An error of a listener must not stop a swap.
                LOG.exception("on_change failed in version %d", record.version)

    async def resume(self, roles: Sequence[Role] = (Role.TAKER, Role.PROVIDER)) -> Sequence[SwapRecord]:
        """Drive every open swap of these roles that has terms, regardless of which layers are up.

        A swap that this version cannot read is logged, and does not stop the others.

        Returns:
            These swaps, newest first.
        """
        resumed = [
            record
            for role in roles
            for record in await self._journal.list(role=role, open_only=True)
            if record.terms is not None
        ]
        for record in resumed:
            self.check_open(record.swap_id)
            try:
                self.drive(record)
            except Exception:
                LOG.exception("swap %s cannot be driven and needs attention", record.swap_id)
        return tuple(resumed)

    async def watch(self, swap_id: SwapId, *, poll_seconds: float | None = None) -> AsyncGenerator[SwapRecord, None]:
        """The current record, then every new version up to the final one.

        Args:
            poll_seconds: the interval at which versions that another process writes are read, and some of them may be
                skipped; None uses the runner's interval.

        Raises:
            UnknownTransfer: the journal has no such swap.
            TaskCancelled: the runner was closed.
        """
        queue: asyncio.Queue[SwapRecord | None] = asyncio.Queue()
        # Before the first read, so that no version is lost between the two.
        self._watchers.setdefault(swap_id, set()).add(queue)
        try:
            record = await self._load(swap_id)
            yield record
            while not record.is_final:
                newer = await self._next_version(queue, swap_id, poll_seconds or self._poll_seconds)
                if newer.version > record.version:
                    record = newer
                    yield record
        finally:
            watchers = self._watchers[swap_id]
            watchers.discard(queue)
            if not watchers:
                del self._watchers[swap_id]

    async def aclose(self) -> Sequence[SwapRecord]:
        """Stop driving at once, without waiting for any swap; return the open swaps that were driven."""
        self._closed = True
        tasks, drivers = tuple(self._tasks.values()), tuple(self._drivers.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for queues in self._watchers.values():
            for queue in queues:
                queue.put_nowait(None)
        return tuple(driver.record for driver in drivers if not driver.record.is_final)

    async def _next_version(
        self, queue: asyncio.Queue[SwapRecord | None], swap_id: SwapId, poll_seconds: float
    ) -> SwapRecord:
        self.check_open(swap_id)
        try:
            async with asyncio.timeout(poll_seconds):
                newer = await queue.get()
        except TimeoutError:
            return await self._load(swap_id)
        if newer is None:
            raise _closed(swap_id)
        return newer

    async def _load(self, swap_id: SwapId) -> SwapRecord:
        try:
            record = await self._journal.load(swap_id)
        except JournalError:
            # If the runner was closed first, a closed journal is not a failure.
            self.check_open(swap_id)
            raise
        if record is None:
            raise UnknownTransfer("the journal has no such transfer", transfer_id=swap_id)
        return record

    def _ended(self, swap_id: SwapId, task: asyncio.Task[None]) -> None:
        self._tasks.pop(swap_id, None)
        self._drivers.pop(swap_id, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            # A driver ends only with its swap; anything else is a bug of this package.
            LOG.error("a swap's driver ended early", exc_info=error)
