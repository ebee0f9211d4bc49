"""A PostgreSQL server that is frozen is noticed in bounded time, and a COMMIT that it did not answer is looked up."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import Connection, text

from journal.test_journal import a_record, advance, to_fund
from layer2.errors import JournalError
from layer2.journal import database as database_module
from layer2.journal import postgres
from layer2.journal.sql_journal import SqlJournal
from postgres_server import Server


@pytest_asyncio.fixture
async def journal(url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SqlJournal]:
    monkeypatch.setattr(postgres, "_ANSWER_SECONDS", 1.0)
    settings = [each.replace("lock_timeout = '10s'", "lock_timeout = '500ms'") for each in postgres._SETTINGS]
    monkeypatch.setattr(postgres, "_SETTINGS", tuple(settings))
    monkeypatch.setitem(postgres._CONNECTING, "connect_timeout", 2)
    opened = await SqlJournal.open(url)
    yield opened
    await opened.aclose()


async def test_a_frozen_server_is_an_error_in_bounded_time_and_the_loop_stays_alive(
    journal: SqlJournal, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "_PAUSES", (0.0, 0.0))
    record = await journal.create(a_record())
    turns = 0
    with server.frozen():
        writing = asyncio.create_task(advance(journal, record, to_fund()))
        while not writing.done():
            await asyncio.sleep(0.01)
            turns += 1
        with pytest.raises(JournalError, match=r"timeout|has not answered for 1 s"):
            await writing
    assert turns > 20
    assert await journal.load(record.swap_id) == record
    assert (await advance(journal, record, to_fund())).version == 2


@pytest.mark.parametrize("is_ended", [False, True], ids=["which-wakes-again", "which-is-ended-meanwhile"])
async def test_the_outcome_of_a_commit_at_a_session_that_is_frozen_is_looked_up(
    journal: SqlJournal, server: Server, monkeypatch: pytest.MonkeyPatch, is_ended: bool
) -> None:
    record = await journal.create(a_record())
    engine = journal._database._engine
    real, woken = engine.dialect.do_commit, threading.Event()

    def do_commit(connection: Any) -> None:
        monkeypatch.setattr(engine.dialect, "do_commit", real)
        backend = connection.driver_connection.info.backend_pid
        os.kill(backend, signal.SIGSTOP)

        def wake() -> None:
            # The COMMIT was given up, and its row is being asked for.
            time.sleep(1.5)
            if is_ended:
                os.kill(backend, signal.SIGTERM)
            os.kill(backend, signal.SIGCONT)
            woken.set()

        threading.Thread(target=wake).start()
        real(connection)

    monkeypatch.setattr(engine.dialect, "do_commit", do_commit)
    advanced = await advance(journal, record, to_fund())
    assert woken.is_set(), "nothing is known before the session has ended"
    assert await journal.load(record.swap_id) == advanced
    assert [event["version"] for event in await journal.events(record.swap_id)] == [1, 2]
    assert len(await journal.intents(record.swap_id)) == 1


async def test_a_request_that_is_answered_in_time_is_not_given_up(journal: SqlJournal) -> None:
    query = text("SELECT pg_sleep(0.3)")

    def work(connection: Connection) -> None:
        for _ in range(5):
            connection.execute(query)

    await journal._database.read(work)
