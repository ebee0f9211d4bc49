"""Settings that several clients share. Frozen, and already validated by ``config``."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ConnectionPoolConfig"]


@dataclass(frozen=True, slots=True)
class ConnectionPoolConfig:
    """How a client keeps its connections to one node.

    Args:
        max_connections: open at once, per node.
        keepalive_seconds: an idle connection is kept that long.
        max_response_bytes: a longer answer is refused.
    """

    max_connections: int = 16
    keepalive_seconds: float = 30.0
    max_response_bytes: int = 32 * 1024 * 1024
