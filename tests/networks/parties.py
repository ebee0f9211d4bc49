"""Taker and provider of a running network: their clients, their configuration files, the provider's process."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from forking import PARENT, Forked, fork
from layer2.local.network import LocalChain, LocalNetwork, Party
from layer2.local.parties import party_values
from layer2.ports.clock import SystemClock
from layer2.protocols.bitcoin import BitcoinClient, BitcoinSettings
from layer2.protocols.bob import BobClient, BobSettings
from layer2.protocols.lightning import LightningNetwork, LightningSettings
from layer2.protocols.rootstock import RootstockClient, RootstockSettings
from layer2.signers.bitcoin import BitcoinSeed
from layer2.signers.software import SoftwareEvmSigner
from memory_sends import MemoryRecords, MemorySends
from networks.waiting import until

__all__ = [
    "Clients",
    "ProviderProcess",
    "bitcoin_settings",
    "bob_settings",
    "clients_of",
    "lightning_settings",
    "rootstock_settings",
    "write_lightning_config",
    "write_secret",
    "write_taker_config",
]

_START_SECONDS = 60
_PROVIDER = "layer2.provider.process"


def bob_settings(network: LocalNetwork, /, **changes: Any) -> BobSettings:
    """The settings of a BobClient on that network."""
    token = {"token_address": network.bob.token_address, "token_decimals": network.bob.token_decimals}
    return BobSettings(**(_evm_fields(network.bob) | token | changes))


def rootstock_settings(network: LocalNetwork, /, **changes: Any) -> RootstockSettings:
    """The settings of a RootstockClient on that network."""
    fields = {
        "contract_address": network.rootstock.htlc_address.lower(),
        "safe_depth": 2,
        "final_depth": 4,
        "dialect": "rskj" if network.name == "simnet" else "ethereum",
    }
    return RootstockSettings(**(_evm_fields(network.rootstock) | fields | changes))


def _evm_fields(chain: LocalChain) -> dict[str, Any]:
    return {
        "rpc_url": chain.rpc_url,
        "chain_id": chain.chain_id,
        "network": "regtest",
        "poll_interval_ms": 50,
        "head_life_ms": 0,
    }


def lightning_settings(party: Party, **changes: Any) -> LightningSettings:
    """The settings of a LightningNetwork for that party."""
    fields: dict[str, Any] = {
        "rest_url": party.lightning.rest_url,
        "certificate_file": party.lightning.certificate_file,
        "macaroon_file": party.lightning.macaroon_file,
        "network": "regtest",
        "payment_timeout_seconds": 20,
        "poll_interval_ms": 200,
    }
    return LightningSettings(**(fields | changes))


def bitcoin_settings(network: LocalNetwork, party: Party, /, **changes: Any) -> BitcoinSettings:
    """The settings of a BitcoinClient for that party."""
    fields = {"network": "regtest"} | party_values(network, party)["bitcoin"] | changes
    del fields["seed_file"]
    return BitcoinSettings(**fields)


@dataclass(frozen=True, slots=True)
class Clients:
    """One party's client of each layer."""

    bob: BobClient
    rootstock: RootstockClient
    lightning: LightningNetwork
    bitcoin: BitcoinClient
    """Not initialized: most tests do not use it, and it reads its whole wallet."""


@asynccontextmanager
async def clients_of(network: LocalNetwork, party: Party) -> AsyncIterator[Clients]:
    """The party's clients until the block ends, initialized except for Bitcoin's."""
    async with AsyncExitStack() as closing:
        signer = SoftwareEvmSigner.from_file(party.evm_key_file)
        clients = Clients(
            BobClient(bob_settings(network), signer, MemorySends()),
            RootstockClient(rootstock_settings(network), signer, MemorySends()),
            LightningNetwork(lightning_settings(party), MemorySends(), SystemClock()),
            BitcoinClient(
                bitcoin_settings(network, party), BitcoinSeed.from_file(party.bitcoin_seed_file), MemoryRecords()
            ),
        )
        await closing.enter_async_context(clients.bitcoin)
        for client in (clients.bob, clients.rootstock, clients.lightning):
            await closing.enter_async_context(client)
            await client.initialize_async()
        yield clients


def write_secret(path: Path, secret: bytes) -> Path:
    """Write 32 bytes as hex into a file that only its owner can read."""
    path.touch(mode=0o600)
    path.write_text(secret.hex())
    return path


def write_taker_config(path: Path, network: LocalNetwork, provider: ProviderProcess) -> Path:
    """Write the ``layer2.toml`` of the network's taker, with all layers and its own swap seed."""
    seed = write_secret(path.with_name("swap-seed"), os.urandom(32))
    tables: dict[str, dict[str, str | int]] = {
        "": {"network": "regtest", "swap_seed_file": str(seed)},
        **_node_tables(network, network.taker),
        "[providers]": {"name": "provider", "url": provider.url, "identity_key": provider.identity_key},
    }
    path.write_text(_toml(tables))
    return path


def write_lightning_config(path: Path, network: LocalNetwork, party: Party) -> Path:
    """Write a configuration with only that party's Lightning node."""
    tables: dict[str, dict[str, str | int]] = {
        "": {"network": "regtest"},
        "lightning": party_values(network, party)["lightning"],
        "journal": {"path": f"{path.stem}-journal.sqlite"},
    }
    path.write_text(_toml(tables))
    return path


def _node_tables(network: LocalNetwork, party: Party) -> dict[str, dict[str, str | int]]:
    """The tables of all layers."""
    return {name: value for name, value in party_values(network, party).items() if isinstance(value, dict)}


def _toml(tables: dict[str, dict[str, str | int]]) -> str:
    lines: list[str] = []
    for name, fields in tables.items():
        if name:
            lines.append(f"[{name}]")
        # JSON strings and integers are valid TOML.
        lines += [f"{key} = {json.dumps(value)}" for key, value in fields.items()]
    return "\n".join(lines) + "\n"


def _process_state(stat: Path) -> str:
    """The kernel's state letter. It follows the process's name, which may contain spaces."""
    return stat.read_text().rpartition(")")[2].split()[0]


@dataclass
class ProviderProcess:
    """The provider of a network as a separate process, which can be killed and restarted.

    Args:
        directory: for its configuration, key, journal and log; kept across restarts.
        settings: in addition to those for the network.
    """

    network: LocalNetwork
    directory: Path
    settings: dict[str, str | int] = field(default_factory=dict)
    url: str = ""
    """It stays the same after a restart."""
    identity_key: str = ""
    options: tuple[str, ...] = ()
    """More arguments of its command line."""
    _process: Forked | None = None
    _misbehaviour: str | None = None

    def start(self, misbehaviour: str | None = None) -> None:
        """Start it, unless it already runs with that fault. Returns when it serves, or has died from the fault.

        Args:
            misbehaviour: the fault and its moment; see ``networks.misbehaving``.
        """
        if self._process is not None and self._process.poll() is None and self._misbehaviour == misbehaviour:
            return
        self.kill()
        self._misbehaviour = misbehaviour
        if not self.url:
            self.directory.mkdir(parents=True)
            write_secret(self.directory / "identity", os.urandom(32))
        self._write_config()
        ready = self.directory / "ready.json"
        ready.unlink(missing_ok=True)
        module, faults = ("networks.misbehaving", [misbehaviour, "provider"]) if misbehaviour else (_PROVIDER, [])
        arguments = [
            *faults,
            str(self.directory / "provider.toml"),
            "--ready-file",
            str(ready),
            "--with-parent",
            PARENT,
            *self.options,
        ]
        with (self.directory / "log").open("ab") as log:
            self._process = fork(module, arguments, output=log)
        self._await_ready(ready)

    def kill(self) -> None:
        """Send SIGKILL: the process cannot react."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(timeout=30)
            self._process = None

    async def died(self) -> None:
        """Wait until it has killed itself by SIGKILL."""

        async def has_died() -> bool:
            return self.has_died()

        await until(has_died, "the provider dies")

    def has_died(self) -> bool:
        """Whether it has killed itself by SIGKILL."""
        if self._process is not None and self._process.poll() is not None:
            assert self._process.returncode == -signal.SIGKILL, self.log()
            self._process = None
        return self._process is None

    async def fell_silent(self) -> None:
        """Wait until it has stopped itself by SIGSTOP."""
        assert self._process is not None
        stat = Path(f"/proc/{self._process.pid}/stat")

        async def is_stopped() -> bool:
            return _process_state(stat) == "T"

        await until(is_stopped, "the provider stops itself")

    def stop(self) -> None:
        """Send SIGTERM and wait until it has ended."""
        if self._process is not None:
            self._process.terminate()
            try:
                assert self._process.wait(timeout=30) == 0, self.log()
            finally:
                self.kill()

    def log(self) -> str:
        """Its log."""
        return (self.directory / "log").read_text()

    def _write_config(self) -> None:
        port = int(self.url.rpartition(":")[2]) if self.url else 0
        fields: dict[str, str | int] = {
            "network": "regtest",
            "identity_key_file": str(self.directory / "identity"),
            "listen_port": port,
            "max_open_swaps_per_taker": 100,
        }
        tables = {"": fields | self.settings, **_node_tables(self.network, self.network.provider)}
        (self.directory / "provider.toml").write_text(_toml(tables))

    def _await_ready(self, ready: Path) -> None:
        assert self._process is not None
        give_up = time.monotonic() + _START_SECONDS
        while not ready.exists():
            try:
                # Returns at once if the process ends; else the loop checks again.
                status = self._process.wait(timeout=0.02)
            except TimeoutError:
                assert time.monotonic() < give_up, f"the provider was not ready in time: {self.log()}"
            else:
                if self.url and self._misbehaviour and status == -signal.SIGKILL:
                    return
                raise AssertionError(f"the provider ended while it started: {self.log()}")
        said = json.loads(ready.read_text())
        self.url, self.identity_key = said["url"], said["identity_key"]
