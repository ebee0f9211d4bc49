"""``layer2 journal``, and the commands that only read, beside a process that acts."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.running import layer2, layer2_here
from cli.test_config_commands import home, init, written
from layer2.cli.guard_state import guard_holder
from layer2.ports.journal import JournalOwner
from layer2.swap_engine.journal import SqliteJournal
from layer2.swap_engine.process_guard import ProcessGuard

__all__ = ["home"]

STRANGER = JournalOwner("seed", "00" * 8)
NETWORK = JournalOwner("network", "regtest")


@pytest.fixture
def journal(home: Path) -> Path:
    """The journal of the configuration, with the transfers of another seed."""
    init(home)
    path = home / "layer2-journal.sqlite"

    async def begin() -> None:
        journal = await SqliteJournal.open(path)
        await journal.add_owners([NETWORK, STRANGER])
        await journal.aclose()

    asyncio.run(begin())
    return path


@pytest.fixture
def acting(journal: Path) -> Iterator[str]:
    """The pid of a process that acts on the journal: this one."""
    guard = ProcessGuard(journal)
    guard.take()
    holder = guard_holder(journal)
    assert holder is not None
    yield holder
    guard.give_back()
    assert guard_holder(journal) is None


def shown(home: Path) -> Any:
    ran = layer2_here("journal", "show", "--json", cwd=home)
    assert ran.status == 0, ran.err
    return ran.envelope["data"]


def test_owners_are_shown_and_added_only_with_yes(home: Path, journal: Path) -> None:
    before = shown(home)
    assert before["path"] == str(journal)
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
    assert sorted(each["kind"] for each in owners) == ["account", "account", "network", "seed", "seed"]
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
