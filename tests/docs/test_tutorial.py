"""The tutorial's commands, typed one after the other."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from docs.examples import examples
from layer2.proofs.check import check_proof
from layer2.proofs.model import ProofOutcome, TransferProof
from layer2.proofs.policy import OFFLINE

pytestmark = pytest.mark.xdist_group("docs")

SECOND_TERMINAL, THIRD_TERMINAL = "# second terminal\n", "# third terminal\n"
READY = Path("provider", "provider-ready.json")


class Shell:
    """Someone's terminals. What was started in the other ones is interrupted at the end, as by Ctrl-C."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        places = [str(Path(sys.executable).parent), os.environ["PATH"]]
        outside = {name: value for name, value in os.environ.items() if not name.startswith("LAYER2_")}
        self._environment = outside | {"XDG_STATE_HOME": str(directory / "state"), "PATH": os.pathsep.join(places)}
        self._others: list[subprocess.Popen[bytes]] = []

    def type(self, commands: str) -> str:
        finished = subprocess.run(
            ["bash", "-e", "-c", commands],
            cwd=self._directory,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=110,
        )
        assert finished.returncode == 0, f"{commands}\n{finished.stdout}\n{finished.stderr}"
        return finished.stdout

    def type_in_another_terminal(self, command: str, until_there: Path | None = None) -> None:
        log = (self._directory / f"terminal-{len(self._others)}.log").open("wb")
        with log:
            process = subprocess.Popen(
                ["bash", "-c", f"exec {command}"],
                cwd=self._directory,
                # Whatever else runs on this machine, the provider finds a port.
                env=self._environment | {"LAYER2_LISTEN_PORT": "0"},
                stdout=log,
                stderr=log,
            )
        self._others.append(process)
        give_up = time.monotonic() + 60
        while until_there is not None and not (self._directory / until_there).exists():
            try:
                process.wait(timeout=0.02)
            except subprocess.TimeoutExpired:
                assert time.monotonic() < give_up, Path(log.name).read_text()
            else:
                raise AssertionError(Path(log.name).read_text())

    def leave(self) -> None:
        for process in reversed(self._others):
            process.terminate()
            process.wait(timeout=30)


def typed(shell: Shell, page: str) -> list[str]:
    """What the commands of a page print. The last one stops the network."""
    commands = [example.text for example in examples("sh") if example.page.name == page]
    *before, last = commands
    assert last == "layer2 simnet down\n"
    said = []
    try:
        for each in before:
            if each.startswith(SECOND_TERMINAL):
                shell.type_in_another_terminal(each.removeprefix(SECOND_TERMINAL).strip(), READY)
            elif each.startswith(THIRD_TERMINAL):
                shell.type_in_another_terminal(each.removeprefix(THIRD_TERMINAL).strip())
            else:
                said.append(shell.type(each))
    finally:
        shell.leave()
        shell.type(last)
    return said


@pytest.mark.timeout(300)
def test_the_tutorial_s_commands_do_what_it_says(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    said = typed(shell, "tutorial.md")
    assert len(said) == 6
    assert (tmp_path / "transfer.json").is_file()
    transferred, offline, other_pair = said[-3:]
    assert "100,000" in transferred
    assert "exit status 4" in offline
    assert "50,000" in other_pair
    # The command that was typed twice with one key paid once.
    assert len(json.loads(shell.type("layer2 list --json"))["data"]["transfers"]) == 2


@pytest.mark.timeout(300)
def test_the_commands_of_the_page_on_submarine_swaps_move_bitcoin_both_ways(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    demo, *_, there, back = typed(shell, "submarine-swaps.md")
    assert "refused   inclusion" in demo
    assert "100,000" in there
    assert "50,000" in back
    for name in ("to-lightning", "to-bitcoin"):
        assert check_proof(TransferProof.load(tmp_path / f"{name}.json"), OFFLINE).outcome is ProofOutcome.COMPLETED
    transfers = json.loads(shell.type("layer2 list --json"))["data"]["transfers"]
    assert [each["state"] for each in transfers] == ["completed"] * 2
