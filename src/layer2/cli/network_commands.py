"""``layer2 simnet`` and ``layer2 devnet``: networks on this machine, embedded or of real nodes."""

from __future__ import annotations

import asyncio
import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import aiohttp
from cyclopts import Parameter
from cyclopts.validators import Number

from layer2.cli.local_config import LocalName, default_directory, remedies_in
from layer2.cli.output import Result, table
from layer2.cli.session import InSession, Session
from layer2.errors import NodeUnreachable
from layer2.local import devnet, simnet
from layer2.local.network import LocalNetwork, LocalNetworkControl

__all__ = [
    "described",
    "devnet_down",
    "devnet_install",
    "devnet_mine",
    "devnet_status",
    "devnet_up",
    "simnet_down",
    "simnet_mine",
    "simnet_up",
]

_Chain: TypeAlias = Literal["bitcoin", "bob", "rootstock"]
_Blocks: TypeAlias = Annotated[int, Parameter(validator=Number(gte=1, lte=10_000))]
_Seconds: TypeAlias = Annotated[float | None, Parameter(validator=Number(gte=0.1))]


def simnet_up(*, directory: Path | None = None, session: InSession) -> Result:
    """Start the embedded network in a separate process that keeps running.

    Args:
        directory: The directory for its files. Each network needs its own.
    """
    with remedies_in("simnet", directory), session.terminal.working("starting the embedded network"):
        network = simnet.up(directory or default_directory("simnet"))
    return described(network, directory)


def simnet_down(*, directory: Path | None = None, session: InSession) -> Result:
    """Stop the embedded network of a directory.

    Args:
        directory: The directory of simnet up.
    """
    place = directory or default_directory("simnet")
    with session.terminal.working("stopping the embedded network"):
        return _stopped("simnet", place, was_running=simnet.down(place))


def devnet_install(*, session: InSession) -> Result:
    """Build btcd, lnd and op-geth in pinned versions, with checksums, into your cache. Can be repeated."""
    binaries = devnet.install(session.terminal.say)
    paths = {name: str(path) for name, path in asdict(binaries).items()}
    return Result({"programs": paths}, [*(f"{name}: {path}" for name, path in paths.items()), "next: layer2 devnet up"])


def devnet_up(*, directory: Path | None = None, session: InSession) -> Result:
    """Start the real nodes, wait until a payment works in both directions, and leave them running.

    Args:
        directory: The directory for their files. Each network needs its own.
    """
    with remedies_in("devnet", directory):
        network = devnet.up(directory or default_directory("devnet"), progress=session.terminal.say)
    return described(network, directory)


def devnet_down(*, directory: Path | None = None, session: InSession) -> Result:
    """Stop the nodes of a directory.

    Args:
        directory: The directory of devnet up.
    """
    place = directory or default_directory("devnet")
    with session.terminal.working("stopping the nodes"):
        return _stopped("devnet", place, was_running=devnet.down(place))


def devnet_status(*, directory: Path | None = None, session: InSession) -> Result:
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
            *([table(("process", ">id", "state"), rows)] if rows else []),
        ],
    )


async def simnet_mine(
    blocks: _Blocks = 1,
    /,
    *,
    chain: _Chain = "bitcoin",
    every: _Seconds = None,
    directory: Path | None = None,
    session: InSession,
) -> Result:
    """Make blocks on a chain of the embedded network. Its Bitcoin makes none by itself.

    Args:
        blocks: How many. Default: 1.
        chain: bitcoin (default), bob or rootstock.
        every: Make so many blocks every so many seconds, until you interrupt it.
        directory: The directory of simnet up.
    """
    return await _mine("simnet", blocks, chain, every, directory, session)


async def devnet_mine(
    blocks: _Blocks = 1,
    /,
    *,
    chain: _Chain = "bitcoin",
    every: _Seconds = None,
    directory: Path | None = None,
    session: InSession,
) -> Result:
    """Make blocks on a chain of the devnet. Its Bitcoin makes none by itself.

    Args:
        blocks: How many. Default: 1.
        chain: bitcoin (default), bob or rootstock.
        every: Make so many blocks every so many seconds, until you interrupt it.
        directory: The directory of devnet up.
    """
    return await _mine("devnet", blocks, chain, every, directory, session)


async def _mine(
    name: LocalName, blocks: int, chain: _Chain, every: float | None, directory: Path | None, session: Session
) -> Result:
    with remedies_in(name, directory):
        network = LocalNetwork.load(directory or default_directory(name))
        async with aiohttp.ClientSession() as http:
            while True:
                height = await _mined(network, LocalNetworkControl(network.control_url, http), blocks, chain)
                if every is None:
                    return Result({"chain": chain, "height": height}, [f"{chain}: height {height}"])
                session.terminal.say(f"{chain}: height {height}")
                await asyncio.sleep(every)


async def _mined(network: LocalNetwork, control: LocalNetworkControl, blocks: int, chain: _Chain) -> int:
    try:
        if chain == "bitcoin":
            return await control.mine_bitcoin(blocks)
        return await control.mine(blocks, chain=chain.upper())
    except aiohttp.ClientError as error:
        raise NodeUnreachable(
            f"the {network.name} in {network.directory} does not answer", remedy="start it: layer2 simnet up"
        ) from error


def described(network: LocalNetwork, directory: Path | None) -> Result:
    """The result of starting a local network.

    Args:
        directory: the directory as the user named it; None for the default.
    """
    init: tuple[str, ...] = ("layer2", "config", "init", "--network", network.name)
    place = () if directory is None else ("--directory", str(directory))
    mine, down = ("layer2", network.name, "mine", *place), ("layer2", network.name, "down", *place)
    if directory is not None:
        init = (*init, "--network-directory", str(directory))
    return Result(
        {
            "name": network.name,
            "directory": network.directory,
            "bob_rpc_url": network.bob.rpc_url,
            "rootstock_rpc_url": network.rootstock.rpc_url,
            "bitcoin_esplora_url": network.bitcoin.esplora_url,
            "control_url": network.control_url,
            "process_ids": list(network.process_ids),
        },
        [
            f"{network.name} runs in {network.directory}",
            f"  BOB        {network.bob.rpc_url}   chain {network.bob.chain_id}",
            f"  Rootstock  {network.rootstock.rpc_url}   chain {network.rootstock.chain_id}",
            f"  Lightning  {network.taker.lightning.rest_url} (you), {network.provider.lightning.rest_url} (provider)",
            f"  Bitcoin    {_bitcoin(network)}; new blocks: {shlex.join(mine)}",
            f"next: {shlex.join(init)}; stop it: {shlex.join(down)}",
        ],
    )


def _bitcoin(network: LocalNetwork) -> str:
    """The node's address, without the password."""
    if network.bitcoin.esplora_url is not None:
        return f"{network.bitcoin.esplora_url} (Esplora)"
    return f"{(network.bitcoin.rpc_url or '').rpartition('@')[2]} (RPC), {network.bitcoin.filter_peer} (filters)"


def _stopped(name: LocalName, place: Path, *, was_running: bool) -> Result:
    text = f"stopped the {name} in {place}" if was_running else f"no {name} runs in {place}"
    return Result({"was_running": was_running}, [text])
