"""Opens the source that the settings name."""

from __future__ import annotations

from dataclasses import replace

from layer2.protocols.bitcoin.settings import BitcoinSettings
from layer2.protocols.bitcoin.source.esplora import Esplora
from layer2.protocols.bitcoin.source.http import HttpNode
from layer2.protocols.bitcoin.source.json_rpc import BitcoinRpc
from layer2.protocols.bitcoin.source.port import ChainSource

__all__ = ["open_source"]


def open_source(settings: BitcoinSettings) -> ChainSource:
    """The source of chain, mempool and fees. No node is asked.

    Raises:
        ConfigurationError: its address is invalid.
    """
    pool, seconds = settings.connection_pool, settings.default_timeout
    if settings.esplora_url is not None:
        return Esplora(HttpNode(settings.esplora_url, pool, seconds))
    assert settings.rpc_url is not None
    if settings.rpc_certificate_file is not None:
        pool = replace(pool, ca_file=settings.rpc_certificate_file)
    return BitcoinRpc(HttpNode(settings.rpc_url, pool, seconds))
