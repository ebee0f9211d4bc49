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

pytestmark = pytest.mark.xdist_group("docs")

SECOND_TERMINAL = "# second terminal\n"


class Shell:
    """Someone's terminals. What was started in the second one is interrupted at the end, as by Ctrl-C."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        places = [str(Path(sys.executable).parent), os.environ["PATH"]]
        outside = {name: value for name, value in os.environ.items() if not name.startswith("LAYER2_")}
        self._environment = outside | {"XDG_STATE_HOME": str(directory / "state"), "PATH": os.pathsep.join(places)}
        self._second: subprocess.Popen[bytes] | None = None

    def type(self, commands: str) -> str:
        finished = subprocess.run(
            ["bash", "-e", "-c", commands],
            cwd=self._directory,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert finished.returncode == 0, f"{commands}\n{finished.stdout}\n{finished.stderr}"
        return finished.stdout

    def type_in_second_terminal(self, command: str, until_there: Path) -> None:
        log = (self._directory / "second-terminal.log").open("wb")
        with log:
            self._second = subprocess.Popen(
                ["bash", "-c", f"exec {command}"],
                cwd=self._directory,
                # Whatever else runs on this machine, the provider finds a port.
                env=self._environment | {"LAYER2_LISTEN_PORT": "0"},
                stdout=log,
                stderr=log,
            )
        give_up = time.monotonic() + 60
        while not (self._directory / until_there).exists():
            try:
                self._second.wait(timeout=0.02)
            except subprocess.TimeoutExpired:
                assert time.monotonic() < give_up, Path(log.name).read_text()
            else:
                raise AssertionError(Path(log.name).read_text())

    def leave(self) -> None:
        if self._second is not None:
            self._second.terminate()
            self._second.wait(timeout=30)


def test_the_tutorial_s_commands_do_what_it_says(tmp_path: Path) -> None:
    shell, said = Shell(tmp_path), []
    commands = [example.text for example in examples("sh") if example.page.name == "tutorial.md"]
    *before, last = commands
    assert last == "layer2 simnet down\n"
    try:
        for each in before:
            if each.startswith(SECOND_TERMINAL):
                shell.type_in_second_terminal(
                    each.removeprefix(SECOND_TERMINAL).strip(), Path("provider", "provider-ready.json")
                )
            else:
                said.append(shell.type(each))
    finally:
        shell.leave()
        shell.type(last)
    assert len(said) == 6
    assert (tmp_path / "transfer.json").is_file()
    transferred, offline, other_pair = said[-3:]
    assert "100,000" in transferred
    assert "exit status 4" in offline
    assert "50,000" in other_pair
    # The command that was typed twice with one key paid once.
    assert len(json.loads(shell.type("layer2 list --json"))["data"]["transfers"]) == 2
