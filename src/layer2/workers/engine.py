"""``SwapEngine`` of a process that starts or accepts swaps and leaves their turns to workers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import Final

from layer2.errors import JournalError, Layer2Error
from layer2.model.transactions import SwapId
from layer2.ports.journal import Role, SwapJournal, SwapRecord
from layer2.swap_engine.engine import open_pages
from layer2.swap_engine.turns import Turns
from layer2.swap_engine.watchers import Watchers
from layer2.workers.connection import Temporal

__all__ = ["READ_SECONDS", "WorkflowEngine"]

LOG: Final = logging.getLogger("layer2.workers")
READ_SECONDS: Final = 0.5
"""Between two reads of the versions that workers wrote."""
_FIRST_RETRY_SECONDS: Final = 0.5
_LONGEST_RETRY_SECONDS: Final = 30.0
_START_AGAIN_SECONDS: Final = 300.0
"""Between two starts of the workflows of all open swaps."""
_START_SECONDS: Final = 5.0
"""After this time the workflow of a swap of another process is started here, too: that one may be gone."""
_STARTS: Final = 50
"""Workflows that are started at the same time."""


class WorkflowEngine:
    """Starts the workflow of each swap, and reads from the journal what the workers did.

    A workflow that cannot be started is tried again until it can: the swap is in the journal.

    Args:
        turns: has the turns of ``revisit``, and frees what this process reserved when it accepted a swap.
        on_change: called in the loop with new versions of records; must not block. It may miss some.
    """

    def __init__(
        self, journal: SwapJournal, temporal: Temporal, turns: Turns, on_change: Callable[[SwapRecord], None]
    ) -> None:
        self._journal = journal
        self._temporal = temporal
        self._turns = turns
        self._watchers = Watchers(journal, on_change, READ_SECONDS)
        self._versions: dict[SwapId, int] = {}
        """The version of each open swap that was read last."""
        self._found: dict[SwapId, tuple[int, float]] = {}
        """The version and the time at which a swap of another process was seen first, until it has had a turn."""
        self._starting: dict[SwapId, asyncio.Task[None]] = {}
        self._started_at = asyncio.get_running_loop().time()
        self._workers: frozenset[str] = frozenset()
        """Those that were there at the last read."""
        self._places = asyncio.Semaphore(_STARTS)

    def drive(self, record: SwapRecord) -> None:
        """See ``SwapEngine``."""
        self._watchers.check_open(record.swap_id)
        if self._versions.get(record.swap_id, 0) < record.version:
            self._versions[record.swap_id] = record.version
            self._watchers.announce(record)
        if not record.is_final:
            self._start(record.swap_id)

    async def revisit(self, record: SwapRecord) -> SwapRecord:
        """See ``SwapEngine``."""
        self._watchers.check_open(record.swap_id)
        newest = await self._turns.revisit(record)
        if not newest.is_final:
            self.drive(newest)
        return newest

    async def resume(self, roles: Sequence[Role] = (Role.TAKER, Role.PROVIDER)) -> Sequence[SwapId]:
        """See ``SwapEngine``."""
        found: list[SwapId] = []
        async for page in open_pages(self._journal, roles):
            found += [each.swap_id for each in page]
        self._watchers.check_open(found[0] if found else None)
        for swap_id in found:
            self._versions.setdefault(swap_id, 0)
            self._start(swap_id)
        return found

    def watch(self, swap_id: SwapId, *, poll_seconds: float | None = None) -> AsyncGenerator[SwapRecord, None]:
        """See ``SwapEngine``."""
        return self._watchers.watch(swap_id, poll_seconds=poll_seconds)

    async def read(self, role: Role) -> None:
        """Announce what workers and other processes wrote since the last call.

        One statement reads the versions of all open swaps. Some of their workflows may have been terminated or lost,
        so now and then it also starts all of them again. If a worker is gone, each swap has a turn: nothing
        follows the legs now that it followed.
        """
        now = asyncio.get_running_loop().time()
        if now - self._started_at >= _START_AGAIN_SECONDS:
            await self.resume((role,))
            self._started_at = now
        workers = await self._journal.workers()
        known = dict(self._versions)
        if self._workers - workers:
            for swap_id in known:
                self._start(swap_id, has_news=True)
        self._workers = workers
        versions = await self._journal.open_versions(role)
        self._start_found(versions)
        changed = [swap_id for swap_id, version in versions.items() if known.get(swap_id, 0) < version]
        # One that is no longer open has ended.
        for swap_id in (*changed, *(known.keys() - versions.keys())):
            record = await self._journal.load(swap_id)
            if record is None:
                del self._versions[swap_id]
                continue
            if record.is_final:
                self._versions.pop(swap_id, None)
                self._turns.free(record)
            elif record.terms is not None:
                # A plan is read again until it is agreed: it has no workflow.
                self._versions[swap_id] = record.version
                if swap_id not in known and swap_id not in self._starting:
                    self._found[swap_id] = record.version, asyncio.get_running_loop().time()
            self._watchers.announce(record)

    def awake_record(self, swap_id: SwapId) -> SwapRecord | None:
        """None: a worker may have written a newer version than this process has seen."""
        return None

    def announce(self, record: SwapRecord) -> None:
        """See ``SwapEngine``."""
        self._watchers.announce(record)

    def check_open(self, swap_id: SwapId | None) -> None:
        """See ``SwapEngine``."""
        self._watchers.check_open(swap_id)

    async def aclose(self, because: JournalError | None = None) -> Sequence[SwapId]:
        """See ``SwapEngine``. The workers continue."""
        if self._watchers.is_closed:
            return tuple(self._versions)
        self._watchers.close(because)
        tasks = tuple(self._starting.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._watchers.end()
        return tuple(self._versions)

    def _start_found(self, versions: Mapping[SwapId, int]) -> None:
        """Start the workflows of swaps of other processes that have had no turn for a while.

        The process that accepted a swap may be gone. To start a workflow that runs has no effect.
        """
        now = asyncio.get_running_loop().time()
        for swap_id, (version, since) in tuple(self._found.items()):
            had_turn = versions.get(swap_id) != version
            if had_turn or now - since >= _START_SECONDS:
                del self._found[swap_id]
                if not had_turn:
                    self._start(swap_id)

    def _start(self, swap_id: SwapId, *, has_news: bool = False) -> None:
        if swap_id not in self._starting:
            starting = self._keep_starting(swap_id, has_news=has_news)
            task = asyncio.get_running_loop().create_task(starting, name="layer2-start")
            self._starting[swap_id] = task
            task.add_done_callback(lambda _: self._starting.pop(swap_id))

    async def _keep_starting(self, swap_id: SwapId, *, has_news: bool) -> None:
        pause = _FIRST_RETRY_SECONDS
        while True:
            try:
                async with self._places:
                    return await self._temporal.start(swap_id, has_news=has_news)
            except Layer2Error as error:
                LOG.warning("the workflow of swap %s cannot be started: %s; retry in %.1f s", swap_id, error, pause)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_RETRY_SECONDS)
