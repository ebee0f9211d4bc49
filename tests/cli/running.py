"""Running ``layer2`` as a shell does: a process, its two outputs, and its status."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from layer2.cli.app import run

__all__ = ["Ran", "layer2", "layer2_here"]

PROGRAM = [sys.executable, "-c", "from layer2.cli import main; main()"]


@dataclass(frozen=True, slots=True)
class Ran:
    """What a run has left."""

    status: int
    out: str
    err: str

    @property
    def envelope(self) -> dict[str, Any]:
        """The one JSON object that stdout must be under ``--json``."""
        content: dict[str, Any] = json.loads(self.out)
        assert set(content) == {"schema", "ok", "data", "error", "warnings"}
        assert content["schema"] == 1
        assert content["ok"] is (content["error"] is None)
        return content


def layer2(*words: str, cwd: Path, timeout: float = 60, **environment: str) -> Ran:
    """Run a command line in a directory."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("LAYER2_")}
    finished = subprocess.run(
        [*PROGRAM, *words],
        cwd=cwd,
        env=clean | environment | {"COLUMNS": "110"},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=timeout,
        check=False,
    )
    return Ran(finished.returncode, finished.stdout, finished.stderr)


def layer2_here(*words: str, cwd: Path, **environment: str) -> Ran:
    """The same in this process, which is quicker; not for an async test, since the program has a loop of its own."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("LAYER2_")}
    root, out, err = logging.getLogger(), io.StringIO(), io.StringIO()
    handlers, level = root.handlers[:], root.level
    try:
        with (
            contextlib.chdir(cwd),
            mock.patch.dict(os.environ, clean | environment | {"COLUMNS": "110"}, clear=True),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            status = run(words)
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
    return Ran(status, out.getvalue(), err.getvalue())
