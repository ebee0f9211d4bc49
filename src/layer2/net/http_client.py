"""Functions that all HTTP clients share: opening sessions, checking URLs, and reading times from answers."""

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
    """Open a session for one server in the running event loop. It keeps no cookies.

    Args:
        pool: the limits of the connections. Readers of answers apply ``max_response_bytes``.
        timeout: seconds for a whole exchange, unless the request sets its own timeout.
        connector: the class that keeps the connections.

    Raises:
        ConfigurationError: the pool's file of authorities cannot be read.
    """
    return aiohttp.ClientSession(
        connector=connector(
            limit=pool.max_connections, keepalive_timeout=pool.keepalive_seconds, ssl=_authorities(pool.ca_file)
        ),
        timeout=aiohttp.ClientTimeout(total=timeout),
        cookie_jar=aiohttp.DummyCookieJar(),
    )


def server_url(url: str, what: str, schemes: tuple[str, str]) -> URL:
    """Parse a server's address. Errors do not contain it, because it may contain keys.

    Args:
        url: the address.
        what: the server's name, for errors.
        schemes: the allowed schemes.

    Raises:
        ConfigurationError: the URL is invalid, has another scheme, or has no host.
    """
    try:
        read = URL(url)
    except ValueError:
        raise ConfigurationError(f"{what}'s URL is invalid") from None
    if read.scheme not in schemes or not read.host:
        allowed = " or ".join(f"{scheme}://" for scheme in schemes)
        raise ConfigurationError(f"{what}'s URL must start with {allowed} and contain a host")
    return read


def is_this_machine(host: str) -> bool:
    """Whether a host is ``localhost`` or a loopback address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def server_time(response: aiohttp.ClientResponse) -> float | None:
    """The server's time in unix seconds (RFC 9110, 6.6.1); None if the header is missing or invalid."""
    date = response.headers.get("Date")
    return None if date is None else _unix_seconds(date)


def retry_after(response: aiohttp.ClientResponse) -> float | None:
    """The pause in seconds that the server asks for (RFC 9110, 10.2.3); None if the header is missing or invalid.

    A date is compared with the server's time in the same answer.
    """
    value = response.headers.get("Retry-After")
    if value is None:
        return None
    if value.isascii() and value.isdigit():
        # Twelve digits are more than enough; converting very many digits would raise an error.
        return float(value[:12])
    until = _unix_seconds(value)
    now = server_time(response)
    return None if until is None or now is None else max(0.0, until - now)


def _authorities(ca_file: str | None) -> ssl.SSLContext | bool:
    if ca_file is None:
        return True
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(f"the certificates in {ca_file} cannot be read: {type(error).__name__}") from error


# A busy server sends the same second many times.
@functools.lru_cache(maxsize=4)
def _unix_seconds(date: str) -> float | None:
    try:
        return parsedate_to_datetime(date).timestamp()
    except (ValueError, OverflowError):
        # OverflowError: a number that no date has.
        return None
