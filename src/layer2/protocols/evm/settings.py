"""The settings of a client of an EVM layer."""

from __future__ import annotations

from dataclasses import dataclass, field

from layer2.model.transactions import Finality
from layer2.net.pool import ConnectionPoolConfig

__all__ = ["EvmSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EvmSettings:
    """One EVM layer, through one node. Validated by the client that takes it.

    The waits for a stale or a hurried chain are settings of the network: a local one makes blocks on demand.
    """

    rpc_url: str = field(repr=False)
    """``http`` or ``https``; may hold a user, a password or a key, and is never shown whole."""
    fallback_rpc_urls: tuple[str, ...] = field(default=(), repr=False)
    """Other nodes of the same chain, in order; one is asked while those before it are away, lag behind, or are on
    another chain. What they say is believed as much as what the first one says."""
    chain_id: int
    token: str
    """Address of the ERC-20 that is this layer's BTC, ``0x`` and 40 hex digits. There is no default."""
    token_decimals: int
    """Must be what the token itself says."""
    network: str = "mainnet"
    """``mainnet``, ``testnet`` or ``regtest``."""
    poll_interval_seconds: float = 1.0
    """Seconds between two looks at the node's heads, while someone waits for them."""
    websocket_url: str | None = field(default=None, repr=False)
    """``ws`` or ``wss``, of a node of the same chain; may hold credentials, and is never shown whole. It tells of new
    heads sooner than the next look does; everything is read by ``rpc_url``."""
    head_life_seconds: float = 0.2
    """Seconds for which the three heads serve status calls; each call asks for its own receipt. With 0 both are asked
    each time."""
    default_timeout_ms: int = 10_000
    """For a call without a timeout of its own, and for each HTTP request."""
    connection_pool: ConnectionPoolConfig = field(default_factory=ConnectionPoolConfig)
    finality: Finality = Finality.FINALIZED
    """The head from which on a transaction counts as FINAL."""
    max_fee_per_gas: int = 5_000_000_000
    """Wei. Sends and locks above it are refused; a claim or a refund is never held back by it."""
    priority_fee_per_gas: int = 1_000_000
    """Wei, for the sequencer, on top of the base fee."""
    max_tip_age: int = 120
    """Seconds that the newest block may lie behind this machine's clock."""
    max_tip_ahead: int = 1_860
    """Seconds that the newest block may lie ahead of it when a swap begins: the sequencer's drift and a minute."""
    log_search_blocks: int = 400_000
    """How far back events are looked for: at 2 s a block more than nine days, longer than most locks last. A preimage
    and the evidence of a lock's end are looked for in the whole chain; an older lock's transaction id is not shown."""
    log_search_step: int = 10_000
    """Blocks in one request for events."""
    native_price_sat: int | None = None
    """Satoshi for a whole coin that pays gas; None gives no estimate of a leg's network cost."""
