"""What the HTTP clients of this package share: how they keep connections, and the time that a server tells."""

from __future__ import annotations

import functools
from email.utils import parsedate_to_datetime

import aiohttp

from layer2.settings import ConnectionPoolConfig

__all__ = ["open_session", "server_time"]


def open_session(pool: ConnectionPoolConfig, *, timeout: float) -> aiohttp.ClientSession:
    """Open a session for one server in the running loop; it keeps no cookies.

    Args:
        pool: how many connections, and for how long. Its limit on answers is for the reader of an answer.
        timeout: seconds for a whole exchange, where the request does not say otherwise.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=pool.max_connections, keepalive_timeout=pool.keepalive_seconds),
        timeout=aiohttp.ClientTimeout(total=timeout),
        cookie_jar=aiohttp.DummyCookieJar(),
    )


def server_time(response: aiohttp.ClientResponse) -> float | None:
    """Unix seconds by the server's clock (RFC 9110, 6.6.1); None where it does not tell, or not readably."""
    date = response.headers.get("Date")
    return None if date is None else _unix_seconds(date)


# A busy server says the same second many times.
@functools.lru_cache(maxsize=4)
def _unix_seconds(date: str) -> float | None:
    try:
        return parsedate_to_datetime(date).timestamp()
    except ValueError:
        return None
