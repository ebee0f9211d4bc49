"""``layer2 devnet``: a local network of real nodes."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from layer2.cli.envelope import Result, Table
from layer2.cli.local_config import default_directory, remedies_in
from layer2.cli.session import InSession
from layer2.cli.simnet_commands import described
from layer2.local import devnet

__all__ = ["down", "install", "status", "up"]


def install(*, session: InSession) -> Result:
    """Build btcd, lnd and op-geth in pinned versions, with checksums, into your cache. Can be repeated."""
    binaries = devnet.install(session.terminal.say)
    paths = {name: str(path) for name, path in asdict(binaries).items()}
    return Result({"programs": paths}, [*(f"{name}: {path}" for name, path in paths.items()), "next: layer2 devnet up"])


def up(*, directory: Path | None = None, session: InSession) -> Result:
    """Start the real nodes, wait until a payment works in both directions, and leave them running.

    Args:
        directory: The directory for their files. Each network needs its own.
    """
    with remedies_in("devnet", directory):
        network = devnet.up(directory or default_directory("devnet"), progress=session.terminal.say)
    return described(network, directory)


def down(*, directory: Path | None = None, session: InSession) -> Result:
    """Stop the nodes of a directory.

    Args:
        directory: The directory of devnet up.
    """
    place = directory or default_directory("devnet")
    with session.terminal.working("stopping the nodes"):
        was_running = devnet.down(place)
    return Result(
        {"was_running": was_running},
        [f"stopped the devnet in {place}" if was_running else f"no devnet runs in {place}"],
    )


def status(*, directory: Path | None = None, session: InSession) -> Result:
    """Show which processes of the devnet run. No node is asked.

    Args:
        directory: The directory of devnet up.
    """
    place = directory or default_directory("devnet")
    found = devnet.status(place)
    processes = [{"name": record.name, "pid": record.pid, "runs": runs} for record, runs in found.processes]
    is_ready = found.network is not None
    rows = tuple((record.name, str(record.pid), "running" if runs else "ended") for record, runs in found.processes)
    return Result(
        {"ready": is_ready, "directory": str(place), "processes": processes},
        [
            f"a devnet is ready in {place}" if is_ready else f"no devnet is ready in {place}",
            *([Table(("process", ">id", "state"), rows)] if rows else []),
        ],
    )
