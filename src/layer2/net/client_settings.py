"""The settings that all clients of nodes share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

from layer2.net.setting_rules import CheckedSettings, at_least, between, one_of, positive

__all__ = ["DEFAULT_TIMEOUT_MS", "ClientSettings", "ConnectionPoolConfig"]

DEFAULT_TIMEOUT_MS: Final = 30_000


@dataclass(frozen=True, slots=True)
class ConnectionPoolConfig(CheckedSettings):
    """[connection_pool]: the connections of each client to one node.

    Raises:
        ConfigurationError: a value is not allowed.
    """

    max_connections: Annotated[int, between(1, 1000)] = 16
    """maximum number of open connections per node, and of requests at the same time"""
    keepalive_seconds: Annotated[float, at_least(0)] = 30.0
    """seconds after which an idle connection is closed"""
    max_response_bytes: Annotated[int | None, at_least(1024)] = None
    """bytes, after decompression; a longer answer is refused; without it the limit is 8 MiB for an EVM node and 32 MiB
    for lnd"""
    ca_file: str | None = None
    """PEM file with the trusted certificate authorities; default: those of the system. It does not affect lnd, whose
    certificate is pinned"""
    max_batch_calls: Annotated[int, between(1, 10_000)] = 100
    """maximum number of JSON-RPC calls in one request; it falls by itself if the node refuses so many"""
    max_batch_bytes: Annotated[int, at_least(1024)] = 1_000_000
    """maximum size in bytes of a request with several calls"""
    max_calls_per_second: Annotated[float | None, positive] = None
    """maximum rate of JSON-RPC calls to a node, each call of a batch counted; without it there is no limit"""
    retry_seconds: Annotated[float, at_least(0)] = 2.0
    """seconds for which a read is retried if the node, other than lnd, is busy or down; with 0 there is one attempt"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSettings(CheckedSettings):
    """The settings that the client of every layer has. A file has them once, for all layers."""

    network: Annotated[str, one_of("mainnet", "testnet", "signet", "regtest")]
    """the network, which the node must be on"""
    default_timeout_ms: Annotated[int, at_least(1)] = DEFAULT_TIMEOUT_MS
    """time limit of one call in milliseconds, if the caller sets no timeout"""
    connection_pool: ConnectionPoolConfig = ConnectionPoolConfig()
    """the connections to the node"""

    @property
    def default_timeout(self) -> float:
        """``default_timeout_ms`` in seconds."""
        return self.default_timeout_ms / 1000
