"""The settings that clients share for their HTTP connections. ``config`` validates them."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ConnectionPoolConfig"]


@dataclass(frozen=True, slots=True)
class ConnectionPoolConfig:
    """How a client keeps its connections to one node. The last four settings are for JSON-RPC (EVM nodes) alone.

    Args:
        max_connections: connections open at once, per node. With HTTP/1.1 this also limits the requests in flight.
        keepalive_seconds: how long an idle connection is kept.
        max_response_bytes: the longest accepted answer, after decompression. None leaves the limit to the client: 8 MiB
            for an EVM node, 32 MiB for lnd.
        ca_file: PEM file with the only authorities that may certify the server; None trusts those of the system. It
            does not affect a node with a pinned certificate, such as lnd.
        max_batch_calls: the most calls in one request. Batches get smaller by themselves if the node refuses them.
        max_batch_bytes: the most bytes in one request of several calls.
        max_calls_per_second: the most calls per second, counting each call of a batch; None is unlimited.
        retry_seconds: how long a read is repeated if the node is busy or unreachable. The call's own timeout may end
            it sooner. With 0 each call is one attempt.
    """

    max_connections: int = 16
    keepalive_seconds: float = 30.0
    max_response_bytes: int | None = None
    ca_file: str | None = None
    max_batch_calls: int = 100
    max_batch_bytes: int = 1_000_000
    max_calls_per_second: float | None = None
    retry_seconds: float = 2.0
