"""What a manager needs of a journal beyond ``interfaces.SwapJournal``."""

from __future__ import annotations

from typing import Protocol

from layer2.swap_engine.runner import SwapStore

__all__ = ["TransferStore"]


class TransferStore(SwapStore, Protocol):
    """A journal with proofs and the guard that lets one process act; ``SqliteJournal`` is one."""

    async def act(self) -> None:
        """Take the guard; taking it again changes nothing.

        Raises:
            JournalBusy: another process has it.
        """
        ...
