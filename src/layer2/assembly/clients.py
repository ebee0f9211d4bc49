"""The clients of layers and of providers, from the tables of a configuration."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path
from shutil import copytree
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Final

from layer2.config import BitcoinSection, BobSection, Layer2Config, LayerSettings, ProviderSection, RootstockSection
from layer2.model.layers import Layer2ProtocolType
from layer2.net.client_settings import ClientSettings, ConnectionPoolConfig
from layer2.ports.client import Client
from layer2.ports.clock import Clock
from layer2.ports.journal import ClientRecords, LayerRecords, NonceRecords, SendRecord
from layer2.protocols.bitcoin import BitcoinClient
from layer2.protocols.bob import BobClient
from layer2.protocols.lightning import LightningNetwork, LightningSettings
from layer2.protocols.rootstock import RootstockClient
from layer2.provider_client import ProviderClient, ProviderEndpoint

__all__ = ["open_clients", "open_provider", "open_providers", "reading_client"]

_NONE_HELD: Final[Mapping[str, str]] = MappingProxyType({})


def open_clients(config: LayerSettings, records: LayerRecords, clock: Clock) -> Mapping[Layer2ProtocolType, Client]:
    """Create the clients of all configured layers. No node is asked. Close each with ``aclose``.

    Args:
        records: the durable record of single sends and held coins.

    Raises:
        ConfigurationError, SignerError: a setting or a key cannot be used; no client is left open.
    """
    return {layer: _client(section, records, clock, records) for layer, section in config.layers.items()}


@asynccontextmanager
async def reading_client(
    config: LayerSettings, layer: Layer2ProtocolType, clock: Clock, held: Mapping[str, str] = _NONE_HELD
) -> AsyncIterator[Client]:
    """The client of one layer, for programs that only read: it has no record of sends, and sends nothing.

    Args:
        held: the holder of each coin that the journal holds.

    Raises:
        ConfigurationError, SignerError: a setting or a key cannot be used.
    """
    with TemporaryDirectory(prefix="layer2-") as directory:
        section = _with_copied_wallet(config.layers[layer], Path(directory))
        client = _client(section, _NoRecords(held), clock, None)
        try:
            yield client
        finally:
            await client.aclose()


def _with_copied_wallet(section: ClientSettings, directory: Path) -> ClientSettings:
    """The same table with a copy of the wallet's file: a running program may have the file, and reading must not give
    out its next address."""
    if not isinstance(section, BitcoinSection) or section.wallet_file is None:
        return section
    # A program that only names a manager loads no database.
    import sqlite3

    source, copy = Path(section.wallet_file), directory / Path(section.wallet_file).name
    if source.is_file():
        opened = sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True)
        with closing(opened), closing(sqlite3.connect(copy)) as made:
            opened.backup(made)
        filters = source.with_suffix(".filters")
        if filters.is_dir():
            copytree(filters, copy.with_suffix(".filters"))
    return replace(section, wallet_file=str(copy))


class _NoRecords(ClientRecords):
    """The record of a client that sends nothing."""

    def __init__(self, held: Mapping[str, str]) -> None:
        self._held = held

    async def add_send(self, record: SendRecord) -> SendRecord:
        raise AssertionError("a client that only reads sends nothing")

    async def find_send(self, protocol: str, idempotency_key: str) -> SendRecord | None:
        return None

    async def find_send_of(self, protocol: str, tx_id: str) -> SendRecord | None:
        return None

    async def add_send_of_coins(self, record: SendRecord, holder: str, coins: Sequence[str]) -> SendRecord:
        raise AssertionError("a client that only reads sends nothing")

    async def hold_coins(self, protocol: str, holder: str, coins: Sequence[str]) -> bool:
        raise AssertionError("a client that only reads holds no coins")

    async def held_coins(self, protocol: str) -> Mapping[str, str]:
        return self._held

    async def release_coins(self, protocol: str, holder: str) -> None:
        return


def _client(section: ClientSettings, records: ClientRecords, clock: Clock, nonces: NonceRecords | None) -> Client:
    match section:
        case BobSection():
            return BobClient(section, section.signer(), records, clock, nonces)
        case RootstockSection():
            return RootstockClient(section, section.signer(), records, clock, nonces)
        case BitcoinSection():
            return BitcoinClient(section, section.seed(), records, clock)
        case LightningSettings():
            return LightningNetwork(section, records, clock)
        case _:
            raise AssertionError(f"there is no client for {type(section).__name__}")


def open_provider(section: ProviderSection, pool: ConnectionPoolConfig, timeout_ms: int) -> ProviderClient:
    """Create the client of one provider.

    Raises:
        ConfigurationError: its address or key cannot be used.
    """
    endpoint = ProviderEndpoint(section.name, section.url, bytes.fromhex(section.identity_key))
    return ProviderClient(endpoint, pool, timeout_ms)


def open_providers(config: Layer2Config, stack: AsyncExitStack) -> Sequence[ProviderClient]:
    """Create the clients of all providers of a taker.

    Args:
        stack: closes them.

    Raises:
        ConfigurationError: as ``open_provider``.
    """
    providers = [open_provider(each, config.connection_pool, config.default_timeout_ms) for each in config.providers]
    for provider in providers:
        stack.push_async_callback(provider.aclose)
    return providers
