"""A simnet that starts without its imports. The tests of the simnet itself start it like its users do."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from forking import PARENT, fork
from layer2.local import simnet
from layer2.local.network import LocalNetwork

__all__ = ["running_simnet"]

_START_SECONDS: Final = 60
_LOOK_AGAIN_SECONDS: Final = 0.01


@contextmanager
def running_simnet(directory: Path, *options: str) -> Iterator[LocalNetwork]:
    """A simnet that ends with the block, and with this process; the options are those of its program."""
    log, ready = directory / "simnet.log", directory / "network.json"
    directory.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        process = fork("layer2.local.simnet.process", [str(directory), "--parent", PARENT, *options], output=output)
    try:
        give_up = time.monotonic() + _START_SECONDS
        while not ready.exists():
            assert process.poll() is None, f"the simnet ended while it started: {log.read_text()}"
            assert time.monotonic() < give_up, f"the simnet was not ready in time: {log.read_text()}"
            time.sleep(_LOOK_AGAIN_SECONDS)
        yield LocalNetwork.load(directory)
        simnet.down(directory)
    finally:
        process.kill()
        process.wait(30)
