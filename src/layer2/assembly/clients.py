"""The clients of layers and of providers, from the tables of a configuration."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from layer2.config import BobSection, LayerSettings, ProviderSection, RootstockSection
from layer2.model.layers import Layer2ProtocolType
from layer2.net.client_settings import ClientSettings, ConnectionPoolConfig
from layer2.ports.client import Client
from layer2.ports.clock import Clock
from layer2.ports.journal import SendRecord, SendRecords
from layer2.protocols.bob import BobClient
from layer2.protocols.lightning import LightningNetwork, LightningSettings
from layer2.protocols.rootstock import RootstockClient
from layer2.provider_client import ProviderClient, ProviderEndpoint

__all__ = ["open_clients", "open_provider", "reading_client"]


def open_clients(config: LayerSettings, sends: SendRecords, clock: Clock) -> Mapping[Layer2ProtocolType, Client]:
    """Create the clients of all configured layers. No node is asked. Close each with ``aclose``.

    Args:
        sends: the durable record of single sends.

    Raises:
        ConfigurationError, SignerError: a setting or a key cannot be used; no client is left open.
    """
    return {layer: _client(section, sends, clock) for layer, section in config.layers.items()}


@asynccontextmanager
async def reading_client(config: LayerSettings, layer: Layer2ProtocolType, clock: Clock) -> AsyncIterator[Client]:
    """The client of one layer, for programs that only read: it has no record of sends, and sends nothing.

    Raises:
        ConfigurationError, SignerError: a setting or a key cannot be used.
    """
    client = _client(config.layers[layer], _NoSends(), clock)
    try:
        yield client
    finally:
        await client.aclose()


class _NoSends(SendRecords):
    """The empty record of a client that sends nothing."""

    async def add_send(self, record: SendRecord) -> SendRecord:
        raise AssertionError("a client that only reads sends nothing")

    async def find_send(self, protocol: str, idempotency_key: str) -> SendRecord | None:
        return None

    async def find_send_of(self, protocol: str, tx_id: str) -> SendRecord | None:
        return None


def _client(section: ClientSettings, sends: SendRecords, clock: Clock) -> Client:
    match section:
        case BobSection():
            return BobClient(section, section.signer(), sends, clock)
        case RootstockSection():
            return RootstockClient(section, section.signer(), sends, clock)
        case LightningSettings():
            return LightningNetwork(section, sends, clock)
        case _:
            raise AssertionError(f"there is no client for {type(section).__name__}")


def open_provider(section: ProviderSection, pool: ConnectionPoolConfig, timeout_ms: int) -> ProviderClient:
    """Create the client of one provider.

    Raises:
        ConfigurationError: its address or key cannot be used.
    """
    endpoint = ProviderEndpoint(section.name, section.url, bytes.fromhex(section.identity_key))
    return ProviderClient(endpoint, pool, timeout_ms)
