"""A provider's swap is added only by a process that has taken all others into account."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest_asyncio
from sqlalchemy import Connection

from journal.test_journal import a_record, advance
from layer2.journal.sql_journal import SqlJournal
from layer2.ports.journal import Role, SeenSwaps, SwapRecord


def offered(number: int) -> SwapRecord:
    return a_record(number, role=Role.PROVIDER, payment_hash=number.to_bytes(32, "big"), quote_id=f"{number:032x}")


@pytest_asyncio.fixture
async def other(place: str, journal: SqlJournal) -> AsyncIterator[SqlJournal]:
    """The same journal, as another process has it."""
    opened = await SqlJournal.open(place)
    yield opened
    await opened.aclose()


async def accepted(journal: SqlJournal, seen: SeenSwaps, *numbers: int) -> list[SwapRecord | None]:
    calls = (journal.accept(offered(number), seen, seen.reads) for number in numbers)
    return list(await asyncio.gather(*calls))


async def ids(journal: SqlJournal) -> set[str]:
    return {each.swap_id for each in await journal.list(role=Role.PROVIDER)}


async def test_the_swaps_of_one_process_do_not_refuse_each_other(journal: SqlJournal) -> None:
    seen = SeenSwaps()
    assert all(await accepted(journal, seen, 1, 2))
    assert all(await accepted(journal, seen, 3))
    assert seen.last == await journal.last_number(Role.PROVIDER)
    assert len(await ids(journal)) == 3


async def test_a_swap_of_another_process_refuses_it_until_that_one_was_read(
    journal: SqlJournal, other: SqlJournal
) -> None:
    seen, theirs = SeenSwaps(), SeenSwaps()
    assert all(await accepted(other, theirs, 1))
    assert await accepted(journal, seen, 2, 3) == [None, None]
    assert await ids(journal) == {offered(1).swap_id}
    [(number, record)] = await journal.swaps_after(Role.PROVIDER, seen.last)
    assert record.swap_id == offered(1).swap_id
    seen.reads, seen.last = 1, number
    assert all(await accepted(journal, seen, 2, 3))


async def test_what_was_decided_before_the_swap_of_another_was_read_is_refused(
    journal: SqlJournal, other: SqlJournal
) -> None:
    seen = SeenSwaps()
    decided = seen.reads
    assert all(await accepted(other, SeenSwaps(), 1))
    seen.reads, seen.last = 1, await journal.last_number(Role.PROVIDER)
    assert await journal.accept(offered(2), seen, decided) is None
    assert await journal.accept(offered(2), seen, seen.reads) is not None


async def test_a_final_swap_of_another_process_is_read_too_and_a_takers_swap_does_not_count(
    journal: SqlJournal, other: SqlJournal
) -> None:
    [theirs] = await accepted(other, SeenSwaps(), 1)
    assert theirs is not None
    await advance(other, theirs, final=True)
    await other.create(a_record(9))
    [(number, record)] = await journal.swaps_after(Role.PROVIDER, 0)
    assert record.is_final
    assert number == await journal.last_number(Role.PROVIDER)
    assert all(await accepted(journal, SeenSwaps(number), 2))


async def test_a_transaction_that_is_repeated_without_another_write_still_adds_the_swap(journal: SqlJournal) -> None:
    def failing(connection: Connection) -> None:
        raise ValueError("this write fails")

    seen = SeenSwaps()
    added, failed = await asyncio.gather(
        journal.accept(offered(1), seen, 0), journal._database.write(failing), return_exceptions=True
    )
    assert isinstance(failed, ValueError)
    assert isinstance(added, SwapRecord)
    assert all(await accepted(journal, seen, 2))


async def test_acceptances_wait_for_each_other_and_no_other_write_waits_for_them(url: str) -> None:
    journal = await SqlJournal.open(url)
    try:
        [record] = await accepted(journal, seen := SeenSwaps(), 1)
        assert record is not None
        with psycopg.connect(url) as connection:
            connection.execute("LOCK TABLE lineage IN SHARE UPDATE EXCLUSIVE MODE")
            assert (await advance(journal, record)).version == 2
            waiting = asyncio.ensure_future(accepted(journal, seen, 2))
            done, _ = await asyncio.wait((waiting,), timeout=0.5)
            assert not done
        assert all(await waiting)
    finally:
        await journal.aclose()


async def test_of_two_processes_that_know_the_same_one_adds_its_swap(url: str) -> None:
    journals = [await SqlJournal.open(url) for _ in range(2)]
    try:
        for number in range(20):
            last = await journals[0].last_number(Role.PROVIDER)
            results = await asyncio.gather(
                *(
                    journal.accept(offered(2 * number + at + 1), SeenSwaps(last), 0)
                    for at, journal in enumerate(journals)
                )
            )
            assert sorted(each is None for each in results) == [False, True]
    finally:
        for journal in journals:
            await journal.aclose()
