"""Durable access to a SQLite file in a separate thread, with migration to the newest schema."""

from __future__ import annotations

import asyncio
import errno
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any, Final, ParamSpec, Self, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.exc import SQLAlchemyError

from layer2.errors import JournalError
from layer2.swap_engine.schema import HEAD

__all__ = ["Database"]

P = ParamSpec("P")
T = TypeVar("T")
_MIGRATIONS: Final = Path(__file__).parent / "migrations"
_BUSY_MILLISECONDS: Final = 10_000


@dataclass(frozen=True, slots=True)
class _Write:
    work: Callable[[Connection], object]
    done: Future[Any]
    """Its result. The future counts as running once the write can no longer be cancelled."""


class _DatabaseThread(Executor):
    """Runs calls in order in one daemon thread.

    The interpreter shuts a ``ThreadPoolExecutor`` down before it calls the functions registered with ``atexit``, so one
    of them could not close a manager. This thread runs until ``shutdown``, or until the process ends.
    """

    def __init__(self, name: str) -> None:
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = Thread(target=self._serve, name=name, daemon=True)
        self._thread.start()

    def submit(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future: Future[T] = Future()

        def work() -> None:
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(call(*args, **kwargs))
                except BaseException as error:  # noqa: BLE001 - the caller receives it
                    future.set_exception(error)

        self._calls.put(work)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        assert wait
        assert not cancel_futures
        self._calls.put(None)
        self._thread.join()

    def _serve(self) -> None:
        while (work := self._calls.get()) is not None:
            work()
            del work


class Database:
    """The journal's file. Work runs in order, in the database's thread.

    Writes that wait at the same time share one commit, and so one wait for the disk. A database belongs to the event
    loop in which it was opened.

    Raises, all methods: JournalError when the file cannot be opened, read or written.
    """

    def __init__(self, path: Path, thread: _DatabaseThread, engine: Engine) -> None:
        self.path = path
        self._thread = thread
        self._engine = engine
        self._closed = False
        self._waiting: list[_Write] = []
        self._is_writing = False

    @classmethod
    async def open(cls, path: Path) -> Self:
        """Open the file, create it (mode 0600) if it does not exist, and migrate its schema."""
        thread = _DatabaseThread(f"layer2-journal-{path.name}")
        try:
            engine = await asyncio.get_running_loop().run_in_executor(thread, _open_engine, path)
        except BaseException:
            thread.shutdown()
            raise
        return cls(path, thread, engine)

    async def aclose(self) -> None:
        """Finish pending work, close the file, and end the thread. Can be repeated."""
        if self._closed:
            return
        self._closed = True
        self._start_writing()
        # The thread has at most a few transactions left, so this wait is short.
        self._thread.submit(self._engine.dispose)
        self._thread.shutdown()

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Run ``work`` and return when its changes are durable. If it raises, only its own changes are rolled back.

        ``work`` may run twice, the second time after a rollback. If the caller is cancelled, the write is either
        complete or never started.
        """
        self.check_open()
        done: Future[T] = Future()
        self._waiting.append(_Write(work, done))
        if not self._is_writing:
            self._is_writing = True
            # Deferred, so that other writes of this tick share the commit.
            asyncio.get_running_loop().call_soon(self._start_writing)
        return await asyncio.wrap_future(done)

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run ``work`` on a consistent view of the file."""
        self.check_open()
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._read_in_thread, work)

    def check_open(self) -> None:
        """Check that the database is open.

        Raises:
            JournalError: it is closed.
        """
        if self._closed:
            raise JournalError(
                f"the journal {self.path} is closed", remedy="use it, and the clients, while their manager is open"
            )

    def _start_writing(self) -> None:
        """Write everything that waits, and afterwards what waits then."""
        writes, self._waiting = [each for each in self._waiting if each.done.set_running_or_notify_cancel()], []
        self._is_writing = bool(writes)
        if writes:
            written = asyncio.get_running_loop().run_in_executor(self._thread, self._write_in_thread, writes)
            written.add_done_callback(lambda _: self._start_writing())

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[Connection]:
        with self._engine.connect().execution_options(begin=begin) as connection:
            try:
                with connection.begin():
                    yield connection
            except SQLAlchemyError:
                # A failed commit can leave SQLite's transaction open although SQLAlchemy considers it ended.
                connection.invalidate()
                raise

    def _read_in_thread(self, work: Callable[[Connection], T]) -> T:
        try:
            with self._transaction("BEGIN") as connection:
                return work(connection)
        except SQLAlchemyError as error:
            raise _journal_error(self.path, error) from error

    def _write_in_thread(self, writes: Sequence[_Write]) -> None:
        """Make the writes in one transaction. If one of several raises, make each in a transaction of its own."""
        at_work = False
        try:
            with self._transaction("BEGIN IMMEDIATE") as connection:
                at_work = True
                results = [write.work(connection) for write in writes]
                at_work = False
        except Exception as error:  # noqa: BLE001 - the callers receive it
            if at_work and len(writes) > 1:
                for write in writes:
                    self._write_in_thread([write])
                return
            for write in writes:
                # A separate error for each write, because raising adds a traceback to an error.
                write.done.set_exception(self._seen_by_caller(error, at_work))
        else:
            for write, result in zip(writes, results, strict=True):
                write.done.set_result(result)

    def _seen_by_caller(self, error: Exception, at_work: bool) -> Exception:
        if isinstance(error, SQLAlchemyError):
            return _journal_error(self.path, error)
        if at_work:
            return error
        return JournalError(f"the journal {self.path} could not be written: unexpected {type(error).__name__}")


def _journal_error(path: Path, error: SQLAlchemyError) -> JournalError:
    # Only the driver's message: SQLAlchemy's message would show the statement's values.
    cause = getattr(error, "orig", None) or type(error).__name__
    journal_error = JournalError(f"the journal {path} could not be read or written: {cause}")
    journal_error.__cause__ = error
    return journal_error


def _open_engine(path: Path) -> Engine:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # SQLite creates its -wal and -shm files with the mode of the main file. A file that exists is never opened
        # here: closing it would drop the locks of this process's other connections (POSIX), and with them the log.
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        path.chmod(0o600)
    except OSError as error:
        raise JournalError(f"the journal {path} cannot be opened: {error.strerror}") from error
    # Tracebacks print an error's cause, and values may be preimages.
    engine = create_engine(f"sqlite:///{path}", hide_parameters=True)
    event.listen(engine, "connect", _prepare_connection)
    event.listen(engine, "begin", _begin)
    try:
        with engine.connect() as connection, connection.begin():
            _bring_up_to_date(path, connection)
    except SQLAlchemyError as error:
        engine.dispose()
        raise _journal_error(path, error) from error
    except BaseException:
        engine.dispose()
        raise
    return engine


def _prepare_connection(connection: sqlite3.Connection, _record: object) -> None:
    # Otherwise the driver decides when to begin transactions, and begins none before DDL.
    connection.isolation_level = None
    for pragma in (
        f"busy_timeout = {_BUSY_MILLISECONDS}",
        "journal_mode = WAL",
        # NORMAL may lose committed transactions in a power failure.
        "synchronous = FULL",
        "foreign_keys = ON",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get("begin", "BEGIN IMMEDIATE"))


def _bring_up_to_date(path: Path, connection: Connection) -> None:
    revision = None
    if inspect(connection).has_table("alembic_version"):
        revision = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    if revision == HEAD:
        return
    # Alembic is slow to import, and needed only for a new or old file.
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    if revision is not None:
        known = None
        with suppress(CommandError):
            known = ScriptDirectory.from_config(config).get_revision(revision)
        if known is None:
            raise JournalError(
                f"the journal {path} was written by a newer version of layer2 (schema {revision})",
                remedy="install that version; this version cannot read its open swaps",
            )
    command.upgrade(config, "head")
