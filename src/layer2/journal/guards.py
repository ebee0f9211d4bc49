"""The guard of a journal: either one process acts on it, or any number of workers that share the guard."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from sqlalchemy import Connection

__all__ = ["Guard", "GuardHolders"]


@dataclass(frozen=True, slots=True)
class GuardHolders:
    """The processes that act on a journal: at least one."""

    processes: tuple[str, ...]
    """Their ids, with their hosts if the journal is on a server."""
    are_workers: bool = False
    """Whether they share the guard, as workers and front ends do."""

    @property
    def is_one(self) -> bool:
        """Whether it is one process."""
        return len(self.processes) == 1

    def __str__(self) -> str:
        return f"{'process' if self.is_one else 'processes'} {', '.join(self.processes)}"


class Guard(Protocol):
    """Held from ``take`` to ``give_back``, or until the process ends for any reason."""

    async def take(self, worker: str | None = None) -> None:
        """Take the guard; does nothing if this object already holds it.

        Args:
            worker: the session id of a worker, which shares the guard with other workers. None: it is not shared.

        Raises:
            JournalBusy: another process holds it, or another object in this process.
            ConfigurationError: code ``not_shared``: workers cannot share a journal of this kind.
            JournalError: it cannot be asked for.
        """
        ...

    def is_held(self, connection: Connection) -> bool:
        """Whether it is held now, not only when it was taken. It is called in a transaction of the journal."""
        ...

    async def lost(self) -> None:
        """Return when another process holds the guard although this object did not release it; otherwise never."""
        ...

    async def give_back(self) -> None:
        """Release the guard. Can be repeated."""
        ...
