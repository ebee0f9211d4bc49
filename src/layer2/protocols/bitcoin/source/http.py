"""One HTTP exchange with a Bitcoin node or an Esplora server, with typed errors."""

from __future__ import annotations

import re
import ssl
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import aiohttp
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    retry_if_result,
    stop_before_delay,
    wait_random_exponential,
)

from layer2.errors import (
    AsyncRuntimeError,
    AuthenticationFailed,
    BadAnswer,
    FormatError,
    NodeError,
    NodeRefused,
    NodeUnreachable,
    Outcome,
)
from layer2.formats.printable import printable
from layer2.net.client_settings import ConnectionPoolConfig
from layer2.net.http_client import open_session, server_time, server_url

__all__ = ["BITCOIN", "LEAST_RATE", "Answer", "HttpNode", "is_known", "reading"]

BITCOIN: Final = "BITCOIN"
LEAST_RATE: Final = 1_000
"""Satoshi per 1,000 virtual bytes: what every node relays."""
_DEFAULT_BYTES: Final = 16 * 1024 * 1024
"""The longest accepted answer: a block in hexadecimal digits has up to 8 MB."""
_BUSY: Final = frozenset({429, 502, 503, 504})

_KNOWN: Final = re.compile(
    "already in (mempool|block chain|utxo set)|txn-already-(known|in-mempool)|"
    "already have transaction|transaction already exists"
)
"""How Bitcoin Core and btcd refuse a transaction that they have. btcd's "output already spent in mempool" is a refusal
of one that it does not have."""


def is_known(message: str) -> bool:
    """Whether a node refused a transaction because it has it already."""
    return _KNOWN.search(message) is not None


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Turn every error of a malformed answer into ``BadAnswer``.

    Args:
        what: the name of the answer.

    Raises:
        BadAnswer: the block of code raised such an error.
    """
    try:
        yield
    except (FormatError, ValueError, TypeError, AttributeError, KeyError) as error:
        reason = error.message if isinstance(error, FormatError) else type(error).__name__
        raise BadAnswer(f"{what} cannot be read: {reason}", protocol=BITCOIN) from error


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to one request."""

    status: int
    body: bytes
    date: float | None
    """The server's time in unix seconds; None without a ``Date`` header."""

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode("utf-8", "replace")


class HttpNode:
    """A server at one address. It belongs to the event loop that first uses it.

    Args:
        url: a user and a password in it are sent as basic authentication and never shown.
        pool: the limits of the connections.
        timeout: seconds for each request.

    Raises:
        ConfigurationError: the URL is invalid.
    """

    def __init__(self, url: str, pool: ConnectionPoolConfig, timeout: float) -> None:
        read = server_url(url, "the Bitcoin node", ("http", "https"))
        user, password = read.user, read.password
        login = b64encode(f"{user}:{password or ''}".encode()).decode("ascii")
        self._login: Mapping[str, str] = {} if user is None else {"Authorization": f"Basic {login}"}
        self._url = read.with_user(None)
        self._pool = pool
        self._timeout = timeout
        self._limit = pool.max_response_bytes or _DEFAULT_BYTES
        self._session: aiohttp.ClientSession | None = None
        self._is_closed = False

    async def read(
        self, method: str, path: str, *, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """As ``exchange``, for a request that only reads: it is repeated while the server is busy or down.

        btcd answers HTTP 503 at once while it serves ten requests.
        """
        repeating = AsyncRetrying(
            retry=retry_if_result(lambda answer: answer.status in _BUSY) | retry_if_exception_type(NodeUnreachable),
            wait=wait_random_exponential(multiplier=0.1, max=5),
            stop=stop_before_delay(self._pool.retry_seconds),
            retry_error_callback=_last_attempt,
        )
        return await repeating(self.exchange, method, path, body=body, headers=headers)

    async def exchange(
        self, method: str, path: str, *, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Send one request and read its answer of any status.

        Raises:
            NodeUnreachable: outcome NOT_SENT without a connection, otherwise UNKNOWN.
            BadAnswer: the answer is longer than the limit, or not HTTP.
            AsyncRuntimeError: the client was closed.
        """
        if self._is_closed:
            raise AsyncRuntimeError("the client was closed", protocol=BITCOIN, outcome=Outcome.NOT_SENT)
        if self._session is None:
            self._session = open_session(self._pool, timeout=self._timeout)
        url = self._url / path if path else self._url
        try:
            async with self._session.request(
                method, url, data=body, headers={**(headers or {}), **self._login}, allow_redirects=False
            ) as response:
                content = await response.content.read(self._limit + 1)
                while len(content) <= self._limit and not response.content.at_eof():
                    content += await response.content.read(self._limit + 1 - len(content))
                if len(content) > self._limit:
                    raise BadAnswer(
                        f"the answer is longer than {self._limit} bytes",
                        protocol=BITCOIN,
                        operation=path,
                        outcome=Outcome.UNKNOWN,
                    )
                return Answer(response.status, bytes(content), server_time(response))
        except (aiohttp.ClientConnectorError, ssl.SSLError) as error:
            raise self._unreachable(path, "no connection", Outcome.NOT_SENT) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._unreachable(path, "the connection broke or timed out", Outcome.UNKNOWN) from error

    def error_of(self, answer: Answer, operation: str) -> NodeError:
        """The error for an answer that reports a failure."""
        reason = printable(answer.text[:200])
        message = f"the node answered HTTP {answer.status}: {reason}"
        if answer.status in (401, 403):
            return AuthenticationFailed(message, protocol=BITCOIN, operation=operation)
        if answer.status in _BUSY:
            return NodeUnreachable(message, protocol=BITCOIN, operation=operation, outcome=Outcome.UNKNOWN)
        return NodeRefused(message, protocol=BITCOIN, operation=operation)

    async def aclose(self) -> None:
        """Close the connections."""
        self._is_closed = True
        if self._session is not None:
            await self._session.close()

    def _unreachable(self, operation: str, problem: str, outcome: Outcome) -> NodeUnreachable:
        host = self._url.host
        return NodeUnreachable(
            f"the Bitcoin node at {host} cannot be reached: {problem}",
            protocol=BITCOIN,
            operation=operation,
            outcome=outcome,
        )


def _last_attempt(state: RetryCallState) -> Answer:
    """The answer of the last attempt, or its error."""
    assert state.outcome is not None
    answer: Answer = state.outcome.result()
    return answer
