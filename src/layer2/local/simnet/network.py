"""The whole simnet on one event loop: the EVM chains, two Lightning nodes, and the control server."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from layer2.formats.evm_address import to_checksum
from layer2.local.network import CHAIN_IDS, LightningNode, LocalNetwork, Party
from layer2.local.simnet.accounts import SimAccount
from layer2.local.simnet.clock import SimClock
from layer2.local.simnet.control import ControlServer
from layer2.local.simnet.evm.block_maker import Automatic
from layer2.local.simnet.lightning.channel import Side
from layer2.local.simnet.lightning.network import LightningSimulation
from layer2.local.simnet.sim_chain import SimChain

__all__ = ["Simnet"]


class Simnet:
    """A running local network.

    With a manual clock, the same seed and the same calls give the same keys, hashes and invoices.

    Args:
        directory: where keys, certificates and ``network.json`` are written; created if it does not exist.
        seed: all keys are derived from it. For test money only.
        clock: the machines' clock, which block times follow.
        automatic: when each chain makes blocks on its own.
    """

    def __init__(self, directory: Path, seed: bytes, clock: SimClock, automatic: Automatic) -> None:
        self._directory = directory
        self._clock = clock
        self._accounts = {name: SimAccount.from_seed(seed, name) for name in ("deployer", "taker", "provider")}
        self._chains = {
            name: SimChain(chain_id, self._accounts, clock, automatic) for name, chain_id in CHAIN_IDS.items()
        }
        self._lightning = LightningSimulation(seed, clock, directory)
        self._control = ControlServer(self)

    async def start(self) -> LocalNetwork:
        """Deploy the contracts, distribute the test money, start the servers and write ``network.json``."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        chains = {name: await chain.start() for name, chain in self._chains.items()}
        taker, provider = await self._lightning.start()
        network = LocalNetwork(
            name="simnet",
            directory=str(self._directory),
            control_url=await self._control.start(),
            chains=chains,
            taker=self._party("taker", taker),
            provider=self._party("provider", provider),
            process_ids=(os.getpid(),),
        )
        for chain in self._chains.values():
            chain.maker.start()
        network.save()
        return network

    async def stop(self) -> None:
        """Stop the servers and remove ``network.json``."""
        (self._directory / "network.json").unlink(missing_ok=True)
        await self._control.stop()
        await self._lightning.stop()
        for chain in self._chains.values():
            await chain.stop()

    def mine(self, chain: str, blocks: int) -> int:
        """Make blocks and return the chain's height."""
        return self._chain(chain).node.mine(blocks)

    def set_automatic(self, chain: str, enabled: bool) -> None:
        """Switch automatic blocks of a chain on or off."""
        self._chain(chain).maker.set_enabled(enabled)

    def advance_chain_time(self, chain: str, seconds: int) -> int:
        """Move the time of one chain, but not the clock, make a block and return its timestamp."""
        return self._chain(chain).node.advance_time(seconds)

    def advance_clock(self, seconds: int) -> int:
        """Move the manual clock, which the next block of each chain follows, and return its time."""
        return self._clock.advance(seconds)

    def set_finality(self, chain: str, safe: int | None, finalized: int | None) -> None:
        """Hold the safe and finalized heads, or let them follow."""
        self._chain(chain).node.set_finality(safe, finalized)

    def reorganise(self, chain: str, depth: int, keep_transactions: bool, transactions: Sequence[bytes]) -> int:
        """Replace the chain's last blocks and return the height."""
        return self._chain(chain).reorganise(depth, keep_transactions, transactions)

    async def stop_lightning(self, party: str) -> None:
        """Stop a party's Lightning node as SIGKILL does: its connections break and its port is closed."""
        await self._lightning.stop_node(Side(party))

    async def start_lightning(self, party: str, *, new_certificate: bool) -> None:
        """Start a party's Lightning node again, with the state that it had."""
        await self._lightning.start_node(Side(party), new_certificate=new_certificate)

    async def mine_bitcoin(self, blocks: int) -> int:
        """Make Bitcoin blocks for both Lightning nodes and return the height."""
        return await self._lightning.mine(blocks)

    def set_fault(self, target: str, kind: str, arguments: Mapping[str, Any]) -> None:
        """Set a fault switch of an EVM node or of a Lightning node.

        Raises:
            ValueError: the target or the kind does not exist, or the kind does not take the arguments.
        """
        match target:
            case "bob" | "rootstock":
                self._chains[target.upper()].faults.set(kind, **arguments)
            case "taker_lightning" | "provider_lightning":
                self._lightning.set_fault(target, kind, **arguments)
            case _:
                raise ValueError(
                    f"unknown target {target!r}: it is bob, rootstock, taker_lightning or provider_lightning"
                )

    async def status(self) -> dict[str, Any]:
        """Heights, times and balances, for people."""
        return {
            "network": "simnet",
            "clock": self._clock.now(),
            "chains": {name: chain.status() for name, chain in self._chains.items()},
            "lightning": await self._lightning.status(),
        }

    def _chain(self, name: str) -> SimChain:
        try:
            return self._chains[name]
        except KeyError:
            raise ValueError(f"no chain {name!r}: {' or '.join(self._chains)}") from None

    def _party(self, name: str, lightning: LightningNode) -> Party:
        account, key_file = self._accounts[name], self._directory / f"{name}-evm.key"
        account.write_key(key_file)
        return Party(to_checksum(account.address), str(key_file), lightning)
