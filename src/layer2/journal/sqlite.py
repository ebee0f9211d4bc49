"""Opens a SQLite file."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, Engine, create_engine, event, false
from sqlalchemy.exc import SQLAlchemyError

from layer2.errors import JournalError
from layer2.journal.database import DatabaseKind

__all__ = ["SQLITE", "file_engine"]

_BUSY_MILLISECONDS: Final = 10_000


def _cause(error: SQLAlchemyError) -> str:
    # Only the driver's message: SQLAlchemy's message would show the statement's values.
    return str(getattr(error, "orig", None) or type(error).__name__)


def _remedy(error: SQLAlchemyError) -> str | None:
    # The primary code is in the lowest byte of an extended one.
    match getattr(getattr(error, "orig", None), "sqlite_errorcode", 0) & 0xFF:
        case sqlite3.SQLITE_FULL:
            return "free space on its disk; the journal continues by itself"
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN:
            return "make the file and its directory writable for this program"
        case _:
            return None


SQLITE: Final = DatabaseKind(
    reading={"begin": "BEGIN"},
    writing={"begin": "BEGIN IMMEDIATE"},
    # One process writes at a time, so no other transaction can end one.
    is_temporary=lambda _: False,
    cause=_cause,
    remedy=_remedy,
    # Workers cannot share a file.
    is_live_worker=false(),
)


def file_engine(path: Path, title: str, prepare: Callable[[Connection], None]) -> Engine:
    """Open the file, create it (mode 0600) if it does not exist, and bring its schema up to date.

    Args:
        title: what the file is, for messages.
        prepare: brings the schema up to date, in a transaction of its own.

    Raises:
        JournalError: it cannot be opened; and what ``prepare`` raises.
    """
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
        raise JournalError(f"{title} cannot be opened: {error.strerror}") from error
    # Tracebacks print an error's cause, and values may be preimages.
    engine = create_engine(f"sqlite:///{path}", hide_parameters=True)
    event.listen(engine, "connect", _prepare_connection)
    event.listen(engine, "begin", _begin)
    try:
        with engine.connect() as connection, connection.begin():
            prepare(connection)
    except SQLAlchemyError as error:
        engine.dispose()
        raise JournalError(f"{title} cannot be opened: {_cause(error)}") from error
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
