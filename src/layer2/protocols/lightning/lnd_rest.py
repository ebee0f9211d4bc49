"""lnd's REST interface over TLS with a pinned certificate: single calls, and streams.

A call that only reads (GET) leaves nothing behind when it fails. One that acts (POST) and is not answered has the
outcome UNKNOWN: it is not repeated here, its caller looks up what became of it. Certificate and macaroon are read
from their files when first needed, and anew after the node refused them.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Final

import aiohttp
import orjson
from yarl import URL

from layer2.errors import (
    AsyncRuntimeError,
    AuthenticationFailed,
    BadAnswer,
    ConfigurationError,
    NodeError,
    NodeRefused,
    NodeUnreachable,
    Outcome,
)
from layer2.protocols.lightning.lnd_answers import LIGHTNING, Answer, LndObject, printable
from layer2.protocols.lightning.settings import LightningSettings

__all__ = ["ALREADY_EXISTS", "NOT_FOUND", "LndRest"]

NOT_FOUND: Final = 5
"""gRPC status code, as ``NodeRefused.node_code``."""
ALREADY_EXISTS: Final = 6
_NO_ANSWER_OF_ITS_OWN: Final = frozenset({1, 4, 14})
"""gRPC codes CANCELLED, DEADLINE_EXCEEDED and UNAVAILABLE: the request may have been executed."""
_NO_ANSWER_STATUS: Final = frozenset({502, 503, 504})
_UNAUTHENTICATED: Final = frozenset({7, 16})
_MACAROON_WORDS: Final = ("macaroon", "verification failed", "permission denied")
"""lnd reports these with the code UNKNOWN, so its words are all there is."""
_NOT_READY_WORDS: Final = {
    "wallet locked": "unlock the node's wallet: lncli unlock",
    "waiting to start": "wait until the node has started",
    "in the process of starting up": "wait until the node has started",
}


@dataclass(frozen=True, slots=True)
class _Credentials:
    tls: ssl.SSLContext
    macaroon: str = field(repr=False)


class LndRest:
    """One node's REST interface. Belongs to the event loop in which it is first used.

    Args:
        settings: where the node is.

    Cancelling any call is safe: its connection is closed or goes back to the pool, and what the node was asked to do
    goes on there.
    """

    def __init__(self, settings: LightningSettings) -> None:
        self._url = URL(settings.rest_url)
        self._settings = settings
        self._credentials: _Credentials | None = None
        self._calls: aiohttp.ClientSession | None = None
        self._watches: aiohttp.ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def get(self, path: str) -> Answer:
        """Read.

        Args:
            path: with its query, already quoted.

        Raises:
            NodeUnreachable, NodeRefused, AuthenticationFailed, BadAnswer: outcome NOT_SENT or REJECTED.
            ConfigurationError: certificate or macaroon file cannot be read.
        """
        return await self._call("GET", path, None)

    async def post(self, path: str, body: Mapping[str, object]) -> Answer:
        """Act. Bytes are given as base64, 64-bit integers as strings.

        Raises:
            NodeUnreachable, BadAnswer: outcome UNKNOWN, unless no connection was made.
            NodeRefused: lnd's own words; outcome REJECTED.
            AuthenticationFailed, ConfigurationError: as ``get``.
        """
        return await self._call("POST", path, body)

    @asynccontextmanager
    async def stream(
        self, method: str, path: str, body: Mapping[str, object] | None = None, *, watch: bool = False
    ) -> AsyncIterator[AsyncIterator[LndObject]]:
        """The messages of a stream, as they come; leaving the context closes its connection.

        Args:
            watch: for streams that stay open: they have connections of their own, so that calls never wait for them.

        Raises, also while iterating: as ``get`` and ``post``.
        """
        session = self._session(watch=watch)
        what = f"{method} {path.partition('?')[0]}"
        timeout = aiohttp.ClientTimeout(sock_connect=self._settings.default_timeout)
        with self._failures(method, what):
            response = await session.request(method, **self._arguments(path, body), timeout=timeout)
        try:
            if response.status != 200:
                with self._failures(method, what):
                    content = await self._read(response, what)
                raise self._refusal(method, what, response.status, content)
            async with aclosing(self._results(response, method, what)) as results:
                yield results
        finally:
            # Not released: an unfinished stream would come back to the pool with its rest.
            response.close()

    async def first(self, method: str, path: str, body: Mapping[str, object] | None = None) -> LndObject:
        """The first message of a stream, which is then closed; what it tells of goes on.

        Raises:
            NodeUnreachable: none within the default timeout, or none at all.
            As ``stream``.
        """
        what = f"{method} {path.partition('?')[0]}"
        try:
            async with asyncio.timeout(self._settings.default_timeout), self.stream(method, path, body) as results:
                async for result in results:
                    return result
        except TimeoutError:
            raise self._unreachable(method, what, f"no answer within {self._settings.default_timeout:g} s") from None
        raise self._unreachable(method, what, "the stream ended without a message")

    async def aclose(self) -> None:
        """Close every connection; calls and streams that are under way end with NodeUnreachable."""
        for session in (self._calls, self._watches):
            if session is not None:
                await session.close()
        self._calls = self._watches = None

    async def _call(self, method: str, path: str, body: Mapping[str, object] | None) -> Answer:
        what = f"{method} {path.partition('?')[0]}"
        session = self._session(watch=False)
        timeout = aiohttp.ClientTimeout(total=self._settings.default_timeout)
        with self._failures(method, what):
            async with session.request(method, **self._arguments(path, body), timeout=timeout) as response:
                content = await self._read(response, what)
        if response.status != 200:
            raise self._refusal(method, what, response.status, content)
        date = _unix_time(response.headers.get("Date"))
        return Answer(LndObject(self._parsed(content, method, what), what), date)

    def _session(self, *, watch: bool) -> aiohttp.ClientSession:
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
        elif self._loop is not loop:
            raise AsyncRuntimeError(
                "this client belongs to the event loop that used it first; make another one in this loop",
                protocol=LIGHTNING,
            )
        session = self._watches if watch else self._calls
        if session is None:
            pool = self._settings.pool
            connector = aiohttp.TCPConnector(limit=pool.max_connections, keepalive_timeout=pool.keepalive_seconds)
            session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
            if watch:
                self._watches = session
            else:
                self._calls = session
        return session

    def _arguments(self, path: str, body: Mapping[str, object] | None) -> dict[str, Any]:
        if self._credentials is None:
            self._credentials = self._read_credentials()
        return {
            "url": self._url.join(URL(path, encoded=True)),
            "data": None if body is None else orjson.dumps(body),
            "headers": {"Grpc-Metadata-macaroon": self._credentials.macaroon, "Content-Type": "application/json"},
            "ssl": self._credentials.tls,
            "allow_redirects": False,
        }

    def _read_credentials(self) -> _Credentials:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        # The file is trusted as it is, also where it is no certificate authority.
        tls.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        try:
            tls.load_verify_locations(cafile=self._settings.certificate_file)
        except (OSError, ssl.SSLError) as error:
            raise ConfigurationError(
                f"certificate_file {self._settings.certificate_file} cannot be read as PEM: {_kind(error)}",
                protocol=LIGHTNING,
                remedy="give the node's tls.cert",
            ) from None
        try:
            macaroon = Path(self._settings.macaroon_file).read_bytes()
        except OSError as error:
            raise ConfigurationError(
                f"macaroon_file {self._settings.macaroon_file} cannot be read: {_kind(error)}", protocol=LIGHTNING
            ) from None
        return _Credentials(tls, macaroon.hex())

    async def _read(self, response: aiohttp.ClientResponse, what: str) -> bytes:
        content = bytearray()
        async for part in response.content.iter_any():
            content += part
            self._check_size(content, response, what)
        return bytes(content)

    async def _results(
        self, response: aiohttp.ClientResponse, method: str, what: str
    ) -> AsyncGenerator[LndObject, None]:
        rest = bytearray()
        while True:
            with self._failures(method, what):
                part = await response.content.readany()
            rest += part
            *lines, rest = rest.split(b"\n") if part else [rest, bytearray()]
            for line in lines:
                if line.strip():
                    yield self._result(bytes(line), method, what)
            if not part:
                return
            self._check_size(rest, response, what)

    def _check_size(self, content: bytearray, response: aiohttp.ClientResponse, what: str) -> None:
        limit = self._settings.pool.max_response_bytes
        if len(content) > limit:
            response.close()
            raise self._bad(response.method, what, f"its answer is longer than {limit} bytes")

    def _result(self, line: bytes, method: str, what: str) -> LndObject:
        message = self._parsed(line, method, what)
        if isinstance(message, dict) and "error" in message:
            refusal = self._refusal(method, what, 200, line)
            if method == "POST":
                # Something was said before, so the request was taken.
                refusal.outcome = Outcome.UNKNOWN
            raise refusal
        return LndObject(message, what).inner("result")

    def _parsed(self, content: bytes, method: str, what: str) -> Any:
        try:
            return orjson.loads(content)
        except orjson.JSONDecodeError:
            raise self._bad(method, what, "its answer is no JSON") from None

    def _refusal(self, method: str, what: str, status: int, content: bytes) -> NodeError:
        """The error that an answer with another status than 200 stands for."""
        code, words = _reason(content)
        if code in _NO_ANSWER_OF_ITS_OWN or status in _NO_ANSWER_STATUS:
            return self._unreachable(method, what, words or f"HTTP {status}")
        if status in {401, 403} or code in _UNAUTHENTICATED or any(word in words for word in _MACAROON_WORDS):
            self._credentials = None
            return AuthenticationFailed(
                f"lnd at {self._url.origin()} refused the macaroon for {what}: {words or f'HTTP {status}'}",
                protocol=LIGHTNING,
                operation=what,
                remedy=f"check that {self._settings.macaroon_file} is of this node and allows this call",
            )
        if code is None:
            return self._bad(method, what, f"HTTP {status} without lnd's reason")
        remedies = [remedy for phrase, remedy in _NOT_READY_WORDS.items() if phrase in words]
        return NodeRefused(
            f"lnd at {self._url.origin()} refused {what}: {words}",
            node_code=code,
            node_message=words,
            protocol=LIGHTNING,
            operation=what,
            retryable=bool(remedies),
            remedy=remedies[0] if remedies else None,
        )

    @contextmanager
    def _failures(self, method: str, what: str) -> Iterator[None]:
        # An error of aiohttp is not kept as the cause: it may hold the request with its macaroon.
        try:
            yield
        except aiohttp.ClientConnectorCertificateError as error:
            self._credentials = None
            raise AuthenticationFailed(
                f"the node at {self._url.origin()} does not show the pinned certificate: "
                f"{printable(str(getattr(error.certificate_error, 'verify_message', error.certificate_error)))}",
                protocol=LIGHTNING,
                operation=what,
                remedy=f"if the node made a new certificate, copy its tls.cert to {self._settings.certificate_file}",
            ) from None
        except aiohttp.ClientConnectorError as error:
            problem = f"no connection ({printable(error.strerror or _kind(error))})"
            raise self._unreachable("GET", what, problem) from None
        except aiohttp.ConnectionTimeoutError:
            raise self._unreachable("GET", what, "no connection in time") from None
        except TimeoutError:
            problem = f"no answer within {self._settings.default_timeout:g} s"
            raise self._unreachable(method, what, problem) from None
        except (aiohttp.ClientError, OSError) as error:
            raise self._unreachable(method, what, f"the connection broke ({_kind(error)})") from None

    def _unreachable(self, method: str, what: str, problem: str) -> NodeUnreachable:
        return NodeUnreachable(
            f"lnd at {self._url.origin()}, {what}: {problem}",
            protocol=LIGHTNING,
            operation=what,
            outcome=_outcome(method),
        )

    def _bad(self, method: str, what: str, problem: str) -> BadAnswer:
        return BadAnswer(
            f"lnd at {self._url.origin()}, {what}: {problem}",
            protocol=LIGHTNING,
            operation=what,
            outcome=_outcome(method),
        )


def _outcome(method: str) -> Outcome:
    return Outcome.UNKNOWN if method == "POST" else Outcome.NOT_SENT


def _kind(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or type(error).__name__


def _reason(content: bytes) -> tuple[int | None, str]:
    """Code and words of ``google.rpc.Status``, which streams wrap once more."""
    try:
        status = orjson.loads(content)
    except orjson.JSONDecodeError:
        return None, ""
    if isinstance(status, dict) and isinstance(status.get("error"), dict):
        status = status["error"]
    if not isinstance(status, dict):
        return None, ""
    code, words = status.get("code"), status.get("message")
    if not isinstance(code, int) or not isinstance(words, str):
        return None, ""
    return code, printable(words)


def _unix_time(date: str | None) -> float | None:
    if date is None:
        return None
    try:
        return parsedate_to_datetime(date).timestamp()
    except ValueError:
        return None
