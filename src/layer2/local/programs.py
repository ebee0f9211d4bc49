"""Programs of this package as child processes: each writes a file when it is ready, and ends with this process."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from layer2.errors import ConfigurationError, Layer2Error

__all__ = ["ChildProgram", "entered"]

T = TypeVar("T")

_START_SECONDS = 120.0
"""Several start at the same time, on a busy machine too. One that ends is noticed at once."""
_STOP_SECONDS = 20.0


class ChildProgram:
    """A program in a child process. It takes ``--ready-file`` and ``--with-parent``, and ends if this process dies.

    Args:
        name: for errors.
        words: how Python is started, and the program's arguments.
        ready: the file that it writes when it is ready, an object of JSON.
        log: the file to which its output is appended.
        environment: variables in addition to those of this process.
    """

    def __init__(
        self, name: str, words: Sequence[str], ready: Path, log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self._name = name
        self._words = words
        self._ready = ready
        self._log = log
        self._environment = environment or {}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def process_id(self) -> int:
        """The process, while it runs."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> dict[str, Any]:
        """Start it and wait until it is ready; return what it announces.

        Raises:
            Layer2Error: it did not start; names its log.
        """
        self._ready.unlink(missing_ok=True)
        command = [sys.executable, *self._words]
        command += ["--ready-file", str(self._ready), "--with-parent", str(os.getpid())]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603  # the caller names the program
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=os.environ | self._environment
            )
        try:
            return self._await_ready()
        except BaseException:
            self.stop()
            raise

    def kill(self) -> None:
        """Kill it, and wait until it has ended."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """Ask it to end, wait, and kill it if it still runs. Does nothing if it was not started."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _await_ready(self) -> dict[str, Any]:
        assert self._process is not None
        give_up = time.monotonic() + _START_SECONDS
        while not self._ready.exists():
            try:
                # Returns at once if the process ends; else the loop checks again.
                status = self._process.wait(0.05)
            except subprocess.TimeoutExpired:
                if time.monotonic() < give_up:
                    continue
                what = f"was not ready within {_START_SECONDS:g} s"
            else:
                what = f"ended while it started, with status {status}"
            raise Layer2Error(f"{self._name} {what}", code="provider_start", remedy=f"its log is {self._log}")
        try:
            return dict(json.loads(self._ready.read_text()))
        except (TypeError, ValueError) as error:
            raise ConfigurationError(f"{self._ready} is malformed", remedy=f"its log is {self._log}") from error


@asynccontextmanager
async def entered(manager: AbstractContextManager[T]) -> AsyncIterator[T]:
    """Enter and leave a context whose both ends block, such as a ``LocalProvider``, without blocking the event loop."""
    value = await asyncio.to_thread(manager.__enter__)
    try:
        yield value
    finally:
        await asyncio.to_thread(manager.__exit__, None, None, None)
