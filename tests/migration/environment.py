"""The programs of the migration guide, and the environment in which they run."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "migration"
PROGRAMS = GUIDE / "programs"
_PYTHON = ROOT / ".venv-migration" / "bin" / "python"
_RUNNER = Path(__file__).parent / "runner.py"


def install() -> None:
    """Install the environment, if it is missing or older than its requirements."""
    # The processes of a parallel run wait for one of them.
    with (ROOT / ".venv-migration.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        command = ["make", "--silent", ".venv-migration/.ready"]
        subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=True)


def run(programs: Mapping[Path, Path]) -> dict[str, str]:
    """Run programs, each in its directory; return what each printed, by its name without the suffix."""
    arguments = [f"{program}={directory}" for program, directory in programs.items()]
    finished = subprocess.run(
        [str(_PYTHON), str(_RUNNER), *arguments], capture_output=True, text=True, timeout=240, check=False
    )
    assert finished.returncode == 0, finished.stderr
    assert "Exception ignored in atexit" not in finished.stderr, finished.stderr
    printed: dict[str, str] = json.loads(finished.stdout.splitlines()[-1])
    return {Path(program).stem: text for program, text in printed.items()}


def run_code(code: str, directory: Path) -> subprocess.CompletedProcess[str]:
    """Run code that can import the programs."""
    return subprocess.run(
        [str(_PYTHON), "-c", code],
        cwd=directory,
        env=os.environ | {"PYTHONPATH": str(PROGRAMS)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
