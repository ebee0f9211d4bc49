"""Copies a journal to another database: a backup of a running one, or a move of one on which no process acts."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import Final

from sqlalchemy import Connection, delete, func, insert, select, text

from layer2.errors import InvalidRequest, JournalError
from layer2.journal.database import Database
from layer2.journal.guards import Guard
from layer2.journal.migration import Mark, mark_of, move_of, set_mark
from layer2.journal.opening import guard_of, open_database
from layer2.journal.place import JournalPlace
from layer2.journal.schema import METADATA, lineage, sessions, swaps

__all__ = ["back_up", "move"]

_TABLES: Final = [table for table in METADATA.sorted_tables if table is not sessions]
_PAGE: Final = 1_000


async def back_up(place: JournalPlace, file: JournalPlace) -> Mapping[str, int]:
    """Copy a journal, which may be in use, to a new SQLite file.

    Returns:
        The number of rows of each table.

    Raises:
        InvalidRequest: the file exists.
        JournalError: the journal cannot be read, or the file cannot be written.
    """
    if file.exists():
        raise InvalidRequest(f"{file} exists", code="exists", remedy="name a file that does not exist")
    async with aclosing(await open_database(place)) as source, aclosing(await open_database(file)) as target:
        # Without its rows the file must not look like an empty journal.
        await target.write(lambda connection: set_mark(connection, Mark.ARRIVING))
        counts = await _copy(source, target)
        await target.write(lambda connection: set_mark(connection, None))
        return counts


async def move(place: JournalPlace, other: JournalPlace) -> Mapping[str, int]:
    """Move a journal to another, empty database. Afterwards no version of this package opens the old one.

    If a move is interrupted, one of the two can be opened or none, never both; the same move can be made again.

    Returns:
        The number of rows of each table; empty if an earlier call had copied them.

    Raises:
        JournalBusy: a process acts on one of the two.
        InvalidRequest: the other database holds a journal already.
        JournalError: one of them cannot be read or written.
    """
    async with (
        _held(place) as guard,
        _held(other) as other_guard,
        aclosing(await open_database(place, Mark.MOVED)) as source,
        aclosing(await open_database(other, Mark.ARRIVING)) as target,
    ):
        counts: Mapping[str, int] = {}
        for database, held in ((source, guard), (target, other_guard)):
            # A process that lost the guard, because it was stopped, must not write when it wakes after the move.
            await database.take_over(held.is_held)
        if await source.read(mark_of) is not Mark.MOVED:
            move_id = secrets.token_hex(8)
            await target.write(lambda connection: _begin_arrival(connection, move_id))
            counts = await _copy(source, target)
            await source.write(lambda connection: set_mark(connection, Mark.MOVED, move_id))
        elif await target.read(mark_of) is not Mark.ARRIVING or await _move_of(source) != await _move_of(target):
            # The target of another move lacks rows.
            raise JournalError(
                f"the journal {place} was moved already",
                code="journal_moved",
                remedy="name the journal to which it was moved in [journal]: url or path",
            )
        await target.write(lambda connection: set_mark(connection, None))
        return counts


@asynccontextmanager
async def _held(place: JournalPlace) -> AsyncIterator[Guard]:
    guard = guard_of(place)
    try:
        await guard.take()
        yield guard
    finally:
        await guard.give_back()


async def _move_of(database: Database) -> str:
    return await database.read(move_of)


def _begin_arrival(connection: Connection, move_id: str) -> None:
    """Mark an empty database, or empty one that is marked."""
    if mark_of(connection) is Mark.ARRIVING:
        for table in reversed(_TABLES):
            connection.execute(delete(table))
    for table in _TABLES:
        if connection.execute(select(func.count()).select_from(table)).scalar() and table is not lineage:
            raise InvalidRequest("the target holds a journal already", code="exists", remedy="use an empty database")
    set_mark(connection, Mark.ARRIVING, move_id)


async def _copy(source: Database, target: Database) -> Mapping[str, int]:
    """Copy all rows in one view of the source and one transaction of the target."""
    return await source.read(lambda read: target.write_in_this_thread(lambda write: _copy_rows(read, write)))


def _copy_rows(source: Connection, target: Connection) -> Mapping[str, int]:
    if source.dialect.name == "postgresql":
        # It waits for the target, and holds no lock.
        source.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
    # Instead of the row that each new journal has.
    target.execute(delete(lineage))
    counts: dict[str, int] = {}
    for table in _TABLES:
        counts[table.name] = 0
        query = select(table).order_by(*table.primary_key).execution_options(yield_per=_PAGE)
        for page in source.execute(query).partitions():
            target.execute(insert(table), [row._asdict() for row in page])
            counts[table.name] += len(page)
    del counts[lineage.name]
    if target.dialect.name == "postgresql" and counts[swaps.name]:
        # The rows brought their numbers; the next one continues.
        target.execute(
            text("SELECT setval(pg_get_serial_sequence('swaps', 'number'), (SELECT max(number) FROM swaps))")
        )
    return counts
