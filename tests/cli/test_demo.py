"""``layer2 demo`` as a newcomer runs it, and what is left when it is stopped in the middle."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from pathlib import Path

import pytest

from cli.running import PROGRAM, layer2
from layer2.cli.demo_network import PROCESS_IDS
from layer2.proofs.check import check_proof
from layer2.proofs.model import ProofOutcome, TransferProof
from layer2.proofs.policy import OFFLINE

pytestmark = pytest.mark.xdist_group("demo")

SECONDS = 60.0


def pidfds(ids: list[int]) -> list[int]:
    """Descriptors of those processes that still run; each becomes readable when its process ends."""
    found = []
    for process_id in ids:
        try:
            found.append(os.pidfd_open(process_id))
        except ProcessLookupError:
            continue
    return found


def all_end(ids: list[int]) -> bool:
    """Whether all these processes end within the time that the test has."""
    give_up = time.monotonic() + SECONDS
    waiting = pidfds(ids)
    while waiting and time.monotonic() < give_up:
        readable, _, _ = select.select(waiting, [], [], give_up - time.monotonic())
        for descriptor in readable:
            waiting.remove(descriptor)
            os.close(descriptor)
    for descriptor in waiting:
        os.close(descriptor)
    return not waiting


def read_ids(path: Path, count: int, process: subprocess.Popen[bytes]) -> list[int]:
    """The ids that the demo has recorded, once there are so many."""
    give_up = time.monotonic() + SECONDS
    while time.monotonic() < give_up:
        ids = path.read_text().split() if path.exists() else []
        if len(ids) >= count:
            return [int(each) for each in ids]
        # Returns at once where the process ends, and else looks again.
        try:
            process.wait(0.05)
        except subprocess.TimeoutExpired:
            continue
        break
    raise AssertionError("the demo recorded no process ids")


def test_a_demo_that_cannot_make_its_directory_fails_before_it_starts_anything(tmp_path: Path) -> None:
    (tmp_path / "here").write_text("a file in the way")
    ran = layer2("demo", "--directory", "here", cwd=tmp_path, timeout=30)
    assert ran.status == 3
    assert "[unwritable_directory] the directory here/proofs cannot be created" in ran.err
    assert "name one: --directory" in ran.err
    assert "1 of 2" not in ran.err


def test_the_demo_moves_money_both_ways_and_refuses_five_forgeries(tmp_path: Path) -> None:
    ran = layer2("demo", "--json", "--directory", "here", cwd=tmp_path, timeout=100)
    assert ran.status == 0, ran.err
    data = ran.envelope["data"]
    assert data["faults"] == []
    assert len(data["forgeries_refused"]) == 5
    assert len(data["proof_files"]) == 2
    for file in data["proof_files"]:
        assert check_proof(TransferProof.load(tmp_path / file), OFFLINE).outcome is ProofOutcome.COMPLETED
    books = data["balances"]
    for layer in ("bob", "lightning"):
        assert sum(one[f"{layer}_after"] - one[f"{layer}_before"] for one in books.values()) == 0
    assert all(int(one["gas_wei"]) == int(one["receipts_wei"]) > 0 for one in books.values())
    for words in ("1 of 2", "2 of 2", "quoted", "completed", "act before", "UTC"):
        assert words in ran.err
    ids = [int(each) for each in (tmp_path / "here" / PROCESS_IDS).read_text().split()]
    assert len(ids) >= 2
    assert all_end(ids)


@pytest.mark.parametrize(
    ("pair", "forgeries"),
    [
        ("bitcoin:lightning", ["transaction changed", "funding changed", "header without work", "another preimage"]),
        ("lightning:bitcoin", ["another preimage", "transaction changed", "funding changed", "header without work"]),
        ("bob:rootstock", ["receipt changed"]),
    ],
)
def test_the_demo_of_a_pair_mines_its_blocks_and_makes_one_transfer(
    tmp_path: Path, pair: str, forgeries: list[str]
) -> None:
    ran = layer2("demo", "--json", "--pair", pair, cwd=tmp_path, timeout=100)
    assert ran.status == 0, ran.err
    data = ran.envelope["data"]
    assert data["faults"] == []
    assert list(data["forgeries_refused"]) == ["amount changed", "signed by another", *forgeries]
    (file,) = data["proof_files"]
    assert check_proof(TransferProof.load(tmp_path / file), OFFLINE).outcome is ProofOutcome.COMPLETED
    assert "1 of 1" in ran.err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=lambda number: number.name)
def test_a_demo_that_is_stopped_leaves_no_process(tmp_path: Path, number: signal.Signals) -> None:
    process = subprocess.Popen(
        [*PROGRAM, "demo", "--directory", str(tmp_path / "here")],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        # Network and provider have started; the transfers are about to.
        ids = read_ids(tmp_path / "here" / PROCESS_IDS, 2, process)
        process.send_signal(number)
        assert process.wait(SECONDS) != 0
        assert all_end(ids)
    finally:
        process.kill()
        process.wait()


def test_sigterm_ends_a_program_that_a_script_started_in_the_background(tmp_path: Path) -> None:
    """A shell without job control starts such programs with SIGINT ignored."""
    process = subprocess.Popen(
        ["sh", "-c", 'trap "" INT; exec "$@"', "sh", *PROGRAM, "demo", "--directory", str(tmp_path / "here")],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        ids = read_ids(tmp_path / "here" / PROCESS_IDS, 2, process)
        process.terminate()
        assert process.wait(SECONDS) not in (0, -signal.SIGTERM)
        assert all_end(ids)
    finally:
        process.kill()
        process.wait()
