"""``layer2 simnet``: the embedded network."""

from __future__ import annotations

from pathlib import Path

from layer2 import simnet
from layer2.cli.envelope import Result
from layer2.cli.local_config import default_directory
from layer2.cli.session import InSession
from layer2.local_network import LocalNetwork

__all__ = ["described", "down", "up"]


def up(*, directory: Path | None = None, session: InSession) -> Result:
    """Start the embedded network in a process of its own and leave it running.

    Args:
        directory: Where its files go; one network a directory.
    """
    place = directory or default_directory("simnet")
    with session.terminal.working("starting the embedded network"):
        network = simnet.up(place)
    return described(network, "layer2 config init --network simnet")


def down(*, directory: Path | None = None, session: InSession) -> Result:
    """Stop the embedded network of the directory, and no other process.

    Args:
        directory: As given to simnet up.
    """
    place = directory or default_directory("simnet")
    with session.terminal.working("stopping the embedded network"):
        was_running = simnet.down(place)
    return Result({"was_running": was_running}, ["stopped" if was_running else f"no simnet runs in {place}"])


def described(network: LocalNetwork, following: str) -> Result:
    """A local network that was just started."""
    return Result(
        {
            "name": network.name,
            "directory": network.directory,
            "bob_rpc_url": network.bob_rpc_url,
            "control_url": network.control_url,
            "process_ids": list(network.process_ids),
        },
        [
            f"{network.name} runs in {network.directory}",
            f"  BOB        {network.bob_rpc_url}   chain {network.chain_id}",
            f"  Lightning  {network.taker.lightning.rest_url} (you), {network.provider.lightning.rest_url} (provider)",
            f"next: {following}; stop it: layer2 {network.name} down",
        ],
    )
