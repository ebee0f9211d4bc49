"""Running ``layer2`` as a shell does: a process, its two outputs, and its status."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from forking import fork
from layer2.cli.app import run

__all__ = ["Ran", "layer2", "layer2_here", "no_traceback"]

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
    """Run a command line in a directory.

    It ends when the program and everything that it has started have closed their outputs, as in a shell's pipe.
    """
    clean = {name: value for name, value in os.environ.items() if not name.startswith("LAYER2_")}
    (out, its_out), (err, its_err) = os.pipe(), os.pipe()
    with open(its_out, "wb") as output, open(its_err, "wb") as errors:
        process = fork(
            "cli.program",
            words,
            output=output,
            errors=errors,
            directory=cwd,
            environment=clean | environment | {"COLUMNS": "110"},
        )
    with open(out, "rb") as its_output, open(err, "rb") as its_errors, ThreadPoolExecutor() as reading:
        texts = [reading.submit(each.read) for each in (its_output, its_errors)]
        try:
            status = process.wait(timeout)
        except TimeoutError:
            process.kill()
            raise
        return Ran(status, *(text.result().decode() for text in texts))


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


def no_traceback(ran: Ran) -> None:
    """Check that stderr has one error and no traceback."""
    assert "Traceback" not in ran.err
    assert ran.err.count("error:") == 1
