"""The process that owns a devnet: ``python -m layer2.local.devnet.process DIRECTORY``.

It starts the nodes, drives the sequencer, serves the controls, and ends everything on ``SIGTERM``, when a
node ends, or when the process named by ``--with-parent`` ends. ``layer2.local.devnet.up`` starts it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import json
import logging
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

from layer2.aio.process_end import ending_with
from layer2.errors import ConfigurationError, Layer2Error, NodeError
from layer2.local.control import ControlServer
from layer2.local.devnet import nodes
from layer2.local.devnet.install import Binaries
from layer2.local.devnet.network import LOG, PROCESSES, clear, require_binaries
from layer2.local.processes import Child, ProcessRecord, save_records

__all__ = ["main"]

_log = logging.getLogger("layer2.local.devnet")


class _Reports:
    """Reports the progress of the start to the starter and the log. If the starter has ended, the start fails."""

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor

    def progress(self, text: str) -> None:
        """Report one stage."""
        _log.info("%s", text)
        self.send({"progress": text})

    def send(self, message: dict[str, object]) -> None:
        """Send the starter one report.

        Raises:
            NodeError: the starter has ended.
        """
        if self._descriptor is not None:
            try:
                os.write(self._descriptor, json.dumps(message).encode() + b"\n")
            except BrokenPipeError as error:
                raise NodeError("the starter ended before the network was ready") from error

    def close(self) -> None:
        """End the reports; later ones go to the log only."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def main() -> None:
    """Run a devnet until it receives ``SIGTERM``."""
    arguments = _parser().parse_args()
    # `up` waits for the starter, which ends here. The owner is therefore not a child of the caller.
    if os.fork():
        os._exit(0)
    os.umask(0o077)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    reports = _Reports(arguments.report)
    try:
        binaries = require_binaries()
        with _owning(arguments.directory):
            asyncio.run(_run(arguments, binaries, reports))
    except ConfigurationError as error:
        with contextlib.suppress(NodeError):
            reports.send({"refused": error.message, "remedy": error.remedy})
        sys.exit(3)
    except Layer2Error as error:
        _log.error("%s", error)
        with contextlib.suppress(NodeError):
            reports.send({"failed": str(error)})
        sys.exit(1)


@contextlib.contextmanager
def _owning(directory: Path) -> Iterator[None]:
    """Lock the directory for this process. The kernel releases the lock when the process ends."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (directory / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigurationError(f"a devnet runs in {directory}", remedy="stop it: layer2 devnet down") from error
        clear(directory)
        output = os.open(directory / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        for stream in (1, 2):
            os.dup2(output, stream)
        os.close(output)
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
        try:
            yield
        finally:
            for name in ("network.json", PROCESSES):
                (directory / name).unlink(missing_ok=True)


async def _run(arguments: argparse.Namespace, binaries: Binaries, reports: _Reports) -> None:
    owner = asyncio.current_task()
    assert owner is not None
    told_to_end = asyncio.Event()

    def end() -> None:
        if not told_to_end.is_set():
            told_to_end.set()
            owner.cancel()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)
    records = [ProcessRecord.of("devnet", os.getpid())]
    save_records(arguments.directory / PROCESSES, records)
    try:
        with ending_with(arguments.with_parent, end, is_parent=False):
            await _serve(arguments.directory, binaries, arguments.channels, records, reports)
    except asyncio.CancelledError:
        if not told_to_end.is_set():
            raise
        owner.uncancel()


async def _serve(
    directory: Path, binaries: Binaries, channels: int, records: list[ProcessRecord], reports: _Reports
) -> None:
    def started(child: Child) -> None:
        # A restarted process replaces its earlier record. The owner stays first.
        records[1:] = [record for record in records[1:] if record.name != child.record.name]
        records.append(child.record)
        save_records(directory / PROCESSES, records)

    async with nodes.start(directory, binaries, channels, started, reports.progress) as devnet:
        control = ControlServer(devnet)
        try:
            url = await control.start()
            devnet.description(directory, url, tuple(record.pid for record in records)).save()
            reports.send({"ready": True})
            reports.close()
            _log.info("ready")
            await asyncio.Event().wait()  # until this task is cancelled, by a signal or by a node that ends
        finally:
            await control.stop()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m layer2.local.devnet.process", description="Own a devnet.")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--with-parent", type=int, metavar="PID", help="end when this process ends")
    parser.add_argument("--channels", type=int, default=1, metavar="COUNT", help="between the two Lightning nodes")
    parser.add_argument("--report", type=int, metavar="DESCRIPTOR", help="write progress there, as JSON lines")
    return parser


if __name__ == "__main__":
    main()
