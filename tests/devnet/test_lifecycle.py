"""The end of a devnet ends all of its processes and no others."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from layer2.errors import ConfigurationError, NodeError
from layer2.local import devnet
from layer2.local.devnet.network import PROCESSES
from layer2.local.processes import ProcessRecord, load_records

START_AND_WAIT = """
import sys
from pathlib import Path
from layer2.local import devnet
devnet.up(Path(sys.argv[1]), with_parent=True)
print("up", flush=True)
sys.stdin.read()
"""


def wait_for_the_end_of(records: tuple[ProcessRecord, ...]) -> None:
    for record in records:
        try:
            descriptor = os.pidfd_open(record.pid)
        except ProcessLookupError:
            continue
        readable, _, _ = select.select([descriptor], [], [], 20)
        os.close(descriptor)
        assert readable, f"{record.name} still runs"
    assert not any(record.is_running() for record in records)


def command_lines_with(directory: Path) -> list[str]:
    """The processes of this machine with the directory in their command line."""
    found: list[str] = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        # A process may end before its files are read.
        with contextlib.suppress(OSError):
            line = process.read_text(errors="replace").replace("\0", " ")
            if str(directory) in line:
                found.append(line)
    return found


@pytest.mark.devnet
def test_down_ends_every_process_and_a_second_network_needs_the_first_to_be_down(
    built_nodes: None, tmp_path: Path
) -> None:
    lines: list[str] = []
    network = devnet.up(tmp_path, with_parent=True, progress=lines.append)
    records = load_records(tmp_path / PROCESSES)
    assert len(records) == 6
    assert network.process_ids == tuple(record.pid for record in records)
    assert devnet.status(tmp_path).network == network
    assert len(command_lines_with(tmp_path)) == 6
    assert lines[-1] == "Lightning: ready, a payment went through in each direction"
    with pytest.raises(ConfigurationError, match="runs in"):
        devnet.up(tmp_path)

    assert devnet.down(tmp_path)

    assert not any(record.is_running() for record in records)
    assert command_lines_with(tmp_path) == []
    assert devnet.status(tmp_path).network is None
    assert not devnet.down(tmp_path)


@pytest.mark.devnet
def test_a_network_that_goes_with_its_parent_ends_when_the_parent_is_killed(built_nodes: None, tmp_path: Path) -> None:
    command = [sys.executable, "-c", START_AND_WAIT, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"up\n"
        records = load_records(tmp_path / PROCESSES)
        assert all(record.is_running() for record in records)
        parent.send_signal(signal.SIGKILL)
    wait_for_the_end_of(records)


@pytest.mark.devnet
def test_a_network_ends_with_the_reason_when_a_node_ends_by_itself(built_nodes: None, tmp_path: Path) -> None:
    devnet.up(tmp_path, with_parent=True)
    records = load_records(tmp_path / PROCESSES)
    bitcoin = next(record for record in records if record.name == "btcd")
    os.kill(bitcoin.pid, signal.SIGKILL)
    wait_for_the_end_of(records)
    assert "btcd ended by itself with status -9" in (tmp_path / "devnet.log").read_text()
    assert devnet.status(tmp_path).network is None


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ("/geth --datadir", "op-geth of (BOB|ROOTSTOCK) did not create the first block"),
        ("/btcd --regtest", "btcd ended by itself with status 1"),
    ],
    ids=["op-geth", "btcd"],
)
def test_says_which_node_did_not_start_and_leaves_nothing_behind(
    go_stand_in: Path, monkeypatch: pytest.MonkeyPatch, broken: str, words: str
) -> None:
    monkeypatch.setenv("FAKE_BROKEN", broken)
    devnet.install(lambda line: None)
    with pytest.raises(NodeError, match=words):
        devnet.up(go_stand_in / "network")
    assert command_lines_with(go_stand_in / "network") == []


def test_a_start_that_takes_too_long_is_ended(go_stand_in: Path) -> None:
    devnet.install(lambda line: None)
    with pytest.raises(NodeError, match="was not ready in time"):
        devnet.up(go_stand_in / "network", timeout=1.0)
    assert command_lines_with(go_stand_in / "network") == []


def test_refuses_a_directory_that_holds_other_files(built_nodes: None, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ConfigurationError, match=r"thesis\.tex"):
        devnet.up(tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_there_is_nothing_to_stop_where_nothing_was_started(tmp_path: Path) -> None:
    assert not devnet.down(tmp_path)
    assert devnet.status(tmp_path) == devnet.DevnetStatus(None, ())
