"""Programs that the tests fork from their server end like other processes, and with the process that wants them."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from forking import child_environment

PROGRAM = """
import os, signal, sys, time

def main():
    print(*sys.argv[1:], sys.stdin.read(), os.getcwd(), os.environ["TOLD"], flush=True)
    if sys.argv[1] == "ends":
        sys.exit(int(sys.argv[2]))
    if sys.argv[1] == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(600)
"""
FORKS = """
import os, sys, time
from pathlib import Path
from forking import PARENT, fork

os.environ["TOLD"] = "something"
with open("log", "wb") as log:
    print(fork("program", ["ends", "3"], output=log).wait(30))
    print(fork("program", ["dies"], output=log).wait(30))
    waiting = fork("program", ["waits", PARENT], output=log)
while len(Path("log").read_text().splitlines()) < 3:
    assert waiting.poll() is None
    time.sleep(0.01)
print(waiting.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "program.py").write_text(PROGRAM)
    return tmp_path


def test_they_end_like_other_processes_and_with_the_one_that_wants_them_even_by_sigkill(directory: Path) -> None:
    paths = os.pathsep.join([str(directory), child_environment()["PYTHONPATH"]])
    with subprocess.Popen(
        [sys.executable, "-c", FORKS], cwd=directory, env=os.environ | {"PYTHONPATH": paths}, stdout=subprocess.PIPE
    ) as wanting:
        assert wanting.stdout is not None
        ended, died, waits = (int(wanting.stdout.readline()) for _ in range(3))
        assert (ended, died) == (3, -signal.SIGKILL)
        descriptor = os.pidfd_open(waits)
        try:
            parent = Path(f"/proc/{waits}/stat").read_text().rpartition(")")[2].split()[1]
            wanting.kill()
            assert select.select([descriptor], [], [], 30)[0], "it outlives the process that wants it"
        finally:
            os.close(descriptor)
    lines = (directory / "log").read_text().splitlines()
    assert lines == [f"{what}  {directory} something" for what in ("ends 3", "dies", f"waits {parent}")]
