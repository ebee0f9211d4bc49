"""Starting, finding and stopping a devnet.

A devnet lives in one directory and is owned by one process (``layer2.local.devnet.process``): all nodes are its
children and end with it, whatever ends it. A directory's network is new each time; nothing of an earlier one is
used again.
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
from layer2.local.devnet.processes import ProcessRecord, load_records, require_linux, stop
from layer2.local.network import LocalNetwork

__all__ = ["LOG", "PROCESSES", "DevnetStatus", "clear", "down", "require_binaries", "status", "up", "why_unavailable"]

PROCESSES = "processes.json"
LOG = "devnet.log"

_OWN = ("bob", "rootstock", "bitcoin", "taker", "provider", "taker.key", "provider.key", "network.json", PROCESSES, LOG)


@dataclass(frozen=True, slots=True)
class DevnetStatus:
    """What runs of a directory's devnet."""

    network: LocalNetwork | None
    """Its description, where it is ready and its owner runs."""
    processes: tuple[tuple[ProcessRecord, bool], ...]
    """Every recorded process, the owner first, and whether it runs."""


def up(
    directory: Path,
    *,
    with_parent: bool = False,
    timeout: float = 120.0,
    progress: Callable[[str], None] = lambda line: None,
) -> LocalNetwork:
    """Start a devnet and wait until a payment went through in each direction.

    Args:
        directory: where its files go; made if missing. Data of an earlier devnet there is deleted.
        with_parent: end the network when this process ends, however it ends. Else it runs until ``down``.
        timeout: seconds to wait until it is ready; each stage has a limit of its own besides.
        progress: receives a line of text for each stage.

    Returns:
        Its description, which is also in ``network.json`` in the directory.

    Raises:
        ConfigurationError: the nodes are not built, not Linux, a devnet runs in the directory, or the directory
            holds something else.
        NodeError: the network did not get ready; nothing of it is left running.
    """
    require_linux()
    require_binaries()
    directory = directory.absolute()
    _refuse_running(directory)
    command = [sys.executable, "-m", "layer2.local.devnet.process", str(directory)]
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
        timeout: seconds that it has to end by itself before it is killed.

    Returns:
        Whether anything was running.
    """
    records = load_records(directory / PROCESSES)
    anything = any(record.is_running() for record in records)
    # The owner first: it ends its children, and what it leaves behind is ended after it.
    stop(records[:1], grace=timeout)
    stop(records[1:], grace=0)
    for name in ("network.json", PROCESSES):
        (directory / name).unlink(missing_ok=True)
    return anything


def status(directory: Path) -> DevnetStatus:
    """Look at what runs; asks no node."""
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
    """Why no devnet can be started on this machine, in one line; None where one can."""
    try:
        require_linux()
        require_binaries()
    except ConfigurationError as error:
        return str(error)
    return None


def clear(directory: Path) -> None:
    """Make the directory, and delete what an earlier devnet left there, save the log.

    Raises:
        ConfigurationError: it holds other files, or processes of an earlier network run.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    strangers = sorted(entry.name for entry in directory.iterdir() if entry.name not in {*_OWN, "lock"})
    if strangers:
        raise ConfigurationError(f"{directory} is not a devnet's: it holds {strangers[0]}", remedy="name another")
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
    """Run the command, which forks the owner and ends: the owner is nobody's child."""
    try:
        subprocess.run(  # noqa: S603  # this very Python
            command, stdin=subprocess.DEVNULL, pass_fds=(report,), start_new_session=True, check=True, timeout=30
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise NodeError("the devnet's own process could not be started") from error


def _await_ready(reading: int, directory: Path, deadline: float, progress: Callable[[str], None]) -> None:
    """Follow what the owner says, a JSON object a line, until it is ready or ends."""
    pending = b""
    # A failure is raised when the owner has ended, which closes its end: then nothing is left running.
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
