"""Several processes on one journal: one acts, the others read, and commits survive a killed process."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from journal.test_journal import a_record
from layer2.errors import JournalBusy, JournalError
from layer2.journal.sql_journal import SqlJournal
from layer2.model.transactions import SwapId


def inode(path: str) -> int | None:
    """The number of a file, or None where it does not exist."""
    return os.stat(path).st_ino if os.path.exists(path) else None


def child(program: str, place: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program), str(place)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


async def test_a_second_object_in_this_process_keeps_what_the_first_commits(tmp_path: Path) -> None:
    """POSIX drops all locks of a process on a file when the process closes any descriptor of it. A process that then
    closes its last connection would delete the write-ahead log into which this process still writes."""
    path = tmp_path / "journal.db"
    first = await SqlJournal.open(path)
    await first.create(a_record())
    second = await SqlJournal.open(path)
    before = inode(f"{path}-wal")
    program = """
        import sqlite3, sys
        connection = sqlite3.connect(sys.argv[1])
        connection.execute("select count(*) from swaps").fetchall()
        connection.close()
    """
    other = child(program, path)
    other.communicate()
    assert other.returncode == 0
    assert inode(f"{path}-wal") == before
    await first.aclose()
    await second.aclose()


async def test_a_second_process_that_wants_to_act_is_refused_and_learns_which_one_acts(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    program = """
        import asyncio, sys
        from pathlib import Path
        from layer2.journal.sql_journal import SqlJournal

        async def main():
            journal = await SqlJournal.open(Path(sys.argv[1]))
            await journal.act()
            print("acting", flush=True)
            sys.stdin.readline()

        asyncio.run(main())
    """
    other = child(program, path)
    assert other.stdout is not None
    assert other.stdout.readline() == "acting\n"
    journal = await SqlJournal.open(path)
    with pytest.raises(JournalBusy, match=f"process {other.pid} acts") as caught:
        await journal.act()
    assert (caught.value.code, caught.value.remedy is not None) == ("journal_busy", True)
    # Reading needs no lock.
    assert await journal.list() == ()
    # The operating system releases the lock when the process ends for any reason.
    other.send_signal(signal.SIGKILL)
    other.communicate()
    await journal.act()
    await journal.act()
    await journal.aclose()


async def test_two_journals_of_one_process_do_not_both_act(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    first, second = await SqlJournal.open(path), await SqlJournal.open(path)
    await first.act()
    assert stat.S_IMODE((tmp_path / "journal.db.lock").stat().st_mode) == 0o600
    with pytest.raises(JournalBusy, match="this process already acts"):
        await second.act()
    await first.aclose()
    with pytest.raises(JournalError, match="closed"):
        await first.act()
    await second.act()
    await second.aclose()


def write_until_killed(path: Path) -> int:
    """Advance one swap in a child process until it is killed; return the last version that it reported."""
    program = """
        import asyncio, os, sys
        from pathlib import Path
        from layer2.ports.journal import Intent, Role, SwapRecord
        from layer2.journal.sql_journal import SqlJournal

        async def main():
            journal = await SqlJournal.open(Path(sys.argv[1]))
            record = SwapRecord(
                swap_id="ab" * 16, role=Role.TAKER, state={}, payment_hash=None, request={}, quote_id=None,
                access=None, created_at=1, updated_at=1,
            )
            record = await journal.create(record)
            while True:
                record = await journal.advance(
                    record, state={}, is_final=False, event="step", now=1,
                    intents=[Intent(record.version, "collect", "source", {})],
                )
                print(record.version, flush=True)

        asyncio.run(main())
    """
    writer = child(program, path)
    assert writer.stdout is not None
    printed = [int(writer.stdout.readline()) for _ in range(30)]
    writer.send_signal(signal.SIGKILL)
    printed += [int(line) for line in writer.communicate()[0].split()]
    return printed[-1]


async def test_what_was_committed_survives_sigkill(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    reported = write_until_killed(path)
    journal = await SqlJournal.open(path)
    record = await journal.load(SwapId("ab" * 16))
    assert record is not None
    # All reported versions exist; one more may be committed but not reported.
    assert record.version - reported in (0, 1)
    assert len(await journal.intents(record.swap_id)) == record.version - 1
    await journal.aclose()


async def test_a_full_disk_does_not_prevent_acting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "no space left on device")

    path = tmp_path / "journal.db"
    first, second = await SqlJournal.open(path), await SqlJournal.open(path)
    monkeypatch.setattr(os, "pwrite", full)
    await first.act()
    with pytest.raises(JournalBusy, match="that is starting"):
        await second.act()
    await first.aclose()
    await second.aclose()
