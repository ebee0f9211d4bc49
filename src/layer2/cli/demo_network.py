"""The demo's stage: a local network, a provider as its own process, and a configuration for either party."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from layer2.cli.config_commands import write_new, write_secret
from layer2.cli.config_file import file_text
from layer2.cli.local_config import LocalName, party_values, read_provider
from layer2.config import JournalSection, Layer2Config
from layer2.errors import ConfigurationError, Layer2Error
from layer2.local_network import LocalNetwork

__all__ = ["PROCESS_IDS", "Stage", "stage"]

PROCESS_IDS = "process-ids"
"""The file in the demo's directory that has the id of every process that the demo started."""
_PROVIDER_SECONDS = 45.0
_LOOK_SECONDS = 0.05


@dataclass(slots=True)
class Stage:
    """What runs, and how to reach it."""

    network: LocalNetwork
    provider: subprocess.Popen[bytes]
    identity_key: bytes
    taker_config: Layer2Config
    provider_config: Layer2Config
    """The provider's nodes and account, to read balances; the provider itself has its own file."""
    process_ids: Sequence[int] = field(default_factory=tuple)

    def running(self) -> list[int]:
        """Ids of the demo's processes that still run."""
        return [each for each in self.process_ids if _runs(each)]


@asynccontextmanager
async def stage(name: LocalName, directory: Path, say: Callable[[str], None]) -> AsyncIterator[Stage]:
    """Start network and provider; end both when the block is left, or when this process dies.

    Raises:
        ConfigurationError: something is missing, with the remedy.
        Layer2Error: the provider did not start; says where its log is.
    """
    place = directory / name
    network = await asyncio.to_thread(_network_up, name, place, say)
    provider: subprocess.Popen[bytes] | None = None
    try:
        provider = _start_provider(network, directory)
        process_ids = (*network.process_ids, provider.pid)
        (directory / PROCESS_IDS).write_text(" ".join(str(each) for each in process_ids))
        announced = await _ready(provider, directory)
        yield Stage(
            network,
            provider,
            bytes.fromhex(announced["identity_key"]),
            _taker_config(network, directory, announced),
            Layer2Config(
                **party_values(network, network.provider), journal=JournalSection(path=directory / "reader.sqlite")
            ),
            process_ids,
        )
    finally:
        if provider is not None:
            provider.terminate()
            try:
                await asyncio.to_thread(provider.wait, 20)
            except subprocess.TimeoutExpired:
                provider.kill()
                provider.wait()
        await asyncio.to_thread(_network_down, name, place)


def _network_up(name: LocalName, place: Path, say: Callable[[str], None]) -> LocalNetwork:
    # Each needs what only its own extra installs.
    if name == "simnet":
        from layer2 import simnet

        return simnet.up(place, block_time=1.0, with_parent=True)
    from layer2 import devnet

    unavailable = devnet.why_unavailable()
    if unavailable is not None:
        raise ConfigurationError(unavailable, code="no_devnet", remedy="run: layer2 devnet install")
    return devnet.up(place, with_parent=True, progress=say)


def _network_down(name: LocalName, place: Path) -> None:
    if name == "simnet":
        from layer2 import simnet

        simnet.down(place)
    else:
        from layer2 import devnet

        devnet.down(place)


def _start_provider(network: LocalNetwork, directory: Path) -> subprocess.Popen[bytes]:
    from layer2.provider.settings import ProviderSettings

    write_secret(directory / "identity")
    values = party_values(network, network.provider) | {
        "identity_key_file": "identity",
        "listen_port": 0,
        # The two nodes have a channel with each other, so a route costs nothing.
        "network_fee_sat": 0,
    }
    write_new(directory / "provider.toml", file_text(ProviderSettings, values))
    with (directory / "provider.log").open("wb") as log:
        command = [sys.executable, "-m", "layer2.provider.process", str(directory / "provider.toml")]
        command += ["--ready-file", str(directory / "ready.json"), "--with-parent", str(os.getpid())]
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)  # noqa: S603  # our own words


async def _ready(provider: subprocess.Popen[bytes], directory: Path) -> dict[str, str]:
    try:
        async with asyncio.timeout(_PROVIDER_SECONDS):
            while (announced := read_provider(directory / "ready.json")) is None:
                if provider.poll() is not None:
                    raise Layer2Error(
                        f"the provider ended while it started, with status {provider.returncode}",
                        code="provider_start",
                        remedy=f"its words are in {directory / 'provider.log'}",
                    )
                await asyncio.sleep(_LOOK_SECONDS)
    except TimeoutError:
        raise Layer2Error(
            f"the provider was not ready within {_PROVIDER_SECONDS:g} s",
            code="provider_start",
            remedy=f"its words are in {directory / 'provider.log'}",
        ) from None
    return announced


def _taker_config(network: LocalNetwork, directory: Path, announced: dict[str, str]) -> Layer2Config:
    write_secret(directory / "swap-seed")
    values = party_values(network, network.taker) | {"swap_seed_file": "swap-seed", "providers": [announced]}
    write_new(directory / "layer2.toml", file_text(Layer2Config, values))
    return Layer2Config.load(directory / "layer2.toml")


def _runs(process_id: int) -> bool:
    try:
        state = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"
