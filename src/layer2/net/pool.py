"""Settings that several clients share. Frozen, and already validated by ``config``."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ConnectionPoolConfig"]


@dataclass(frozen=True, slots=True)
class ConnectionPoolConfig:
    """How a client keeps its connections to one node.

    Args:
        max_connections: open at once, per node; with HTTP/1.1 also the most requests in flight.
        keepalive_seconds: an idle connection is kept that long.
        max_response_bytes: a longer answer is refused; a compressed one counts as what it unpacks to.
        ca_file: PEM file with the only authorities that may certify the server; None trusts the system's. A node
            whose own certificate is pinned, as lnd's, is not concerned.

    The rest is for JSON-RPC (EVM nodes) alone:
        max_batch_calls: most calls in one request. A node that refuses such batches is given smaller ones anyway.
        max_batch_bytes: most bytes in one request of several calls.
        max_calls_per_second: what the node is asked at most, each call of a batch counted; None is no limit.
        retry_seconds: for which a read is asked again where the node is busy or away; a call's own deadline ends it
            sooner. With 0 each call is one attempt.
    """

    max_connections: int = 16
    keepalive_seconds: float = 30.0
    max_response_bytes: int = 32 * 1024 * 1024
    ca_file: str | None = None
    max_batch_calls: int = 100
    max_batch_bytes: int = 1_000_000
    max_calls_per_second: float | None = None
    retry_seconds: float = 2.0
