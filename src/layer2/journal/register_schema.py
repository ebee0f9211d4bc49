"""The tables of a journal's register."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Connection, Integer, MetaData, String, Table, inspect, select

from layer2.errors import JournalError
from layer2.journal.schema import intents, owners, sends, sessions, swaps

__all__ = [
    "registered",
    "registered_intents",
    "registered_owners",
    "registered_sends",
    "registered_swaps",
    "row_of_journal",
    "set_up",
]

_REVISION: Final = 1
_METADATA: Final = MetaData()


def _like(table: Table, *left_out: str) -> Table:
    """A table with the columns of a journal's table, and without its rules: the journal has decided."""
    keys = [column.name for column in table.primary_key] if not left_out else ["swap_id"]
    columns = [
        Column(column.name, column.type, primary_key=column.name in keys, nullable=column.name not in keys)
        for column in table.columns
        if column.name not in left_out
    ]
    return Table(f"registered_{table.name}", _METADATA, *columns)


registered: Final = Table(
    "registered_journal",
    _METADATA,
    Column("journal_id", String(32), primary_key=True),
    Column("branch", String(32), nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("revision", Integer, nullable=False),
)
"""One row: the journal, as its ``lineage`` was when it last acted. No row: the register is new."""

registered_swaps: Final = _like(swaps, "number")
registered_intents: Final = _like(intents)
"""Those that left, of swaps that are open."""
registered_sends: Final = _like(sends)
registered_owners: Final = _like(owners)
sessions.to_metadata(_METADATA)


def set_up(title: str, connection: Connection) -> None:
    """Create the tables of a new register.

    Args:
        title: what it is, for messages.

    Raises:
        JournalError: a newer version of this package wrote it, or it is a journal.
    """
    tables = inspect(connection)
    if tables.has_table(swaps.name):
        # Both have sessions: to act on one would exclude the process that acts on the other.
        raise JournalError(f"{title} is a journal", remedy="name an empty database, or a file that does not exist")
    if not tables.has_table(registered.name):
        _METADATA.create_all(connection)
    revision = connection.execute(select(registered.c.revision)).scalar()
    if revision not in (None, _REVISION):
        raise JournalError(
            f"{title} was written by a newer version of layer2 (revision {revision})", remedy="install that version"
        )


def row_of_journal(journal_id: str, branch: str, epoch: int) -> dict[str, object]:
    """The row of a journal."""
    return {"journal_id": journal_id, "branch": branch, "epoch": epoch, "revision": _REVISION}
