"""Durable access to a SQLite file in a separate thread, with migration to the newest schema."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Self, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.exc import SQLAlchemyError

from layer2.errors import JournalError
from layer2.swap_engine.schema import HEAD

__all__ = ["Database"]

T = TypeVar("T")
_MIGRATIONS: Final = Path(__file__).parent / "migrations"
_BUSY_MILLISECONDS: Final = 10_000


@dataclass(frozen=True, slots=True)
class _Write:
    work: Callable[[Connection], object]
    done: asyncio.Future[Any]


@dataclass(frozen=True, slots=True)
class _Wrote:
    result: object


class _WorkRaised(Exception):
    """One of several writes raised, and all of them were rolled back."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


class Database:
    """The journal's file. Work runs in order, in the database's thread.

    Writes that wait at the same time share one commit, and so one wait for the disk. A database belongs to the event
    loop in which it was opened.

    Raises, all methods: JournalError when the file cannot be opened, read or written.
    """

    def __init__(self, path: Path, thread: ThreadPoolExecutor, engine: Engine) -> None:
        self.path = path
        self._thread = thread
        self._engine = engine
        self._closed = False
        self._waiting: list[_Write] = []
        self._is_writing = False

    @classmethod
    async def open(cls, path: Path) -> Self:
        """Open the file, create it (mode 0600) if it does not exist, and migrate its schema."""
        thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"layer2-journal-{path.name}")
        try:
            engine = await asyncio.get_running_loop().run_in_executor(thread, _open_engine, path)
        except BaseException:
            thread.shutdown(wait=True)
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
        self._thread.shutdown(wait=True)

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Run ``work`` and return when its changes are durable. If it raises, only its own changes are rolled back.

        ``work`` may run twice, the second time after a rollback. If the caller is cancelled, the write is either
        complete or never started.
        """
        self.check_open()
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        self._waiting.append(_Write(work, done))
        if not self._is_writing:
            self._is_writing = True
            # Deferred, so that other writes of this tick share the commit.
            loop.call_soon(self._start_writing)
        return await done

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
        """Write everything that waits; ``_written`` calls this again afterwards."""
        writes, self._waiting = [write for write in self._waiting if not write.done.done()], []
        self._is_writing = bool(writes)
        if writes:
            works = [write.work for write in writes]
            written = asyncio.get_running_loop().run_in_executor(self._thread, self._write_in_thread, works)
            written.add_done_callback(partial(self._written, writes))

    def _written(self, writes: Sequence[_Write], written: asyncio.Future[list[_Wrote | Exception]]) -> None:
        error = written.exception()
        outcomes = written.result() if error is None else [self._fault(error) for _ in writes]
        for write, outcome in zip(writes, outcomes, strict=True):
            if write.done.done():
                continue
            if isinstance(outcome, _Wrote):
                write.done.set_result(outcome.result)
            else:
                write.done.set_exception(outcome)
        self._start_writing()

    def _fault(self, error: BaseException) -> JournalError:
        # A bug of this module must not leave a caller waiting forever.
        return JournalError(f"the journal {self.path} could not be written: unexpected {type(error).__name__}")

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

    def _write_in_thread(self, works: Sequence[Callable[[Connection], object]]) -> list[_Wrote | Exception]:
        """The durable result of each write, or its error."""
        try:
            return self._write_together(works)
        except _WorkRaised as raised:
            if len(works) == 1:
                return [self._seen_by_caller(raised.error)]
            return [outcome for work in works for outcome in self._write_in_thread([work])]
        except SQLAlchemyError as error:
            # A separate error for each write, because raising adds a traceback to an error.
            return [self._seen_by_caller(error) for _ in works]

    def _write_together(self, works: Sequence[Callable[[Connection], object]]) -> list[_Wrote | Exception]:
        with self._transaction("BEGIN IMMEDIATE") as connection:
            try:
                return [_Wrote(work(connection)) for work in works]
            except Exception as error:
                raise _WorkRaised(error) from error

    def _seen_by_caller(self, error: Exception) -> Exception:
        return _journal_error(self.path, error) if isinstance(error, SQLAlchemyError) else error


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


def _prepare_connection(connection: Any, _record: object) -> None:
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
