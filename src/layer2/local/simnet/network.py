"""The whole simnet on one event loop: the EVM chains, two Lightning nodes, and the control server."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from layer2.formats.evm_address import to_checksum
from layer2.local.accounts import LocalAccount
from layer2.local.bitcoin_wallets import COIN, mnemonic_of, wallet_scripts, write_seed
from layer2.local.control import ChainControls, ControlServer
from layer2.local.network import CHAIN_IDS, LightningNode, LocalNetwork, Party
from layer2.local.simnet.bitcoin.server import BitcoinSimulation
from layer2.local.simnet.clock import SimClock
from layer2.local.simnet.evm.block_maker import Automatic
from layer2.local.simnet.lightning.network import LightningSimulation
from layer2.local.simnet.sim_chain import SimChain

__all__ = ["Simnet"]

_PARTIES: Final = ("taker", "provider")


class Simnet:
    """A running local network.

    With a manual clock, the same seed and the same calls give the same keys, hashes and invoices.

    Args:
        directory: where keys, certificates and ``network.json`` are written; created if it does not exist.
        seed: all keys are derived from it. For test money only.
        clock: the machines' clock, which block times follow.
        automatic: when each chain makes blocks on its own.
        channels: the number of channels between the two Lightning nodes.
    """

    def __init__(
        self, directory: Path, seed: bytes, clock: SimClock, automatic: Automatic, *, channels: int = 1
    ) -> None:
        self._directory = directory
        self._clock = clock
        self._accounts = {name: LocalAccount.from_seed(seed, name) for name in ("deployer", "taker", "provider")}
        self._chains = {
            name: SimChain(chain_id, self._accounts, clock, automatic, is_rootstock=name == "ROOTSTOCK")
            for name, chain_id in CHAIN_IDS.items()
        }
        self.lightning = LightningSimulation(seed, clock, directory, channels)
        self._words = {name: mnemonic_of(seed, name) for name in _PARTIES}
        self._bitcoin = BitcoinSimulation(clock, self.lightning.height - 1, self.lightning.reach)
        self._control = ControlServer(self)

    async def start(self) -> LocalNetwork:
        """Deploy the contracts, distribute the test money, start the servers and write ``network.json``."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        chains = {name: await chain.start() for name, chain in self._chains.items()}
        taker, provider = await self.lightning.start()
        scripts = [each for name in _PARTIES for each in await wallet_scripts(self._words[name])]
        self._bitcoin.pay(scripts, COIN)
        network = LocalNetwork(
            name="simnet",
            directory=str(self._directory),
            control_url=await self._control.start(),
            chains=chains,
            bitcoin=await self._bitcoin.start(),
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
        await self.lightning.stop()
        await self._bitcoin.stop()
        for chain in self._chains.values():
            await chain.stop()

    @property
    def controls(self) -> Mapping[str, ChainControls]:
        """The chains by layer name."""
        return {**self._chains, "BITCOIN": self._bitcoin}

    async def mine_bitcoin(self, blocks: int) -> int:
        """Make Bitcoin blocks, which both Lightning nodes see, and return the height."""
        return await self._bitcoin.mine(blocks)

    def advance_clock(self, seconds: int) -> int:
        """Move the manual clock, which the next block of each chain follows, and return its time."""
        return self._clock.advance(seconds)

    def set_fault(self, target: str, kind: str, arguments: Mapping[str, object]) -> None:
        """Set a fault switch of an EVM node or of a Lightning node.

        Raises:
            InvalidRequest: the target or the kind does not exist, or the kind does not take the arguments.
        """
        if target in ("bob", "rootstock"):
            self._chains[target.upper()].faults.set(kind, **arguments)
        else:
            self.lightning.set_fault(target, kind, **arguments)

    async def status(self) -> dict[str, object]:
        """Heights, times and balances, for people."""
        return {
            "network": "simnet",
            "clock": self._clock.now(),
            "chains": {name: chain.status() for name, chain in self._chains.items()},
            "bitcoin": self._bitcoin.status(),
            "lightning": {"height": self.lightning.height, "nodes": self.lightning.status()},
        }

    def _party(self, name: str, lightning: LightningNode) -> Party:
        account, key_file = self._accounts[name], self._directory / f"{name}-evm.key"
        account.write_key(key_file)
        seed_file = self._directory / f"{name}-bitcoin.seed"
        write_seed(seed_file, self._words[name])
        return Party(to_checksum(account.address), str(key_file), str(seed_file), lightning)
