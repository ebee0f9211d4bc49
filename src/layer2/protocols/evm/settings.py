"""The settings that the clients of all EVM layers share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Annotated

from layer2.contracts.htlc import NATIVE_COIN
from layer2.model.layers import LayerFacts
from layer2.model.transactions import Finality
from layer2.net.client_settings import ClientSettings
from layer2.net.setting_rules import address_of, at_least

__all__ = ["EvmAsset", "EvmSettings"]


@dataclass(frozen=True, slots=True)
class EvmAsset:
    """What represents bitcoin on an EVM chain, and the contract that locks it."""

    contract: bytes
    """The HTLC contract, 20 bytes."""
    token: bytes
    """The ERC-20 token, 20 bytes; ``NATIVE_COIN`` for the chain's own coin."""
    decimals: int
    coin_price_sat: int | None
    """The price in satoshi of one coin that pays gas, if it is known."""

    @property
    def is_native(self) -> bool:
        """Whether the coin that pays gas is bitcoin itself."""
        return self.token == NATIVE_COIN


@dataclass(frozen=True, slots=True, kw_only=True)
class EvmSettings(ClientSettings, ABC):
    """The node of an EVM layer, and limits. Addresses of nodes may contain credentials: they are not shown.

    Raises:
        ConfigurationError: a value is not allowed.
    """

    rpc_url: Annotated[str, address_of("http", "https")] = field(repr=False)
    """JSON-RPC address of your node, http or https"""
    fallback_rpc_urls: Annotated[tuple[str, ...], address_of("http", "https")] = field(default=(), repr=False)
    """other nodes of the same chain; each is used while those before it are unreachable, lag behind or serve another
    chain. The client trusts all of them equally"""
    websocket_url: Annotated[str | None, address_of("ws", "wss")] = field(default=None, repr=False)
    """address of the same node's websocket, ws or wss; with it new blocks arrive immediately, without it within
    poll_interval_ms. All data is read from rpc_url"""
    chain_id: Annotated[int, at_least(1)]
    """the chain id; the node must have it"""
    poll_interval_ms: Annotated[int, at_least(1)] = 1000
    """milliseconds between reads of the newest block"""
    head_life_ms: Annotated[int, at_least(0)] = 200
    """milliseconds for which status calls and swaps use a cached head; receipts are never cached"""
    finality: Finality = Finality.FINALIZED
    """a transaction is FINAL, and the block of a proof confirmed, when this head (latest, safe or finalized) has
    reached it; swaps do not depend on this setting"""
    stale_after_seconds: Annotated[int, at_least(1)] = 120
    """seconds; if the newest block is older, the chain is stale, and no new transfer starts"""
    max_ahead_seconds: Annotated[int, at_least(0)] = 1_860
    """seconds by which the newest block may be ahead of this machine's clock when a transfer starts; the default is the
    sequencer's drift and a minute"""
    max_fee_per_gas_wei: Annotated[int, at_least(1)] = 5_000_000_000
    """wei; sends and locks above it are refused, claims and refunds are not"""
    log_search_blocks: Annotated[int, at_least(1)] = 400_000
    """how many blocks back events are searched: more than nine days at 2 s per block, longer than most locks last. The
    transaction id of an older lock is not shown; preimages and evidence are searched in the whole chain"""
    log_search_step_blocks: Annotated[int, at_least(1)] = 10_000
    """blocks per request for events; use fewer if an answer exceeds max_response_bytes"""

    @property
    @abstractmethod
    def asset(self) -> EvmAsset:
        """What represents bitcoin on this chain."""

    @property
    def tip_per_gas_wei(self) -> int:
        """Wei for the block's maker, in addition to the base fee; 0 on a chain with one price."""
        return 0

    @abstractmethod
    def facts(self) -> LayerFacts:
        """The facts of the layer, as these settings change them."""
