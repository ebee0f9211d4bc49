"""The two parties of a local network: their settings, and the provider as a process of its own. Test money only."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from layer2.config import JournalSection, Layer2Config, ProviderSection
from layer2.errors import ConfigurationError
from layer2.local.network import LocalChain, LocalNetwork, Party
from layer2.local.programs import ChildProgram

__all__ = [
    "LocalProvider",
    "LocalWorker",
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
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ConfigurationError(f"{ready_file} does not announce a provider") from error
    return _table(fields, ready_file)


def _table(fields: Any, ready_file: Path) -> dict[str, str]:
    try:
        return {"name": "local", "url": str(fields["url"]), "identity_key": str(fields["identity_key"])}
    except (KeyError, TypeError) as error:
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
        settings: fields of ``ProviderSettings`` that override those that the network implies; None omits one.
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
        self._child = ChildProgram(
            "the provider",
            (*program, str(directory / "provider.toml")),
            directory / "ready.json",
            directory / "provider.log",
            _provider_variables(network, directory / "identity", settings),
        )
        self.table: dict[str, str] = {}
        """Name, address and identity key, as an entry of the taker's ``[[providers]]``. Available once it serves."""

    @property
    def identity_key(self) -> bytes:
        """32 bytes, x-only."""
        return bytes.fromhex(self.table["identity_key"])

    @property
    def process_id(self) -> int:
        """The provider's process, while it runs."""
        return self._child.process_id

    def __enter__(self) -> Self:
        self._directory.mkdir(parents=True, exist_ok=True)
        write_secret(self._directory / "identity")
        # All settings are in the environment. The journal is stored beside the configuration file.
        (self._directory / "provider.toml").touch(mode=0o600)
        self.table = _table(self._child.start(), self._directory / "ready.json")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._child.stop()


class LocalWorker:
    """A Temporal worker of a ``LocalProvider``, in a child process like that one.

    Args:
        name: for its log and errors.
        directory: for its configuration, log and Bitcoin wallet; each worker needs one of its own.
        identity_key_file: that of the provider.
        settings: those of the provider.
    """

    def __init__(
        self, name: str, network: LocalNetwork, directory: Path, identity_key_file: Path, **settings: object
    ) -> None:
        self.name = name
        self.identity = ""
        """Its name in Temporal's histories. Available once it works."""
        self._directory = directory
        self._child = ChildProgram(
            f"worker {name}",
            ("-m", "layer2.cli.worker", str(directory / "provider.toml")),
            directory / "ready.json",
            directory / "worker.log",
            _provider_variables(network, identity_key_file, settings),
        )

    @property
    def process_id(self) -> int:
        """The worker's process, while it runs."""
        return self._child.process_id

    def kill(self) -> None:
        """Kill it."""
        self._child.kill()

    def __enter__(self) -> Self:
        self._directory.mkdir(parents=True, exist_ok=True)
        (self._directory / "provider.toml").touch(mode=0o600)
        self.identity = str(self._child.start()["worker"])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._child.stop()


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


def _provider_variables(
    network: LocalNetwork, identity_key_file: Path, settings: Mapping[str, object]
) -> dict[str, str]:
    """The settings of a provider as variables of the environment."""
    values: dict[str, object] = party_values(network, network.provider) | {
        "identity_key_file": str(identity_key_file),
        "listen_port": 0,
        # The two nodes share a channel, so a route has no fee.
        "network_fee_sat": 0,
        **settings,
    }
    return _variables({name: value for name, value in values.items() if value is not None})


def _variables(values: Mapping[str, object], prefix: str = "LAYER2_") -> dict[str, str]:
    variables: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            variables |= _variables(value, f"{prefix}{name.upper()}__")
        else:
            variables[f"{prefix}{name.upper()}"] = str(value)
    return variables
