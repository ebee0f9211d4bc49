"""Processes of a local network. They end with their parent, and each is identified before it is signalled.

A process id alone does not identify a process, because the kernel reuses ids. A record holds the id, the start time
and the id of the boot. Only a process that matches all three is ever signalled.

A child ends when its parent ends, even by ``SIGKILL``: between fork and exec it requests this from the kernel
(``PR_SET_PDEATHSIG``, see ``prctl(2)``). This is why the devnet runs only on Linux.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from layer2.errors import ConfigurationError

__all__ = ["Child", "ProcessRecord", "load_records", "require_linux", "save_records", "start", "stop"]

_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class ProcessRecord:
    """The identity of one process."""

    name: str
    pid: int
    started: int
    """Clock ticks from the boot to the start of the process, as in ``/proc/PID/stat``."""
    boot_id: str

    @classmethod
    def of(cls, name: str, pid: int) -> Self:
        """Record a running process, or a child that has ended but has not been waited for.

        Raises:
            ProcessLookupError: the process does not exist.
        """
        found = _state_and_start(pid)
        if found is None:
            raise ProcessLookupError(pid)
        return cls(name, pid, found[1], _boot_id())

    def is_running(self) -> bool:
        """Whether the recorded process still runs. A zombie does not count as running."""
        found = _state_and_start(self.pid)
        if found is None or self.boot_id != _boot_id():
            return False
        state, started = found
        return started == self.started and state not in ("Z", "X")


@dataclass(eq=False, slots=True)
class Child:
    """A child of this process."""

    record: ProcessRecord
    process: subprocess.Popen[bytes]
    log: Path
    was_killed: bool = False
    """Whether ``kill`` ended it."""

    async def ended(self) -> int:
        """Wait until the process has ended and return its exit status."""
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        # A process descriptor becomes readable when the process ends.
        descriptor = os.pidfd_open(self.record.pid)
        loop.add_reader(descriptor, ended.set)
        try:
            await ended.wait()
        finally:
            loop.remove_reader(descriptor)
            os.close(descriptor)
        return self.process.wait()

    def kill(self) -> None:
        """Kill the process, if it runs. A node has already written to disk what must survive."""
        if self.process.poll() is None:
            self.was_killed = True
            self.process.kill()
        self.process.wait()


def require_linux() -> None:
    """Check that the system is Linux.

    Raises:
        ConfigurationError: the system is not Linux.
    """
    if sys.platform != "linux":
        raise ConfigurationError("the devnet runs on Linux only", remedy="use the embedded network: layer2 simnet up")


def start(name: str, command: Sequence[str | Path], log: Path) -> Child:
    """Start a program that ends when this process ends. Call it from the main thread.

    Args:
        name: for records and errors.
        command: the program and its arguments.
        log: a file to which its output is appended.
    """
    with log.open("ab") as output:
        process = subprocess.Popen(  # noqa: S603  # a program of this package's installation
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            preexec_fn=_end_with(os.getpid()),
        )
    return Child(ProcessRecord.of(name, process.pid), process, log)


def stop(records: Iterable[ProcessRecord], *, grace: float) -> None:
    """End the recorded processes: terminate them, and kill those that run after the grace period.

    Returns when all have ended.

    Args:
        records: processes of the same user; those that have ended are ignored.
        grace: seconds between ``SIGTERM`` and ``SIGKILL``.
    """
    with contextlib.ExitStack() as opened:
        # The descriptor identifies the process, so the id cannot be reused between the check and the signal.
        running: set[int] = set()
        for record in records:
            with contextlib.suppress(ProcessLookupError):
                descriptor = os.pidfd_open(record.pid)
                opened.callback(os.close, descriptor)
                if record.is_running():
                    running.add(descriptor)
        for kind, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, 5.0)):
            for descriptor in running:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(descriptor, kind)
            deadline = time.monotonic() + patience
            while running and (left := deadline - time.monotonic()) > 0:
                # A process descriptor becomes readable when the process ends.
                ended, _, _ = select.select(running, (), (), left)
                running -= set(ended)


def save_records(path: Path, records: Iterable[ProcessRecord]) -> None:
    """Write the records, the owner first."""
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps([asdict(record) for record in records], indent=1))
    partial.replace(path)


def load_records(path: Path) -> tuple[ProcessRecord, ...]:
    """Read the records that ``save_records`` wrote; none if the file does not exist.

    Raises:
        ConfigurationError: the file is malformed.
    """
    try:
        entries: list[Mapping[str, str | int]] = json.loads(path.read_text())
        return tuple(
            ProcessRecord(str(e["name"]), int(e["pid"]), int(e["started"]), str(e["boot_id"])) for e in entries
        )
    except FileNotFoundError:
        return ()
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigurationError(f"{path} does not list processes of a local network") from error


def _end_with(parent: int) -> Callable[[], None]:
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def before_exec() -> None:
        if prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) != 0 or os.getppid() != parent:
            os._exit(70)

    return before_exec


def _state_and_start(pid: int) -> tuple[str, int] | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The second field is the program's name in parentheses and may contain any character, including parentheses.
    state, *fields = text[text.rindex(")") + 1 :].split()
    return state, int(fields[18])


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
