"""``layer2 simnet``: the embedded network."""

from __future__ import annotations

import shlex
from pathlib import Path

from layer2.cli.envelope import Result
from layer2.cli.local_config import default_directory, remedies_in
from layer2.cli.session import InSession
from layer2.local import simnet
from layer2.local.network import LocalNetwork

__all__ = ["described", "down", "up"]


def up(*, directory: Path | None = None, session: InSession) -> Result:
    """Start the embedded network in a separate process that keeps running.

    Args:
        directory: The directory for its files. Each network needs its own.
    """
    with remedies_in("simnet", directory), session.terminal.working("starting the embedded network"):
        network = simnet.up(directory or default_directory("simnet"))
    return described(network, directory)


def down(*, directory: Path | None = None, session: InSession) -> Result:
    """Stop the embedded network of a directory.

    Args:
        directory: The directory of simnet up.
    """
    place = directory or default_directory("simnet")
    with session.terminal.working("stopping the embedded network"):
        was_running = simnet.down(place)
    return Result(
        {"was_running": was_running},
        [f"stopped the simnet in {place}" if was_running else f"no simnet runs in {place}"],
    )


def described(network: LocalNetwork, directory: Path | None) -> Result:
    """The result of starting a local network.

    Args:
        directory: the directory as the user named it; None for the default.
    """
    init: tuple[str, ...] = ("layer2", "config", "init", "--network", network.name)
    down: tuple[str, ...] = ("layer2", network.name, "down")
    if directory is not None:
        init, down = (*init, "--network-directory", str(directory)), (*down, "--directory", str(directory))
    return Result(
        {
            "name": network.name,
            "directory": network.directory,
            "bob_rpc_url": network.bob.rpc_url,
            "rootstock_rpc_url": network.rootstock.rpc_url,
            "control_url": network.control_url,
            "process_ids": list(network.process_ids),
        },
        [
            f"{network.name} runs in {network.directory}",
            f"  BOB        {network.bob.rpc_url}   chain {network.bob.chain_id}",
            f"  Rootstock  {network.rootstock.rpc_url}   chain {network.rootstock.chain_id}",
            f"  Lightning  {network.taker.lightning.rest_url} (you), {network.provider.lightning.rest_url} (provider)",
            f"next: {shlex.join(init)}; stop it: {shlex.join(down)}",
        ],
    )
