"""Opens the database of a journal's place, and makes its guard."""

from __future__ import annotations

from sqlalchemy import Engine

from layer2.journal.database import Database, DatabaseKind
from layer2.journal.file_guard import FileGuard
from layer2.journal.guards import Guard
from layer2.journal.migration import Mark
from layer2.journal.place import JournalPlace
from layer2.journal.sqlite import SQLITE, file_engine

__all__ = ["guard_of", "open_database"]

# The driver of PostgreSQL is an extra, and is loaded only for a server.


async def open_database(place: JournalPlace, accepted: Mark | None = None) -> Database:
    """Connect to the database in a thread of its own, create what does not exist, and migrate its schema.

    Args:
        accepted: a mark that does not prevent the opening.

    Raises:
        ConfigurationError: the URL is wrong, the extra for PostgreSQL is not installed, or its server does not fsync.
        JournalError: it cannot be opened, has another mark, or a newer version of this package wrote it.
    """
    return await Database.open(str(place), lambda: _engine_of(place, accepted), _kind_of(place))


def guard_of(place: JournalPlace) -> Guard:
    """The guard of the place, which is not taken yet."""
    if place.url is not None:
        from layer2.journal.server_guard import ServerGuard

        return ServerGuard(place.url)
    assert place.path is not None
    return FileGuard(place.path)


def _engine_of(place: JournalPlace, accepted: Mark | None) -> Engine:
    if place.url is not None:
        from layer2.journal.postgres import server_engine

        return server_engine(place.url, accepted)
    assert place.path is not None
    return file_engine(place.path, accepted)


def _kind_of(place: JournalPlace) -> DatabaseKind:
    if place.url is None:
        return SQLITE
    from layer2.journal.postgres import POSTGRES

    return POSTGRES
