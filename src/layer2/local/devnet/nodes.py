"""Starts the devnet's nodes together, connects and funds them."""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from coincurve import PrivateKey

from layer2.errors import InvalidRequest, NodeError
from layer2.formats.evm_address import to_checksum
from layer2.local.accounts import LocalAccount
from layer2.local.bitcoin_wallets import mnemonic_of, wallet_scripts, write_seed
from layer2.local.control import ChainControls
from layer2.local.devnet.bitcoin import BitcoinNode
from layer2.local.devnet.bitcoin_controls import BitcoinControls
from layer2.local.devnet.chain import DevnetChain
from layer2.local.devnet.genesis import BOB_L1, NO_L1
from layer2.local.devnet.install import Binaries
from layer2.local.devnet.lightning import Lnd
from layer2.local.devnet.lightning_pair import LightningPair
from layer2.local.devnet.op_geth import OpGeth
from layer2.local.devnet.sequencer import Sequencer
from layer2.local.devnet.stages import first_failure, together
from layer2.local.network import CHAIN_IDS, LocalNetwork, Party
from layer2.local.processes import Child

__all__ = ["DevnetNodes", "PartyNode", "start"]


@dataclass(frozen=True, slots=True)
class PartyNode:
    """The accounts of the taker or the provider."""

    evm_address: bytes
    evm_key_file: Path
    bitcoin_seed_file: Path
    words: str = field(repr=False)
    lightning: Lnd

    def description(self) -> Party:
        """The party's entry in the network's description."""
        return Party(
            evm_address=to_checksum(self.evm_address),
            evm_key_file=str(self.evm_key_file),
            bitcoin_seed_file=str(self.bitcoin_seed_file),
            lightning=self.lightning.description(),
        )


@dataclass(frozen=True, slots=True)
class DevnetNodes:
    """All nodes, running and ready."""

    chains: Mapping[str, DevnetChain]
    """By layer name."""
    bitcoin: BitcoinNode
    taker: PartyNode
    provider: PartyNode
    lightning: LightningPair

    @property
    def evm_addresses(self) -> dict[str, bytes]:
        """The parties' account on every chain, by name."""
        return {"taker": self.taker.evm_address, "provider": self.provider.evm_address}

    def description(self, directory: Path, control_url: str, process_ids: tuple[int, ...]) -> LocalNetwork:
        """The description that is written to ``network.json``."""
        return LocalNetwork(
            name="devnet",
            directory=str(directory),
            control_url=control_url,
            chains={name: chain.description() for name, chain in self.chains.items()},
            bitcoin=self.bitcoin.description(),
            taker=self.taker.description(),
            provider=self.provider.description(),
            process_ids=process_ids,
        )

    @property
    def controls(self) -> Mapping[str, ChainControls]:
        """The chains' controls by layer name."""
        bitcoin = BitcoinControls(self.bitcoin, self.lightning)
        return {**{name: chain.sequencer for name, chain in self.chains.items()}, "BITCOIN": bitcoin}

    def set_fault(self, target: str, kind: str, arguments: Mapping[str, object]) -> None:
        """Raises InvalidRequest: real nodes have no fault switches."""
        raise _only_simnet("fault")

    def advance_clock(self, seconds: int) -> int:
        """Raises InvalidRequest: real nodes follow the machine's clock."""
        raise _only_simnet("clock")

    async def mine_bitcoin(self, blocks: int) -> int:
        """Make Bitcoin blocks, wait until each running lnd sees them, and return the height."""
        return await self.controls["BITCOIN"].mine(blocks)

    async def status(self) -> dict[str, object]:
        """Heights, times and balances."""
        return {
            "network": "devnet",
            "chains": {name: await chain.status(self.evm_addresses) for name, chain in self.chains.items()},
            "bitcoin": await self.bitcoin.status(),
            "taker": await self._balances(self.taker),
            "provider": await self._balances(self.provider),
        }

    async def _balances(self, party: PartyNode) -> dict[str, int]:
        """The balances of the party's Lightning node, unknown while it is stopped."""
        if party.lightning.child is None:
            return {}
        here, there = await party.lightning.channel_balances()
        return {
            "lightning_outbound_sat": here,
            "lightning_inbound_sat": there,
            "bitcoin_sat": await party.lightning.confirmed_balance(),
        }


@contextlib.asynccontextmanager
async def start(
    directory: Path,
    binaries: Binaries,
    channels: int,
    started: Callable[[Child], None],
    progress: Callable[[str], None],
) -> AsyncIterator[DevnetNodes]:
    """Start all nodes, wait until they are ready, keep making blocks, and end all nodes at the exit.

    Args:
        directory: for their data; it must not hold data of earlier nodes.
        binaries: the programs to run.
        channels: the number of channels between the two Lightning nodes.
        started: is called with every process as soon as it has started, so that the caller can record it.
        progress: receives a line of text for each stage.

    Raises:
        NodeError: a node was not ready in time, refused a command, or ended by itself, also while the body runs.
            The message names the node.
    """
    children: list[Child] = []
    try:
        async with aiohttp.ClientSession() as session, _background() as run:

            def own(child: Child) -> None:
                children.append(child)
                started(child)
                run(_must_go_on(child))

            ports = _free_ports(12)
            chains = {
                name: _chain(name, binaries.geth, directory, (next(ports), next(ports)), session) for name in CHAIN_IDS
            }
            bitcoin = BitcoinNode(binaries.btcd, directory / "bitcoin", (next(ports), next(ports)), session)
            parties = [
                _party(directory, name, Lnd(name, binaries.lnd, directory / name, _three(ports), session))
                for name in ("taker", "provider")
            ]
            taker, provider = parties
            wallets = [script for party in parties for script in await wallet_scripts(party.words)]
            lightning = LightningPair(bitcoin, taker.lightning, provider.lightning, own, wallets, channels)
            nodes = DevnetNodes(chains, bitcoin, taker, provider, lightning)
            starts = [chain.start(nodes.evm_addresses, own, progress) for chain in chains.values()]
            await together(*starts, lightning.start(progress))
            for chain in chains.values():
                await chain.sequencer.set_automatic(True)
                run(chain.sequencer.run())
            run(lightning.keep_bitcoin_recent())
            yield nodes
    finally:
        for child in children:
            child.kill()


def _only_simnet(operation: str) -> InvalidRequest:
    return InvalidRequest(f"the devnet runs real nodes and does not support {operation}; the simnet does")


def _chain(
    name: str, program: Path, directory: Path, ports: tuple[int, int], session: aiohttp.ClientSession
) -> DevnetChain:
    l1 = BOB_L1 if name == "BOB" else NO_L1
    node = OpGeth(name, CHAIN_IDS[name], program, directory / name.lower(), ports, session, l1)
    return DevnetChain(name, node, Sequencer(node.rpc, node.engine, l1))


async def _must_go_on(child: Child) -> None:
    status = await child.ended()
    if child.was_killed:
        return
    raise NodeError(f"{child.record.name} ended by itself with status {status}; see {child.log}")


@contextlib.asynccontextmanager
async def _background() -> AsyncIterator[Callable[[Coroutine[object, None, None]], None]]:
    """Run endless tasks until the body ends. If one of them fails, the body fails too."""
    running: list[asyncio.Task[None]] = []
    with first_failure():
        async with asyncio.TaskGroup() as tasks:
            try:
                yield lambda work: running.append(tasks.create_task(work))
            finally:
                for task in running:
                    task.cancel()


def _three(ports: Iterator[int]) -> tuple[int, int, int]:
    return next(ports), next(ports), next(ports)


def _party(directory: Path, name: str, lightning: Lnd) -> PartyNode:
    key_file, seed_file = directory / f"{name}.key", directory / f"{name}.seed"
    words = mnemonic_of(secrets.token_bytes(32), name)
    write_seed(seed_file, words)
    return PartyNode(_new_account(key_file), key_file, seed_file, words, lightning)


def _new_account(key_file: Path) -> bytes:
    account = LocalAccount.of(PrivateKey())
    account.write_key(key_file)
    return account.address


def _free_ports(count: int) -> Iterator[int]:
    """Find free loopback ports below the range that the kernel uses for outgoing connections."""
    with contextlib.ExitStack() as opened:
        found: list[int] = []
        for port in random.sample(range(15_000, 32_000), 200):
            candidate = opened.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                candidate.bind(("127.0.0.1", port))
                found.append(port)
            if len(found) == count:
                return iter(found)
    raise NodeError(f"fewer than {count} of 200 ports of 127.0.0.1 are free")
