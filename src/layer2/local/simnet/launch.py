"""Starting a simnet as a process of its own, finding it again, and stopping it. Needs Linux."""

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
    """Which process runs the simnet of a directory; ids are used again, so its start time is part of it."""

    process_id: int
    start_time: int
    """Clock ticks after the machine's start, as the kernel tells it."""

    @classmethod
    @contextlib.contextmanager
    def held(cls, directory: Path) -> Iterator[None]:
        """Say that this process runs the simnet of the directory, as long as the context lasts.

        Raises:
            ConfigurationError: another process does.
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
        """The process that runs, or ran, the simnet of the directory."""
        try:
            text = (directory / "process.json").read_text()
            return cls(**json.loads(text)) if text else None
        except FileNotFoundError:
            return None

    def open(self) -> int | None:
        """A pidfd of the process, None where it has ended. The caller closes it."""
        try:
            descriptor = os.pidfd_open(self.process_id)
        except ProcessLookupError:
            return None
        # Looked at after the pidfd was opened: it is this process that the pidfd holds on to.
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
    """Start a simnet in its own process and wait until it answers.

    Args:
        directory: its files go there; one simnet a directory.
        seed: all keys come from it; None is a fixed seed. Test money only.
        automatic: blocks for transactions that arrive, by the timer, for both (on), or neither (off).
        block_time: the timer's seconds.
        clock_start: a clock that stands there, in unix seconds, until it is moved; None follows the wall clock.
        with_parent: end it when this process ends, however it ends.
        timeout: seconds to wait.

    Raises:
        ConfigurationError: one runs there already, this is not Linux, or the extra ``simnet`` is not installed.
        NodeUnreachable: it did not start; its words are in ``simnet.log``.
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
        # Apart from our terminal, so that Ctrl-C reaches us alone and we decide what ends.
        setsid=True,
    )
    return _await_ready(directory, process_id, timeout)


def down(directory: Path, *, timeout: float = 10.0) -> bool:
    """Stop the simnet of a directory, and no other process. Returns whether one was running.

    Args:
        directory: as given to ``up``.
        timeout: seconds that it has to end by itself before it is killed.
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
            "the simnet's EVM is not installed", remedy="install the extra: pip install 'layer2[simnet]'"
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
                *_, last_words = ["no words", *log.read_text().splitlines()]
                raise NodeUnreachable(f"the simnet ended while it started: {last_words}", remedy=f"look in {log}")
            if time.monotonic() > deadline:
                _end(descriptor, 0)
                _reap(process_id)
                raise NodeUnreachable(f"the simnet did not start within {timeout:g} s")
    finally:
        os.close(descriptor)
    return LocalNetwork.load(directory)


def _end(descriptor: int, timeout: float) -> None:
    """Ask the process to end, and kill it if it does not."""
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(descriptor, signal.SIGTERM)
        if not _has_ended(descriptor, timeout):
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            _has_ended(descriptor, timeout)


def _has_ended(descriptor: int, timeout: float) -> bool:
    """Whether the process ends within the timeout; its pidfd can be read from then on."""
    readable, _, _ = select.select([descriptor], [], [], timeout)
    return bool(readable)


def _reap(process_id: int) -> None:
    """Collect the exit status, if the process was a child of ours."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(process_id, 0)


def _start_time(process_id: int) -> int | None:
    """The 22nd field of the kernel's line about the process; its name, the 2nd, may hold spaces."""
    try:
        line = Path(f"/proc/{process_id}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return int(line.rpartition(")")[2].split()[19])
