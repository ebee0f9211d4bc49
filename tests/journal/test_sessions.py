"""A COMMIT whose answer was lost is looked up, and a process that was replaced writes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, text

from journal.test_journal import a_record, advance, to_fund
from layer2.errors import JournalBusy, JournalError, Outcome
from layer2.journal import database as database_module
from layer2.journal.sql_journal import SqlJournal
from postgres_server import Server


def lose_the_next_commit(monkeypatch: pytest.MonkeyPatch, journal: SqlJournal, *, is_made: bool) -> None:
    """The connection is lost at the next COMMIT, after or before the database has made it."""
    engine = journal._database._engine
    real = engine.dialect.do_commit

    def do_commit(connection: Any) -> None:
        monkeypatch.setattr(engine.dialect, "do_commit", real)
        if is_made:
            real(connection)
        connection.dbapi_connection.close()
        raise engine.dialect.loaded_dbapi.OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(engine.dialect, "do_commit", do_commit)


async def test_a_write_whose_commit_was_made_but_not_answered_returns_its_result_and_is_made_once(
    journal: SqlJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = await journal.create(a_record())
    lose_the_next_commit(monkeypatch, journal, is_made=True)
    advanced = await advance(journal, record, to_fund())
    assert await journal.load(record.swap_id) == advanced
    assert [event["version"] for event in await journal.events(record.swap_id)] == [1, 2]
    assert len(await journal.intents(record.swap_id)) == 1


async def test_the_first_write_of_all_may_lose_the_answer_to_its_commit(
    journal: SqlJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    lose_the_next_commit(monkeypatch, journal, is_made=True)
    created = await journal.create(a_record())
    assert await journal.load(created.swap_id) == created
    await advance(journal, created)


async def test_a_write_whose_commit_was_not_made_is_never_reported_as_made(
    journal: SqlJournal, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = await journal.create(a_record())
    lose_the_next_commit(monkeypatch, journal, is_made=False)
    if place.startswith("postgresql"):
        # The connection was lost, so the transaction is made again.
        assert (await advance(journal, record)).version == 2
    else:
        with pytest.raises(JournalError) as refused:
            await advance(journal, record)
        assert refused.value.outcome is Outcome.NOT_SENT
        assert await journal.load(record.swap_id) == record
    loaded = await journal.load(record.swap_id)
    assert loaded is not None
    assert (await advance(journal, loaded)).version == loaded.version + 1


async def test_a_write_whose_outcome_cannot_be_looked_up_is_not_made_again(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = await SqlJournal.open(url)
    record = await journal.create(a_record())
    lose_the_next_commit(monkeypatch, journal, is_made=True)
    monkeypatch.setattr(database_module, "_LOOK_UP_PAUSES", (0.0, 0.0))
    lose_the_next_look_ups(monkeypatch, journal, 2)
    # Made again, it would find the swap advanced, and report that nothing was written.
    with pytest.raises(JournalError, match="the server is down") as lost:
        await advance(journal, record, to_fund())
    assert lost.value.outcome is Outcome.UNKNOWN
    loaded = await journal.load(record.swap_id)
    assert loaded is not None
    assert loaded.version == 2
    await journal.aclose()


def lose_the_next_look_ups(monkeypatch: pytest.MonkeyPatch, journal: SqlJournal, count: int) -> None:
    """The connection is lost at the next reads of the session's row."""
    engine = journal._database._engine
    real = engine.dialect.do_execute
    lost: list[str] = []

    def do_execute(cursor: Any, statement: str, *given: Any) -> None:
        if "FOR UPDATE" in statement and len(lost) < count:
            lost.append(statement)
            raise engine.dialect.loaded_dbapi.OperationalError("the server is down")
        real(cursor, statement, *given)

    monkeypatch.setattr(engine.dialect, "do_execute", do_execute)


async def test_a_process_that_was_replaced_writes_nothing_and_can_still_read(place: str) -> None:
    old = await SqlJournal.open(place)
    record = await old.create(a_record())
    # As after its guard was lost: the old process does not know of the new one.
    await old._database.take_over(lambda _: True)
    new = await SqlJournal.open(place)
    await new._database.take_over(lambda _: True)
    writes = [advance(old, record), old.create(a_record(2)), advance(new, record)]
    first, second, third = await asyncio.gather(*writes, return_exceptions=True)
    assert (type(first), type(second)) == (JournalBusy, JournalBusy)
    assert not isinstance(third, BaseException)
    assert await old.load(record.swap_id) == third
    assert [each.swap_id for each in await old.list()] == [record.swap_id]
    await old.aclose()
    await new.aclose()


async def test_a_process_that_has_the_guard_again_after_another_one_acted_learns_that_it_was_replaced(
    place: str,
) -> None:
    old = await SqlJournal.open(place)
    await old.act()
    # As when a server ended the guard's session because the process was stopped.
    await old._guard.give_back()
    new = await SqlJournal.open(place)
    await new.act()
    await new.create(a_record())
    await new.aclose()
    # As its next heartbeat does.
    await old._guard.take()
    try:
        async with asyncio.timeout(20):
            await old.replaced()
    finally:
        await old.aclose()


async def test_a_process_that_was_stopped_between_guard_and_fence_does_not_exclude_its_successor(
    url: str, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = await SqlJournal.open(url), await SqlJournal.open(url)
    record, take_over = await old.create(a_record()), old._database.take_over

    async def stopped(is_held: Callable[[Connection], bool], *, shared: bool) -> None:
        # As idle_session_timeout does while the process is stopped.
        server.terminate_connections()
        await new.act()
        await take_over(is_held, shared=shared)

    monkeypatch.setattr(old._database, "take_over", stopped)
    with pytest.raises(JournalBusy, match="lost the lock"):
        await old.act()
    monkeypatch.setattr(old._database, "take_over", take_over)
    with pytest.raises(JournalBusy, match="acts on the journal"):
        await old.act()
    assert (await advance(new, record)).version == 2
    await new.aclose()
    await old.act()
    await old.aclose()


async def test_a_process_that_acts_can_say_so_again_while_its_guard_is_being_taken_again(
    url: str, server: Server
) -> None:
    journal = await SqlJournal.open(url)
    await journal.act()
    server.terminate_connections()
    await journal.act()
    assert (await journal.create(a_record())).version == 1
    await journal.aclose()


async def test_a_lock_file_that_someone_removes_does_not_let_two_processes_act(tmp_path: Path) -> None:
    old = await SqlJournal.open(tmp_path / "journal.db")
    await old.act()
    (tmp_path / "journal.db.lock").unlink()
    new = await SqlJournal.open(tmp_path / "journal.db")
    await new.act()
    with pytest.raises(JournalBusy):
        await old.create(a_record())
    async with asyncio.timeout(20):
        await old.replaced()
    assert (await new.create(a_record())).version == 1
    await old.aclose()
    await new.aclose()


async def test_a_process_that_acts_is_not_replaced(place: str) -> None:
    journal = await SqlJournal.open(place)
    await journal.act()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await journal.replaced()
    await journal.aclose()


async def test_a_write_while_the_row_is_looked_at_does_not_look_like_an_old_copy(journal: SqlJournal) -> None:
    await journal.act()
    database = journal._database
    looking = asyncio.create_task(database.why_it_cannot_write())
    await asyncio.sleep(0)
    # The loop is busy until the thread has looked, and then written.
    database._thread.submit(database.write_in_this_thread, lambda _: None).result()
    assert await looking is None


async def test_a_session_that_ends_leaves_no_row(place: str) -> None:
    for number in (1, 2):
        journal = await SqlJournal.open(place)
        await journal.act()
        await journal.create(a_record(number))
        await journal.aclose()
    journal = await SqlJournal.open(place)
    query = text("SELECT count(*) FROM sessions")
    assert await journal._database.read(lambda connection: connection.execute(query).scalar()) == 0
    await journal.aclose()


async def test_calls_of_act_at_the_same_time_share_a_commit(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = await SqlJournal.open(place)
    try:
        await journal.act()
        commits, commit = list[int](), journal._database._commit

        def counted(writes: Sequence[Any], attempt: Any) -> Sequence[object]:
            commits.append(len(writes))
            return commit(writes, attempt)

        monkeypatch.setattr(journal._database, "_commit", counted)
        await asyncio.gather(*(journal.act() for _ in range(20)))
        assert commits == [20]
    finally:
        await journal.aclose()
