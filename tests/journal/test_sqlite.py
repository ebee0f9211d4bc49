"""What a journal in a SQLite file does with its file."""

from __future__ import annotations

import sqlite3
import stat
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from journal.test_journal import a_record, advance, to_collect
from layer2.errors import InvalidRequest, JournalError
from layer2.journal.sql_journal import SqlJournal


@pytest_asyncio.fixture
async def journal(tmp_path: Path) -> AsyncIterator[SqlJournal]:
    opened = await SqlJournal.open(tmp_path / "journal.db")
    yield opened
    await opened.aclose()


async def test_only_the_owner_may_read_the_files(tmp_path: Path) -> None:
    path = tmp_path / "new" / "journal.db"
    journal = await SqlJournal.open(path)
    await journal.create(a_record())
    modes = {one.name: stat.S_IMODE(one.stat().st_mode) for one in path.parent.iterdir()}
    await journal.aclose()
    assert modes == {"journal.db": 0o600, "journal.db-wal": 0o600, "journal.db-shm": 0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


async def test_commits_survive_a_power_cut(journal: SqlJournal) -> None:
    def pragmas(connection: object) -> tuple[str, int]:
        run = connection.exec_driver_sql  # type: ignore[attr-defined]  # a SQLAlchemy connection
        return run("PRAGMA journal_mode").scalar(), run("PRAGMA synchronous").scalar()

    assert await journal._database.read(pragmas) == ("wal", 2)


async def test_a_journal_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    path, before = tmp_path / "journal.db", threading.active_count()
    await (await SqlJournal.open(path)).aclose()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    with pytest.raises(JournalError, match="newer version of layer2"):
        await SqlJournal.open(path)
    assert threading.active_count() == before


async def test_a_file_that_is_not_a_journal_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("this is not a database, and long enough to be read as one" * 40)
    with pytest.raises(JournalError, match="not a database"):
        await SqlJournal.open(tmp_path / "text")
    with pytest.raises(JournalError, match="cannot be opened"):
        await SqlJournal.open(tmp_path)


async def test_errors_do_not_show_what_was_written(tmp_path: Path, journal: SqlJournal) -> None:
    record = await journal.create(a_record())
    with sqlite3.connect(tmp_path / "journal.db") as connection:
        connection.execute("DROP TABLE intents")
    connection.close()
    with pytest.raises(JournalError) as caught:
        await advance(journal, record, to_collect())
    assert "hunter2" not in str(caught.value)


async def test_a_path_can_be_a_str_and_must_be_a_path(tmp_path: Path) -> None:
    journal = await SqlJournal.open(str(tmp_path / "journal.sqlite"))
    assert await journal.list() == ()
    await journal.aclose()
    with pytest.raises(InvalidRequest, match="a int is not a path") as refused:
        await SqlJournal.open(4)  # type: ignore[arg-type]  # a caller without type checks
    assert refused.value.remedy == "pass a str or a pathlib.Path"
