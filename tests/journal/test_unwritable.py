"""A database that cannot be written: one sentence with a remedy, nothing half written, and reading still works."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest
from psycopg import sql
from sqlalchemy import Connection, make_url, text

from forking import child_environment
from journal.test_journal import a_record, advance, to_fund
from layer2.errors import JournalError
from layer2.journal.sql_journal import SqlJournal
from postgres_server import Server


async def test_a_full_disk_names_the_remedy_and_the_journal_continues_by_itself(tmp_path: Path) -> None:
    journal = await SqlJournal.open(tmp_path / "journal.db")
    record = await journal.create(a_record())

    def fill(connection: Connection) -> None:
        pages = connection.execute(text("PRAGMA page_count")).scalar()
        connection.execute(text(f"PRAGMA max_page_count = {pages}"))

    await journal._database.read(fill)
    with pytest.raises(JournalError, match="database or disk is full") as full:
        await advance(journal, record, to_fund(1, {"raw": "00" * 100_000}))
    assert full.value.remedy == "free space on its disk; the journal continues by itself"
    await journal._database.read(lambda connection: connection.execute(text("PRAGMA max_page_count = 1000000")).close())
    assert (await advance(journal, record, to_fund())).version == 2
    await journal.aclose()


async def test_a_file_that_becomes_read_only_is_read_and_not_written(tmp_path: Path) -> None:
    journal = await SqlJournal.open(tmp_path / "journal.db")
    record = await journal.create(a_record())
    await journal._database.read(lambda connection: connection.execute(text("PRAGMA query_only = ON")).close())
    with pytest.raises(JournalError, match="attempt to write a readonly database") as refused:
        await advance(journal, record, to_fund())
    assert refused.value.remedy == "make the file and its directory writable for this program"
    assert await journal.load(record.swap_id) == record
    await journal._database.read(lambda connection: connection.execute(text("PRAGMA query_only = OFF")).close())
    assert (await advance(journal, record, to_fund())).version == 2
    await journal.aclose()


_OTHER_USER = """
import asyncio, os, sys
from layer2.errors import Layer2Error
from layer2.journal.sql_journal import SqlJournal

if os.getuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
try:
    asyncio.run(SqlJournal.open(sys.argv[1]))
except Layer2Error as error:
    sys.exit(str(error))
"""


def test_a_file_in_a_directory_that_is_read_only_is_refused_at_the_start_with_one_sentence() -> None:
    # Not below a directory that the other user of the child process cannot reach.
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        journal = directory / "journal.db"
        asyncio.run(_make(journal))
        directory.chmod(0o555)
        ran = subprocess.run(
            [sys.executable, "-c", _OTHER_USER, str(journal)],
            env=child_environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        directory.chmod(0o700)
    assert ran.returncode == 1
    assert "cannot be opened" in ran.stderr
    assert "Traceback" not in ran.stderr


async def _make(journal: Path) -> None:
    await (await SqlJournal.open(journal)).aclose()


async def test_while_a_commit_waits_for_the_disk_the_loop_stays_alive_and_nothing_is_assumed(
    journal: SqlJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = await journal.create(a_record())
    dialect = journal._database._engine.dialect
    real, reached, released = dialect.do_commit, threading.Event(), threading.Event()

    def do_commit(connection: Any) -> None:
        reached.set()
        assert released.wait(60)
        real(connection)

    monkeypatch.setattr(dialect, "do_commit", do_commit)
    writing = asyncio.create_task(advance(journal, record, to_fund()))
    assert await asyncio.to_thread(reached.wait, 60)
    reading = asyncio.create_task(journal.load(record.swap_id))
    for _ in range(100):
        await asyncio.sleep(0.001)
    assert not writing.done()
    assert not reading.done()
    released.set()
    advanced = await writing
    assert await reading == advanced
    assert len(await journal.intents(record.swap_id)) == 1


async def test_a_server_that_becomes_read_only_is_read_and_not_written(server: Server, url: str) -> None:
    journal = await SqlJournal.open(url)
    record = await journal.create(a_record())
    change = sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = {}")
    name = sql.Identifier(make_url(url).database or "")
    server.run(change.format(name, sql.SQL("on")))
    server.terminate_connections()
    with pytest.raises(JournalError, match="cannot execute UPDATE in a read-only transaction") as refused:
        await advance(journal, record, to_fund())
    assert refused.value.remedy == "name the server that accepts writes in journal.url"
    assert await journal.load(record.swap_id) == record
    reader = await SqlJournal.open(url)
    assert await reader.list() == (record,)
    with pytest.raises(JournalError, match="read-only transaction"):
        await reader.act()
    await reader.aclose()
    server.run(change.format(name, sql.SQL("off")))
    server.terminate_connections()
    assert (await advance(journal, record, to_fund())).version == 2
    await journal.aclose()
