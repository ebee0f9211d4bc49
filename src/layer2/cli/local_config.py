"""What a running local network means for a configuration: the values for either party."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from platformdirs import user_state_path

from layer2.errors import ConfigurationError
from layer2.local_network import LocalNetwork, Party

__all__ = ["READY_FILE", "LocalName", "default_directory", "party_values", "read_provider"]

LocalName = Literal["simnet", "devnet"]
READY_FILE = "provider-ready.json"
"""Where a provider says that it serves, beside its configuration."""
_POLL_MS = 100
"""Blocks of a local network come on demand, so looking more often is worth it, and costs nobody anything."""


def default_directory(name: LocalName) -> Path:
    """Where a local network lives unless somebody says otherwise."""
    return user_state_path("layer2") / name


def party_values(network: LocalNetwork, party: Party) -> dict[str, Any]:
    """Network, [bob] and [lightning] for one party of a local network, nested as in the file."""
    return {
        "network": "regtest",
        "bob": {
            "rpc_url": network.bob_rpc_url,
            "chain_id": network.chain_id,
            "token_address": network.token_address,
            "token_decimals": network.token_decimals,
            "key_file": party.evm_key_file,
            "poll_interval_ms": _POLL_MS,
        },
        "lightning": {
            "rest_url": party.lightning.rest_url,
            "certificate_file": party.lightning.certificate_file,
            "macaroon_file": party.lightning.macaroon_file,
            "poll_interval_ms": _POLL_MS,
        },
    }


def read_provider(ready_file: Path) -> dict[str, str] | None:
    """The provider that announces itself in the file, as a ``[[providers]]`` table; None where none does.

    Raises:
        ConfigurationError: the file is not a provider's.
    """
    try:
        fields = json.loads(ready_file.read_text())
        return {"name": "local", "url": str(fields["url"]), "identity_key": str(fields["identity_key"])}
    except FileNotFoundError:
        return None
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigurationError(f"{ready_file} does not announce a provider") from error
