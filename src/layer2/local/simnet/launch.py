"""Start a simnet in a separate process, find it again, and stop it. Linux only."""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import json
import os
import select
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from layer2.errors import ConfigurationError, NodeUnreachable
from layer2.local.network import LocalNetwork

__all__ = ["ProcessRecord", "down", "up"]

_POLL_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class ProcessRecord:
    """The process that runs the simnet of a directory. The start time is included because process ids are reused."""

    process_id: int
    start_time: int
    """Clock ticks between the machine's start and the process's, as the kernel reports them."""

    @classmethod
    @contextlib.contextmanager
    def held(cls, directory: Path) -> Iterator[None]:
        """Record this process as the one that runs the simnet of the directory, until the context ends.

        Raises:
            ConfigurationError: another process runs it.
        """
        path = directory / "process.json"
        with path.open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise ConfigurationError(
                    f"a simnet runs in {directory} already", remedy="stop it: layer2 simnet down"
                ) from error
            (directory / "network.json").unlink(missing_ok=True)
            record = cls(os.getpid(), _start_time(os.getpid()) or 0)
            file.truncate(0)
            file.write(json.dumps(asdict(record)))
            file.flush()
            try:
                yield
            finally:
                file.truncate(0)

    @classmethod
    def load(cls, directory: Path) -> ProcessRecord | None:
        """Read which process runs, or ran, the simnet of the directory; None if there is no record."""
        try:
            text = (directory / "process.json").read_text()
            return cls(**json.loads(text)) if text else None
        except FileNotFoundError:
            return None

    def open(self) -> int | None:
        """Open a pidfd of the process, which the caller closes. Returns None if the process has ended."""
        try:
            descriptor = os.pidfd_open(self.process_id)
        except ProcessLookupError:
            return None
        # The check follows the opening, so the pidfd refers to the process that is checked.
        if _start_time(self.process_id) == self.start_time:
            return descriptor
        os.close(descriptor)
        return None


def up(
    directory: Path,
    *,
    seed: bytes | None = None,
    automatic: Literal["on", "transactions", "timer", "off"] = "on",
    block_time: float = 2.0,
    clock_start: int | None = None,
    with_parent: bool = False,
    timeout: float = 30.0,
) -> LocalNetwork:
    """Start a simnet in a separate process and wait until it is ready.

    Args:
        directory: where its files are written; a directory holds one simnet.
        seed: all keys are derived from it; None uses a fixed seed. For test money only.
        automatic: when blocks are made: for arriving transactions, by the timer, for both (on), or for neither (off).
        block_time: seconds between two blocks of the timer.
        clock_start: the time of a manual clock, in unix seconds; None follows the wall clock.
        with_parent: stop the simnet when this process ends, even if it is killed.
        timeout: seconds to wait.

    Raises:
        ConfigurationError: a simnet runs in the directory already, this is not Linux, or the extra ``simnet`` is not
            installed.
        NodeUnreachable: the simnet did not start; ``simnet.log`` has its output.
    """
    _require_installed()
    directory = directory.absolute()
    if _is_running(directory):
        raise ConfigurationError(f"a simnet runs in {directory} already", remedy="stop it: layer2 simnet down")
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    (directory / "network.json").unlink(missing_ok=True)
    command = [sys.executable, "-m", "layer2.local.simnet.process", str(directory)]
    command += ["--automatic", automatic, "--block-time", str(block_time)]
    command += [] if seed is None else ["--seed", seed.hex()]
    command += [] if clock_start is None else ["--clock", str(clock_start)]
    command += ["--parent", str(os.getpid())] if with_parent else []
    log = directory / "simnet.log"
    process_id = os.posix_spawn(
        sys.executable,
        command,
        os.environ,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        # A session of its own, so that Ctrl-C reaches this process only, and this process decides what ends.
        setsid=True,
    )
    return _await_ready(directory, process_id, timeout)


def down(directory: Path, *, timeout: float = 10.0) -> bool:
    """Stop the simnet of a directory. Returns whether one was running.

    Args:
        directory: the one that was given to ``up``.
        timeout: seconds to wait after SIGTERM before the process is killed.
    """
    directory = directory.absolute()
    record = ProcessRecord.load(directory)
    descriptor = None if record is None else record.open()
    if record is None or descriptor is None:
        return False
    try:
        _end(descriptor, timeout)
    finally:
        os.close(descriptor)
    _reap(record.process_id)
    (directory / "network.json").unlink(missing_ok=True)
    return True


def _require_installed() -> None:
    if sys.platform != "linux":
        raise ConfigurationError("the simnet runs on Linux only")
    if importlib.util.find_spec("eth") is None:
        raise ConfigurationError(
            "the simnet's EVM is not installed",
            remedy="install layer2 again, from where you got it, with its extra 'simnet'",
        )


def _is_running(directory: Path) -> bool:
    record = ProcessRecord.load(directory)
    descriptor = None if record is None else record.open()
    if descriptor is None:
        return False
    try:
        return not _has_ended(descriptor, 0)
    finally:
        os.close(descriptor)


def _await_ready(directory: Path, process_id: int, timeout: float) -> LocalNetwork:
    deadline = time.monotonic() + timeout
    descriptor = os.pidfd_open(process_id)
    try:
        while not (directory / "network.json").exists():
            if _has_ended(descriptor, _POLL_SECONDS):
                _reap(process_id)
                log = directory / "simnet.log"
                *_, last_line = ["no output", *log.read_text().splitlines()]
                raise NodeUnreachable(f"the simnet ended while it started: {last_line}", remedy=f"see {log}")
            if time.monotonic() > deadline:
                _end(descriptor, 0)
                _reap(process_id)
                raise NodeUnreachable(f"the simnet did not start within {timeout:g} s")
    finally:
        os.close(descriptor)
    return LocalNetwork.load(directory)


def _end(descriptor: int, timeout: float) -> None:
    """Send SIGTERM, and SIGKILL if the process has not ended after the timeout."""
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(descriptor, signal.SIGTERM)
        if not _has_ended(descriptor, timeout):
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            _has_ended(descriptor, timeout)


def _has_ended(descriptor: int, timeout: float) -> bool:
    """Whether the process ends within the timeout; a pidfd becomes readable at that moment."""
    readable, _, _ = select.select([descriptor], [], [], timeout)
    return bool(readable)


def _reap(process_id: int) -> None:
    """Collect the exit status, if the process is a child of this one."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(process_id, 0)


def _start_time(process_id: int) -> int | None:
    """Read the 22nd field of ``/proc/ID/stat``; the process's name, the 2nd, may contain spaces."""
    try:
        line = Path(f"/proc/{process_id}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return int(line.rpartition(")")[2].split()[19])
