"""Functions that all HTTP clients share: opening sessions, checking URLs, and reading times from answers."""

from __future__ import annotations

import functools
import ipaddress
import os
import ssl
from email.utils import parsedate_to_datetime
from typing import NamedTuple

import aiohttp
from yarl import URL

from layer2.errors import ConfigurationError
from layer2.formats.printable import printable
from layer2.net.client_settings import ConnectionPoolConfig

__all__ = [
    "ConnectionFailure",
    "connection_failure",
    "is_this_machine",
    "open_session",
    "read_body",
    "retry_after",
    "server_time",
    "server_url",
]


class ConnectionFailure(NamedTuple):
    """Why a request got no complete answer."""

    problem: str
    """Contains neither the URL nor the request, which may have keys."""
    was_connected: bool
    """False if nothing was sent."""


def connection_failure(error: aiohttp.ClientError | OSError, seconds: float) -> ConnectionFailure:
    """Describe an error of aiohttp.

    Args:
        error: do not keep it as a cause, because it may contain the URL or the request.
        seconds: the timeout of the request.
    """
    match error:
        case aiohttp.ClientConnectorCertificateError():
            return ConnectionFailure("its certificate is not trusted", False)
        case aiohttp.ClientConnectorError():
            return ConnectionFailure(f"no connection ({printable(error.strerror or type(error).__name__)})", False)
        case aiohttp.ConnectionTimeoutError():
            return ConnectionFailure("no connection in time", False)
        case TimeoutError():
            return ConnectionFailure(f"no answer within {seconds:g} s", True)
        case aiohttp.ClientPayloadError():
            return ConnectionFailure("the answer ended early", True)
        case _:
            # The text of an error may be aiohttp's, with the URL.
            code = error.errno if isinstance(error, OSError) else None
            reason = os.strerror(code) if code else type(error).__name__
            return ConnectionFailure(f"the connection broke ({reason})", True)


async def read_body(response: aiohttp.ClientResponse, most_bytes: int) -> bytearray | None:
    """Read an answer's body. None, with the connection closed, if it is longer than the limit after decompression."""
    body = bytearray()
    async for part in response.content.iter_any():
        body += part
        if len(body) > most_bytes:
            response.close()
            return None
    return body


def open_session(pool: ConnectionPoolConfig, *, timeout: float) -> aiohttp.ClientSession:
    """Open a session for one server in the running event loop. It keeps no cookies.

    Args:
        pool: the limits of the connections. Readers of answers apply ``max_response_bytes``.
        timeout: seconds for a whole exchange, unless the request sets its own timeout.

    Raises:
        ConfigurationError: the pool's file of authorities cannot be read.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
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
