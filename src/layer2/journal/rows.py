"""SQL statements on the journal's tables, for use within a transaction of the journal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from typing import Any, Final

from sqlalchemy import Connection, Executable, Insert, Row, Table, select, update
from sqlalchemy.dialects import postgresql, sqlite

from layer2.errors import IdempotencyConflict
from layer2.journal.schema import swaps
from layer2.ports.journal import Intent, JournalOwner, SendRecord, SwapRecord
from layer2.ports.nonces import NonceUse

__all__ = [
    "SWAPS",
    "first_swap",
    "insert_or_keep",
    "intent_of",
    "row_of",
    "swap_that_holds",
    "upsertion",
]

SWAPS: Final = select(*(swaps.c[each.name] for each in fields(SwapRecord)))
"""All swaps; ``SwapRecord`` has a field for each column but the number."""


def row_of(record: SwapRecord | Intent | SendRecord | JournalOwner | NonceUse) -> dict[str, object]:
    """The fields of a record, which are the columns of its table."""
    return {each.name: getattr(record, each.name) for each in fields(record)}


def intent_of(row: Row[Any]) -> Intent:
    """The intent of a row that has its columns."""
    return Intent(**{each.name: getattr(row, each.name) for each in fields(Intent)})


def insert_or_keep(connection: Connection, table: Table) -> postgresql.Insert | sqlite.Insert:
    """An insertion that keeps a row that exists.

    Where that row was committed after the transaction began, PostgreSQL refuses the transaction, which is repeated.
    """
    statement = postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)
    return statement.on_conflict_do_nothing()


@cache
def upsertion(dialect: str, table: Table, names: tuple[str, ...]) -> Insert:
    """An insertion that replaces these columns of a row that exists, unless that row has a newer version.

    Building it costs more than a row, so each is built once.

    Args:
        dialect: the name of the connection's dialect.
        names: the columns that are given.
    """
    statement = postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)
    keys = [column.name for column in table.primary_key]
    updated = {name: statement.excluded[name] for name in names if name not in keys}
    if not updated:
        return statement.on_conflict_do_nothing()
    # The swap of an earlier turn can be written later.
    is_newer = table.c.version <= statement.excluded.version if "version" in updated else None
    return statement.on_conflict_do_update(index_elements=keys, set_=updated, where=is_newer)


def first_swap(
    connection: Connection, query: Executable, given: Mapping[str, object] | None = None
) -> SwapRecord | None:
    """The first swap of a query on ``SWAPS``, or None."""
    row = connection.execute(query, given).first()
    return None if row is None else SwapRecord(**row._asdict())


def swap_that_holds(connection: Connection, asked: SwapRecord) -> SwapRecord | None:
    """The swap that holds the key or the quote of a new swap, or None if both are free.

    Raises:
        IdempotencyConflict: another request holds the key, or a swap with another key holds the quote.
    """
    held = SWAPS.where(swaps.c.role == asked.role, swaps.c.holds_key)
    if asked.idempotency_key is not None:
        known = first_swap(connection, held.where(swaps.c.idempotency_key == asked.idempotency_key))
        if known is not None:
            if known.request != asked.request:
                raise _conflict("the idempotency key was used with another request", known)
            return known
    if asked.quote_id is None:
        return None
    known = first_swap(connection, held.where(swaps.c.quote_id == asked.quote_id))
    if known is None:
        return None
    if known.request != asked.request:
        raise _conflict("the quote was used with another request", known)
    if asked.idempotency_key is None:
        return known
    if known.idempotency_key is not None:
        raise _conflict("the quote was used with another idempotency key", known)
    # From now on the key finds this swap, even with another quote.
    of_known = swaps.c.swap_id == known.swap_id
    connection.execute(update(swaps).where(of_known).values(idempotency_key=asked.idempotency_key))
    return first_swap(connection, SWAPS.where(of_known))


def _conflict(what: str, known: SwapRecord) -> IdempotencyConflict:
    return IdempotencyConflict(f"{what}; no transfer was started", transfer_id=known.swap_id)
