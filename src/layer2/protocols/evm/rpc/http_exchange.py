"""One HTTP exchange with an EVM node, and when the node wants to be left alone.

An exchange gives the body of the answer, or an ``ExchangeFailed`` that says what that means for its calls. Nothing is
repeated here.

Sources: RFC 9110 (429 and 503 with Retry-After; Date).
"""

from __future__ import annotations

import asyncio

import aiohttp
from aiolimiter import AsyncLimiter

from layer2.errors import AuthenticationFailed, BadAnswer, NodeError, NodeUnreachable
from layer2.formats.printable import printable
from layer2.net.http_client import is_this_machine, open_session, retry_after, server_time, server_url
from layer2.net.pool import ConnectionPoolConfig

__all__ = ["ExchangeFailed", "HttpExchange"]

_LONGEST_PAUSE = 300.0
"""Seconds. A node that asks for more is tried again then: claims and refunds cannot wait for a mistaken header."""


class ExchangeFailed(Exception):
    """One HTTP exchange gave no answers; why, and what that means for its calls."""

    def __init__(
        self,
        kind: type[NodeError],
        problem: str,
        *,
        may_have_arrived: bool = True,
        smaller_may_do: bool = False,
        refused_as_batch: bool = False,
        passing: bool = False,
        broke: bool = False,
    ) -> None:
        super().__init__(problem)
        self.kind = kind
        self.problem = problem
        self.may_have_arrived = may_have_arrived
        """False where it is certain that the node did not act on the request."""
        self.smaller_may_do = smaller_may_do or refused_as_batch
        """Whether the same calls may succeed in smaller batches."""
        self.refused_as_batch = refused_as_batch
        """Whether that is because of how many they are, and not of how much the node answered."""
        self.passing = passing
        """Whether the same request may succeed a little later."""
        self.broke = broke
        """The connection ended under the request, as a kept one does when the node has closed it meanwhile."""


class HttpExchange:
    """Posts JSON to one address. Belongs to the event loop in which it is first used.

    Args:
        url: ``http`` or ``https``; user and password in it are sent as basic authentication and shown nowhere.
        pool: how connections are kept, and how much may be asked.
        timeout: seconds within which each request has to be answered, waiting for a connection included.

    Raises:
        ConfigurationError: the URL is none.
    """

    def __init__(self, url: str, *, pool: ConnectionPoolConfig, timeout: float) -> None:
        self._url = server_url(url, "the node", ("http", "https"))
        self._pool = pool
        self._timeout = timeout
        self._headers = {"Content-Type": "application/json"}
        if is_this_machine(self._url.host or ""):
            # On this machine compression costs both sides more than the bytes that it saves.
            self._headers["Accept-Encoding"] = "identity"
        rate = pool.max_calls_per_second
        self._limiter = None if rate is None else AsyncLimiter(max(1.0, rate), max(1.0, 1 / rate))
        self._paused_until = 0.0
        self._session: aiohttp.ClientSession | None = None
        self.endpoint = str(self._url.origin())
        """Where the node is, as it may be shown: without user, password, path and query, which may hold keys."""

    def pause_left(self) -> float:
        """Seconds for which the node still wants to be left alone."""
        return max(0.0, self._paused_until - asyncio.get_running_loop().time())

    def pause(self, seconds: float) -> None:
        """Leave the node alone for some time, because it said so; a longer pause stays."""
        until = asyncio.get_running_loop().time() + min(seconds, _LONGEST_PAUSE)
        self._paused_until = max(self._paused_until, until)

    async def post(self, data: bytes, calls: int) -> tuple[bytes, float | None]:
        """Exchange a request for the body of its answer and the answer's date.

        Args:
            data: JSON.
            calls: how many of them, for the rate limit.

        Raises:
            ExchangeFailed: there is no answer that could be read as JSON-RPC.
        """
        if self._paused_until and (left := self.pause_left()) > 0:
            problem = f"it asked to be left alone for another {left:.1f} s (too many requests)"
            raise ExchangeFailed(NodeUnreachable, problem, may_have_arrived=False, passing=True)
        if self._limiter is not None:
            await self._limiter.acquire(calls)
        if self._session is None:
            self._session = open_session(self._pool, timeout=self._timeout)
        try:
            async with self._session.post(
                self._url, data=data, headers=self._headers, allow_redirects=False
            ) as response:
                if response.status != 200:
                    self._refuse(response, calls)
                return await self._read_body(response), server_time(response)
        # An error of aiohttp may carry the URL with its keys, so it is not kept as the cause.
        except aiohttp.ClientConnectorCertificateError:
            problem = "its certificate is not one that we trust"
            raise ExchangeFailed(AuthenticationFailed, problem, may_have_arrived=False) from None
        except aiohttp.ClientConnectorError as error:
            problem = f"no connection ({printable(error.strerror or type(error).__name__)})"
            passing = not isinstance(error, aiohttp.ClientSSLError)
            raise ExchangeFailed(NodeUnreachable, problem, may_have_arrived=False, passing=passing) from None
        except aiohttp.ConnectionTimeoutError:
            raise ExchangeFailed(NodeUnreachable, "no connection in time", may_have_arrived=False) from None
        except TimeoutError:
            raise ExchangeFailed(NodeUnreachable, f"no answer within {self._timeout:g} s") from None
        except aiohttp.ClientPayloadError:
            raise ExchangeFailed(NodeUnreachable, "the answer broke off", passing=True) from None
        except (aiohttp.ClientError, OSError) as error:
            problem = f"the connection broke ({type(error).__name__})"
            raise ExchangeFailed(NodeUnreachable, problem, passing=True, broke=True) from None

    async def aclose(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _read_body(self, response: aiohttp.ClientResponse) -> bytes:
        limit = self._pool.max_response_bytes
        parts: list[bytes] = []
        size = 0
        async for part in response.content.iter_any():
            size += len(part)
            if size > limit:
                response.close()
                raise ExchangeFailed(BadAnswer, f"its answer is longer than {limit} bytes", smaller_may_do=True)
            parts.append(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _refuse(self, response: aiohttp.ClientResponse, calls: int) -> None:
        """Raise what an HTTP status other than 200 means. The body is not read: a proxy's HTML says nothing more."""
        status = response.status
        if status in {401, 403}:
            problem = f"it refused our credentials (HTTP {status})"
            raise ExchangeFailed(AuthenticationFailed, problem, may_have_arrived=False)
        if status == 413:
            problem = "the request was too large (HTTP 413)"
            raise ExchangeFailed(BadAnswer, problem, may_have_arrived=False, refused_as_batch=True)
        if status in {429, 503} and (asked := retry_after(response)) is not None:
            self.pause(asked)
        if status == 429:
            problem = "too many requests (HTTP 429)"
            raise ExchangeFailed(NodeUnreachable, problem, may_have_arrived=False, passing=True)
        if status >= 500:
            raise ExchangeFailed(NodeUnreachable, f"HTTP {status}", passing=status in {502, 503, 504})
        raise ExchangeFailed(BadAnswer, f"HTTP {status}", refused_as_batch=calls > 1 and status in {400, 405, 422})
