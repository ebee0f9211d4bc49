"""Runs a benchmark on its own network and prints its table."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from figures import Figure, machine, show

from layer2.errors import Layer2Error
from layer2.local import devnet
from layer2.local.network import LocalNetwork
from load.rounds import progress

__all__ = ["run_on_devnet"]


def run_on_devnet(
    name: str, packages: tuple[str, ...], measure: Callable[[LocalNetwork, Path], Coroutine[Any, Any, list[Figure]]]
) -> None:
    """Start a devnet in a temporary directory, measure, stop it, and print.

    Args:
        name: the benchmark's name, for errors.
        packages: the packages whose versions are printed.
        measure: returns all rows for the network and the directory.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="layer2-bench-") as path:
            directory = Path(path)
            network = devnet.up(directory / "devnet", with_parent=True, progress=progress)
            try:
                found = asyncio.run(measure(network, directory))
            finally:
                devnet.down(directory / "devnet")
    except Layer2Error as error:
        raise SystemExit(f"{name}: {error}") from error
    load = ", ".join(f"{number:.1f}" for number in os.getloadavg())
    show(f"{machine(*packages)}; load {load} (1, 5 and 15 minutes)", found)
