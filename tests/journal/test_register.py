"""The register of a journal: old copies are found and repaired, and a lost journal is restored."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Executable
from sqlalchemy.exc import OperationalError

from journal.test_journal import HASH, a_record, advance, to_collect, to_fund
from layer2.errors import FundsRulesError, IdempotencyConflict, InvalidRequest, JournalBusy, JournalError
from layer2.journal.copying import back_up
from layer2.journal.lineage import lineage_of
from layer2.journal.place import JournalPlace
from layer2.journal.registration import release_register, renew_register, restore_journal
from layer2.journal.sql_journal import SqlJournal
from layer2.journal.transitions import next_epoch
from layer2.ports.journal import Delivery, JournalOwner, Role, SendRecord, SwapRecord
from postgres_server import Server

_NUMBERS = count(1)
ATTEMPT = "a" * 32
TERMS = {"terms": {"collect_by": 5}}


@pytest.fixture(params=["file", "server"])
def register(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "file":
        return str(tmp_path / "elsewhere" / "register.db")
    server: Server = request.getfixturevalue("server")
    return server.create()


@asynccontextmanager
async def acting(place: str, register: str) -> AsyncIterator[SqlJournal]:
    journal = await SqlJournal.open(place, register)
    try:
        await journal.act()
        yield journal
    finally:
        await journal.aclose()


def agreed(number: int = 1, **change: object) -> SwapRecord:
    return a_record(number, state={"state": "agreed"}, terms=TERMS, **change)


async def fund(journal: SqlJournal, record: SwapRecord, number: int = 1) -> SwapRecord:
    """The intent to fund, which leaves."""
    record = await journal.advance(
        record, state={"state": "funding"}, is_final=False, event="funding", now=20, intents=[to_fund(number)]
    )
    await leave(journal, record, number)
    return record


async def leave(journal: SqlJournal, record: SwapRecord, number: int = 1, attempt: str = ATTEMPT) -> Delivery:
    """An attempt to send an intent that begins."""
    (intent,) = (each for each in await journal.intents(record.swap_id) if each.number == number)
    return await journal.begin_delivery(record, intent, attempt)


async def loaded(journal: SqlJournal, record: SwapRecord) -> SwapRecord:
    found = await journal.load(record.swap_id)
    assert found is not None
    return found


Copies = Callable[[], Awaitable[Callable[[], Awaitable[None]]]]


@pytest.fixture
def copies(place: str, request: pytest.FixtureRequest, tmp_path: Path) -> Copies:
    """Copies the journal that no process uses. The result puts the copy in its place."""

    async def copied() -> Callable[[], Awaitable[None]]:
        if "://" in place:
            server: Server = request.getfixturevalue("server")
            copy = server.snapshot(place)

            async def put_back() -> None:
                server.fail_over(place, copy)

            return put_back
        backup = tmp_path / f"backup{next(_NUMBERS)}.db"
        await back_up(JournalPlace(path=Path(place)), JournalPlace(path=backup))

        async def restored() -> None:
            shutil.copy(backup, place)

        return restored

    return copied


async def test_a_copy_from_before_a_funding_left_is_old_and_its_open_swaps_are_marked(
    place: str, register: str, copies: Copies
) -> None:
    async with acting(place, register) as journal:
        first, other = await journal.create(agreed(1)), await journal.create(agreed(2, payment_hash=b"\x08" * 32))
    put_back = await copies()
    async with acting(place, register) as journal:
        await fund(journal, first)
    await put_back()
    async with acting(place, register) as journal:
        marked = await loaded(journal, first)
        assert marked.from_old_copy
        # The register has a later state than the copy.
        assert marked.state == {"state": "funding"}
        assert (await loaded(journal, other)).from_old_copy
        assert (await loaded(journal, other)).state == {"state": "agreed"}
        assert not (await journal.create(agreed(3))).from_old_copy
        assert await journal.problems() == []
        # It may have paid this hash, so no other swap may.
        same_hash = await journal.create(agreed(4))
        with pytest.raises(FundsRulesError):
            await advance(journal, same_hash, to_fund())
    async with acting(place, register) as journal:
        assert await loaded(journal, first) == marked


async def test_a_copy_that_has_the_intent_but_not_its_departure_is_old(
    place: str, register: str, copies: Copies
) -> None:
    async with acting(place, register) as journal:
        record = await advance(journal, await journal.create(agreed()), to_fund())
    put_back = await copies()
    async with acting(place, register) as journal:
        await leave(journal, record)
    await put_back()
    async with acting(place, register) as journal:
        assert (await loaded(journal, record)).from_old_copy


async def test_a_copy_that_lacks_no_act_is_the_journal(place: str, register: str, copies: Copies) -> None:
    async with acting(place, register) as journal:
        record = await fund(journal, await journal.create(agreed()))
    put_back = await copies()
    async with acting(place, register) as journal:
        await advance(journal, record)
    await put_back()
    async with acting(place, register) as journal:
        assert await loaded(journal, record) == record


async def test_what_left_is_in_the_journal_again_and_counts_as_possibly_sent(
    place: str, register: str, copies: Copies
) -> None:
    async with acting(place, register) as journal:
        intended = await advance(journal, await journal.create(agreed(1)), to_fund())
        agreed_only = await journal.create(agreed(2, payment_hash=b"\x08" * 32))
    put_back = await copies()
    async with acting(place, register) as journal:
        await leave(journal, intended)
        claiming = await advance(journal, await fund(journal, agreed_only), to_collect(2), to_collect(3))
        await leave(journal, claiming, 2)
    await put_back()
    async with acting(place, register) as journal:
        left = Delivery.LEAVING
        assert list(await journal.intents(intended.swap_id)) == [replace(to_fund(), delivery=left)]
        # The third one never left.
        wanted = [replace(to_fund(), delivery=left), replace(to_collect(2), delivery=left)]
        assert list(await journal.intents(claiming.swap_id)) == wanted


async def test_a_swap_that_only_the_register_has_is_added_with_the_mark(
    place: str, register: str, copies: Copies
) -> None:
    async with acting(place, register) as journal:
        old = await journal.create(agreed(1))
    put_back = await copies()
    async with acting(place, register) as journal:
        new = await journal.create(agreed(2, payment_hash=b"\x08" * 32, idempotency_key="rent"))
    await put_back()
    async with acting(place, register) as journal:
        found = await loaded(journal, new)
        assert found == replace(new, from_old_copy=True, updated_at=found.updated_at)
        assert found.access == new.access
        # No act left, so the others are as they were.
        assert await loaded(journal, old) == old
        assert await journal.find(Role.TAKER, "rent") == found
        assert await journal.problems() == []


async def test_a_crash_between_the_two_commits_is_not_an_old_copy(
    place: str, register: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with acting(place, register) as journal:
        record = await advance(journal, await journal.create(agreed()), to_fund())
        assert journal._register is not None

        async def crashed(departure: object) -> None:
            raise JournalError("the process ends here")

        monkeypatch.setattr(journal._register, "depart", crashed)
        with pytest.raises(JournalError, match="ends here"):
            await leave(journal, record)
    for _ in range(2):
        async with acting(place, register) as journal:
            assert not (await loaded(journal, record)).from_old_copy


async def test_a_transfer_that_ended_after_the_copy_was_made_keeps_its_key(
    place: str, register: str, copies: Copies
) -> None:
    async with acting(place, register) as journal:
        plan = await journal.create(a_record(1, idempotency_key="rent"))
    put_back = await copies()
    async with acting(place, register) as journal:
        await journal.advance(
            plan, state={"state": "abandoned"}, is_final=True, event="abandoned", now=20, holds_key=False
        )
        paid = await fund(journal, await journal.create(agreed(2, idempotency_key="rent")))
        await journal.advance(paid, state={"state": "completed"}, is_final=True, event="completed", now=30)
    await put_back()
    async with acting(place, register) as journal:
        found = await journal.find(Role.TAKER, "rent")
        assert found is not None
        assert (found.swap_id, found.is_final, found.state) == (paid.swap_id, True, {"state": "completed"})
        again = await journal.create(agreed(3, idempotency_key="rent"))
        assert again.swap_id == paid.swap_id
        with pytest.raises(IdempotencyConflict):
            await journal.create(agreed(3, idempotency_key="rent", request={"amount": "7"}))


async def test_a_send_with_a_key_is_not_made_a_second_time_on_an_old_copy(
    place: str, register: str, copies: Copies
) -> None:
    async with acting(place, register):
        pass
    put_back = await copies()
    sent = SendRecord("BOB", "rent", "digest", "0xaa", {"raw": "00"})
    async with acting(place, register) as journal:
        await journal.add_send(SendRecord("BOB", "0xbb", "digest", "0xbb", {"raw": "01"}))
        assert await journal.add_send(sent) is sent
    await put_back()
    async with acting(place, register) as journal:
        assert await journal.add_send(replace(sent, tx_id="0xcc", act={"raw": "02"})) == sent


async def test_a_journal_that_was_superseded_and_comes_back_is_an_old_copy(
    place: str, register: str, copies: Copies
) -> None:
    async with acting(place, register) as journal:
        record = await journal.create(agreed())
    older = await copies()
    async with acting(place, register) as journal:
        await fund(journal, record)
    newest = await copies()
    await older()
    async with acting(place, register) as journal:
        assert (await loaded(journal, record)).from_old_copy
    await newest()
    journal = await SqlJournal.open(place, register)
    assert not (await loaded(journal, record)).from_old_copy
    # As a process does that was not reached when the other copy took its place.
    await journal._database.write(lambda connection: [next_epoch(connection) for _ in range(5)])
    await journal.act()
    assert (await loaded(journal, record)).from_old_copy
    await journal.aclose()


async def test_a_running_process_writes_nothing_after_its_server_continues_with_an_older_copy(
    server: Server, tmp_path: Path
) -> None:
    url, register = await server.journal(), str(tmp_path / "register.db")
    async with acting(url, register) as journal:
        record = await journal.create(agreed())
        copy = server.snapshot(url)
        record = await fund(journal, record)
        server.fail_over(url, copy)
        with pytest.raises(JournalError) as refused:
            await journal.begin_delivery(record, to_fund(), "b" * 32)
        assert refused.value.code == "old_copy"
        async with asyncio.timeout(10):
            assert (await journal.replaced()).code == "old_copy"
    async with acting(url, register) as journal:
        assert (await loaded(journal, record)).from_old_copy


async def test_a_commit_whose_answer_was_lost_in_a_fail_over_to_an_older_copy_is_not_made_again(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, register = await server.journal(), str(tmp_path / "register.db")
    async with acting(url, register) as journal:
        copy = server.snapshot(url)
        record = await fund(journal, await journal.create(agreed()))
        dialect = journal._database._engine.dialect
        real = dialect.do_commit

        def do_commit(connection: Any) -> None:
            monkeypatch.setattr(dialect, "do_commit", real)
            server.fail_over(url, copy)
            real(connection)

        monkeypatch.setattr(dialect, "do_commit", do_commit)
        with pytest.raises(JournalError) as refused:
            await advance(journal, record, to_collect(2))
        assert refused.value.code == "old_copy"


async def test_a_journal_that_had_a_register_is_refused_without_it(tmp_path: Path, place: str) -> None:
    first = str(tmp_path / "register.db")
    async with acting(place, first):
        pass
    for register in (None, str(tmp_path / "other.db")):
        journal = await SqlJournal.open(place, register)
        with pytest.raises(JournalError) as refused:
            await journal.act()
        assert refused.value.code == "register_missing"
        assert refused.value.remedy is not None
        # Another process can act: the guard is free.
        async with acting(place, first):
            pass
        await journal.aclose()
    assert not (tmp_path / "other.db").exists()


async def test_a_register_of_another_journal_is_refused(tmp_path: Path, place: str, register: str) -> None:
    async with acting(str(tmp_path / "lost.db"), register):
        pass
    journal = await SqlJournal.open(place, register)
    with pytest.raises(JournalError, match="layer2 restore") as refused:
        await journal.act()
    assert refused.value.code == "register_of_another"
    await journal.aclose()


async def test_the_register_is_not_the_journal_itself(place: str) -> None:
    with pytest.raises(InvalidRequest):
        await SqlJournal.open(place, place)


async def test_a_journal_from_before_registers_gets_one_with_its_open_swaps(place: str, register: str) -> None:
    journal = await SqlJournal.open(place)
    await journal.act()
    record = await fund(journal, await journal.create(agreed()))
    await journal.add_owners([JournalOwner("network", "regtest")])
    await journal.aclose()
    async with acting(place, register) as journal:
        assert await loaded(journal, record) == record
        assert journal._register is not None
        found = await journal._register.read()
        assert found is not None
        assert (found.swaps, found.owners) == ([record], [JournalOwner("network", "regtest")])


@contextmanager
def full_disk(monkeypatch: pytest.MonkeyPatch, journal: SqlJournal, *, of_register: bool = True) -> Iterator[None]:
    """The register cannot be written in the block; or the journal."""
    assert journal._register is not None
    database = journal._register._database if of_register else journal._database

    def write(connection: Connection, *_: Executable) -> None:
        raise OperationalError("UPDATE", None, Exception("the disk is full"))

    with monkeypatch.context() as broken:
        broken.setattr(database, "_write_number", write)
        yield


async def test_no_funding_leaves_while_the_register_cannot_be_written_and_every_claim_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, register = str(tmp_path / "journal.db"), str(tmp_path / "register.db")
    async with acting(place, register) as journal:
        funding = await advance(journal, await journal.create(agreed(1)), to_fund())
        claiming = await advance(journal, await journal.create(agreed(2, payment_hash=b"\x08" * 32)), to_collect())
        with full_disk(monkeypatch, journal):
            with pytest.raises(JournalError, match="disk is full"):
                await leave(journal, funding)
            await leave(journal, claiming)
            with pytest.raises(JournalError, match="disk is full"):
                await journal.create(agreed(3))
            with pytest.raises(JournalError, match="disk is full"):
                await journal.add_send(SendRecord("BOB", "rent", "digest", "0xaa", {"raw": "00"}))
            # No party has its terms.
            assert await journal.load(agreed(3).swap_id) is None
        await leave(journal, funding)
        assert journal._register is not None
        found = await journal._register.read()
        assert found is not None
        # The claim that left meanwhile is counted, too.
        assert found.lineage == (await journal._database.read(lineage_of))[0]
        assert [each.idempotency_key for each in found.sends] == ["rent"]


@pytest.mark.parametrize("is_new", [False, True], ids=["the same attempt again", "another attempt"])
async def test_a_funding_leaves_only_once_the_register_has_it_although_the_journal_had_it_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_new: bool
) -> None:
    async with acting(str(tmp_path / "journal.db"), str(tmp_path / "register.db")) as journal:
        record = await advance(journal, await journal.create(agreed()), to_fund())
        assert journal._register is not None
        with full_disk(monkeypatch, journal):
            for _ in range(2):
                with pytest.raises(JournalError, match="disk is full"):
                    await journal.begin_delivery(record, to_fund(), ATTEMPT)
        delivery = await (
            leave(journal, record, 1, "b" * 32) if is_new else journal.begin_delivery(record, to_fund(), ATTEMPT)
        )
        found = await journal._register.read()
        assert found is not None
        assert found.lineage == (await journal._database.read(lineage_of))[0]
        assert found.intents == [(record.swap_id, replace(to_fund(), delivery=delivery))]


async def test_swaps_that_end_leave_the_register_unless_something_later_depends_on_them(
    place: str, register: str
) -> None:
    async with acting(place, register) as journal:
        kept: list[tuple[str, dict[str, Any]]] = [
            ("completed", {"idempotency_key": "rent"}),
            ("abandoned", {"request": {"funded_by_others": True}}),
            ("released", {"role": Role.PROVIDER}),
        ]
        gone: list[tuple[str, dict[str, Any]]] = [("completed", {}), ("completed", {"role": Role.PROVIDER})]
        records = []
        for number, (state, change) in enumerate((*kept, *gone), 1):
            record = await journal.create(agreed(number, payment_hash=bytes([number]) * 32, **change))
            final = {"state": state, "source_tx_id": "aa"}
            records.append(await journal.advance(record, state=final, is_final=True, event=state, now=30))
    async with acting(place, register) as journal:
        assert journal._register is not None
        found = await journal._register.read()
        assert found is not None
        assert sorted(found.swaps, key=lambda each: each.swap_id) == records[: len(kept)]


async def test_a_lost_journal_is_restored_with_its_open_swaps_keys_sends_and_owners(
    place: str, register: str, tmp_path: Path
) -> None:
    sent = SendRecord("BOB", "rent", "digest", "0xaa", {"raw": "00"})
    async with acting(place, register) as journal:
        await journal.add_owners([JournalOwner("network", "regtest")])
        funding = await fund(journal, await journal.create(agreed(1, idempotency_key="one")))
        over = await fund(journal, await journal.create(agreed(2, payment_hash=b"\x08" * 32, idempotency_key="two")))
        over = await journal.advance(over, state={"state": "completed"}, is_final=True, event="completed", now=30)
        await journal.add_send(sent)
    target = str(tmp_path / "new.db")
    count = await restore_journal(JournalPlace.of(target), JournalPlace.of(register))
    assert count == 1
    async with acting(target, register) as journal:
        found = await loaded(journal, funding)
        assert found == replace(funding, version=1, from_old_copy=True, updated_at=found.updated_at)
        assert list(await journal.intents(found.swap_id)) == [replace(to_fund(), delivery=Delivery.LEAVING)]
        assert (await loaded(journal, over)).state == {"state": "completed"}
        assert await journal.find_send("BOB", "rent") == sent
        assert await journal.owners() == (JournalOwner("network", "regtest"),)
        assert await journal.problems() == []
        other = await journal.create(agreed(3, payment_hash=HASH))
        with pytest.raises(FundsRulesError):
            await advance(journal, other, to_fund())
    # The journal that was thought lost is an old copy now.
    async with acting(place, register) as journal:
        assert (await loaded(journal, funding)).from_old_copy


async def test_only_an_empty_journal_is_restored_and_only_from_a_register_that_exists(
    tmp_path: Path, place: str
) -> None:
    register = str(tmp_path / "register.db")
    with pytest.raises(JournalError, match="there is no register") as missing:
        await restore_journal(JournalPlace.of(place), JournalPlace.of(register))
    assert missing.value.code == "register_missing"
    async with acting(place, register) as journal:
        await journal.create(agreed())
        with pytest.raises(JournalBusy):
            await restore_journal(JournalPlace.of(place), JournalPlace.of(register))
    with pytest.raises(InvalidRequest) as refused:
        await restore_journal(JournalPlace.of(place), JournalPlace.of(register))
    assert refused.value.code == "exists"


async def test_a_new_register_for_one_that_was_lost_marks_every_open_swap(tmp_path: Path, place: str) -> None:
    lost, new = str(tmp_path / "lost.db"), str(tmp_path / "new.db")
    async with acting(place, lost) as journal:
        record = await fund(journal, await journal.create(agreed()))
    with pytest.raises(InvalidRequest):
        await renew_register(JournalPlace.of(place), JournalPlace.of(lost))
    assert await renew_register(JournalPlace.of(place), JournalPlace.of(new)) == 1
    async with acting(place, new) as journal:
        assert (await loaded(journal, record)).from_old_copy


async def test_a_journal_whose_register_was_released_is_used_without_it_and_gets_it_again(
    place: str, register: str
) -> None:
    async with acting(place, register) as journal:
        record = await advance(journal, await journal.create(agreed()), to_fund())
        with pytest.raises(JournalBusy):
            await release_register(JournalPlace.of(place), JournalPlace.of(register))
    await release_register(JournalPlace.of(place), JournalPlace.of(register))
    alone = await SqlJournal.open(place)
    await alone.act()
    await leave(alone, record)
    await alone.aclose()
    async with acting(place, register) as journal:
        assert not (await loaded(journal, record)).from_old_copy
        assert journal._register is not None
        found = await journal._register.read()
        assert found is not None
        assert found.intents == [(record.swap_id, replace(to_fund(), delivery=Delivery.LEAVING))]


async def test_an_old_copy_is_found_before_its_register_is_released(place: str, register: str, copies: Copies) -> None:
    async with acting(place, register) as journal:
        record = await journal.create(agreed())
    put_back = await copies()
    async with acting(place, register) as journal:
        await fund(journal, record)
    await put_back()
    await release_register(JournalPlace.of(place), JournalPlace.of(register))
    alone = await SqlJournal.open(place)
    await alone.act()
    assert (await loaded(alone, record)).from_old_copy
    await alone.aclose()


async def test_a_repair_that_was_interrupted_is_made_again(
    place: str, register: str, copies: Copies, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with acting(place, register) as journal:
        record = await journal.create(agreed())
    put_back = await copies()
    async with acting(place, register) as journal:
        await fund(journal, record)
    await put_back()
    from layer2.journal.register import Register

    async def interrupted(self: Register, content: object) -> None:
        raise JournalError("the process ends here")

    with monkeypatch.context() as ending:
        ending.setattr(Register, "replace", interrupted)
        with pytest.raises(JournalError, match="ends here"):
            async with acting(place, register):
                pass
    for _ in range(2):
        async with acting(place, register) as journal:
            assert (await loaded(journal, record)).from_old_copy
            assert await journal.problems() == []
