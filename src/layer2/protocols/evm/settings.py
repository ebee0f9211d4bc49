"""The settings of an EVM layer's client."""

from __future__ import annotations

from dataclasses import dataclass, field

from layer2.model.transactions import Finality
from layer2.net.pool import ConnectionPoolConfig

__all__ = ["EvmSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EvmSettings:
    """The settings of one EVM layer. The client validates them."""

    rpc_url: str = field(repr=False)
    """``http`` or ``https``. It may contain a user, a password or a key, which are never shown."""
    fallback_rpc_urls: tuple[str, ...] = field(default=(), repr=False)
    """Other nodes of the same chain, in order of preference. A node is used while the preceding ones are unreachable,
    lag behind, or serve another chain. The client trusts all nodes equally."""
    chain_id: int
    token: str
    """Address of the ERC-20 token that represents bitcoin on this layer, ``0x`` and 40 hex digits."""
    token_decimals: int
    """Must equal the token's own ``decimals()``."""
    network: str = "mainnet"
    """``mainnet``, ``testnet`` or ``regtest``."""
    poll_interval_seconds: float = 1.0
    """Seconds between two reads of the node's heads, while a caller waits for new ones."""
    websocket_url: str | None = field(default=None, repr=False)
    """``ws`` or ``wss`` address of a node of the same chain. It may contain credentials, which are never shown. The
    websocket only announces new heads; all data is read from ``rpc_url``."""
    head_life_seconds: float = 0.2
    """Seconds for which status calls reuse the heads. Each call reads its own receipt. With 0 each call reads both."""
    default_timeout_ms: int = 10_000
    """The timeout of each HTTP request, and of each call without its own timeout."""
    connection_pool: ConnectionPoolConfig = field(default_factory=ConnectionPoolConfig)
    finality: Finality = Finality.FINALIZED
    """A transaction is FINAL once this head has reached its block."""
    max_fee_per_gas: int = 5_000_000_000
    """Wei. Sends and locks are refused while gas costs more. Claims and refunds ignore this limit."""
    priority_fee_per_gas: int = 1_000_000
    """Wei for the sequencer, in addition to the base fee."""
    max_tip_age: int = 120
    """Seconds by which the newest block may be behind this machine's clock. Local networks produce blocks on demand and
    need more."""
    max_tip_ahead: int = 1_860
    """Seconds by which the newest block may be ahead of this machine's clock when a swap starts: the sequencer's drift
    and a minute."""
    log_search_blocks: int = 400_000
    """How many blocks back events are searched: more than nine days at 2 s per block, longer than most locks last. The
    transaction id of an older lock is not shown. Preimages and evidence are searched in the whole chain."""
    log_search_step: int = 10_000
    """Blocks per request for events. Use fewer if an answer exceeds ``max_response_bytes``."""
    native_price_sat: int | None = None
    """Price of one whole native coin in satoshi; without it, the network cost of a leg is not estimated."""
