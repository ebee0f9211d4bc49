"""What a journal on a PostgreSQL server does when writers meet, and when the server or the network fails."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import threading
import traceback
from collections.abc import Iterator

import pytest
from psycopg import sql
from sqlalchemy import Connection, make_url, text

from journal.test_journal import a_record, advance, to_collect, to_fund
from journal.test_journal_processes import child
from layer2.errors import ConfigurationError, JournalBusy, JournalError, StaleSwap
from layer2.journal.place import JournalPlace
from layer2.journal.server_guard import ServerGuard, server_guard_holders
from layer2.journal.sql_journal import SqlJournal
from layer2.ports.journal import SendRecord
from networks.waiting import until
from postgres_server import Server

ACTING = """
    import asyncio, sys
    from layer2.journal.sql_journal import SqlJournal

    async def main():
        journal = await SqlJournal.open(sys.argv[1])
        await journal.act()
        print("acting", flush=True)
        while sys.stdin.readline():
            try:
                await journal.save_proof("ab" * 16, b"")
                print("written", flush=True)
            except Exception as error:
                print(type(error).__name__, flush=True)

    asyncio.run(main())
"""


def acting(url: str) -> subprocess.Popen[str]:
    """Start a process that acts on the journal, and writes at each line that it gets."""
    process = child(ACTING, url)
    assert process.stdout is not None
    assert process.stdout.readline() == "acting\n"
    return process


def writes(process: subprocess.Popen[str]) -> str:
    """The answer of the process to a request to write."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    return process.stdout.readline().strip()


async def takes_over(journal: SqlJournal) -> None:
    """Try to act until it succeeds."""
    async with asyncio.timeout(60):
        while True:
            try:
                return await journal.act()
            except JournalBusy:
                await asyncio.sleep(0.2)


async def two(url: str) -> tuple[SqlJournal, SqlJournal]:
    return await SqlJournal.open(url), await SqlJournal.open(url)


async def close(*journals: SqlJournal) -> None:
    for journal in journals:
        await journal.aclose()


async def test_of_many_writers_of_one_version_one_advances_the_swap(url: str) -> None:
    one, other = await two(url)
    record = await one.create(a_record())
    for version in range(1, 7):
        results = await asyncio.gather(*(advance(journal, record) for journal in (one, other)), return_exceptions=True)
        won = [each for each in results if not isinstance(each, BaseException)]
        assert [type(each) for each in results if isinstance(each, BaseException)] == [StaleSwap]
        record = won[0]
        assert record.version == version + 1
    await close(one, other)


async def test_of_many_requests_with_one_key_one_makes_a_swap_and_the_others_get_it(url: str) -> None:
    one, other = await two(url)
    for key in range(6):
        made = [a_record(2 * key + offset, idempotency_key=f"key {key}", payment_hash=None) for offset in (1, 2)]
        results = await asyncio.gather(one.create(made[0]), other.create(made[1]))
        assert results[0].swap_id == results[1].swap_id
    assert len(await one.list()) == 6
    await close(one, other)


async def test_of_many_fundings_of_one_hash_one_is_journaled(url: str) -> None:
    one, other = await two(url)
    for number in range(6):
        payment_hash = bytes([number]) * 32
        first, second = [await one.create(a_record(2 * number + k, payment_hash=payment_hash)) for k in (1, 2)]
        results = await asyncio.gather(
            advance(one, first, to_fund()), advance(other, second, to_fund()), return_exceptions=True
        )
        assert sorted(type(each).__name__ for each in results) == ["FundsRulesError", "SwapRecord"]
    await close(one, other)


async def test_of_many_sends_with_one_coin_one_is_journaled(url: str) -> None:
    one, other = await two(url)
    for number in range(6):
        coin = f"{number:064x}:0"
        results = await asyncio.gather(
            *(
                journal.add_send_of_coins(SendRecord("BITCOIN", f"{number} {key}", "d", f"{key}", {}), key, [coin])
                for journal, key in ((one, "a"), (other, "b"))
            ),
            return_exceptions=True,
        )
        assert sorted(type(each).__name__ for each in results) == ["FundsRulesError", "SendRecord"]
    await close(one, other)


async def test_one_process_acts_and_another_learns_which(url: str) -> None:
    process = acting(url)
    journal = await SqlJournal.open(url)
    with pytest.raises(JournalBusy, match=rf"process {process.pid} on .* acts on the journal postgresql://"):
        await journal.act()
    assert await journal.list() == ()
    process.kill()
    process.communicate()
    await takes_over(journal)
    await journal.aclose()


async def test_two_journals_of_one_process_do_not_both_act(url: str) -> None:
    one, other = await two(url)
    await one.act()
    await one.act()
    with pytest.raises(JournalBusy):
        await other.act()
    await one.aclose()
    await other.act()
    await other.aclose()


async def test_a_guard_whose_taking_is_cancelled_is_given_back(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = await two(url)
    real, is_asked, goes_on = ServerGuard._lock, threading.Event(), threading.Event()

    def slow(guard: ServerGuard) -> None:
        is_asked.set()
        assert goes_on.wait(10)
        real(guard)

    monkeypatch.setattr(ServerGuard, "_lock", slow)
    acting = asyncio.create_task(one.act())
    assert await asyncio.to_thread(is_asked.wait, 10)
    acting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await acting
    asyncio.get_running_loop().call_later(0.3, goes_on.set)
    await one.aclose()
    # Not after more time: a thread that has the lock would keep it until this process ends.
    await asyncio.sleep(0.5)
    await other.act()
    await other.aclose()


async def test_a_process_that_was_stopped_is_replaced_and_does_no_harm_when_it_wakes(url: str) -> None:
    process = acting(url)
    assert writes(process) == "JournalError", "there is no such swap, so the write reached the database"
    journal = await SqlJournal.open(url)
    await journal.create(a_record(int("ab" * 16, 16)))
    assert writes(process) == "written"
    process.send_signal(signal.SIGSTOP)
    try:
        await takes_over(journal)
    finally:
        process.send_signal(signal.SIGCONT)
    assert writes(process) == "JournalBusy"
    assert writes(process) == "JournalBusy"
    process.kill()
    process.communicate()
    await journal.aclose()


async def test_a_lost_connection_interrupts_no_read_and_no_write(server: Server, url: str) -> None:
    journal = await SqlJournal.open(url)
    await journal.act()
    record = await journal.create(a_record())
    for _ in range(3):
        assert server.terminate_connections() >= 1
        assert await journal.load(record.swap_id) == record
        server.terminate_connections()
        record = await advance(journal, record)

    # The heartbeat takes the lock again. Only a look: a second taker could be first, and the lock would be lost.
    async def is_held() -> bool:
        return await asyncio.to_thread(server_guard_holders, url) is not None

    await until(is_held, "the lock is held again")
    other = await SqlJournal.open(url)
    with pytest.raises(JournalBusy):
        await other.act()
    await advance(journal, record)
    await close(journal, other)


@pytest.fixture(scope="module")
def own_server() -> Iterator[Server]:
    """A server with few files, which starts quickly after a crash."""
    server = Server()
    yield server
    server.close()


async def test_a_server_that_crashes_in_a_transaction_keeps_what_was_committed_and_nothing_else(
    own_server: Server,
) -> None:
    journal = await SqlJournal.open(own_server.create())
    record = await journal.create(a_record())

    def crash(connection: object) -> None:
        connection.execute(text("UPDATE swaps SET version = 99"))  # type: ignore[attr-defined]  # a connection
        if crashed:
            return
        crashed.append(True)
        own_server.crash()
        own_server.start()

    crashed: list[bool] = []
    # The transaction is made again on the server that started.
    await journal._database.write(crash)
    loaded = await journal.load(record.swap_id)
    assert loaded is not None
    assert loaded.version == 99
    await journal.aclose()


async def test_without_its_server_a_journal_refuses_and_works_again_afterwards(own_server: Server) -> None:
    url = own_server.create()
    journal = await SqlJournal.open(url)
    record = await journal.create(a_record())
    own_server.crash()
    try:
        with pytest.raises(JournalError, match="could not be read or written"):
            await advance(journal, record)
        with pytest.raises(JournalError, match="cannot be opened") as refused:
            await SqlJournal.open(url)
        assert refused.value.remedy == "check that the server runs, and that the database and the user exist there"
    finally:
        own_server.start()
    assert (await advance(journal, record)).version == 2
    await journal.aclose()


async def refused_row(url: str) -> JournalError:
    """The error of a write whose row the server refuses, with the row in the server's details."""
    journal = await SqlJournal.open(url)
    record = await journal.create(a_record())
    await journal._database.write(
        lambda connection: connection.execute(text("ALTER TABLE intents ADD CHECK (act = '')")).close()
    )
    with pytest.raises(JournalError) as refused:
        await advance(journal, record, to_collect())
    await journal.aclose()
    return refused.value


async def test_errors_show_neither_values_nor_passwords(url: str) -> None:
    assert "hunter2" not in str(await refused_row(url))
    secret = make_url(url).set(host="127.0.0.1", port=1, username="me", password="hunter2", query={})
    with pytest.raises(JournalError) as unreachable:
        await SqlJournal.open(secret.render_as_string(hide_password=False))
    assert "hunter2" not in str(unreachable.value)
    for wrong in ("mysql://me:hunter2@host/db", "postgresql://me:hunter2@host:port/db"):
        with pytest.raises(ConfigurationError) as caught:
            await SqlJournal.open(wrong)
        assert "hunter2" not in str(caught.value)


async def test_processes_that_create_a_journal_at_the_same_time_wait_for_each_other_whatever_its_isolation(
    server: Server,
) -> None:
    url = server.create()
    change = "ALTER DATABASE {} SET default_transaction_isolation = 'repeatable read'"
    server.run(sql.SQL(change).format(sql.Identifier(make_url(url).database or "")))
    journals = await asyncio.gather(*(SqlJournal.open(url) for _ in range(3)))
    await advance(journals[0], await journals[1].create(a_record()))
    await close(*journals)


async def test_a_value_that_the_server_cannot_store_is_refused_at_once(url: str) -> None:
    journal = await SqlJournal.open(url)
    calls = []

    def work(connection: Connection) -> None:
        calls.append(connection)
        connection.execute(text("SELECT :given"), {"given": "a\0b"})

    for doing in (journal._database.read, journal._database.write):
        with pytest.raises(JournalError, match="cannot contain NUL"):
            await doing(work)
    # A retry would stop all other work meanwhile.
    assert len(calls) == 2
    await journal.aclose()


async def test_not_even_a_traceback_shows_a_row(url: str) -> None:
    assert "hunter2" not in "".join(traceback.format_exception(await refused_row(url)))


async def test_a_url_is_shown_without_any_of_its_passwords() -> None:
    url = "postgresql://me:hunter2@host/db?password=hunter2&sslpassword=hunter2&sslmode=require"
    assert str(JournalPlace.of(url)) == "postgresql://me:***@host/db?sslmode=require"


async def test_synchronous_commit_is_on_whatever_the_role_says(url: str) -> None:
    journal = await SqlJournal.open(url)
    await journal._database.write(
        lambda connection: connection.execute(
            text(f'ALTER DATABASE "{make_url(url).database}" SET synchronous_commit = off')
        ).close()
    )
    await journal.aclose()
    again = await SqlJournal.open(url)
    shown = await again._database.read(lambda connection: connection.execute(text("SHOW synchronous_commit")).scalar())
    assert shown == "on"
    await again.aclose()
