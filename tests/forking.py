"""Programs that start without their imports: each is forked from a process that has imported it already.

A provider, a taker or a simnet that ``python -m`` starts imports for two seconds of processor time before it does
anything, and the tests start hundreds of them. Here one server for each pytest process imports each program once.
``python -m forking`` is the server; its socket is its standard input.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final, NoReturn

__all__ = ["PARENT", "Forked", "child_environment", "fork"]

PARENT: Final = "{parent}"
"""An argument that stands for the id of the program's parent process, the server. It ends with the pytest process."""
_IMPORTED_LATE: Final = (
    "layer2.journal.sql_journal",
    "layer2.protocols.bitcoin.wallet.bdk",
    "layer2.protocols.bitcoin.wallet.esplora",
    "layer2.protocols.bitcoin.wallet.filters",
)
"""What the programs import only when they first use it."""
_LONGEST: Final = 1 << 17
_STATUS: Final = struct.Struct("i")


def child_environment() -> dict[str, str]:
    """The environment of a process that imports these tests, and this checkout if ``PYTHONPATH`` names it."""
    paths = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths)}


@dataclass(eq=False)
class Forked:
    """A program that the server has forked, with a session of its own."""

    pid: int
    _status: int
    """The descriptor from which its exit status is read."""
    returncode: int | None = field(default=None, init=False)
    """Its exit status, or a negative signal number; None before it was waited for."""

    def poll(self) -> int | None:
        """Its exit status; None while it runs."""
        return self._read(0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it has ended, and return its exit status.

        Raises:
            TimeoutError: it still runs after ``timeout`` seconds.
        """
        status = self._read(timeout)
        if status is None:
            raise TimeoutError(f"process {self.pid} still runs after {timeout} s")
        return status

    async def ended(self) -> int:
        """Wait until it has ended, and return its exit status."""
        if self.returncode is None:
            over, loop = asyncio.Event(), asyncio.get_running_loop()
            loop.add_reader(self._status, over.set)
            try:
                await over.wait()
            finally:
                loop.remove_reader(self._status)
        return self.wait()

    def terminate(self) -> None:
        """Send SIGTERM, if it runs."""
        # It may have ended while its status is on the way.
        with suppress(ProcessLookupError):
            if self.poll() is None:
                os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL to it and to its children."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            # It has ended, or it was forked just now and has no session of its own yet.
            with suppress(ProcessLookupError):
                if self.poll() is None:
                    os.kill(self.pid, signal.SIGKILL)

    def _read(self, timeout: float | None) -> int | None:
        if self.returncode is None and select.select([self._status], [], [], timeout)[0]:
            # Without a status, the server has ended, and every child with it.
            status = os.read(self._status, _STATUS.size) or _STATUS.pack(-signal.SIGKILL)
            (self.returncode,) = _STATUS.unpack(status)
            os.close(self._status)
        return self.returncode


def fork(
    module: str,
    arguments: Sequence[str],
    *,
    output: IO[bytes],
    errors: IO[bytes] | None = None,
    input: IO[bytes] | None = None,
    directory: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Forked:
    """Start a module's ``main`` in a new process.

    Args:
        module: it reads ``sys.argv``.
        output: its standard output.
        errors: its standard error; None for the same as ``output``.
        input: its standard input; None for none.
        directory: its current directory; None for that of this process.
        environment: its environment; None for that of this process. The imports have seen the server's.
    """
    global _server
    if _server is None or _server.process.poll() is not None:
        _server = _Server.start()
    request = {
        "module": module,
        "arguments": arguments,
        "environment": dict(os.environ if environment is None else environment),
        "directory": str(directory or os.getcwd()),
    }
    with open(os.devnull, "rb") as nothing:
        return _server.fork(request, [(input or nothing).fileno(), output.fileno(), (errors or output).fileno()])


@dataclass
class _Server:
    """This process's end of the server."""

    process: subprocess.Popen[bytes]
    requests: socket.socket

    @classmethod
    def start(cls) -> _Server:
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with its:
            command = [sys.executable, "-m", "forking"]
            # In a session of its own: Ctrl-C reaches the pytest process only, which then decides what ends.
            process = subprocess.Popen(command, stdin=its.fileno(), env=child_environment(), start_new_session=True)
        return cls(process, ours)

    def fork(self, request: Mapping[str, object], standard: Sequence[int]) -> Forked:
        status, its_status = os.pipe()
        with open(its_status, "wb"):
            socket.send_fds(self.requests, [json.dumps(request).encode()], [*standard, its_status])
        answer = self.requests.recv(_STATUS.size)
        assert answer, f"the server could not import {request['module']}"
        (child,) = _STATUS.unpack(answer)
        return Forked(child, status)


_server: _Server | None = None


# The server


def _serve(requests: socket.socket) -> dict[str, Any]:
    """Fork a child for each request and report its end. Returns only in a child, with the request."""
    # A signal handler must exist, or the kernel does not interrupt the wait for a request.
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    ended, ending = os.pipe()
    for each in (ended, ending):
        os.set_blocking(each, False)
    signal.set_wakeup_fd(ending)
    children: dict[int, int] = {}
    waits_for = [requests.fileno(), ended]
    while True:
        ready, _, _ = select.select(waits_for, [], [])
        if ended in ready:
            os.read(ended, 4096)
            _report_ended(children)
        if requests.fileno() in ready:
            message, descriptors, _, _ = socket.recv_fds(requests, _LONGEST, 4)
            if not message:
                _end_with(children)
            request: dict[str, Any] = json.loads(message)
            _import(request["module"])
            *standard, status = descriptors
            if (child := os.fork()) == 0:
                _become(request, standard)
                return request
            children[child] = status
            requests.send(_STATUS.pack(child))
            for each in standard:
                os.close(each)


def _import(module: str) -> None:
    for each in (module, *_IMPORTED_LATE):
        importlib.import_module(each)
    # The collector of a child then does not go through what was imported, which would copy its memory.
    gc.freeze()


def _report_ended(children: dict[int, int]) -> None:
    while children:
        child, status = os.waitpid(-1, os.WNOHANG)
        if child == 0:
            return
        descriptor = children.pop(child)
        # The process that started the child may not wait for it.
        with suppress(BrokenPipeError):
            os.write(descriptor, _STATUS.pack(os.waitstatus_to_exitcode(status)))
        os.close(descriptor)


def _end_with(children: Mapping[int, int]) -> NoReturn:
    """The pytest process has ended: so does every child, and then the server."""
    for child in children:
        with suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
    sys.exit()


def _become(request: Mapping[str, Any], standard: Sequence[int]) -> None:
    """Make this process, just forked, like one that was started with these arguments and descriptors."""
    os.setsid()
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for number, descriptor in enumerate(standard):
        os.dup2(descriptor, number)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    os.chdir(request["directory"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv = [request["module"], *(each.replace(PARENT, str(os.getppid())) for each in request["arguments"])]


def main() -> None:
    # A copy, because a child's standard input is the null device.
    request = _serve(socket.socket(fileno=os.dup(0)))
    importlib.import_module(request["module"]).main()


if __name__ == "__main__":
    main()
