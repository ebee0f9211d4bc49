"""Concurrent writes share a commit and are otherwise independent."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import threading
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Connection, event, text

from layer2.errors import IdempotencyConflict, JournalError
from layer2.journal.database import Database
from layer2.journal.opening import open_database
from layer2.journal.place import JournalPlace
from layer2.ports.journal import Intent


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = await open_database(JournalPlace(tmp_path / "journal.sqlite"))
    await database.write(lambda connection: connection.execute(text("CREATE TABLE words (word TEXT UNIQUE)")).close())
    yield database
    await database.aclose()


def adding(word: str) -> Callable[[Connection], str]:
    def work(connection: Connection) -> str:
        connection.execute(text("INSERT INTO words VALUES (:word)"), {"word": word})
        return word

    return work


def refusing_after(word: str) -> Callable[[Connection], str]:
    def work(connection: Connection) -> str:
        adding(word)(connection)
        raise IdempotencyConflict("no")

    return work


async def words(database: Database) -> list[str]:
    return await database.read(
        lambda connection: [row.word for row in connection.execute(text("SELECT word FROM words ORDER BY rowid"))]
    )


def count_commits(database: Database) -> list[str]:
    commits: list[str] = []
    event.listen(database._engine, "commit", lambda connection: commits.append("commit"))
    return commits


async def test_writes_of_one_tick_are_one_commit_in_the_order_given(database: Database) -> None:
    commits = count_commits(database)
    names = [f"word {number}" for number in range(50)]
    assert await asyncio.gather(*[database.write(adding(name)) for name in names]) == names
    assert await words(database) == names
    assert len(commits) == 2  # The other commit is that of the read.


async def test_a_write_that_fails_takes_back_its_own_and_nothing_else(database: Database) -> None:
    given = [adding("one"), refusing_after("two"), adding("one"), adding("three")]
    results = await asyncio.gather(*[database.write(work) for work in given], return_exceptions=True)
    assert [type(result) for result in results] == [str, IdempotencyConflict, JournalError, str]
    assert await words(database) == ["one", "three"]


async def test_where_the_commit_fails_every_write_fails_and_none_is_made(database: Database) -> None:
    def make_notes(connection: Connection) -> None:
        reference = "REFERENCES words (word) DEFERRABLE INITIALLY DEFERRED"
        connection.execute(text(f"CREATE TABLE notes (word TEXT {reference})"))

    def note_nothing(connection: Connection) -> None:
        # SQLite detects it only at the commit, and leaves the transaction open.
        connection.execute(text("INSERT INTO notes VALUES ('nothing')"))

    await database.write(make_notes)
    given = [database.write(adding("one")), database.write(note_nothing)]
    results = await asyncio.gather(*given, return_exceptions=True)
    assert [type(result) for result in results] == [JournalError, JournalError]
    assert results[0] is not results[1]
    assert await words(database) == []
    assert await database.write(adding("two")) == "two"


async def test_what_is_given_while_a_write_is_under_way_follows_it(database: Database) -> None:
    loop, more = asyncio.get_running_loop(), []

    def work(connection: Connection) -> str:
        given = asyncio.run_coroutine_threadsafe(begin(), loop)
        given.result(timeout=10)
        return adding("one")(connection)

    async def begin() -> None:
        more.append(asyncio.create_task(database.write(adding("two"))))
        await asyncio.sleep(0)

    await database.write(work)
    assert await asyncio.gather(*more) == ["two"]
    assert await words(database) == ["one", "two"]


async def test_a_cancelled_write_that_was_not_begun_is_never_made(database: Database) -> None:
    loop, under_way, may_end = asyncio.get_running_loop(), asyncio.Event(), threading.Event()

    def work(connection: Connection) -> None:
        loop.call_soon_threadsafe(under_way.set)
        assert may_end.wait(timeout=10)

    first = asyncio.create_task(database.write(work))
    await under_way.wait()
    cancelled, kept = [asyncio.create_task(database.write(adding(word))) for word in ("one", "two")]
    await asyncio.sleep(0)
    cancelled.cancel()
    await asyncio.wait([cancelled])
    may_end.set()
    await first
    assert await kept == "two"
    assert cancelled.cancelled()
    assert await words(database) == ["two"]


async def test_closing_finishes_what_was_given_and_refuses_what_comes_after(database: Database, tmp_path: Path) -> None:
    given = asyncio.create_task(database.write(adding("one")))
    await asyncio.sleep(0)
    await database.aclose()
    assert await given == "one"
    with pytest.raises(JournalError, match="is closed"):
        await database.write(adding("two"))
    again = await open_database(JournalPlace(tmp_path / "journal.sqlite"))
    assert await words(again) == ["one"]
    await again.aclose()


async def test_the_traceback_of_a_refused_write_does_not_show_what_was_written(database: Database) -> None:
    await database.write(adding("preimage"))
    with pytest.raises(JournalError) as refused:
        await database.write(adding("preimage"))
    assert "UNIQUE" in str(refused.value)
    assert "preimage" not in "".join(traceback.format_exception(refused.value)).replace('adding("preimage")', "")


def test_an_intent_does_not_show_its_act() -> None:
    assert "preimage" not in repr(Intent(1, "collect", "source", {"preimage": "11" * 32}))


AT_EXIT = """
import atexit, sys
from pathlib import Path

from sqlalchemy import text

from layer2.aio.blocking import Portal
from layer2.journal.opening import open_database
from layer2.journal.place import JournalPlace

path = Path(sys.argv[1])
portal = Portal.with_own_thread()
database = portal.run("open", lambda: open_database(JournalPlace(path)))


def close():
    for statement in ("CREATE TABLE words (word)", "INSERT INTO words VALUES ('last')"):
        portal.run("write", lambda: database.write(lambda connection: connection.execute(text(statement)).close()))
    portal.run("close", database.aclose)
    portal.close()
    print("closed")


atexit.register(close)
"""


def test_a_function_of_atexit_writes_and_closes(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    finished = subprocess.run(
        [sys.executable, "-c", AT_EXIT, str(path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (finished.returncode, finished.stdout, finished.stderr) == (0, "closed\n", "")
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT word FROM words").fetchall() == [("last",)]
