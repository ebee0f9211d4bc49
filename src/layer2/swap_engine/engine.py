"""``SwapEngine``: what carries out the swaps of a journal, in this process or with workers."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Protocol

from layer2.errors import JournalError
from layer2.model.transactions import SwapId
from layer2.ports.journal import OpenRow, Role, SwapJournal, SwapRecord

__all__ = ["SwapEngine", "open_pages"]


async def open_pages(journal: SwapJournal, roles: Sequence[Role]) -> AsyncGenerator[Sequence[OpenRow], None]:
    """The open swaps of these roles that have terms, in pages, the newest of each role first.

    Raises:
        JournalError: they cannot be read.
    """
    for role in roles:
        before: int | None = None
        while page := await journal.open_rows(role, before):
            before = page[-1].number
            yield page


class SwapEngine(Protocol):
    """Carries out agreed swaps in the background until each is final."""

    def drive(self, record: SwapRecord) -> None:
        """Carry out an agreed swap. Has no effect on a swap that is carried out already.

        Raises:
            JournalError: the record has no terms.
            TaskCancelled: the engine is closed; the swap resumes at the next start.
        """
        ...

    async def revisit(self, record: SwapRecord) -> SwapRecord:
        """Check a final swap once: a late funding reopens it.

        Returns:
            The newest record. If it is open, the swap is carried out.

        Raises:
            NodeError: the source cannot be read now, or holds money that is not settled yet; try again later.
            JournalError: the record has no terms, or another task has advanced the swap.
            TaskCancelled: the engine is closed.
        """
        ...

    async def resume(self, roles: Sequence[Role] = ...) -> Sequence[SwapId]:
        """Carry out every open swap of these roles that has terms; return their ids.

        Raises:
            JournalError: they cannot be read.
            TaskCancelled: the engine is closed.
        """
        ...

    def watch(self, swap_id: SwapId, *, poll_seconds: float | None = None) -> AsyncGenerator[SwapRecord, None]:
        """The current record, then every new version up to the final one. Some versions may be skipped.

        Raises:
            UnknownTransfer: the journal has no such swap.
            TaskCancelled: the engine was closed.
        """
        ...

    def awake_record(self, swap_id: SwapId) -> SwapRecord | None:
        """The newest version of a swap whose task is in this process; None if it has none, or sleeps."""
        ...

    def announce(self, record: SwapRecord) -> None:
        """Send a version that the caller has written to those who watch."""
        ...

    def check_open(self, swap_id: SwapId | None) -> None:
        """Check that the engine is open.

        Raises:
            TaskCancelled: it is closed; the swap resumes at the next start.
            JournalError: it was closed for that reason.
        """
        ...

    async def aclose(self, because: JournalError | None = None) -> Sequence[SwapId]:
        """Stop at once, without waiting for any swap; return the open swaps. Can be repeated.

        Args:
            because: the reason, if it is not a wish of the caller: later calls raise an error with it.
        """
        ...
