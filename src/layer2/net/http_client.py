"""What the HTTP clients of this package share: how they keep connections, and the time that a server tells."""

from __future__ import annotations

import functools
import ipaddress
import ssl
from email.utils import parsedate_to_datetime

import aiohttp
from yarl import URL

from layer2.errors import ConfigurationError
from layer2.net.pool import ConnectionPoolConfig

__all__ = ["is_this_machine", "open_session", "retry_after", "server_time", "server_url"]


def open_session(
    pool: ConnectionPoolConfig, *, timeout: float, connector: type[aiohttp.TCPConnector] = aiohttp.TCPConnector
) -> aiohttp.ClientSession:
    """Open a session for one server in the running loop; it keeps no cookies.

    Args:
        pool: how many connections, and for how long. Its limit on answers is for the reader of an answer.
        timeout: seconds for a whole exchange, where the request does not say otherwise.
        connector: what keeps the connections.

    Raises:
        ConfigurationError: the pool's authorities cannot be read.
    """
    return aiohttp.ClientSession(
        connector=connector(
            limit=pool.max_connections, keepalive_timeout=pool.keepalive_seconds, ssl=_authorities(pool.ca_file)
        ),
        timeout=aiohttp.ClientTimeout(total=timeout),
        cookie_jar=aiohttp.DummyCookieJar(),
    )


def server_url(url: str, what: str, schemes: tuple[str, str]) -> URL:
    """Read a server's address; what is wrong with it is said without it, because it may hold keys.

    Args:
        what: whose it is, for the error.
        schemes: those that are allowed.

    Raises:
        ConfigurationError: it is no URL, of another scheme, or without a host.
    """
    try:
        read = URL(url)
    except ValueError:
        raise ConfigurationError(f"{what}'s URL cannot be read") from None
    if read.scheme not in schemes or not read.host:
        allowed = " or ".join(f"{scheme}://" for scheme in schemes)
        raise ConfigurationError(f"{what}'s URL must begin with {allowed} and name a host")
    return read


def is_this_machine(host: str) -> bool:
    """Whether the host of an address is a loopback one."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def server_time(response: aiohttp.ClientResponse) -> float | None:
    """Unix seconds by the server's clock (RFC 9110, 6.6.1); None where it does not tell, or not readably."""
    date = response.headers.get("Date")
    return None if date is None else _unix_seconds(date)


def retry_after(response: aiohttp.ClientResponse) -> float | None:
    """Seconds for which the server asks to be left alone (RFC 9110, 10.2.3); None where it does not, or not readably.

    A date is compared with the server's own clock where the same answer tells it.
    """
    said = response.headers.get("Retry-After")
    if said is None:
        return None
    if said.isascii() and said.isdigit():
        # More digits than a float needs would be an error, and say nothing else.
        return float(said[:12])
    until = _unix_seconds(said)
    now = server_time(response)
    return None if until is None or now is None else max(0.0, until - now)


def _authorities(ca_file: str | None) -> ssl.SSLContext | bool:
    if ca_file is None:
        return True
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(f"the certificates in {ca_file} cannot be read: {type(error).__name__}") from error


# A busy server says the same second many times.
@functools.lru_cache(maxsize=4)
def _unix_seconds(date: str) -> float | None:
    try:
        return parsedate_to_datetime(date).timestamp()
    except (ValueError, OverflowError):
        # The latter for numbers that no date has.
        return None
