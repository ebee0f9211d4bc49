"""A guard on this machine: an advisory lock on a file."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from pathlib import Path
from typing import Final

from sqlalchemy import Connection

from layer2.errors import ConfigurationError, JournalBusy, JournalError

__all__ = ["FileGuard"]

_LONGEST_PID: Final = 32


class FileGuard:
    """An advisory lock on ``PATH.lock``, which contains the pid of the process that has the lock.

    The operating system releases it when the process ends for any reason. The file stays.
    """

    def __init__(self, path: Path) -> None:
        self._journal = path
        self._path = path.with_name(f"{path.name}.lock")
        self._descriptor: int | None = None

    async def take(self, worker: str | None = None) -> None:
        """Take the lock. See ``Guard``."""
        if worker is not None:
            raise ConfigurationError(
                "workers cannot share a journal in a SQLite file",
                code="not_shared",
                remedy="set journal.url; layer2 journal migrate moves the journal to PostgreSQL",
            )
        if self._descriptor is not None:
            return
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise JournalError(f"the lock file {self._path} cannot be opened: {error.strerror}") from error
        try:
            # A lock belongs to the open file, so a second object in this process is refused too.
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, _LONGEST_PID, 0).decode("ascii", "replace").strip()
            os.close(descriptor)
            raise self._busy(holder) from None
        except OSError as error:
            os.close(descriptor)
            raise JournalError(f"the lock file {self._path} cannot be locked: {error.strerror}") from error
        # The pid is only informative, so a full disk must not prevent the lock.
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._descriptor = descriptor

    def is_held(self, connection: Connection) -> bool:
        """Whether it is held: the operating system does not take it away."""
        return self._descriptor is not None

    async def lost(self) -> None:
        """Never return: the operating system keeps the lock until the process ends."""
        await asyncio.Event().wait()

    async def give_back(self) -> None:
        """Release the lock. Can be repeated."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def _busy(self, holder: str) -> JournalBusy:
        if holder == str(os.getpid()):
            return JournalBusy(
                f"this process already acts on the journal {self._journal}",
                remedy="use one manager for each journal",
            )
        return JournalBusy(
            f"the process {holder or 'that is starting'} acts on the journal {self._journal}",
            remedy="wait until it ends, or stop it; you can read the journal meanwhile",
        )
