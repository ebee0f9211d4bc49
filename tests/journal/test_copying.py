"""Backups of a journal in use, and moves to another database that end once however they are interrupted."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import Awaitable
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from journal.test_journal import a_record, advance, to_collect, to_fund
from layer2.errors import FundsRulesError, InvalidRequest, JournalBusy, JournalError
from layer2.journal import copying
from layer2.journal.copying import back_up, move
from layer2.journal.place import JournalPlace
from layer2.journal.sql_journal import SqlJournal
from layer2.ports.journal import JournalOwner, SendRecord
from layer2.ports.nonces import NonceClaim, NonceUse
from postgres_server import Server

Contents = tuple[object, ...]


@pytest.fixture(params=["sqlite", "postgres"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return str(tmp_path / "other.db")
    server: Server = request.getfixturevalue("server")
    return server.create()


async def filled(place: str) -> None:
    """A journal with a row in each table."""
    journal = await SqlJournal.open(place)
    await journal.add_owners([JournalOwner("network", "regtest")])
    for number in range(1, 4):
        record = await journal.create(
            a_record(number, idempotency_key=f"key {number}", payment_hash=bytes([number]) * 32)
        )
        record = await advance(journal, record, to_fund())
        await advance(journal, record, to_collect(2), final=number == 3)
        await journal.save_proof(record.swap_id, b"\x00\xff" * number)
    await journal.add_send_of_coins(SendRecord("BITCOIN", "rent", "digest", "cc", {"raw": "00"}), "rent", ["aa:0"])
    await journal.forget_nonces("BOB", "0x11", 5)
    await journal.claim_nonces([NonceClaim(NonceUse("BOB", "0x11", 7, "0x77", b"\x07", "one", is_out=True))])
    await journal.aclose()


async def contents(place: str) -> Contents:
    journal = await SqlJournal.open(place)
    try:
        records = await journal.list()
        return (
            records,
            [await journal.intents(each.swap_id) for each in records],
            [await journal.events(each.swap_id) for each in records],
            [await journal.load_proof(each.swap_id) for each in records],
            await journal.owners(),
            await journal.find_send("BITCOIN", "rent"),
            await journal.held_coins("BITCOIN"),
            await journal.nonces("BOB", "0x11"),
        )
    finally:
        await journal.aclose()


async def test_a_moved_journal_has_every_row_and_goes_on_where_the_old_one_stopped(place: str, empty: str) -> None:
    await filled(place)
    before = await contents(place)
    counts = await move(JournalPlace.of(place), JournalPlace.of(empty))
    assert counts == {
        "accounts": 1, "coins": 1, "events": 9, "fundings": 2, "intents": 6, "nonces": 1, "owners": 1, "proofs": 3,
        "sends": 1, "swaps": 3,
    }  # fmt: skip
    assert await contents(empty) == before
    with pytest.raises(JournalError, match="was moved to another database") as refused:
        await SqlJournal.open(place)
    assert refused.value.code == "journal_moved"
    assert refused.value.remedy == "name that database in [journal]: url or path"
    journal = await SqlJournal.open(empty)
    assert await journal.problems() == []
    another = await journal.create(a_record(9, payment_hash=bytes([1]) * 32))
    newest, *_ = await journal.list()
    assert newest.swap_id == another.swap_id
    with pytest.raises(FundsRulesError):
        await advance(journal, another, to_fund())
    await journal.aclose()


@pytest.mark.parametrize("step", ["_begin_arrival", "_copy", "set_mark"])
@pytest.mark.parametrize("is_made", [False, True])
async def test_a_move_that_is_interrupted_can_be_made_again_and_never_leaves_two_journals(
    place: str, empty: str, step: str, is_made: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    class KilledError(Exception):
        """The process ended here."""

    await filled(place)
    before = await contents(place)
    real = vars(copying)[step]
    calls = []

    def killed(*given: object) -> object:
        calls.append(given)
        if len(calls) > 1 and step == "set_mark":
            return real(*given)
        if is_made:
            made = real(*given)
            if not asyncio.iscoroutine(made):
                raise KilledError
            return then_killed(made)
        raise KilledError

    async def then_killed(made: Awaitable[object]) -> None:
        await made
        raise KilledError

    monkeypatch.setattr(copying, step, killed)
    with pytest.raises(KilledError):
        await move(JournalPlace.of(place), JournalPlace.of(empty))
    monkeypatch.undo()
    assert [await is_open(each) for each in (place, empty)] != [True, True]
    await move(JournalPlace.of(place), JournalPlace.of(empty))
    assert [await is_open(each) for each in (place, empty)] == [False, True]
    assert await contents(empty) == before


async def is_open(place: str) -> bool:
    """Whether there is a journal with swaps that can be opened."""
    try:
        journal = await SqlJournal.open(place)
    except JournalError:
        return False
    found = await journal.list()
    await journal.aclose()
    return bool(found)


async def test_the_last_step_of_a_move_is_made_again(place: str, empty: str, monkeypatch: pytest.MonkeyPatch) -> None:
    await filled(place)
    before = await contents(place)
    real, calls = vars(copying)["set_mark"], []

    def killed_at_the_last(*given: object) -> None:
        calls.append(given)
        if len(calls) == 3:
            raise OSError("the process ended here")
        real(*given)

    monkeypatch.setattr(copying, "set_mark", killed_at_the_last)
    with pytest.raises(OSError, match="ended here"):
        await move(JournalPlace.of(place), JournalPlace.of(empty))
    monkeypatch.undo()
    assert [await is_open(each) for each in (place, empty)] == [False, False]
    assert await move(JournalPlace.of(place), JournalPlace.of(empty)) == {}
    assert await contents(empty) == before
    with pytest.raises(JournalError, match="was moved already"):
        await move(JournalPlace.of(place), JournalPlace.of(empty))


async def test_a_target_of_an_interrupted_move_is_never_opened_after_a_move_to_another_one(
    place: str, empty: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def killed(*_: object) -> None:
        raise OSError("the process ended here")

    await filled(place)
    monkeypatch.setattr(copying, "_copy", killed)
    with pytest.raises(OSError, match="ended here"):
        await move(JournalPlace.of(place), JournalPlace.of(empty))
    monkeypatch.undo()
    third = str(tmp_path / "third.db")
    await move(JournalPlace.of(place), JournalPlace.of(third))
    # Its rows are missing or old, and the third one is in use.
    with pytest.raises(JournalError, match="was moved already"):
        await move(JournalPlace.of(place), JournalPlace.of(empty))
    with pytest.raises(JournalError, match="has not ended"):
        await SqlJournal.open(empty)
    assert await is_open(third)


async def test_nothing_is_moved_while_a_process_acts_or_over_another_journal(place: str, empty: str) -> None:
    await filled(place)
    before = await contents(place)
    journal = await SqlJournal.open(place)
    await journal.act()
    with pytest.raises(JournalBusy):
        await move(JournalPlace.of(place), JournalPlace.of(empty))
    await journal.aclose()
    await filled(empty)
    with pytest.raises(InvalidRequest, match="holds a journal already"):
        await move(JournalPlace.of(place), JournalPlace.of(empty))
    assert await contents(place) == before


async def test_a_process_that_wakes_after_a_move_writes_nothing_to_the_old_journal(place: str, empty: str) -> None:
    stopped = await SqlJournal.open(place)
    await stopped.act()
    record = await stopped.create(a_record())
    # As when a server ended the guard's session because the process was stopped.
    await stopped._guard.give_back()
    await move(JournalPlace.of(place), JournalPlace.of(empty))
    with pytest.raises(JournalBusy):
        await advance(stopped, record, to_fund())
    await stopped.aclose()


async def test_a_backup_is_made_beside_a_process_that_writes_and_shows_one_moment(place: str, tmp_path: Path) -> None:
    journal = await SqlJournal.open(place)
    record = await journal.create(a_record())

    has_begun = asyncio.Event()

    async def advancing() -> None:
        moved = record
        for _ in range(100):
            moved = await advance(journal, moved)
            if moved.version == 10:
                has_begun.set()

    writing = asyncio.create_task(advancing())
    await has_begun.wait()
    copy = tmp_path / "backups" / "copy.db"
    await back_up(JournalPlace.of(place), JournalPlace(copy))
    await writing
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    saved = await SqlJournal.open(copy)
    assert await saved.problems() == []
    (found,) = await saved.list()
    assert 10 <= found.version <= 101
    await saved.aclose()
    with pytest.raises(InvalidRequest, match="exists"):
        await back_up(JournalPlace.of(place), JournalPlace(copy))
    await journal.aclose()


async def test_a_source_on_a_server_waits_for_a_slow_target(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = await server.journal()
    await filled(place)
    real, limits = vars(copying)["_copy_rows"], []

    def copy_rows(source: Connection, target: Connection) -> object:
        made = real(source, target)
        # The COMMIT of the target, which follows, can take as long as its disk needs.
        limits.append(source.execute(text("SHOW idle_in_transaction_session_timeout")).scalar())
        return made

    monkeypatch.setattr(copying, "_copy_rows", copy_rows)
    await back_up(JournalPlace.of(place), JournalPlace(tmp_path / "copy.db"))
    assert limits == ["0"]


async def test_a_backup_that_was_interrupted_is_no_journal(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def killed(*_: object) -> None:
        raise OSError("the process ended here")

    await filled(place)
    monkeypatch.setattr(copying, "_copy", killed)
    copy = tmp_path / "copy.db"
    with pytest.raises(OSError, match="ended here"):
        await back_up(JournalPlace.of(place), JournalPlace(copy))
    monkeypatch.undo()
    with pytest.raises(JournalError, match="has not ended"):
        await SqlJournal.open(copy)


@pytest.mark.parametrize(
    ("damage", "shown"),
    [
        ("DELETE FROM events WHERE version = 2", "has version 3 and 2 events"),
        ("DELETE FROM fundings", "funds a hash that it does not hold"),
    ],
)
async def test_a_check_finds_rows_that_contradict_each_other(place: str, damage: str, shown: str) -> None:
    await filled(place)
    journal = await SqlJournal.open(place)
    assert await journal.problems() == []
    await journal._database.write(lambda connection: connection.execute(text(damage)).close())
    problems = await journal.problems()
    assert problems
    assert all(shown in each for each in problems)
    await journal.aclose()
