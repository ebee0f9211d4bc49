"""The two parties of a local network: their settings, and the provider as a process of its own. Test money only."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from layer2.config import JournalSection, Layer2Config, ProviderSection
from layer2.errors import ConfigurationError, Layer2Error
from layer2.local.network import LocalChain, LocalNetwork, Party

__all__ = [
    "LocalProvider",
    "party_values",
    "read_provider",
    "taker_config",
    "write_new",
    "write_secret",
]

_FINAL_DEPTH = 3
_POLL_MS = 100
"""A local network makes blocks on demand, so frequent polling helps and is cheap."""
_ETH_PRICE_SAT = 4_000_000
"""With a price, transfers need no max_fee."""
_SAFE_DEPTH, _ROOTSTOCK_FINAL_DEPTH = 2, 4
_START_SECONDS = 60.0
_STOP_SECONDS = 20.0


def party_values(network: LocalNetwork, party: Party) -> dict[str, Any]:
    """One party's network and layer settings for a local network, nested as in a configuration file."""
    return {
        "network": "regtest",
        "bob": _bob_values(network.bob, party),
        "rootstock": _rootstock_values(network, party),
        "lightning": {
            "rest_url": party.lightning.rest_url,
            "certificate_file": party.lightning.certificate_file,
            "macaroon_file": party.lightning.macaroon_file,
            "poll_interval_ms": _POLL_MS,
        },
        "bitcoin": {
            name: value
            for name, value in (
                ("esplora_url", network.bitcoin.esplora_url),
                ("rpc_url", network.bitcoin.rpc_url),
                ("rpc_certificate_file", network.bitcoin.rpc_certificate_file),
                ("filter_peer", network.bitcoin.filter_peer),
                ("seed_file", party.bitcoin_seed_file),
                ("poll_interval_ms", _POLL_MS),
                ("final_depth", _FINAL_DEPTH),
            )
            if value is not None
        },
    }


def _bob_values(chain: LocalChain, party: Party) -> dict[str, object]:
    return {
        **_evm_values(chain, party),
        "token_address": chain.token_address,
        "token_decimals": chain.token_decimals,
        "native_price_sat": _ETH_PRICE_SAT,
    }


def _rootstock_values(network: LocalNetwork, party: Party) -> dict[str, object]:
    return {
        **_evm_values(network.rootstock, party),
        "contract_address": network.rootstock.htlc_address.lower(),
        "safe_depth": _SAFE_DEPTH,
        "final_depth": _ROOTSTOCK_FINAL_DEPTH,
        "dialect": "rskj" if network.name == "simnet" else "ethereum",
    }


def _evm_values(chain: LocalChain, party: Party) -> dict[str, object]:
    return {
        "rpc_url": chain.rpc_url,
        "chain_id": chain.chain_id,
        "key_file": party.evm_key_file,
        "poll_interval_ms": _POLL_MS,
        # Blocks are made on demand here, so a head soon looks old.
        "head_life_ms": 0,
    }


def read_provider(ready_file: Path) -> dict[str, str] | None:
    """Read a provider's announcement from the file, as a ``[[providers]]`` table; None if the file does not exist.

    Raises:
        ConfigurationError: the file is malformed.
    """
    try:
        fields = json.loads(ready_file.read_text())
        return {"name": "local", "url": str(fields["url"]), "identity_key": str(fields["identity_key"])}
    except FileNotFoundError:
        return None
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigurationError(f"{ready_file} does not announce a provider") from error


def write_secret(path: Path) -> bool:
    """Create a file of mode 0600 with 32 random bytes as hex, unless it exists. Returns whether it was created."""
    try:
        write_new(path, secrets.token_hex(32) + "\n")
    except FileExistsError:
        return False
    return True


def write_new(path: Path, text: str) -> None:
    """Create a file of mode 0600, which must not exist, and sync it to the disk."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


class LocalProvider:
    """A provider on a local network, in a child process that ends with this process, even if this one is killed.

    Example: ``with LocalProvider(network, directory) as provider: ...``. Entering and leaving it block.

    Args:
        directory: for its identity key, journal and log; kept across restarts.
        program: how Python is started; what it runs takes the arguments of ``layer2.provider.process``.
        settings: fields of ``ProviderSettings`` that override those that the network implies.
    """

    def __init__(
        self,
        network: LocalNetwork,
        directory: Path,
        *,
        program: Sequence[str] = ("-m", "layer2.provider.process"),
        **settings: object,
    ) -> None:
        self._directory = directory
        self._program = program
        self._values = party_values(network, network.provider) | {
            "identity_key_file": str(directory / "identity"),
            "listen_port": 0,
            # The two nodes share a channel, so a route has no fee.
            "network_fee_sat": 0,
            **settings,
        }
        self._process: subprocess.Popen[bytes] | None = None
        self.table: dict[str, str] = {}
        """Name, address and identity key, as an entry of the taker's ``[[providers]]``. Available once it serves."""

    @property
    def identity_key(self) -> bytes:
        """32 bytes, x-only."""
        return bytes.fromhex(self.table["identity_key"])

    @property
    def process_id(self) -> int:
        """The provider's process, while it runs."""
        assert self._process is not None
        return self._process.pid

    def __enter__(self) -> Self:
        self._directory.mkdir(parents=True, exist_ok=True)
        write_secret(self._directory / "identity")
        ready, config = self._directory / "ready.json", self._directory / "provider.toml"
        # All settings are in the environment. The journal is stored beside the configuration file.
        config.touch(mode=0o600)
        command = [sys.executable, *self._program, str(config)]
        command += ["--ready-file", str(ready), "--with-parent", str(os.getpid())]
        with (self._directory / "provider.log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603  # the caller names the program
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=os.environ | _variables(self._values)
            )
        try:
            self.table = self._await_ready(ready)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _await_ready(self, ready: Path) -> dict[str, str]:
        assert self._process is not None
        give_up = time.monotonic() + _START_SECONDS
        while (table := read_provider(ready)) is None:
            try:
                # Returns at once if the process ends; else the loop checks again.
                status = self._process.wait(0.05)
            except subprocess.TimeoutExpired:
                if time.monotonic() < give_up:
                    continue
                what = f"was not ready within {_START_SECONDS:g} s"
            else:
                what = f"ended while it started, with status {status}"
            raise Layer2Error(
                f"the provider {what}",
                code="provider_start",
                remedy=f"its log is {self._directory / 'provider.log'}",
            )
        return table


def taker_config(network: LocalNetwork, directory: Path, providers: tuple[Mapping[str, str], ...] = ()) -> Layer2Config:
    """The configuration of a local network's taker, with a swap seed and a journal in the directory."""
    directory.mkdir(parents=True, exist_ok=True)
    write_secret(directory / "swap-seed")
    return Layer2Config(
        **party_values(network, network.taker),
        swap_seed_file=directory / "swap-seed",
        journal=JournalSection(path=directory / "journal.sqlite"),
        providers=tuple(ProviderSection(**each) for each in providers),
    )


def _variables(values: Mapping[str, object], prefix: str = "LAYER2_") -> dict[str, str]:
    variables: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            variables |= _variables(value, f"{prefix}{name.upper()}__")
        else:
            variables[f"{prefix}{name.upper()}"] = str(value)
    return variables
