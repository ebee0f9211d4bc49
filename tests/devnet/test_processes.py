"""Processes end with their parent, and are identified before they are signalled, never by id alone."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from layer2.errors import ConfigurationError
from layer2.local.processes import ProcessRecord, load_records, save_records, start, stop

START_A_CHILD = """
import sys
from pathlib import Path
from layer2.local.processes import start
child = start("sleeper", ["sleep", "600"], Path(sys.argv[1]))
print(child.record.pid, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def sleeper() -> Iterator[ProcessRecord]:
    with subprocess.Popen(["sleep", "600"]) as process:
        yield ProcessRecord.of("sleeper", process.pid)
        process.kill()


def test_a_child_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", START_A_CHILD, str(tmp_path / "log")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = os.pidfd_open(int(parent.stdout.readline()))
        assert select.select([child], [], [], 0)[0] == []
        parent.send_signal(signal.SIGKILL)
    assert select.select([child], [], [], 10)[0] == [child]
    os.close(child)


async def test_returns_the_exit_status_of_a_child(tmp_path: Path) -> None:
    child = start("shell", ["sh", "-c", "echo words; exit 7"], tmp_path / "log")
    assert await child.ended() == 7
    assert child.log.read_text() == "words\n"


def test_a_child_that_ended_at_once_is_on_record_and_does_not_run(tmp_path: Path) -> None:
    child = start("shell", ["true"], tmp_path / "log")
    os.waitid(os.P_PID, child.record.pid, os.WEXITED | os.WNOWAIT)
    assert ProcessRecord.of("shell", child.record.pid) == child.record
    assert not child.record.is_running()
    assert child.process.wait() == 0


def test_stop_ends_what_the_record_names(sleeper: ProcessRecord) -> None:
    assert sleeper.is_running()
    stop([sleeper], grace=10)
    assert not sleeper.is_running()


def test_stop_kills_a_process_that_does_not_listen() -> None:
    command = ["sh", "-c", "trap '' TERM; echo deaf; while :; do sleep 600; done"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"deaf\n"
        stop([ProcessRecord.of("deaf", process.pid)], grace=0.05)
        assert process.wait() == -signal.SIGKILL
        os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.parametrize("other", [{"started": 1}, {"boot_id": "of another boot"}], ids=["start", "boot"])
def test_stop_leaves_a_process_alone_that_only_has_the_same_number(
    sleeper: ProcessRecord, other: dict[str, int | str]
) -> None:
    stale = replace(sleeper, **other)  # type: ignore[arg-type]  # one field of either type
    assert not stale.is_running()
    stop([stale], grace=0)
    assert sleeper.is_running()


def test_records_survive_in_a_file(tmp_path: Path, sleeper: ProcessRecord) -> None:
    save_records(tmp_path / "processes.json", [sleeper])
    assert load_records(tmp_path / "processes.json") == (sleeper,)
    assert load_records(tmp_path / "missing.json") == ()


@pytest.mark.parametrize("text", ["", "{}x", '[{"pid": 1}]', "[7]"])
def test_refuses_a_file_that_lists_no_processes(tmp_path: Path, text: str) -> None:
    (tmp_path / "processes.json").write_text(text)
    with pytest.raises(ConfigurationError, match="does not list processes"):
        load_records(tmp_path / "processes.json")
