"""A party's process: started, killed, frozen, without a disk, and restarted whenever it ends by itself."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import signal
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from forking import PARENT, Forked, fork

__all__ = ["PartyProcess"]

_PAUSE_SECONDS = 0.5
_START_SECONDS = 30.0
"""After this time a process counts as started, even without any output."""
_LONGEST_LINE = 2**20


@dataclass
class PartyProcess:
    """The program of one party.

    Args:
        party: ``taker`` or ``provider``.
        directory: the directory of the run.
        heard: called with every line of JSON in its output.
    """

    party: str
    directory: Path
    heard: Callable[[dict[str, Any]], None]
    started: Callable[[], None]
    """Called after each start."""
    ended_by_itself: list[str] = field(default_factory=list)
    """Its last output, for each time that it ended without being killed."""
    _process: Forked | None = None
    _input: int | None = None
    """The descriptor of this end of its standard input."""
    _keeper: asyncio.Task[None] | None = None
    _is_wanted: bool = False
    _is_disk_full: bool = False
    _is_ready: bool = False

    @property
    def is_starting(self) -> bool:
        """Whether it was started and does not serve yet."""
        return self._is_wanted and not self._is_ready

    @property
    def log(self) -> Path:
        """Its standard error."""
        return self.directory / f"{self.party}.log"

    @property
    def ready_file(self) -> Path:
        """The file in which the provider announces itself."""
        return self.directory / self.party / "ready.json"

    def start(self) -> None:
        """Start it, and restart it whenever it ends by itself."""
        self._is_wanted = True
        if self._keeper is None:
            self._keeper = asyncio.create_task(self._keep())

    async def kill(self) -> None:
        """SIGKILL, and no new start until ``start``."""
        self._is_wanted = False
        keeper, self._keeper = self._keeper, None
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
        if keeper is not None:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)
        if self._process is not None:
            await asyncio.wait_for(self._process.ended(), 30)
        self._process = None

    def freeze(self) -> None:
        """SIGSTOP: the process and its connections stay, but it does nothing."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    def fill_disk(self, is_full: bool) -> None:
        """Let every write to a file fail (RLIMIT_FSIZE is 0, and Python ignores SIGXFSZ), or succeed again."""
        self._is_disk_full = is_full
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                _, hard = resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE)
                soft = 0 if is_full else hard
                resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE, (soft, hard))

    def send(self, message: dict[str, Any]) -> None:
        """Write a line to its input; lost if it does not run."""
        if self._input is not None:
            # It may have ended while its end is reported.
            with contextlib.suppress(BrokenPipeError):
                os.write(self._input, json.dumps(message).encode() + b"\n")

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, number)

    async def _keep(self) -> None:
        while self._is_wanted:
            self._is_ready = False
            self.ready_file.unlink(missing_ok=True)
            lines = self._start()
            if self._is_disk_full:
                self.fill_disk(True)
            self.started()
            watching = asyncio.create_task(self._until_ready())
            try:
                async with _reader(lines) as reader:
                    while line := await reader.readline():
                        self._is_ready = True
                        self.heard(json.loads(line))
                assert self._process is not None
                await self._process.ended()
            finally:
                watching.cancel()
                assert self._input is not None
                os.close(self._input)
                self._input = None
            if self._is_wanted:
                self.ended_by_itself.append(self._last_line())
                await asyncio.sleep(_PAUSE_SECONDS)

    def _start(self) -> IO[bytes]:
        """Start the program; return what it writes to its standard output."""
        (its_input, self._input), (ours, its_output) = os.pipe(), os.pipe()
        arguments = [self.party, str(self.directory), PARENT]
        with open(its_input, "rb") as wishes, open(its_output, "wb") as answers, self.log.open("ab") as log:
            self._process = fork("chaos.party", arguments, input=wishes, output=answers, errors=log)
        return open(ours, "rb")

    async def _until_ready(self) -> None:
        """The provider announces itself in a file; the taker by its first line."""
        give_up = time.monotonic() + _START_SECONDS
        while not self._is_ready and time.monotonic() < give_up:
            self._is_ready = self.ready_file.exists()
            await asyncio.sleep(0.1)
        self._is_ready = True

    def _last_line(self) -> str:
        *_, last = ["", *self.log.read_text(errors="replace").splitlines()]
        return f"{self.party}: {last}"


@contextlib.asynccontextmanager
async def _reader(pipe: IO[bytes]) -> AsyncIterator[asyncio.StreamReader]:
    reader = asyncio.StreamReader(_LONGEST_LINE)
    with pipe:
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), pipe
        )
        try:
            yield reader
        finally:
            transport.close()
