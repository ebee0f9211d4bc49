"""The settings of the Bitcoin client."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Final

from layer2.errors import ConfigurationError
from layer2.model.layers import Layer2ProtocolType
from layer2.net.client_settings import ClientSettings
from layer2.net.setting_rules import address_of, at_least, between

__all__ = ["BitcoinSettings"]

_PREFIXES: Final = {"mainnet": "bc", "testnet": "tb", "signet": "tb", "regtest": "bcrt"}


@dataclass(frozen=True, slots=True, kw_only=True)
class BitcoinSettings(ClientSettings):
    """[bitcoin]: where the chain is read, and the wallet. Addresses may contain credentials: they are not shown.

    Raises:
        ConfigurationError: a value is not allowed.
    """

    protocol_type: ClassVar[Layer2ProtocolType] = Layer2ProtocolType.BITCOIN

    esplora_url: Annotated[str | None, address_of("http", "https")] = field(default=None, repr=False)
    """address of an Esplora server, http or https. It can lie about everything except signatures and work: run your
    own, or trust its operator"""
    rpc_url: Annotated[str | None, address_of("http", "https")] = field(default=None, repr=False)
    """JSON-RPC address of your node with user and password, http or https: Bitcoin Core with txindex, or btcd"""
    rpc_certificate_file: str | None = None
    """PEM file with the only certificate that the node may show, for a node with a self-signed certificate"""
    filter_peer: str | None = None
    """IP address and port of a peer that serves compact block filters (BIP 157); with rpc_url the wallet needs it"""
    wallet_file: str | None = None
    """SQLite file of the wallet's addresses and transactions, created with mode 0600; without it they are found again
    at each start"""
    poll_interval_ms: Annotated[int, at_least(1)] = 1000
    """milliseconds between reads of the newest block and of the mempool"""
    final_depth: Annotated[int, between(1, 1000)] = 6
    """confirmations with which the end of a swap is final; at least 6 on mainnet"""
    min_fee_rate: Annotated[int, at_least(1000)] = 1000
    """satoshi per 1,000 virtual bytes: the lowest fee rate of another party's funding that you accept"""
    max_fee_rate: Annotated[int, at_least(1000)] = 200_000
    """satoshi per 1,000 virtual bytes; sends and fundings above it are refused, claims and refunds are not"""

    def __post_init__(self) -> None:
        ClientSettings.__post_init__(self)
        if self.network == "mainnet" and self.final_depth < 6:
            raise ConfigurationError('"final_depth": must be at least 6 on mainnet', code="wrong_value")
        if (self.esplora_url is None) == (self.rpc_url is None):
            raise ConfigurationError("give exactly one of esplora_url and rpc_url", code="wrong_value")
        if (self.rpc_url is None) != (self.filter_peer is None):
            raise ConfigurationError("give filter_peer with rpc_url, and not with esplora_url", code="wrong_value")

    @property
    def prefix(self) -> str:
        """With which the network's addresses begin (BIP 173)."""
        return _PREFIXES[self.network]
