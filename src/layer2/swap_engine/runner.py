"""Runs swaps: a driver for each swap that is awake, a row for each that sleeps, and a method that follows one.

A swap outlives every wait, every runner and every process: cancelling or closing only stops this process's work on it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence

from layer2.errors import JournalError, NodeError, NodeUnreachable
from layer2.legs.timelock_settings import TimelockSettings
from layer2.legs.views import LegState, LegView
from layer2.model.layers import Layer2ProtocolType
from layer2.model.transactions import SwapId
from layer2.ports.clock import Clock
from layer2.ports.journal import Role, SwapJournal, SwapRecord
from layer2.ports.legs import HtlcLayer
from layer2.ports.signing import PreimageSource
from layer2.swap_engine.driver import Driver, Look
from layer2.swap_engine.engine import open_pages
from layer2.swap_engine.runner_context import Retries, RunnerContext
from layer2.swap_engine.sleepers import Sleeper, Sleepers
from layer2.swap_engine.watchers import Watchers

__all__ = ["SwapRunner", "check_shows_an_end"]

LOG = logging.getLogger("layer2.swap_engine")


def check_shows_an_end(source: LegView | None) -> None:
    """Check what a turn of a final swap found of its source.

    Raises:
        NodeError: the source cannot be read now, or holds money that is not settled yet.
    """
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
        poll_seconds: maximum interval between two reads of a swap that is awake, even if no layer announces a change.
            A swap that nothing happens to for that long can fall asleep.
        may_fund: False: the runner collects, refunds and releases, and funds nothing. A swap whose funding has not
            begun ends without it.
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
        may_fund: bool = True,
    ) -> None:
        self._journal = journal
        self._watchers = Watchers(journal, on_change, poll_seconds, self.awake_record)
        self._sleepers = Sleepers(clock, poll_seconds, self._awaken, lambda: self.awake)
        self._context = RunnerContext(
            journal, legs, preimages, rules, clock, self.announce, self._sleepers.turned, poll_seconds, may_fund
        )
        self._drivers: dict[SwapId, Driver] = {}
        self._tasks: dict[SwapId, asyncio.Task[None]] = {}
        self._left: Sequence[SwapId] = ()
        """The open swaps that were driven when it was closed."""

    def drive(self, record: SwapRecord) -> None:
        """Drive an agreed swap in the background. Does nothing for a swap that is already driven.

        Raises:
            JournalError: the record has no terms.
            TaskCancelled: the runner is closed; the swap resumes at the next start.
        """
        self.check_open(record.swap_id)
        if (sleeper := self._sleepers.get(record.swap_id)) is not None and self._sleepers.is_queued(sleeper):
            # Its user does not wait for the others.
            self._sleepers.wake(sleeper)
        if self._is_driven(record.swap_id):
            return
        driver = self._driver(record)
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
        if not record.is_final or self._is_driven(record.swap_id):
            self.drive(record)
            return record
        driver = self._driver(record)
        look = await driver.turn()
        if not driver.record.is_final and not self._is_driven(record.swap_id):
            self.check_open(record.swap_id)
            self._start(driver)
        elif look is not None:
            check_shows_an_end(look.observed.source)
        return driver.record

    def check_open(self, swap_id: SwapId | None) -> None:
        """Check that the runner is open.

        Raises:
            TaskCancelled: it is closed; the swap resumes at the next start.
            JournalError: it was closed for that reason.
        """
        self._watchers.check_open(swap_id)

    @property
    def awake(self) -> int:
        """The number of swaps that have a task. Others that are driven sleep."""
        return len(self._tasks)

    def awake_record(self, swap_id: SwapId) -> SwapRecord | None:
        """See ``SwapEngine``."""
        driver = self._drivers.get(swap_id)
        return None if driver is None else driver.record

    def _is_driven(self, swap_id: SwapId) -> bool:
        return swap_id in self._tasks or self._sleepers.get(swap_id) is not None

    def _driver(self, record: SwapRecord, *, is_idle: bool = False) -> Driver:
        return Driver(self._context, record, is_idle=is_idle)

    def _start(self, driver: Driver) -> None:
        self._drivers[driver.record.swap_id] = driver
        self._run(driver.record.swap_id, self._drive(driver))

    def _run(self, swap_id: SwapId, work: Coroutine[None, None, None]) -> None:
        task = self._tasks[swap_id] = asyncio.get_running_loop().create_task(work, name="layer2-swap")
        task.add_done_callback(lambda ended: self._ended(swap_id, ended))

    async def _drive(self, driver: Driver) -> None:
        while (look := await driver.run()) is not None:
            if self._fall_asleep(driver, look):
                return

    def _fall_asleep(self, driver: Driver, look: Look) -> bool:
        """Replace a driver by a row, unless the swap has to stay awake. One step, so that no news falls between."""
        swap_id = driver.record.swap_id
        row = Sleeper(self._sleepers, swap_id, driver.payment_hash, 0.0)
        try:
            wake_at = driver.follow(look, row)
        except Exception:
            # An open swap keeps its driver even if a layer fails.
            LOG.exception("swap %s cannot sleep", swap_id)
            wake_at = None
        if wake_at is None:
            self._unfollow(row)
            return False
        row.wake_at = wake_at
        # From here on the swap can be awakened: this task has only its end left.
        del self._tasks[swap_id], self._drivers[swap_id]
        self._sleepers.add(row)
        return True

    def _awaken(self, row: Sleeper, is_idle: bool) -> None:
        self._unfollow(row)
        self._run(row.swap_id, self._load_and_drive(row, is_idle))

    def _unfollow(self, row: Sleeper) -> None:
        for layer in tuple(self._context.legs.values()) if row.payment_hash else ():
            try:
                layer.unfollow(row.payment_hash, row)
            except Exception:
                # A swap wakes even if a layer fails.
                LOG.exception("swap %s is still followed", row.swap_id)

    async def _load_and_drive(self, row: Sleeper, is_idle: bool) -> None:
        swap_id = row.swap_id
        retries = Retries(f"swap {swap_id}")
        while True:
            try:
                record = await self._journal.load(swap_id)
                break
            except Exception as error:  # noqa: BLE001 - noted, with its traceback
                # Nothing else would wake the swap again.
                retries.note("load", "the swap cannot be loaded", error)
                self._sleepers.turned(swap_id)
                await asyncio.sleep(retries.seconds_left() or 0.0)
        try:
            if record is None:
                raise JournalError("the swap is no longer in the journal", transfer_id=swap_id)
            driver = self._driver(record, is_idle=is_idle)
        except Exception:
            LOG.exception("swap %s cannot be driven and needs attention", swap_id)
            return
        if not row.payment_hash or record.is_final:
            self.announce(record)
        self._drivers[swap_id] = driver
        await self._drive(driver)

    def announce(self, record: SwapRecord) -> None:
        """Send a version that was written to watchers and ``on_change``."""
        self._watchers.announce(record)

    async def resume(self, roles: Sequence[Role] = (Role.TAKER, Role.PROVIDER)) -> Sequence[SwapId]:
        """Drive every open swap of these roles that has terms, regardless of which layers are up.

        Each gets its first turn after that, a limited number at the same time, the soonest deadline first. A swap that
        this version cannot read is logged, and does not stop the others.

        Returns:
            These swaps, newest first.

        Raises:
            JournalError: they cannot be read; none is driven.
            TaskCancelled: the runner is closed.
        """
        found: list[SwapId] = []
        rows: list[Sleeper] = []
        async for page in open_pages(self._journal, roles):
            found += [each.swap_id for each in page]
            rows += [Sleeper(self._sleepers, each.swap_id, b"", each.collect_by) for each in page]
        self.check_open(found[0] if found else None)
        self._sleepers.load([row for row in rows if not self._is_driven(row.swap_id)])
        return found

    def watch(self, swap_id: SwapId, *, poll_seconds: float | None = None) -> AsyncGenerator[SwapRecord, None]:
        """The current record, then every new version up to the final one.

        Args:
            poll_seconds: the interval at which versions that another process writes are read, and some of them may be
                skipped; None uses the runner's interval.

        Raises:
            UnknownTransfer: the journal has no such swap.
            TaskCancelled: the runner was closed.
        """
        return self._watchers.watch(swap_id, poll_seconds=poll_seconds)

    async def aclose(self, because: JournalError | None = None) -> Sequence[SwapId]:
        """Stop driving at once, without waiting for any swap. Can be repeated.

        Args:
            because: the reason, if it is not a wish of the caller: later calls raise an error with it.

        Returns:
            The open swaps that were driven.
        """
        if self._watchers.is_closed:
            return self._left
        self._watchers.close(because)
        rows, drivers = self._sleepers.rows(), dict(self._drivers)
        loading, tasks = self._tasks.keys() - drivers.keys(), tuple(self._tasks.values())
        self._sleepers.close()
        for row in rows:
            self._unfollow(row)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._watchers.end()
        awake = [swap_id for swap_id, driver in drivers.items() if not driver.record.is_final]
        self._left = (*awake, *loading, *(row.swap_id for row in rows))
        return self._left

    def _ended(self, swap_id: SwapId, task: asyncio.Task[None]) -> None:
        if self._tasks.get(swap_id) is task:
            del self._tasks[swap_id]
            self._drivers.pop(swap_id, None)
        self._sleepers.turned(swap_id)
        if not task.cancelled() and (error := task.exception()) is not None:
            # A driver ends only with its swap; anything else is a bug of this package.
            LOG.error("a swap's driver ended early", exc_info=error)
