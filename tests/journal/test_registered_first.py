"""What the register has to know before something leaves, and what it must not keep."""

from __future__ import annotations

import asyncio
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from journal.test_journal import a_record, abandon, advance, to_collect, to_fund
from journal.test_register import TERMS, acting, agreed, full_disk, fund, leave, loaded
from layer2.errors import IdempotencyConflict, JournalBusy, JournalError
from layer2.journal import register as registers
from layer2.journal.copying import back_up
from layer2.journal.place import JournalPlace
from layer2.journal.register import Register
from layer2.journal.registration import restore_journal
from layer2.journal.sql_journal import SqlJournal
from layer2.model.transactions import SwapId
from layer2.ports.journal import Delivery, Role, SendRecord

SENT = SendRecord("BOB", "rent", "digest", "0xaa", {"raw": "00"})


@pytest.fixture
def place(tmp_path: Path) -> str:
    return str(tmp_path / "journal.db")


@pytest.fixture
def register(tmp_path: Path) -> str:
    return str(tmp_path / "register.db")


async def back_up_to(place: str, copy: Path) -> None:
    await back_up(JournalPlace(path=Path(place)), JournalPlace(path=copy))


async def test_a_send_that_the_register_lacks_is_not_found_until_the_register_has_it(
    place: str, register: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with acting(place, register) as journal:
        with full_disk(monkeypatch, journal):
            with pytest.raises(JournalError, match="disk is full"):
                await journal.add_send(SENT)
            # The caller repeats the call; a client that finds the record sends it.
            with pytest.raises(JournalError, match="disk is full"):
                await journal.find_send("BOB", "rent")
            assert await journal.find_send("BOB", "other") is None
        assert await journal.find_send("BOB", "rent") == SENT
        assert journal._register is not None
        found = await journal._register.read()
        assert found is not None
        assert list(found.sends) == [SENT]


async def test_a_process_that_is_replaced_during_the_comparison_does_not_hide_its_last_act(
    place: str, register: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "copy.db"
    async with acting(place, register) as journal:
        record = await journal.create(agreed())
    await back_up_to(place, copy)
    # The process on the server that was superseded still acts, and lets a funding leave now.
    old = await SqlJournal.open(place, register)
    await old.act()
    real = Register.take_over

    async def take_over(self: Register) -> None:
        monkeypatch.undo()
        await fund(old, record)
        await real(self)

    monkeypatch.setattr(Register, "take_over", take_over)
    async with acting(str(copy), register) as journal:
        assert (await loaded(journal, record)).from_old_copy
    await old.aclose()


async def test_a_swap_that_could_not_be_registered_is_not_in_the_register_later(
    place: str, register: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with acting(place, register) as journal:
        with full_disk(monkeypatch, journal), pytest.raises(JournalError, match="disk is full"):
            await journal.create(agreed(1, role=Role.PROVIDER, quote_id="aa"))
        agreed_later = await journal.create(agreed(2, role=Role.PROVIDER, quote_id="aa", payment_hash=b"\x08" * 32))
    async with acting(place, register) as journal:
        assert [each.swap_id for each in await journal.list()] == [agreed_later.swap_id]
        assert (await loaded(journal, agreed_later)).holds_key


async def test_a_swap_that_the_journal_refuses_is_not_in_the_register_later(place: str, register: str) -> None:
    async with acting(place, register) as journal:
        first = await journal.create(agreed(1, role=Role.PROVIDER, quote_id="aa"))
        with pytest.raises(IdempotencyConflict):
            await journal.create(agreed(2, role=Role.PROVIDER, quote_id="aa", request={"amount": "7"}))
    async with acting(place, register) as journal:
        assert list(await journal.list()) == [first]


async def test_a_swap_that_the_journal_could_not_write_is_not_in_the_register_later(
    place: str, register: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with acting(place, register) as journal:
        with full_disk(monkeypatch, journal, of_register=False), pytest.raises(JournalError, match="disk is full"):
            await journal.create(agreed(1, role=Role.PROVIDER))
    async with acting(place, register) as journal:
        assert list(await journal.list()) == []


async def test_a_lost_journal_is_restored_although_the_end_of_the_first_transfer_of_a_key_was_not_registered(
    place: str, register: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with acting(place, register) as journal:
        first = await journal.create(agreed(1, idempotency_key="rent"))
        await abandon(journal, first)
        # The process is killed here.
        assert journal._register is not None
        journal._register._late = type(journal._register._late)()
    async with acting(place, register) as journal:
        second = await journal.create(agreed(2, idempotency_key="rent", payment_hash=b"\x08" * 32, created_at=30))
        await fund(journal, second)
    target = str(tmp_path / "restored.db")
    await restore_journal(JournalPlace.of(target), JournalPlace.of(register))
    async with acting(target, register) as journal:
        found = await journal.find(Role.TAKER, "rent")
        assert found is not None
        assert found.swap_id == second.swap_id
        assert found.holds_key


async def test_two_swaps_of_the_register_with_one_key_do_not_prevent_a_restoration(
    place: str, register: str, tmp_path: Path
) -> None:
    async with acting(place, register) as journal:
        assert journal._register is not None
        for number in (2, 1):
            key = {"role": Role.PROVIDER, "quote_id": "aa", "payment_hash": bytes([number]) * 32}
            await journal._register.add(agreed(number, created_at=number, **key))
    target = str(tmp_path / "restored.db")
    assert await restore_journal(JournalPlace.of(target), JournalPlace.of(register)) == 2
    async with acting(target, register) as journal:
        assert [each.holds_key for each in sorted(await journal.list(), key=lambda each: each.created_at)] == [
            False,
            True,
        ]


async def test_an_address_that_others_pay_is_known_after_a_copy_that_lacks_no_act(
    place: str, register: str, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.db"
    async with acting(place, register) as journal:
        plan = await journal.create(a_record(1, request={"amount": "1", "funded_by_others": True}))
        await back_up_to(place, copy)
        shown = await journal.advance(
            plan, state={"state": "agreed"}, is_final=False, event="terms agreed", now=20, terms=TERMS
        )
    shutil.copy(copy, place)
    async with acting(place, register) as journal:
        found = await loaded(journal, shown)
        assert found.terms == TERMS
        assert found.state == {"state": "agreed"}
        assert await journal.problems() == []
    async with acting(place, register) as journal:
        assert await loaded(journal, shown) == found


async def test_a_claim_leaves_although_the_register_does_not_answer(
    place: str, register: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registers, "_CLAIM_WAITS_SECONDS", 0.05)
    async with acting(place, register) as journal:
        record = await advance(journal, await journal.create(agreed()), to_collect())
        assert journal._register is not None
        database, answers = journal._register._database, threading.Event()
        real = database._made

        def made(writes: Any) -> Any:
            answers.wait()
            return real(writes)

        monkeypatch.setattr(database, "_made", made)
        try:
            async with asyncio.timeout(5):
                await leave(journal, record)
        finally:
            answers.set()
    async with acting(place, register) as journal:
        assert not (await loaded(journal, record)).from_old_copy
        assert journal._register is not None
        found = await journal._register.read()
        assert found is not None
        assert [each.verb for _, each in found.intents] == ["collect"]


async def test_a_process_without_the_register_excludes_no_process_that_acts(
    place: str, register: str, tmp_path: Path
) -> None:
    async with acting(place, register) as journal:
        other = await SqlJournal.open(place, tmp_path / "of_another_machine.db")
        with pytest.raises(JournalError) as refused:
            await other.act()
        # Otherwise a standby would wait for the guard, and learn only then that it cannot act.
        assert refused.value.code == "register_missing"
        # A server can take the guard away for a moment.
        await journal._guard.give_back()
        with pytest.raises(JournalError):
            await other.act()
        assert not (await journal.create(agreed())).from_old_copy
        await other.aclose()


async def test_a_backup_beside_the_log_of_the_file_that_it_replaces_is_an_old_copy(
    place: str, register: str, tmp_path: Path
) -> None:
    """After a crash the log is still there, and SQLite adds it to any file of that name, with the newest epoch."""
    files = Path(place), Path(f"{place}-wal"), Path(register), Path(f"{register}-wal")
    async with acting(place, register) as journal:
        records = [
            await advance(journal, await journal.create(agreed(number, payment_hash=bytes([number]) * 32)), to_fund())
            for number in range(1, 150)
        ]
        await journal._database.read(checkpoint)
        shutil.copy(place, tmp_path / "backup.db")
        await leave(journal, records[0])
        await journal._database.read(checkpoint)
        await leave(journal, records[-1])
        crashed = tmp_path / "crashed"
        crashed.mkdir()
        for file in files:
            shutil.copy(file, crashed / file.name)
    shutil.copy(tmp_path / "backup.db", crashed / files[0].name)
    async with acting(str(crashed / files[0].name), str(crashed / files[2].name)) as journal:
        assert (await loaded(journal, records[0])).from_old_copy
        assert [each.delivery for each in await journal.intents(records[0].swap_id)] == [Delivery.LEAVING]


def checkpoint(connection: Connection) -> None:
    """Empty the log into the file. A transaction of its own cannot do it."""
    connection.exec_driver_sql("COMMIT")
    connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.exec_driver_sql("BEGIN")


async def test_a_register_in_the_database_of_a_journal_excludes_no_process(
    place: str, register: str, tmp_path: Path
) -> None:
    async with acting(place, register) as journal:
        other = await SqlJournal.open(tmp_path / "other.db", place)
        with pytest.raises(JournalError, match="is a journal"):
            await other.act()
        await other.aclose()
        await journal.create(agreed())


async def test_a_process_whose_register_serves_a_copy_on_another_machine_learns_that_it_was_replaced(
    place: str, register: str, tmp_path: Path
) -> None:
    async with acting(place, register) as journal:
        await back_up_to(place, tmp_path / "copy.db")
        async with acting(str(tmp_path / "copy.db"), register), asyncio.timeout(3):
            assert isinstance(await journal.replaced(), JournalBusy)


async def test_any_number_of_ends_is_written_after_the_register_was_down(place: str, register: str) -> None:
    async with acting(place, register) as journal:
        assert journal._register is not None
        # More than a statement can have values.
        journal._register._late = registers._Change(rows={SwapId(f"{number:032x}"): None for number in range(300_000)})
        await journal.create(agreed(300_001))
        assert await journal._register.open_ids() == {agreed(300_001).swap_id}
