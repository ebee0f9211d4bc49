"""A guard on a PostgreSQL server: an advisory lock of a session, exclusive for one process or shared by workers."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from contextlib import suppress
from threading import Event, Thread
from typing import Final

from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError

from layer2.errors import JournalBusy, JournalError
from layer2.journal.guards import GuardHolders
from layer2.journal.postgres import cause, connection_engine, server_name, unreachable_remedy

__all__ = ["ServerGuard", "server_guard_holders"]

LOG: Final = logging.getLogger("layer2.journal")
_KEY: Final = "hashtext('layer2 journal'), hashtext(current_schema())"
_LOCKS: Final = (
    "FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE locktype = 'advisory' AND granted AND pg_locks.database = "
    "(SELECT oid FROM pg_database WHERE datname = current_database()) "
    "AND classid::bigint = hashtext('layer2 journal')::bigint & 4294967295 "
    "AND objid::bigint = hashtext(current_schema())::bigint & 4294967295"
)
_HOLDERS: Final = text(f"SELECT application_name, mode {_LOCKS} ORDER BY backend_start, pid")
_IS_HELD: Final = text(f"SELECT 1 {_LOCKS} AND pid = :pid")
_WORKER_KEY: Final = "hashtext('layer2 worker'), hashtext(:worker)"
_HEARTBEAT_SECONDS: Final = 2.0
_NAME: Final = "layer2 process "
_IDLE_SECONDS: Final = 10
"""The server ends the session of a process that was stopped for this long, and so releases its lock."""


class ServerGuard:
    """An advisory lock of a session of its own, which sends a heartbeat.

    The server releases the lock when the process ends, when the connection is lost, and ``idle_session_timeout`` after
    the process was stopped. A heartbeat that fails takes the lock again, unless another process has it by then. This
    object does not prevent a process that lost the lock from writing: ``Database.take_over`` does.

    Workers take the lock in shared mode, and each takes another lock that shows which row of ``sessions`` it has.
    """

    def __init__(self, url: str) -> None:
        self._name = server_name(url)
        self._engine = connection_engine(
            url,
            f"{_NAME}{os.getpid()} on {socket.gethostname()}",
            (f"SET idle_session_timeout = '{_IDLE_SECONDS}s'",),
        )
        self._worker: str | None = None
        self._connection: Connection | None = None
        self._session: int | None = None
        """The server's process that has the lock."""
        self._end = Event()
        self._is_lost = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: Thread | None = None
        self._taking: asyncio.Future[None] | None = None

    async def take(self, worker: str | None = None) -> None:
        """Take the lock. See ``Guard``."""
        if self._thread is None:
            self._worker = worker
            self._loop = asyncio.get_running_loop()
            # The thread continues if this call is cancelled.
            self._taking = asyncio.ensure_future(asyncio.to_thread(self._take))
            await asyncio.shield(self._taking)

    def is_held(self, connection: Connection) -> bool:
        """Whether the session that took the lock still has it."""
        return connection.execute(_IS_HELD, {"pid": self._session}).first() is not None

    async def lost(self) -> None:
        """Return when another process has the lock although this object did not release it; otherwise never."""
        await self._is_lost.wait()

    async def give_back(self) -> None:
        """Release the lock. Can be repeated."""
        if self._taking is not None:
            await asyncio.gather(self._taking, return_exceptions=True)
        thread, self._thread = self._thread, None
        if thread is not None:
            self._end.set()
            await asyncio.to_thread(thread.join)

    def _take(self) -> None:
        try:
            self._lock()
        except SQLAlchemyError as error:
            raise JournalError(
                f"the journal {self._name} cannot be locked: {cause(error)}", remedy=unreachable_remedy(error)
            ) from error
        self._end.clear()
        self._thread = Thread(target=self._keep, name="layer2-journal-guard", daemon=True)
        self._thread.start()

    def _lock(self) -> None:
        connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        try:
            if self._worker is not None:
                # First, so that no worker that holds the guard is without it. Shared, because the server may not have
                # noticed yet that an earlier connection of this worker was lost.
                connection.execute(text(f"SELECT pg_advisory_lock_shared({_WORKER_KEY})"), {"worker": self._worker})
            mode = "" if self._worker is None else "_shared"
            if not connection.execute(text(f"SELECT pg_try_advisory_lock{mode}({_KEY})")).scalar():
                holders = _holders(connection)
                act, end = "acts", "it ends, or stop it"
                if holders is not None and not holders.is_one:
                    act, end = "act", "they end, or stop them"
                raise JournalBusy(
                    f"the {holders or 'process that is starting'} {act} on the journal {self._name}",
                    remedy=f"wait until {end}; you can read the journal meanwhile",
                )
            self._session = connection.execute(text("SELECT pg_backend_pid()")).scalar()
        except BaseException:
            connection.close()
            raise
        self._connection = connection

    def _keep(self) -> None:
        while not self._end.wait(_HEARTBEAT_SECONDS):
            try:
                if self._connection is None:
                    self._lock()
                    LOG.warning("the lock of the journal %s was taken again", self._name)
                assert self._connection is not None
                self._connection.execute(text("SELECT 1"))
            except JournalBusy as error:
                # From now on the fence in the database refuses this process's writes.
                LOG.error("the lock of the journal was lost: %s", error)
                assert self._loop is not None
                # The loop is closed if the process ends meanwhile.
                with suppress(RuntimeError):
                    self._loop.call_soon_threadsafe(self._is_lost.set)
                return
            except SQLAlchemyError as error:
                LOG.warning("the lock of the journal %s is not sure: %s", self._name, cause(error))
                self._drop()
        self._drop()

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(SQLAlchemyError):
                connection.close()


def server_guard_holders(url: str) -> GuardHolders | None:
    """The processes that act on the journal, or None. The answer can be outdated when it is read.

    Raises:
        JournalError: the server cannot be reached.
    """
    engine = connection_engine(url, "layer2 guard reader")
    try:
        with engine.connect() as connection:
            return _holders(connection)
    except SQLAlchemyError as error:
        raise JournalError(f"the journal {server_name(url)} cannot be read: {cause(error)}") from error


def _holders(connection: Connection) -> GuardHolders | None:
    rows = connection.execute(_HOLDERS).all()
    if not rows:
        return None
    # A worker that connects again can have an earlier session for a while.
    names = dict.fromkeys(row.application_name.removeprefix(_NAME) for row in rows)
    return GuardHolders(tuple(names), are_workers=rows[0].mode == "ShareLock")
