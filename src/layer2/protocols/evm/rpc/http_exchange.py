"""One HTTP exchange with an EVM node, and the pauses that the node asks for.

An exchange returns the body of the answer, or a ``Failure``. It never repeats a request. Failures are values, because
the traceback of an exception would keep the bytes of a large answer in memory while the caller divides its batch.

Sources: RFC 9110 (429 and 503 with Retry-After; Date).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import NamedTuple

import aiohttp
from aiolimiter import AsyncLimiter

from layer2.errors import AuthenticationFailed, BadAnswer, NodeError, NodeUnreachable
from layer2.net.client_settings import ConnectionPoolConfig
from layer2.net.http_client import (
    connection_failure,
    is_this_machine,
    open_session,
    read_body,
    retry_after,
    server_time,
    server_url,
)

__all__ = ["DEFAULT_RESPONSE_BYTES", "Exchanged", "Failure", "HttpExchange"]

DEFAULT_RESPONSE_BYTES = 8 * 1024 * 1024
"""The longest accepted answer if the settings do not name a limit.

The longest ordinary answers are the receipts of a full block: 3.2 MB for 2,857 transfers of the coin in 60 million gas.
A larger batch is divided, so only the answer to a single call has to be shorter than this.
"""

_LONGEST_PAUSE = 300.0
"""Seconds. Claims and refunds cannot wait for a mistaken Retry-After header, so a longer pause is cut to this."""


class Exchanged(NamedTuple):
    """The body of an answer with HTTP status 200, or 400 for a single call."""

    body: bytearray
    date: float | None
    """Unix seconds of the ``Date`` header; None if it is missing or unreadable."""
    is_bad_request: bool = False
    """The status is 400: rskj gives it to some errors of single calls. Of a proxy it means nothing about the call."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an HTTP exchange gave no answers, and what that means for its calls."""

    kind: type[NodeError]
    problem: str
    may_have_arrived: bool = True
    """False if the node certainly did not act on the request."""
    too_long: bool = False
    """The answer is longer than the limit. The calls may succeed in smaller batches."""
    refused_as_batch: bool = False
    """The node may refuse the request because of the number of its calls."""
    temporary: bool = False
    """The same request may succeed a little later."""
    connection_broke: bool = False
    """The connection ended during the request. That happens if the node closed a kept connection."""


class HttpExchange:
    """Posts JSON to one address. It belongs to the event loop that first uses it.

    Args:
        url: ``http`` or ``https``. A user and a password in it are sent as basic authentication and never shown.
        pool: connections, the longest answer, and the rate limit.
        timeout: seconds for each request, including the wait for a connection.

    Raises:
        ConfigurationError: the URL is invalid.
    """

    def __init__(self, url: str, *, pool: ConnectionPoolConfig, timeout: float) -> None:
        self._url = server_url(url, "the node", ("http", "https"))
        self._pool = pool
        self._most_bytes = DEFAULT_RESPONSE_BYTES if pool.max_response_bytes is None else pool.max_response_bytes
        self._timeout = timeout
        self._headers = {"Content-Type": "application/json"}
        if is_this_machine(self._url.host or ""):
            # On this machine compression takes more time than it saves.
            self._headers["Accept-Encoding"] = "identity"
        rate = pool.max_calls_per_second
        self._limiter = None if rate is None else AsyncLimiter(max(1.0, rate), max(1.0, 1 / rate))
        self._paused_until = 0.0
        self._session: aiohttp.ClientSession | None = None
        self.endpoint = str(self._url.origin())
        """The node's address without user, password, path and query, which may contain keys."""

    def pause_left(self) -> float:
        """Seconds until the pause that the node asked for ends."""
        return max(0.0, self._paused_until - asyncio.get_running_loop().time())

    def pause(self, seconds: float) -> None:
        """Send nothing for some seconds, because the node asked for it. A longer pause stays in force."""
        until = asyncio.get_running_loop().time() + min(seconds, _LONGEST_PAUSE)
        self._paused_until = max(self._paused_until, until)

    async def post(self, data: bytes, calls: int) -> Exchanged | Failure:
        """Post a request and read the answer.

        Args:
            data: JSON.
            calls: the number of JSON-RPC calls in it, for the rate limit.

        Raises:
            ConfigurationError: the file of certificates cannot be read.
        """
        if self._paused_until and (left := self.pause_left()) > 0:
            problem = f"it asked for a pause, of which {left:.1f} s are left (too many requests)"
            return Failure(NodeUnreachable, problem, may_have_arrived=False, temporary=True)
        if self._limiter is not None:
            await self._limiter.acquire(calls)
        if self._session is None:
            self._session = open_session(self._pool, timeout=self._timeout)
        try:
            async with self._session.post(
                self._url, data=data, headers=self._headers, allow_redirects=False
            ) as response:
                is_error = response.status == 400 and calls == 1 and response.content_type == "application/json"
                if response.status != 200 and not is_error:
                    return self._refused(response, calls)
                return await self._read(response)
        except (aiohttp.ClientError, OSError) as error:
            problem, was_connected = connection_failure(error, self._timeout)
            if isinstance(error, aiohttp.ClientConnectorCertificateError):
                return Failure(AuthenticationFailed, problem, may_have_arrived=False)
            return Failure(
                NodeUnreachable,
                problem,
                may_have_arrived=was_connected,
                temporary=not isinstance(error, (TimeoutError, aiohttp.ClientSSLError)),
                connection_broke=was_connected and not isinstance(error, (TimeoutError, aiohttp.ClientPayloadError)),
            )

    async def aclose(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _read(self, response: aiohttp.ClientResponse) -> Exchanged | Failure:
        body = await read_body(response, self._most_bytes)
        if body is None:
            problem = f"its answer is longer than {self._most_bytes} bytes (max_response_bytes)"
            return Failure(BadAnswer, problem, too_long=True)
        return Exchanged(body, server_time(response), is_bad_request=response.status == 400)

    def _refused(self, response: aiohttp.ClientResponse, calls: int) -> Failure:
        """Classify an HTTP status other than 200 without the body: a proxy's HTML contains no further detail."""
        status = response.status
        if status in {401, 403}:
            problem = f"it refused the credentials (HTTP {status})"
            return Failure(AuthenticationFailed, problem, may_have_arrived=False)
        if status == 413:
            problem = "the request was too large (HTTP 413)"
            return Failure(BadAnswer, problem, may_have_arrived=False, refused_as_batch=True)
        if status in {429, 503} and (asked := retry_after(response)) is not None:
            self.pause(asked)
        if status == 429:
            problem = "too many requests (HTTP 429)"
            return Failure(NodeUnreachable, problem, may_have_arrived=False, temporary=True)
        if status >= 500:
            return Failure(NodeUnreachable, f"HTTP {status}", temporary=status in {502, 503, 504})
        return Failure(BadAnswer, f"HTTP {status}", refused_as_batch=calls > 1 and status in {400, 405, 422})
