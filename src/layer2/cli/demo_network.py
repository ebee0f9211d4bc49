"""The demo's environment: a local network, a provider process, and a configuration for each party."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import aiohttp

from layer2.cli.journal_reading import process_state
from layer2.cli.local_config import LocalName
from layer2.config import JournalSection, Layer2Config
from layer2.errors import ConfigurationError
from layer2.local.network import LocalNetwork, LocalNetworkControl
from layer2.local.parties import LocalProvider, party_values, taker_config

__all__ = ["PROCESS_IDS", "Stage", "stage"]

_BLOCK_SECONDS = 2.0
"""Bitcoin's blocks here: slower than the parties see a block, and far below the margins that are counted in blocks."""

PROCESS_IDS = "process-ids"
"""The file in the demo's directory with the id of every process that the demo started."""


@dataclass(frozen=True, slots=True)
class Stage:
    """The running network, and how to reach it."""

    network: LocalNetwork
    identity_key: bytes
    taker_config: Layer2Config
    provider_config: Layer2Config
    """The provider's nodes and account, to read its balances. The provider process has another configuration."""
    process_ids: Sequence[int]

    def running(self) -> list[int]:
        """The ids of the demo's processes that still run."""
        return [each for each in self.process_ids if process_state(str(each)) not in (None, "Z")]

    @asynccontextmanager
    async def bitcoin_blocks(self) -> AsyncIterator[None]:
        """Mine a Bitcoin block every two seconds until the block of code ends."""

        async def mine() -> None:
            async with aiohttp.ClientSession() as session:
                control = LocalNetworkControl(self.network.control_url, session)
                while True:
                    await asyncio.sleep(_BLOCK_SECONDS)
                    await control.mine_bitcoin()

        mining = asyncio.create_task(mine())
        try:
            yield
        finally:
            mining.cancel()
            with suppress(asyncio.CancelledError):
                await mining


@asynccontextmanager
async def stage(name: LocalName, directory: Path, say: Callable[[str], None]) -> AsyncIterator[Stage]:
    """Start the network and the provider. Stop both when the block ends, or when this process dies.

    Raises:
        ConfigurationError: something is not installed; states the remedy.
        Layer2Error: the provider did not start; names its log.
    """
    place = directory / name
    network = await asyncio.to_thread(_network_up, name, place, say)
    provider = LocalProvider(network, directory / "provider")
    try:
        (directory / PROCESS_IDS).write_text(" ".join(str(each) for each in network.process_ids))
        await asyncio.to_thread(provider.__enter__)
        process_ids = (*network.process_ids, provider.process_id)
        (directory / PROCESS_IDS).write_text(" ".join(str(each) for each in process_ids))
        yield Stage(
            network,
            provider.identity_key,
            taker_config(network, directory / "you", (provider.table,)),
            Layer2Config(
                **party_values(network, network.provider), journal=JournalSection(path=directory / "reader.sqlite")
            ),
            process_ids,
        )
    finally:
        await asyncio.to_thread(provider.__exit__, None, None, None)
        await asyncio.to_thread(import_module(f"layer2.local.{name}").down, place)


def _network_up(name: LocalName, place: Path, say: Callable[[str], None]) -> LocalNetwork:
    # Each network needs a different extra of the package.
    if name == "simnet":
        from layer2.local import simnet

        return simnet.up(place, block_time=1.0, with_parent=True)
    from layer2.local import devnet

    unavailable = devnet.why_unavailable()
    if unavailable is not None:
        raise ConfigurationError(unavailable, code="no_devnet", remedy="run: layer2 devnet install")
    return devnet.up(place, with_parent=True, progress=say)
