"""One SQLite file in one thread of its own: opened, brought to the newest schema, and written durably."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
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


class Database:
    """The journal's file. Work given to it runs in order, one transaction each, in the database's own thread.

    Raises, all methods: JournalError when the file cannot be opened, read or written.
    """

    def __init__(self, path: Path, thread: ThreadPoolExecutor, engine: Engine) -> None:
        self.path = path
        self._thread = thread
        self._engine = engine
        self._closed = False

    @classmethod
    async def open(cls, path: Path) -> Self:
        """Open the file, make it (mode 0600) if it is not there, and bring its schema up to date."""
        thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"layer2-journal-{path.name}")
        try:
            engine = await asyncio.get_running_loop().run_in_executor(thread, _open_engine, path)
        except BaseException:
            thread.shutdown(wait=True)
            raise
        return cls(path, thread, engine)

    async def aclose(self) -> None:
        """Finish what was given, close the file, and end the thread. Can be repeated."""
        if self._closed:
            return
        self._closed = True
        # The thread is idle or about to be: what it still does are single transactions.
        self._thread.submit(self._engine.dispose)
        self._thread.shutdown(wait=True)

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Run ``work`` in one transaction; return when it is durable. Cancelling the caller breaks nothing:
        the transaction is then either complete or was never begun."""
        return await self._run(work, "BEGIN IMMEDIATE")

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run ``work`` on one consistent view of the file."""
        return await self._run(work, "BEGIN")

    async def _run(self, work: Callable[[Connection], T], begin: str) -> T:
        if self._closed:
            raise JournalError(f"the journal {self.path} is closed")
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._in_thread, work, begin)

    def _in_thread(self, work: Callable[[Connection], T], begin: str) -> T:
        try:
            with self._engine.connect().execution_options(begin=begin) as connection, connection.begin():
                return work(connection)
        except SQLAlchemyError as error:
            raise _journal_error(self.path, error) from error


def _journal_error(path: Path, error: SQLAlchemyError) -> JournalError:
    # The driver's own words only: SQLAlchemy's message would show the statement's values.
    cause = getattr(error, "orig", None) or type(error).__name__
    return JournalError(f"the journal {path} could not be read or written: {cause}")


def _open_engine(path: Path) -> Engine:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # SQLite gives its -wal and -shm files the mode of the main file.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        path.chmod(0o600)
    except OSError as error:
        raise JournalError(f"the journal {path} cannot be opened: {error.strerror}") from error
    engine = create_engine(f"sqlite:///{path}")
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
    # The driver would otherwise begin transactions when it thinks fit, and not before DDL.
    connection.isolation_level = None
    for pragma in (
        f"busy_timeout = {_BUSY_MILLISECONDS}",
        "journal_mode = WAL",
        # NORMAL may lose committed transactions at a power cut.
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
    # Alembic is slow to import and needed only for a new or old file.
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
                remedy="install that version; this one would not understand what it promised",
            )
    command.upgrade(config, "head")
