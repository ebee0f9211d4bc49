"""The journal in SQLite: durable, compare-and-set, one thread of its own, and private."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import textwrap
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

import layer2.swap_engine
from layer2.errors import FundsRulesError, IdempotencyConflict, JournalError, StaleSwap
from layer2.interfaces import Intent, Role, SendRecord, SwapRecord
from layer2.swap_engine.journal import SqliteJournal
from layer2.swap_engine.schema import HEAD, METADATA
from layer2.transactions import SwapId

HASH = b"\x07" * 32


def a_record(number: int = 1, **change: object) -> SwapRecord:
    record = SwapRecord(
        swap_id=SwapId(f"{number:032x}"),
        role=Role.TAKER,
        version=0,
        state={"state": "planned"},
        is_final=False,
        payment_hash=HASH,
        terms=None,
        request={"amount": "100000", "provider": "one"},
        idempotency_key=None,
        created_at=10,
        updated_at=10,
    )
    return replace(record, **change)  # type: ignore[arg-type]  # the tests name the fields


@pytest_asyncio.fixture
async def journal(tmp_path: Path) -> AsyncIterator[SqliteJournal]:
    opened = await SqliteJournal.open(tmp_path / "journal.db")
    yield opened
    await opened.aclose()


async def advance(journal: SqliteJournal, record: SwapRecord, *intents: Intent, final: bool = False) -> SwapRecord:
    return await journal.advance(
        record, state={"state": "next"}, is_final=final, event="it went on", now=20, intents=intents
    )


async def test_a_swap_is_read_back_as_it_was_written(journal: SqliteJournal) -> None:
    created = await journal.create(a_record(terms={"big": 2**70, "text": "ü"}))
    assert created == a_record(terms={"big": 2**70, "text": "ü"}, version=1)
    assert await journal.load(created.swap_id) == created
    assert await journal.load(SwapId("ff" * 16)) is None


async def test_a_state_its_intents_and_its_event_are_one_transaction(journal: SqliteJournal) -> None:
    record = await journal.create(a_record())
    await advance(journal, record, Intent("fund.source", {"raw": "00"}))
    with pytest.raises(JournalError, match="exists already"):
        await advance(journal, replace(record, version=2), Intent("fund.source", {"raw": "01"}))
    loaded = await journal.load(record.swap_id)
    assert loaded is not None
    assert (loaded.version, loaded.updated_at, loaded.state) == (2, 20, {"state": "next"})
    assert list(await journal.intents(record.swap_id)) == [Intent("fund.source", {"raw": "00"})]
    assert [(one["version"], one["event"], one["at"]) for one in await journal.events(record.swap_id)] == [
        (1, "created", 10),
        (2, "it went on", 20),
    ]


async def test_only_the_first_of_two_writers_moves_a_swap(journal: SqliteJournal) -> None:
    record = await journal.create(a_record())
    results = await asyncio.gather(*(advance(journal, record) for _ in range(20)), return_exceptions=True)
    assert sum(isinstance(one, SwapRecord) for one in results) == 1
    assert sum(isinstance(one, StaleSwap) for one in results) == 19


async def test_two_processes_on_one_file_cannot_both_move_a_swap(tmp_path: Path, journal: SqliteJournal) -> None:
    other = await SqliteJournal.open(tmp_path / "journal.db")
    record = await journal.create(a_record())
    seen = await other.load(record.swap_id)
    assert seen is not None
    await advance(journal, record)
    with pytest.raises(StaleSwap):
        await advance(other, seen, Intent("fund.source", {}))
    assert await journal.intents(record.swap_id) == ()
    await other.aclose()


async def test_terms_stay_when_a_step_brings_none(journal: SqliteJournal) -> None:
    record = await journal.create(a_record())
    agreed = await journal.advance(record, state={}, is_final=False, event="agreed", now=11, terms={"terms": "signed"})
    assert (await advance(journal, agreed)).terms == {"terms": "signed"}


async def test_a_known_idempotency_key_gives_the_first_swap(journal: SqliteJournal) -> None:
    first = await journal.create(a_record(1, idempotency_key="key"))
    # The provider is an answer to the request, not part of it.
    again = a_record(2, idempotency_key="key", request={"amount": "100000", "provider": "another"})
    assert await journal.create(again) == first
    assert len(await journal.list()) == 1


async def test_a_swap_is_found_by_its_role_and_key(journal: SqliteJournal) -> None:
    first = await journal.create(a_record(1, idempotency_key="key"))
    assert await journal.find(Role.TAKER, "key") == first
    assert await journal.find(Role.PROVIDER, "key") is None
    assert await journal.find(Role.TAKER, "another") is None


async def test_a_known_idempotency_key_with_another_request_is_an_error(journal: SqliteJournal) -> None:
    first = await journal.create(a_record(1, idempotency_key="key"))
    with pytest.raises(IdempotencyConflict) as caught:
        await journal.create(a_record(2, idempotency_key="key", request={"amount": "5", "provider": "one"}))
    assert caught.value.transfer_id == first.swap_id
    # Another role has keys of its own.
    await journal.create(a_record(3, role=Role.PROVIDER, idempotency_key="key", request={}))


async def test_a_swap_id_is_used_once(journal: SqliteJournal) -> None:
    await journal.create(a_record())
    with pytest.raises(JournalError, match="that id already"):
        await journal.create(a_record())


async def test_open_swaps_are_listed_newest_first(journal: SqliteJournal) -> None:
    for number in (1, 2, 3):
        await journal.create(a_record(number, role=Role.TAKER if number < 3 else Role.PROVIDER))
    done = await journal.load(SwapId(f"{1:032x}"))
    assert done is not None
    await advance(journal, done, final=True)

    def numbers(records: object) -> list[int]:
        return [int(one.swap_id, 16) for one in records]  # type: ignore[attr-defined]  # a sequence of records

    assert numbers(await journal.list()) == [3, 2, 1]
    assert numbers(await journal.list(open_only=True)) == [3, 2]
    assert numbers(await journal.list(role=Role.TAKER, open_only=True)) == [2]


async def test_one_hash_is_funded_by_one_open_swap_only(journal: SqliteJournal) -> None:
    first, second = await journal.create(a_record(1)), await journal.create(a_record(2))
    funding = await advance(journal, first, Intent("fund.source", {}))
    with pytest.raises(FundsRulesError):
        await advance(journal, second, Intent("fund.source", {}))
    assert await journal.load(second.swap_id) == second
    # Once the first funding is over the hash is free.
    await advance(journal, funding, final=True)
    await advance(journal, second, Intent("fund.source", {}))


async def test_the_first_outcome_of_an_intent_stays(journal: SqliteJournal) -> None:
    record = await journal.create(a_record())
    await advance(journal, record, Intent("fund.source", {"raw": "00"}))
    await journal.record_outcome(record.swap_id, "fund.source", {"answer": "taken"})
    await journal.record_outcome(record.swap_id, "fund.source", {"answer": "rejected"})
    assert list(await journal.intents(record.swap_id)) == [Intent("fund.source", {"raw": "00"}, {"answer": "taken"})]


async def test_the_first_proof_stays(journal: SqliteJournal) -> None:
    record = await journal.create(a_record())
    assert await journal.load_proof(record.swap_id) is None
    await journal.save_proof(record.swap_id, b"first")
    await journal.save_proof(record.swap_id, b"second")
    assert await journal.load_proof(record.swap_id) == b"first"


async def test_a_single_send_is_recorded_once_for_each_key(journal: SqliteJournal) -> None:
    send = SendRecord("BOB", "key", "digest", "0x01", {"raw": "00"})
    assert await journal.find_send("BOB", "key") is None
    assert await journal.add_send(send) == send
    assert await journal.add_send(replace(send, tx_id="0x02", act={"raw": "01"})) == send
    assert await journal.find_send("BOB", "key") == send
    assert await journal.find_send("LIGHTNING", "key") is None
    with pytest.raises(IdempotencyConflict) as caught:
        await journal.add_send(replace(send, request="another"))
    assert caught.value.tx_id == "0x01"


async def test_a_single_send_is_found_by_its_transaction_with_and_without_a_key(journal: SqliteJournal) -> None:
    keyed = SendRecord("BOB", "rent", "digest", "0x01", {"raw": "00"})
    keyless = SendRecord("BOB", "0x02", "digest", "0x02", {"raw": "01"})
    # A key can be another transaction's id, as that of a payment which answers it.
    answer = SendRecord("BOB", "0x01", "digest", "0x03", {"raw": "02"})
    for send in (keyed, keyless, answer):
        await journal.add_send(send)
        assert await journal.find_send_of("BOB", send.tx_id) == send
        assert await journal.find_send_of("LIGHTNING", send.tx_id) is None
    assert await journal.find_send_of("BOB", "rent") is None


async def test_only_the_owner_may_read_the_files(tmp_path: Path) -> None:
    path = tmp_path / "new" / "journal.db"
    journal = await SqliteJournal.open(path)
    await journal.create(a_record())
    modes = {one.name: stat.S_IMODE(one.stat().st_mode) for one in path.parent.iterdir()}
    await journal.aclose()
    assert modes == {"journal.db": 0o600, "journal.db-wal": 0o600, "journal.db-shm": 0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


async def test_commits_survive_a_power_cut(journal: SqliteJournal) -> None:
    def pragmas(connection: object) -> tuple[str, int]:
        run = connection.exec_driver_sql  # type: ignore[attr-defined]  # a SQLAlchemy connection
        return run("PRAGMA journal_mode").scalar(), run("PRAGMA synchronous").scalar()

    assert await journal._database.read(pragmas) == ("wal", 2)


async def test_closing_leaves_no_thread_and_can_be_repeated(tmp_path: Path) -> None:
    before = threading.active_count()
    journal = await SqliteJournal.open(tmp_path / "journal.db")
    assert threading.active_count() == before + 1
    await journal.aclose()
    await journal.aclose()
    assert threading.active_count() == before
    with pytest.raises(JournalError, match="is closed"):
        await journal.list()


async def test_a_cancelled_caller_breaks_nothing(journal: SqliteJournal) -> None:
    record = await journal.create(a_record())
    write = asyncio.ensure_future(advance(journal, record, Intent("fund.source", {})))
    await asyncio.sleep(0)
    write.cancel()
    with pytest.raises(asyncio.CancelledError):
        await write
    # Either everything was written or nothing.
    loaded = await journal.load(record.swap_id)
    assert loaded is not None
    assert (loaded.version, len(await journal.intents(record.swap_id))) in {(1, 0), (2, 1)}


async def test_a_journal_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    path, before = tmp_path / "journal.db", threading.active_count()
    await (await SqliteJournal.open(path)).aclose()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    with pytest.raises(JournalError, match="newer version of layer2"):
        await SqliteJournal.open(path)
    assert threading.active_count() == before


async def test_what_is_no_journal_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("this is not a database, and long enough to be read as one" * 40)
    with pytest.raises(JournalError, match="not a database"):
        await SqliteJournal.open(tmp_path / "text")
    with pytest.raises(JournalError, match="cannot be opened"):
        await SqliteJournal.open(tmp_path)


async def test_errors_do_not_show_what_was_written(tmp_path: Path, journal: SqliteJournal) -> None:
    record = await journal.create(a_record())
    with sqlite3.connect(tmp_path / "journal.db") as connection:
        connection.execute("DROP TABLE intents")
    connection.close()
    with pytest.raises(JournalError) as caught:
        await advance(journal, record, Intent("collect.destination", {"secret": "hunter2"}))
    assert "hunter2" not in str(caught.value)


async def test_the_migrations_make_the_tables_of_the_schema(tmp_path: Path) -> None:
    await (await SqliteJournal.open(tmp_path / "journal.db")).aclose()
    engine = create_engine(f"sqlite:///{tmp_path / 'journal.db'}")
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []
    engine.dispose()
    config = Config()
    migrations = Path(layer2.swap_engine.__file__).parent / "migrations"
    config.set_main_option("script_location", str(migrations))
    assert ScriptDirectory.from_config(config).get_current_head() == HEAD


def write_until_killed(path: Path) -> int:
    """Advance one swap in a child process that is killed meanwhile; return the last version that it reported."""
    program = textwrap.dedent("""
        import asyncio, os, sys
        from pathlib import Path
        from layer2.interfaces import Intent, Role, SwapRecord
        from layer2.swap_engine.journal import SqliteJournal

        async def main():
            journal = await SqliteJournal.open(Path(sys.argv[1]))
            record = SwapRecord("ab" * 16, Role.TAKER, 0, {}, False, None, None, {}, None, 1, 1)
            record = await journal.create(record)
            while True:
                record = await journal.advance(
                    record, state={}, is_final=False, event="step", now=1,
                    intents=[Intent(f"collect.source.{record.version}", {})],
                )
                print(record.version, flush=True)

        asyncio.run(main())
    """)
    child = subprocess.Popen(
        [sys.executable, "-c", program, str(path)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert child.stdout is not None
    printed = [int(child.stdout.readline()) for _ in range(30)]
    child.send_signal(signal.SIGKILL)
    printed += [int(line) for line in child.stdout.read().split()]
    child.stdout.close()
    child.wait()
    return printed[-1]


async def test_what_was_committed_survives_sigkill(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    reported = await asyncio.to_thread(write_until_killed, path)
    journal = await SqliteJournal.open(path)
    record = await journal.load(SwapId("ab" * 16))
    assert record is not None
    # What was reported is there; one more commit may have come before its report.
    assert record.version - reported in (0, 1)
    assert len(await journal.intents(record.swap_id)) == record.version - 1
    await journal.aclose()
