"""Brings a journal's schema up to date."""

from __future__ import annotations

import secrets
from contextlib import suppress
from enum import Enum
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, insert, inspect, text

from layer2.errors import JournalError
from layer2.journal.schema import HEAD, METADATA, REVISION, lineage

__all__ = ["Mark", "bring_up_to_date", "mark_of", "move_of", "set_mark"]

_MIGRATIONS: Final = Path(__file__).parent / "migrations"


class Mark(Enum):
    """A mark in place of the schema's revision, followed by the id of the move. No version of this package opens a
    journal that has one."""

    MOVED = "moved"
    """Its rows are in another database."""
    ARRIVING = "arriving"
    """A move to it, or a backup, has not ended."""


_PROBLEMS: Final = {
    Mark.MOVED: ("was moved to another database", "name that database in [journal]: url or path"),
    Mark.ARRIVING: (
        "is the target of a move or a backup that has not ended",
        "run the same layer2 journal migrate again, or make another backup",
    ),
}


def bring_up_to_date(name: str, connection: Connection, accepted: Mark | None = None) -> None:
    """Migrate the schema to the newest revision. Call it in a transaction that excludes other processes.

    Args:
        name: of the journal, for messages.
        accepted: a mark that is not an error.

    Raises:
        JournalError: a newer version of this package wrote the journal, or it has another mark.
    """
    if not inspect(connection).has_table(REVISION.name):
        _create(connection)
        return
    revision = _revision(connection)
    if revision == HEAD:
        return
    mark = _mark(revision)
    if mark is not None:
        if mark is accepted:
            return
        problem, remedy = _PROBLEMS[mark]
        raise JournalError(f"the journal {name} {problem}", code=f"journal_{mark.value}", remedy=remedy)
    # Alembic is slow to import, and needed only for an old journal.
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
                f"the journal {name} was written by a newer version of layer2 (schema {revision})",
                remedy="install that version; this version cannot read its open swaps",
            )
    command.upgrade(config, "head")


def _create(connection: Connection) -> None:
    """Create the tables of a new journal. It has what the migrations make, without the time that they need."""
    METADATA.create_all(connection, checkfirst=False)
    REVISION.create(connection)
    connection.execute(insert(REVISION).values(version_num=HEAD))
    row = {"journal_id": secrets.token_hex(16), "branch": secrets.token_hex(16), "epoch": 0, "has_register": False}
    connection.execute(insert(lineage).values(row))


def mark_of(connection: Connection) -> Mark | None:
    """The journal's mark, or None."""
    return _mark(_revision(connection))


def move_of(connection: Connection) -> str:
    """The id of the move that marked the journal."""
    return (_revision(connection) or "").partition(" ")[2]


def set_mark(connection: Connection, mark: Mark | None, move_id: str = "") -> None:
    """Give the journal a mark of a move, or its schema's revision again."""
    revision = HEAD if mark is None else f"{mark.value} {move_id}"
    connection.execute(text("UPDATE alembic_version SET version_num = :revision"), {"revision": revision})


def _revision(connection: Connection) -> str | None:
    revision: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return revision


def _mark(revision: str | None) -> Mark | None:
    word = (revision or "").partition(" ")[0]
    return next((mark for mark in Mark if mark.value == word), None)
