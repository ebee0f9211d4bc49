"""One chain of migrations for both databases, from the first version."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, func, select, text

import layer2.journal
from journal.test_journal import a_record, advance, to_fund
from layer2.errors import FundsRulesError
from layer2.journal.schema import HEAD, METADATA
from layer2.journal.sql_journal import SqlJournal
from layer2.model.transactions import SwapId
from layer2.ports.journal import SwapRecord
from postgres_server import Server

REVISIONS = ("0001", "0002", "0003", "0004")


def configuration() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(layer2.journal.__file__).parent / "migrations"))
    return config


def migrate(connection: Connection, revision: str) -> None:
    """Make the tables of a revision, as an earlier version did."""
    config = configuration()
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def old_journal(url: str, revision: str) -> None:
    """A journal of an earlier version: a swap that paid, one that funds, and one that was refunded."""
    engine = create_engine(url)
    with engine.begin() as connection:
        migrate(connection, revision)
        for number, (state, is_final) in enumerate((("completed", True), ("funding", False), ("refunded", True)), 1):
            connection.execute(
                text(
                    "INSERT INTO swaps (swap_id, role, version, state, is_final, payment_hash, request, holds_key, "
                    "created_at, updated_at) VALUES (:id, 'taker', 2, :state, :is_final, :hash, '{}', true, 1, 1)"
                ),
                {
                    "id": f"{number:032x}",
                    "state": json.dumps({"state": state}),
                    "is_final": is_final,
                    "hash": bytes([number]) * 32,
                },
            )
            statement = (
                'INSERT INTO intents (swap_id, number, verb, "end", act, delivery) '
                "VALUES (:id, 1, 'fund', 'source', '{}', 'taken')"
            )
            connection.execute(text(statement), {"id": f"{number:032x}"})
            if revision >= "0003" and state != "refunded":
                connection.execute(
                    text("INSERT INTO fundings (role, payment_hash, swap_id) VALUES ('taker', :hash, :id)"),
                    {"hash": bytes([number]) * 32, "id": f"{number:032x}"},
                )
    engine.dispose()


NewDatabase = Callable[[], tuple[str, str]]


@pytest.fixture(params=["sqlite", "postgres"])
def new_database(request: pytest.FixtureRequest, tmp_path: Path) -> NewDatabase:
    """Makes a new database; returns its name for a journal and its URL for SQLAlchemy."""
    numbers = count(1)

    def file() -> tuple[str, str]:
        path = str(tmp_path / f"journal{next(numbers)}.db")
        return path, f"sqlite:///{path}"

    def database() -> tuple[str, str]:
        server: Server = request.getfixturevalue("server")
        url = server.create()
        return url, url.replace("postgresql://", "postgresql+psycopg://", 1)

    return file if request.param == "sqlite" else database


CATALOGUES = {
    # SQLite keeps the text of each statement, and adds a column without a line of its own.
    "sqlite": ("SELECT type, name, tbl_name, replace(replace(sql, char(10, 9), ''), ', ', ',') FROM sqlite_master",),
    "postgresql": (
        "SELECT table_name, ordinal_position, column_name, data_type, character_maximum_length, is_nullable, "
        "column_default FROM information_schema.columns WHERE table_schema = 'public'",
        "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'",
        "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint "
        "WHERE connamespace = 'public'::regnamespace",
    ),
}


def definitions(url: str) -> set[tuple[object, ...]]:
    """How the database itself describes its tables, columns, indexes and constraints, and the journal's revision."""
    engine = create_engine(url)
    with engine.connect() as connection:
        queries = (*CATALOGUES[connection.dialect.name], "SELECT version_num FROM alembic_version")
        found = {tuple(map(_in_one_line, row)) for query in queries for row in connection.execute(text(query))}
    engine.dispose()
    return found


def _in_one_line(value: object) -> object:
    return " ".join(value.split()) if isinstance(value, str) else value


def row_counts(url: str) -> dict[str, int]:
    engine = create_engine(url)
    with engine.connect() as connection:
        counts = {
            table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in METADATA.sorted_tables
        }
    engine.dispose()
    return counts


async def test_a_new_journal_is_what_the_migrations_make(new_database: NewDatabase) -> None:
    (place, created), (_, migrated) = new_database(), new_database()
    await (await SqlJournal.open(place)).aclose()
    engine = create_engine(migrated)
    with engine.begin() as connection:
        migrate(connection, "head")
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []
    engine.dispose()
    assert definitions(created) == definitions(migrated)
    assert row_counts(created) == row_counts(migrated)
    assert ScriptDirectory.from_config(configuration()).get_current_head() == HEAD


async def load(journal: SqlJournal, number: int) -> SwapRecord:
    record = await journal.load(SwapId(f"{number:032x}"))
    assert record is not None
    return record


@pytest.mark.parametrize("revision", REVISIONS)
async def test_a_journal_of_an_earlier_version_keeps_its_swaps_and_the_hashes_that_they_fund(
    new_database: NewDatabase, revision: str
) -> None:
    place, url = new_database()
    old_journal(url, revision)
    journal = await SqlJournal.open(place)
    states = [(await load(journal, number)).state["state"] for number in (1, 2, 3)]
    assert states == ["completed", "funding", "refunded"]
    assert not (await load(journal, 2)).from_old_copy
    for number in (1, 2):
        other = await journal.create(a_record(10 + number, payment_hash=bytes([number]) * 32))
        with pytest.raises(FundsRulesError):
            await advance(journal, other, to_fund())
    again = await journal.create(a_record(13, payment_hash=bytes([3]) * 32))
    await advance(journal, again, to_fund())
    await advance(journal, await load(journal, 2), to_fund(2))
    await journal.aclose()
