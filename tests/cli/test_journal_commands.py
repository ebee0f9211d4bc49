"""``layer2 journal``, and the commands that only read, beside a process that acts."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cli.made_transfers import REQUEST
from cli.running import layer2, layer2_here
from cli.test_config_commands import home, init, written
from layer2.cli.journal_reading import guard_holders
from layer2.journal.file_guard import FileGuard
from layer2.journal.place import JournalPlace
from layer2.journal.sql_journal import SqlJournal
from layer2.model.transactions import SwapId
from layer2.ports.journal import JournalOwner, Role, SwapRecord
from layer2.swap_engine.records import write_request
from layer2.swap_rules.states import TakerAgreed, TakerCollecting, TakerPlanned, write_state
from layer2.terms.signing import write_signed_terms
from proofs import made_proofs as made

__all__ = ["home"]

STRANGER = JournalOwner("seed", "00" * 8)
NETWORK = JournalOwner("network", "regtest")


@pytest.fixture
def journal(home: Path) -> Path:
    """The journal of the configuration, with the transfers of another seed."""
    init(home)
    path = home / "layer2-journal.sqlite"

    async def begin() -> None:
        journal = await SqlJournal.open(path)
        await journal.add_owners([NETWORK, STRANGER])
        await journal.aclose()

    asyncio.run(begin())
    return path


@pytest.fixture
def acting(journal: Path) -> Iterator[str]:
    """The pid of a process that acts on the journal: this one."""
    guard = FileGuard(journal)
    asyncio.run(guard.take())
    holders = guard_holders(JournalPlace(journal))
    assert holders is not None
    (process,) = holders.processes
    yield process
    asyncio.run(guard.give_back())
    assert guard_holders(JournalPlace(journal)) is None


def shown(home: Path) -> Any:
    ran = layer2_here("journal", "show", "--json", cwd=home)
    assert ran.status == 0, ran.err
    return ran.envelope["data"]


def test_owners_are_shown_and_added_only_with_yes(home: Path, journal: Path) -> None:
    before = shown(home)
    assert before["place"] == str(journal)
    assert {(each["kind"], each["is_configured"]) for each in before["owners"]} == {("network", True), ("seed", False)}
    asked = layer2_here("journal", "add", "--json", cwd=home)
    assert asked.status == 4
    assert {each["kind"] for each in asked.envelope["data"]["owners"]} == {"account", "seed"}
    assert "layer2 journal add --yes" in asked.err
    assert shown(home)["owners"] == before["owners"]
    added = layer2_here("journal", "add", "--yes", "--json", cwd=home)
    assert added.status == 0, added.err
    owners = shown(home)["owners"]
    assert [each["value"] for each in owners if not each["is_configured"]] == [STRANGER.value]
    assert sorted(each["kind"] for each in owners) == ["account", "account", "account", "network", "seed", "seed"]
    again = layer2_here("journal", "add", "--yes", "--json", cwd=home)
    assert (again.status, again.envelope["data"]["owners"]) == (0, [])


def test_one_owner_alone_can_be_added(home: Path, journal: Path) -> None:
    assert layer2_here("journal", "add", "seed", "--yes", "--json", cwd=home).status == 0
    assert sorted(each["kind"] for each in shown(home)["owners"]) == ["network", "seed", "seed"]
    assert layer2_here("journal", "add", "seed", "ff" * 8, "--yes", "--json", cwd=home).status == 3


def test_doctor_finds_the_journal_of_another_seed(home: Path, journal: Path) -> None:
    found = layer2_here("doctor", "--config", "layer2.toml", "--json", cwd=home).envelope["data"]["findings"]
    (owner,) = [each for each in found if each["subject"] == "journal owner"]
    assert owner["level"] == "FAIL"
    assert STRANGER.value in owner["text"]
    assert "layer2 journal add --config layer2.toml" in owner["remedy"]


def test_what_reads_works_beside_a_process_that_acts(home: Path, acting: str) -> None:
    layer2_here("journal", "add", "--yes", cwd=home)
    assert shown(home)["held_by"] == acting
    assert layer2_here("list", "--json", cwd=home).envelope["data"] == {"transfers": []}
    assert layer2_here("show", "00" * 16, "--json", cwd=home).envelope["error"]["code"] == "unknown_transfer"


def test_what_acts_is_refused_beside_another_process_with_its_pid_and_the_remedy(home: Path, acting: str) -> None:
    layer2_here("journal", "add", "--yes", cwd=home)
    busy = layer2("resume", "--json", cwd=home)
    assert (busy.status, busy.envelope["error"]["code"]) == (4, "journal_busy")
    assert f"process {acting}" in busy.err
    assert "wait until it ends, or stop it" in busy.err
    assert "nothing was sent" not in busy.err


def test_a_mistyped_journal_is_named_and_not_made(home: Path) -> None:
    init(home)
    elsewhere = home / "mistyped" / "journal.sqlite"
    listed = layer2_here("list", cwd=home, LAYER2_JOURNAL__PATH=str(elsewhere))
    assert listed.status == 0
    assert f"no transfers yet: the journal {elsewhere} does not exist" in listed.out
    one = layer2_here("show", "00" * 16, "--json", cwd=home, LAYER2_JOURNAL__PATH=str(elsewhere))
    assert one.status == 1
    assert str(elsewhere) in one.err
    assert layer2_here("journal", "show", "--json", cwd=home, LAYER2_JOURNAL__PATH=str(elsewhere)).status == 1
    assert not elsewhere.parent.exists()


def test_one_transfer_is_named_by_its_id_or_by_its_key(home: Path) -> None:
    init(home)
    written(home / "layer2-journal.sqlite", "")
    for words in (("show",), ("show", "00" * 16, "--key", "rent"), ("wait",)):
        ran = layer2_here(*words, "--json", cwd=home)
        assert ran.status == 3, ran.err
        assert "name one transfer" in ran.err


def add_swaps(journal: Path, *swaps: SwapRecord) -> None:
    async def add() -> None:
        opened = await SqlJournal.open(journal)
        for swap in swaps:
            await opened.create(swap)
        await opened.aclose()

    asyncio.run(add())


def a_plan(number: int, now: float) -> SwapRecord:
    """A transfer that was planned some time ago; nothing is agreed yet."""
    return SwapRecord(
        swap_id=SwapId(f"{number:032x}"),
        role=Role.TAKER,
        version=0,
        state=write_state(TakerPlanned()),
        is_final=False,
        payment_hash=bytes([number]) * 32,
        terms=None,
        request=write_request(REQUEST),
        provider_name="local",
        quote_id=f"{number:032x}",
        access=bytes(32),
        idempotency_key=None,
        holds_key=True,
        attention=None,
        created_at=int(now),
        updated_at=int(now),
    )


def doctors(home: Path, subject: str) -> list[Any]:
    found = layer2_here("doctor", "--config", "layer2.toml", "--json", cwd=home).envelope["data"]["findings"]
    return [each for each in found if each["subject"] == subject]


def test_doctor_shows_how_many_transfers_are_open_and_the_nearest_deadline(home: Path, journal: Path) -> None:
    assert doctors(home, "transfers") == [
        {"level": "ok", "subject": "transfers", "text": "none is open", "remedy": None}
    ]
    now = time.time()
    add_swaps(journal, a_plan(1, now), replace(a_plan(2, now - 300), attention="the BOB node cannot be read"))
    (found,) = doctors(home, "transfers")
    assert found["level"] == "warn"
    assert found["text"].startswith(f"2 open; the nearest deadline is that of {2:032x}: act now: your deadline ")
    assert found["text"].endswith("has passed; no process drives them")
    assert found["remedy"] == "before the deadline: layer2 resume --config layer2.toml"
    (urgent,) = doctors(home, f"transfer {2:032x}")
    assert (urgent["level"], urgent["text"]) == ("warn", "the BOB node cannot be read")


def test_doctor_finds_a_process_that_has_the_journal_and_is_stopped(home: Path, journal: Path) -> None:
    program = (
        "import asyncio, sys, time\nfrom pathlib import Path\nfrom layer2.journal.file_guard import FileGuard\n"
        "asyncio.run(FileGuard(Path(sys.argv[1])).take())\nprint('has it', flush=True)\ntime.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(journal)], stdout=subprocess.PIPE) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"has it\n"
            (running,) = doctors(home, "journal guard")
            assert (running["level"], running["text"]) == ("ok", f"process {holder.pid} drives the transfers")
            holder.send_signal(signal.SIGSTOP)
            os.waitid(os.P_PID, holder.pid, os.WSTOPPED | os.WNOWAIT)
            (stopped,) = doctors(home, "journal guard")
            assert stopped["level"] == "FAIL"
            assert f"process {holder.pid} has the journal and is stopped" in stopped["text"]
            assert f"kill -CONT {holder.pid}" in stopped["remedy"]
            assert f"process {holder.pid}, which is stopped" in layer2_here("journal", "show", cwd=home).out
        finally:
            holder.kill()


def test_the_journal_shows_the_states_that_list_shows(home: Path, journal: Path) -> None:
    arrived = replace(
        a_plan(1, time.time()),
        state=write_state(TakerCollecting(None, None, has_arrived=True, final_at=None)),
        terms=write_signed_terms(made.signed(made.terms())),
    )
    add_swaps(journal, arrived)
    layer2_here("journal", "add", "--yes", cwd=home)
    (listed,) = layer2_here("list", "--json", cwd=home).envelope["data"]["transfers"]
    assert listed["state"] == "arrived"
    assert shown(home)["states"] == [{"role": "taker", "state": "arrived", "count": 1}]


def registered(home: Path, *swaps: SwapRecord) -> Path:
    """The configuration's journal, which has these swaps and a register."""
    init(home)
    path = home / "layer2-journal.sqlite"

    async def begin() -> None:
        journal = await SqlJournal.open(path, home / "layer2-journal.sqlite.register")
        await journal.act()
        for swap in swaps:
            await journal.create(swap)
        await journal.aclose()

    asyncio.run(begin())
    return path


def agreed() -> SwapRecord:
    return replace(
        a_plan(1, time.time()), state=write_state(TakerAgreed()), terms=write_signed_terms(made.signed(made.terms()))
    )


def test_a_lost_journal_is_restored_and_its_transfers_are_listed(home: Path) -> None:
    journal = registered(home, agreed())
    refused = layer2_here("restore", "--json", cwd=home)
    assert (refused.status, refused.envelope["error"]["code"]) == (3, "exists")
    lose(journal)
    (lost,) = doctors(home, "journal")
    assert (lost["level"], "layer2 restore --config" in lost["remedy"]) == ("FAIL", True)
    restored = layer2_here("restore", "--json", cwd=home)
    assert restored.status == 0, restored.err
    assert restored.envelope["data"]["open_swaps"] == 1
    (transfer,) = layer2_here("list", "--json", cwd=home).envelope["data"]["transfers"]
    assert transfer["transfer_id"] == f"{1:032x}"


def lose(journal: Path) -> None:
    for file in journal.parent.glob(f"{journal.name}*"):
        if not file.name.endswith((".register", ".register-wal", ".register-shm")):
            file.unlink()


def test_a_new_journal_beside_the_register_of_a_lost_one_starts_nothing(home: Path) -> None:
    lose(registered(home, agreed()))
    refused = layer2_here("resume", "--json", cwd=home)
    assert (refused.status, refused.envelope["error"]["code"]) == (1, "register_of_another")
    assert "layer2 restore" in refused.err
    assert layer2_here("restore", "--json", cwd=home).status == 0


def test_a_register_that_is_lost_is_made_again_only_with_yes(home: Path) -> None:
    registered(home, agreed())
    for file in home.glob("*.register*"):
        file.unlink()
    refused = layer2_here("resume", "--json", cwd=home)
    assert (refused.status, refused.envelope["error"]["code"]) == (1, "register_missing")
    assert "layer2 journal renew-register" in refused.err
    assert layer2_here("journal", "renew-register", "--json", cwd=home).status == 4
    made_again = layer2_here("journal", "renew-register", "--yes", "--json", cwd=home)
    assert made_again.envelope["data"]["open_swaps"] == 1


def test_a_register_is_released_only_with_yes(home: Path) -> None:
    registered(home, agreed())
    refused = layer2_here("journal", "release-register", "--json", cwd=home)
    assert (refused.status, refused.envelope["data"]["released"]) == (4, False)
    assert "layer2 journal release-register --yes" in refused.err
    released = layer2_here("journal", "release-register", "--yes", "--json", cwd=home)
    assert released.envelope["data"]["released"] is True
