"""Workers share a journal's guard: they exclude a single process, it excludes them, and each that is gone is fenced."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from journal.test_journal import a_record, advance
from journal.test_journal_processes import child
from journal.test_postgres import ACTING, acting, close, two
from layer2.assembly.owners import check_owners
from layer2.errors import ConfigurationError, JournalBusy
from layer2.journal.place import JournalPlace
from layer2.journal.registration import release_register
from layer2.journal.server_guard import server_guard_holders
from layer2.journal.sql_journal import SqlJournal
from layer2.ports.journal import JournalOwner
from postgres_server import Server

WORKING = ACTING.replace("journal.act()", "journal.act(shared=True)")


async def test_workers_act_on_one_journal_at_the_same_time(url: str) -> None:
    one, other = await two(url)
    for journal in (one, other):
        await journal.act(shared=True)
    record = await one.create(a_record())
    record = await advance(other, record)
    await advance(one, record)
    await close(one, other)


async def test_a_single_process_and_workers_exclude_each_other(url: str) -> None:
    one, other = await two(url)
    third = await SqlJournal.open(url)
    await one.act(shared=True)
    await other.act(shared=True)
    with pytest.raises(JournalBusy):
        await third.act()
    await one.aclose()
    with pytest.raises(JournalBusy):
        await third.act()
    await other.aclose()
    await third.act()
    late = await SqlJournal.open(url)
    with pytest.raises(JournalBusy):
        await late.act(shared=True)
    await close(third, late)


async def test_a_worker_that_joins_fences_the_single_process_that_lost_its_guard(url: str) -> None:
    old, worker = await two(url)
    await old.act()
    record = await old.create(a_record())
    # As when a server ended the guard's session because the process was stopped.
    await old._guard.give_back()
    await worker.act(shared=True)
    with pytest.raises(JournalBusy):
        await advance(old, record)
    await advance(worker, record)
    await close(old, worker)


async def test_a_single_process_fences_every_worker(url: str) -> None:
    one, other = await two(url)
    single = await SqlJournal.open(url)
    for journal in (one, other):
        await journal.act(shared=True)
    record = await one.create(a_record())
    # As when a server ended the guards' sessions because the processes were stopped.
    for journal in (one, other):
        await journal._guard.give_back()
    await single.act()
    for journal in (one, other):
        with pytest.raises(JournalBusy):
            await advance(journal, record)
    await close(one, other, single)


async def test_a_worker_that_was_killed_leaves_no_row_once_another_joins(url: str) -> None:
    process = child(WORKING, url)
    assert process.stdout is not None
    assert process.stdout.readline() == "acting\n"
    process.kill()
    process.communicate()
    first, second = await two(url)
    await first.act(shared=True)
    await second.act(shared=True)
    async with asyncio.timeout(20):
        # The server notices shortly after the kill that the connection has ended.
        while await sessions(first) != 2:
            third = await SqlJournal.open(url)
            await third.act(shared=True)
            await third.aclose()
            await asyncio.sleep(0.05)
    await close(first, second)


async def sessions(journal: SqlJournal) -> int:
    query = text("SELECT count(*) FROM sessions")
    found: int = await journal._database.read(lambda connection: connection.execute(query).scalar_one())
    return found


async def test_a_lost_connection_does_not_end_a_worker(server: Server, url: str) -> None:
    one, other = await two(url)
    for journal in (one, other):
        await journal.act(shared=True)
    record = await one.create(a_record())
    assert server.terminate_connections() >= 2
    record = await advance(one, record)
    await advance(other, record)
    await close(one, other)


async def test_a_worker_that_was_stopped_between_guard_and_fence_does_not_exclude_its_successor(
    url: str, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, single = await two(url)
    record, take_over = await worker.create(a_record()), worker._database.take_over

    async def stopped(is_held: Callable[[Connection], bool], *, shared: bool) -> None:
        # As idle_session_timeout does while the process is stopped.
        server.terminate_connections()
        await single.act()
        await take_over(is_held, shared=shared)

    monkeypatch.setattr(worker._database, "take_over", stopped)
    with pytest.raises(JournalBusy, match="lost the lock"):
        await worker.act(shared=True)
    monkeypatch.setattr(worker._database, "take_over", take_over)
    with pytest.raises(JournalBusy, match="acts on the journal"):
        await worker.act(shared=True)
    assert (await advance(single, record)).version == 2
    await single.aclose()
    await worker.act(shared=True)
    await worker.aclose()


async def test_a_worker_that_says_again_that_it_acts_keeps_the_others(url: str) -> None:
    one, other = await two(url)
    for journal in (one, other, one):
        await journal.act(shared=True)
    record = await other.create(a_record())
    await advance(one, record)
    await close(one, other)


@pytest.mark.parametrize("is_named", [True, False], ids=["named", "not named"])
async def test_workers_do_not_share_a_journal_that_has_a_register(url: str, tmp_path: Path, is_named: bool) -> None:
    register = tmp_path / "register.db"
    single = await SqlJournal.open(url, register)
    if not is_named:
        await single.act()
        await single.aclose()
    worker = await SqlJournal.open(url, register if is_named else None)
    with pytest.raises(ConfigurationError, match="has a register") as refused:
        await worker.act(shared=True)
    assert refused.value.code == "register_not_shared"
    # The guard is free.
    if is_named:
        await single.act()
        await single.aclose()
    await release_register(JournalPlace.of(url), JournalPlace.of(register))
    await worker.aclose()
    worker = await SqlJournal.open(url)
    await worker.act(shared=True)
    await worker.aclose()


async def test_the_workers_that_hold_the_guard_are_known(url: str) -> None:
    one, other = await two(url)
    assert await one.workers() == frozenset()
    await one.act(shared=True)
    alone = await one.workers()
    await other.act(shared=True)
    assert len(alone) == 1
    assert alone < await one.workers() == await other.workers()
    await other.aclose()
    assert await one.workers() == alone
    await one.aclose()


async def test_every_process_that_shares_the_guard_is_named(url: str) -> None:
    assert server_guard_holders(url) is None
    process = child(WORKING, url)
    assert process.stdout is not None
    assert process.stdout.readline() == "acting\n"
    worker, single = await two(url)
    await worker.act(shared=True)
    holders = server_guard_holders(url)
    assert holders is not None
    assert holders.are_workers
    host = socket.gethostname()
    assert str(holders) == f"processes {process.pid} on {host}, {os.getpid()} on {host}"
    with pytest.raises(JournalBusy, match=f"the {holders} act on the journal") as busy:
        await single.act()
    assert busy.value.remedy == "wait until they end, or stop them; you can read the journal meanwhile"
    process.kill()
    process.communicate()
    await close(worker, single)


async def test_workers_do_not_share_a_file(tmp_path: Path) -> None:
    journal = await SqlJournal.open(tmp_path / "journal.db")
    with pytest.raises(ConfigurationError, match="cannot share a journal in a SQLite file"):
        await journal.act(shared=True)
    await journal.aclose()


async def test_a_single_process_that_acts_excludes_a_worker_and_names_itself(url: str) -> None:
    process = acting(url)
    worker = await SqlJournal.open(url)
    with pytest.raises(JournalBusy, match=f"process {process.pid} on"):
        await worker.act(shared=True)
    process.kill()
    process.communicate()
    await worker.aclose()


async def test_a_worker_with_another_key_is_refused_while_a_worker_acts_even_before_the_first_swap(url: str) -> None:
    owners = [JournalOwner("account", f"BOB 0x{number}") for number in (1, 2)]
    one, other = await two(url)
    for journal in (one, other):
        await journal.act(shared=True)
    await check_owners(one, owners[:1])
    with pytest.raises(ConfigurationError) as refused:
        await check_owners(other, owners[1:])
    assert refused.value.code == "journal_owner"
    assert await one.owners() == tuple(owners[:1])
    await one.aclose()
    await check_owners(other, owners[1:])
    assert await other.owners() == tuple(owners[1:])
    await other.aclose()


async def test_of_two_first_workers_with_different_keys_that_start_together_one_is_refused(url: str) -> None:
    owners = [JournalOwner("account", f"BOB 0x{number}") for number in (1, 2)]
    journals = await two(url)
    for journal in journals:
        await journal.act(shared=True)
    checks = [check_owners(journal, [owner]) for journal, owner in zip(journals, owners, strict=True)]
    results = await asyncio.gather(*checks, return_exceptions=True)
    assert {type(each) for each in results} == {type(None), ConfigurationError}
    assert await journals[0].owners() == (owners[results.index(None)],)
    await close(*journals)
