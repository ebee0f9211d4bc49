"""The journal interface of a manager."""

from __future__ import annotations

from typing import Protocol

from layer2.swap_engine.runner import SwapStore

__all__ = ["TransferStore"]


class TransferStore(SwapStore, Protocol):
    """A journal with proofs, and with the guard that lets only one process act. ``SqliteJournal`` implements it."""

    async def act(self) -> None:
        """Take the guard. A repeated call has no effect.

        Raises:
            JournalBusy: another process holds it.
        """
        ...
