"""Runs a benchmark on its own network and prints its table."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeAlias

from figures import Figure, machine, show

from layer2.errors import Layer2Error
from layer2.local import devnet, simnet
from layer2.local.network import LocalNetwork
from load.rounds import progress

__all__ = ["run_on_devnet", "run_on_simnet"]

_Measure: TypeAlias = Callable[[LocalNetwork, Path], Coroutine[Any, Any, list[Figure]]]
"""Returns all rows for the network and the directory."""


def run_on_devnet(name: str, packages: tuple[str, ...], measure: _Measure, *, channels: int = 1) -> None:
    """Start a devnet in a temporary directory, measure, stop it, and print.

    Args:
        name: the benchmark's name, for errors.
        packages: the packages whose versions are printed.
        measure: measures every row.
        channels: the number of channels between the two Lightning nodes.
    """

    def up(place: Path) -> LocalNetwork:
        return devnet.up(place, with_parent=True, channels=channels, progress=progress)

    _run(name, packages, measure, up, devnet.down)


def run_on_simnet(name: str, packages: tuple[str, ...], measure: _Measure) -> None:
    """The same with a simnet, in a process of its own."""
    _run(name, packages, measure, lambda place: simnet.up(place, with_parent=True), simnet.down)


def _run(
    name: str,
    packages: tuple[str, ...],
    measure: _Measure,
    up: Callable[[Path], LocalNetwork],
    down: Callable[[Path], object],
) -> None:
    try:
        with tempfile.TemporaryDirectory(prefix="layer2-bench-") as path:
            directory = Path(path)
            network = up(directory / "network")
            try:
                found = asyncio.run(measure(network, directory))
            finally:
                down(directory / "network")
    except Layer2Error as error:
        raise SystemExit(f"{name}: {error}") from error
    load = ", ".join(f"{number:.1f}" for number in os.getloadavg())
    show(f"{machine(*packages)}; load {load} (1, 5 and 15 minutes)", found)
