"""Starts, finds and stops a devnet.

A devnet lives in one directory and is owned by one process (``layer2.local.devnet.process``): all nodes are its
children and end with it, even if it is killed. Each start creates a new network; it reuses nothing of an earlier
one.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from layer2.errors import ConfigurationError, Layer2Error, NodeError
from layer2.local.devnet.install import Binaries, installed
from layer2.local.network import LocalNetwork
from layer2.local.processes import ProcessRecord, load_records, require_linux, stop

__all__ = ["LOG", "PROCESSES", "DevnetStatus", "clear", "down", "require_binaries", "status", "up", "why_unavailable"]

PROCESSES = "processes.json"
LOG = "devnet.log"

_OWN = (
    *("bob", "rootstock", "bitcoin", "taker", "provider", "taker.key", "provider.key", "taker.seed", "provider.seed"),
    *("network.json", PROCESSES, LOG),
)


@dataclass(frozen=True, slots=True)
class DevnetStatus:
    """The state of a directory's devnet."""

    network: LocalNetwork | None
    """Its description, if it is ready and its owner runs; else None."""
    processes: tuple[tuple[ProcessRecord, bool], ...]
    """Every recorded process, the owner first, and whether it runs."""


def up(
    directory: Path,
    *,
    with_parent: bool = False,
    channels: int = 1,
    timeout: float = 120.0,
    progress: Callable[[str], None] = lambda line: None,
) -> LocalNetwork:
    """Start a devnet and wait until a payment went through in each direction.

    Args:
        directory: for its files; created if missing. Data of an earlier devnet in it is deleted.
        with_parent: whether the network ends with this process, even if it is killed. Else it runs until ``down``.
        channels: the number of equal channels between the two Lightning nodes, at least 1. lnd allows 483 payments in
            flight in one channel.
        timeout: seconds to wait until it is ready. Each stage also has its own limit.
        progress: receives a line of text for each stage.

    Returns:
        Its description, which it also writes to ``network.json`` in the directory.

    Raises:
        ConfigurationError: there would be no channel, the nodes are not built, the system is not Linux, a devnet
            already runs in the directory, or the directory holds other files.
        NodeError: the network did not become ready; all its processes have been ended.
    """
    if channels < 1:
        raise ConfigurationError(f"a devnet needs at least one channel, not {channels}")
    require_linux()
    require_binaries()
    directory = directory.absolute()
    _refuse_running(directory)
    command = [sys.executable, "-m", "layer2.local.devnet.process", str(directory), "--channels", str(channels)]
    if with_parent:
        command += ["--with-parent", str(os.getpid())]
    reading, writing = os.pipe()
    try:
        command += ["--report", str(writing)]
        _start_owner(command, writing)
        os.close(writing)
        writing = -1
        _await_ready(reading, directory, time.monotonic() + timeout, progress)
    except BaseException as error:
        if not isinstance(error, ConfigurationError):
            down(directory)
        raise
    finally:
        os.close(reading)
        if writing >= 0:
            os.close(writing)
    return LocalNetwork.load(directory)


def down(directory: Path, *, timeout: float = 10.0) -> bool:
    """Stop the devnet of a directory, and no other process.

    Args:
        directory: as given to ``up``.
        timeout: seconds to wait for it to end before it is killed.

    Returns:
        Whether anything was running.
    """
    records = load_records(directory / PROCESSES)
    anything = any(record.is_running() for record in records)
    # The owner first: it ends its children. Any process that remains is ended afterwards.
    stop(records[:1], grace=timeout)
    stop(records[1:], grace=0)
    for name in ("network.json", PROCESSES):
        (directory / name).unlink(missing_ok=True)
    return anything


def status(directory: Path) -> DevnetStatus:
    """Return which processes run, without a request to any node."""
    records = load_records(directory / PROCESSES)
    processes = tuple((record, record.is_running()) for record in records)
    ready = bool(processes) and processes[0][1] and (directory / "network.json").exists()
    return DevnetStatus(LocalNetwork.load(directory) if ready else None, processes)


def require_binaries() -> Binaries:
    """The programs of the devnet.

    Raises:
        ConfigurationError: they are not built yet.
    """
    binaries = installed()
    if binaries is None:
        raise ConfigurationError("the devnet's nodes are not built yet", remedy="layer2 devnet install")
    return binaries


def why_unavailable() -> str | None:
    """The reason why a devnet cannot start on this machine, in one line; None if it can."""
    try:
        require_linux()
        require_binaries()
    except ConfigurationError as error:
        return str(error)
    return None


def clear(directory: Path) -> None:
    """Create the directory, and delete the files of an earlier devnet except its log.

    Raises:
        ConfigurationError: it holds other files, or processes of an earlier network still run.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    strangers = sorted(entry.name for entry in directory.iterdir() if entry.name not in {*_OWN, "lock"})
    if strangers:
        raise ConfigurationError(
            f"{directory} does not belong to a devnet: it holds {strangers[0]}", remedy="use another directory"
        )
    _refuse_running(directory)
    for name in _OWN:
        path = directory / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _refuse_running(directory: Path) -> None:
    if any(record.is_running() for record in load_records(directory / PROCESSES)):
        raise ConfigurationError(f"a devnet runs in {directory}", remedy="stop it: layer2 devnet down")


def _start_owner(command: list[str], report: int) -> None:
    """Run the command, which forks the owner and ends. The owner is then not a child of this process."""
    try:
        subprocess.run(  # noqa: S603  # the running Python
            command, stdin=subprocess.DEVNULL, pass_fds=(report,), start_new_session=True, check=True, timeout=30
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise NodeError("the devnet's own process could not be started") from error


def _await_ready(reading: int, directory: Path, deadline: float, progress: Callable[[str], None]) -> None:
    """Read the owner's reports, one JSON object per line, until it is ready or ends."""
    pending = b""
    # The owner closes its end of the pipe when it ends. Raise only then, so that nothing is left running.
    failure: Layer2Error | None = None
    while (left := deadline - time.monotonic()) > 0:
        readable, _, _ = select.select([reading], [], [], left)
        if not readable:
            break
        received = os.read(reading, 65536)
        if not received:
            raise failure or NodeError(f"the devnet ended while it started; see {directory / LOG}")
        *lines, pending = (pending + received).split(b"\n")
        for line in lines:
            match json.loads(line):
                case {"progress": str(text)}:
                    progress(text)
                case {"refused": str(message), "remedy": remedy}:
                    failure = ConfigurationError(message, remedy=remedy)
                case {"failed": str(message)}:
                    failure = NodeError(f"the devnet did not start: {message}; see {directory / LOG}")
                case {"ready": True}:
                    return
    raise failure or NodeError(f"the devnet was not ready in time; see {directory / LOG}")
