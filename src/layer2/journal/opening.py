"""Connects to a journal's database, and makes its guard."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Connection, Engine

from layer2.journal.database import Database
from layer2.journal.file_guard import FileGuard
from layer2.journal.guards import Guard
from layer2.journal.migration import Mark, bring_up_to_date
from layer2.journal.place import JournalPlace
from layer2.journal.sqlite import SQLITE, file_engine

__all__ = ["connect", "guard_of", "open_database"]

# The driver of PostgreSQL is an extra, and is loaded only for a server.


async def open_database(place: JournalPlace, accepted: Mark | None = None) -> Database:
    """Connect to the database in a thread of its own, create what does not exist, and migrate its schema.

    Args:
        accepted: a mark that does not prevent the opening.

    Raises:
        ConfigurationError: the URL is wrong, the extra for PostgreSQL is not installed, or its server does not fsync.
        JournalError: it cannot be opened, has another mark, or a newer version of this package wrote it.
    """
    name = str(place)
    return await connect(place, f"the journal {name}", lambda connection: bring_up_to_date(name, connection, accepted))


async def connect(place: JournalPlace, title: str, prepare: Callable[[Connection], None]) -> Database:
    """Connect to a database in a thread of its own, and create a file that does not exist.

    Args:
        title: what it is, for messages.
        prepare: brings its schema up to date, while no other process does it.

    Raises:
        As ``open_database``, and what ``prepare`` raises.
    """
    kind = SQLITE
    if place.url is not None:
        from layer2.journal.postgres import POSTGRES

        kind = POSTGRES
    return await Database.open(title, lambda: _engine_of(place, title, prepare), kind)


def guard_of(place: JournalPlace) -> Guard:
    """The guard of the place, which is not taken yet."""
    if place.url is not None:
        from layer2.journal.server_guard import ServerGuard

        return ServerGuard(place.url)
    assert place.path is not None
    return FileGuard(place.path)


def _engine_of(place: JournalPlace, title: str, prepare: Callable[[Connection], None]) -> Engine:
    if place.url is not None:
        from layer2.journal.postgres import server_engine

        return server_engine(place.url, title, prepare)
    assert place.path is not None
    return file_engine(place.path, title, prepare)
