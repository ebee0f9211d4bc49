"""The settings of an EVM layer's client."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from layer2.errors import FormatError
from layer2.formats.evm_address import parse_address
from layer2.model.transactions import Finality
from layer2.net.client_settings import ClientSettings
from layer2.net.setting_rules import address_of, at_least, between

__all__ = ["EvmSettings"]


def _token_address(value: object) -> None:
    try:
        parse_address(str(value))
    except FormatError as error:
        raise ValueError(error.message) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class EvmSettings(ClientSettings):
    """An EVM layer: the node, and the token that represents bitcoin. Addresses may contain credentials: they are not
    shown.

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
    token_address: Annotated[str, _token_address]
    """the ERC-20 token that you accept as BTC; several exist, so there is no default"""
    token_decimals: Annotated[int, between(0, 36)]
    """decimals of the token (WBTC 8, tBTC 18); must match the contract"""
    poll_interval_ms: Annotated[int, at_least(1)] = 1000
    """milliseconds between reads of the newest block"""
    head_life_ms: Annotated[int, at_least(0)] = 200
    """milliseconds for which status calls use a cached head; receipts are never cached"""
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
    priority_fee_per_gas_wei: Annotated[int, at_least(0)] = 1_000_000
    """wei for the sequencer, in addition to the base fee"""
    log_search_blocks: Annotated[int, at_least(1)] = 400_000
    """how many blocks back events are searched: more than nine days at 2 s per block, longer than most locks last. The
    transaction id of an older lock is not shown; preimages and evidence are searched in the whole chain"""
    log_search_step_blocks: Annotated[int, at_least(1)] = 10_000
    """blocks per request for events; use fewer if an answer exceeds max_response_bytes"""
    native_price_sat: Annotated[int | None, at_least(1)] = None
    """price in satoshi of one coin that pays gas; without it there is no estimate of network costs in satoshi, and
    every transfer needs max_fee"""
