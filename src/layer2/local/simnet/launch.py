"""Start a simnet in a separate process, find it again, and stop it. Linux only."""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from layer2.errors import ConfigurationError, NodeUnreachable
from layer2.local.network import LocalNetwork
from layer2.local.processes import ProcessRecord, load_records, save_records, stop

__all__ = ["PROCESSES", "down", "owning", "up"]

_POLL_SECONDS = 0.02
PROCESSES = "processes.json"


@contextlib.contextmanager
def owning(directory: Path) -> Iterator[None]:
    """Record this process as the one that runs the simnet of the directory, until the context ends.

    Raises:
        ConfigurationError: another process runs it.
    """
    with (directory / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise _already_runs(directory) from error
        (directory / "network.json").unlink(missing_ok=True)
        save_records(directory / PROCESSES, [ProcessRecord.of("simnet", os.getpid())])
        try:
            yield
        finally:
            (directory / PROCESSES).unlink(missing_ok=True)


def up(
    directory: Path,
    *,
    seed: bytes | None = None,
    automatic: Literal["on", "transactions", "timer", "off"] = "on",
    block_time: float = 2.0,
    clock_start: int | None = None,
    channels: int = 1,
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
        channels: the number of equal channels between the two Lightning nodes, at least 1. Each carries 483 payments at
            once from each side.
        with_parent: stop the simnet when this process ends, even if it is killed.
        timeout: seconds to wait.

    Raises:
        ConfigurationError: a simnet runs in the directory already, this is not Linux, the extra ``simnet`` is not
            installed, or there is no channel.
        NodeUnreachable: the simnet did not start; ``simnet.log`` has its output.
    """
    _require_installed()
    if channels < 1:
        raise ConfigurationError(f"a simnet needs at least one channel, not {channels}")
    directory = directory.absolute()
    if any(record.is_running() for record in load_records(directory / PROCESSES)):
        raise _already_runs(directory)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    (directory / "network.json").unlink(missing_ok=True)
    command = [sys.executable, "-m", "layer2.local.simnet.process", str(directory)]
    command += ["--automatic", automatic, "--block-time", str(block_time)]
    command += ["--channels", str(channels)]
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
    records = load_records(directory / PROCESSES)
    was_running = any(record.is_running() for record in records)
    _end(records, timeout)
    (directory / "network.json").unlink(missing_ok=True)
    return was_running


def _require_installed() -> None:
    if sys.platform != "linux":
        raise ConfigurationError("the simnet runs on Linux only")
    if importlib.util.find_spec("eth") is None:
        raise ConfigurationError(
            "the simnet's EVM is not installed",
            remedy="install layer2 again, from where you got it, with its extra 'simnet'",
        )


def _already_runs(directory: Path) -> ConfigurationError:
    return ConfigurationError(f"a simnet runs in {directory} already", remedy="stop it: layer2 simnet down")


def _await_ready(directory: Path, process_id: int, timeout: float) -> LocalNetwork:
    deadline = time.monotonic() + timeout
    while not (directory / "network.json").exists():
        if os.waitpid(process_id, os.WNOHANG)[0]:
            log = directory / "simnet.log"
            *_, last_line = ["no output", *log.read_text().splitlines()]
            raise NodeUnreachable(f"the simnet ended while it started: {last_line}", remedy=f"see {log}")
        if time.monotonic() > deadline:
            _end([ProcessRecord.of("simnet", process_id)], 0)
            raise NodeUnreachable(f"the simnet did not start within {timeout:g} s")
        time.sleep(_POLL_SECONDS)
    return LocalNetwork.load(directory)


def _end(records: Sequence[ProcessRecord], grace: float) -> None:
    """Stop the processes, and collect the exit status of each that is a child of this one."""
    stop(records, grace=grace)
    for record in records:
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            # An ended child keeps its id until it is waited for. Another process may have the id of an older one.
            if ProcessRecord.of(record.name, record.pid) == record:
                os.waitpid(record.pid, 0)
