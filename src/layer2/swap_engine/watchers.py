"""Follows the versions of swaps for any number of readers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable

from layer2.errors import JournalError, TaskCancelled, UnknownTransfer
from layer2.model.transactions import SwapId
from layer2.ports.journal import SwapJournal, SwapRecord

__all__ = ["Watchers"]

LOG = logging.getLogger("layer2.swap_engine")


class Watchers:
    """The readers of swaps' versions.

    Args:
        on_change: called in the loop with every version that is announced; must not block.
        poll_seconds: the interval at which versions that were not announced are read.
        known: the newest version, if it is known without the journal.
    """

    def __init__(
        self,
        journal: SwapJournal,
        on_change: Callable[[SwapRecord], None] | None,
        poll_seconds: float,
        known: Callable[[SwapId], SwapRecord | None] = lambda swap_id: None,
    ) -> None:
        self._journal = journal
        self._on_change = on_change
        self._poll_seconds = poll_seconds
        self._known = known
        self._queues: dict[SwapId, set[asyncio.Queue[SwapRecord | None]]] = {}
        self._closed = False
        self._because: JournalError | None = None

    @property
    def is_closed(self) -> bool:
        """Whether new readers are refused."""
        return self._closed

    def check_open(self, swap_id: SwapId | None) -> None:
        """Check that new readers are accepted.

        Raises:
            TaskCancelled: the readers were closed; the swap resumes at the next start.
            JournalError: the readers were closed for that reason.
        """
        if not self._closed:
            return
        if self._because is None:
            raise TaskCancelled("the engine was closed; the swap resumes at the next start", transfer_id=swap_id)
        raise JournalError(
            self._because.message, code=self._because.code, remedy=self._because.remedy, transfer_id=swap_id
        )

    def announce(self, record: SwapRecord) -> None:
        """Send a version that was written to the readers and ``on_change``."""
        for queue in self._queues.get(record.swap_id, ()):
            queue.put_nowait(record)
        if self._on_change is not None:
            try:
                self._on_change(record)
            except Exception:
                # An error of a listener must not stop a swap.
                LOG.exception("on_change failed in version %d", record.version)

    async def watch(self, swap_id: SwapId, *, poll_seconds: float | None = None) -> AsyncGenerator[SwapRecord, None]:
        """See ``SwapEngine.watch``."""
        queue: asyncio.Queue[SwapRecord | None] = asyncio.Queue()
        # Before the first read, so that no version is lost between the two.
        self._queues.setdefault(swap_id, set()).add(queue)
        try:
            record = self._known(swap_id) or await self.load(swap_id)
            yield record
            while not record.is_final:
                newer = await self._next_version(queue, swap_id, poll_seconds or self._poll_seconds)
                if newer.version > record.version:
                    record = newer
                    yield record
        finally:
            queues = self._queues[swap_id]
            queues.discard(queue)
            if not queues:
                del self._queues[swap_id]

    def close(self, because: JournalError | None = None) -> None:
        """Refuse new readers from now on.

        Args:
            because: the reason, if it is not a wish of the caller.
        """
        self._closed, self._because = True, because

    def end(self) -> None:
        """End every reader."""
        for queues in self._queues.values():
            for queue in queues:
                queue.put_nowait(None)

    async def load(self, swap_id: SwapId) -> SwapRecord:
        """The newest version.

        Raises:
            UnknownTransfer: the journal has no such swap.
            TaskCancelled: the readers were closed, and so was the journal.
            JournalError: it cannot be read, or the readers were closed for that reason.
        """
        try:
            record = await self._journal.load(swap_id)
        except JournalError:
            # If the readers were closed first, a closed journal is not a failure.
            self.check_open(swap_id)
            raise
        if record is None:
            raise UnknownTransfer("the journal has no such transfer", transfer_id=swap_id)
        return record

    async def _next_version(
        self, queue: asyncio.Queue[SwapRecord | None], swap_id: SwapId, poll_seconds: float
    ) -> SwapRecord:
        self.check_open(swap_id)
        try:
            async with asyncio.timeout(poll_seconds):
                newer = await queue.get()
        except TimeoutError:
            return await self.load(swap_id)
        if newer is None:
            self.check_open(swap_id)
        assert newer is not None, "a reader ends only after the readers were closed"
        return newer
