"""lnd's REST interface over TLS with a pinned certificate: single calls, and streams.

A call that only reads (GET) leaves nothing behind when it fails. One that acts (POST) and is not answered has the
outcome UNKNOWN: it is not repeated here, its caller looks up what became of it. Certificate and macaroon are read
from their files when first needed, and anew after the node refused them.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from dataclasses import replace
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any, Final, Self, TypeVar

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
from layer2.foreign_text import printable
from layer2.http_client import open_session, server_time
from layer2.protocols.lightning.lnd.answers import LIGHTNING, Answer, Call, LndObject
from layer2.protocols.lightning.lnd.connections import AbortingConnector
from layer2.protocols.lightning.lnd.readiness import not_ready_error, not_ready_in
from layer2.protocols.lightning.settings import LightningSettings

__all__ = ["ALREADY_EXISTS", "NOT_FOUND", "LndRest", "LndStream", "Use"]

NOT_FOUND: Final = 5
ALREADY_EXISTS: Final = 6
"""gRPC status codes, as ``NodeRefused.node_code``."""
_NO_ANSWER_OF_ITS_OWN: Final = frozenset({1, 4, 14})
"""gRPC codes CANCELLED, DEADLINE_EXCEEDED and UNAVAILABLE: the request may have been executed."""
_END_SECONDS: Final = 1.0
"""For which the end of a stream is waited for, once it has said its last."""
_NO_ANSWER_STATUS: Final = frozenset({502, 503, 504})
_UNAUTHENTICATED: Final = frozenset({7, 16})
_DENIED: Final = "permission denied"
_MACAROON_WORDS: Final = ("macaroon", "unmarshal v1", "unmarshal v2", "verification failed", _DENIED)
"""lnd reports these with the code UNKNOWN, so its words are all there is."""
T = TypeVar("T")

_OTHER_WATCHES: Final = 8
"""All invoices and all payments, each once more while one stream takes another's place, and some to spare."""


class Use(Enum):
    """What a connection is for; those for one use never wait for those of another."""

    CALLS = "calls"
    WATCHES = "watches"
    """Streams that stay open."""
    PAYMENTS = "payments"
    """Sending: each is a stream that stays open while the payment is under way."""


class LndStream:
    """The messages of one stream, as they come.

    Args:
        rest: whose it is.
        response: from which they come.
        call: that it answers.

    Raises, while iterating: as ``LndRest.get`` and ``post``.
    """

    def __init__(self, rest: LndRest, response: aiohttp.ClientResponse, call: Call) -> None:
        self._rest = rest
        self._response = response
        self._call = call
        self._lines: deque[bytes] = deque()
        self._unfinished = bytearray()
        self._is_over = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> LndObject:
        while not self._lines:
            if self._is_over:
                raise StopAsyncIteration
            with self._rest.failures(self._call):
                part = await self._response.content.readany()
            self._unfinished += part
            self._is_over = not part
            lines = self._unfinished.split(b"\n")
            self._unfinished = bytearray() if self._is_over else lines.pop()
            self._lines.extend(bytes(line) for line in lines if line.strip())
            self._rest.check_size(self._unfinished, self._response, self._call)
        return self._rest.result(self._lines.popleft(), self._call)

    def close(self) -> None:
        """Give up what was not read, and its connection; nothing where it was read to its end."""
        _abort(self._response)


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
        self.open_streams = 0
        """Streams that stay open, or are being opened, besides those of payments that were sent."""
        self._tls: ssl.SSLContext | None = None
        self._macaroon: bytes | None = None
        self._sessions: dict[Use, aiohttp.ClientSession] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._turn = asyncio.Semaphore(settings.connection_pool.max_connections)
        self._exchanges: set[asyncio.Task[Any]] = set()

    def macaroon(self) -> bytes:
        """What is shown to the node: a secret.

        Raises:
            ConfigurationError: its file cannot be read.
        """
        if self._macaroon is None:
            self._macaroon = self._read_macaroon()
        return self._macaroon

    async def get(self, path: str, *, with_macaroon: bool = True) -> Answer:
        """Read.

        Args:
            path: with its query, already quoted.
            with_macaroon: shown, besides for what has to be asked of a node that may have none yet.

        Raises:
            NodeUnreachable, NodeRefused, AuthenticationFailed, BadAnswer: outcome NOT_SENT or REJECTED.
            ConfigurationError: certificate or macaroon file cannot be read.
        """
        return await self._call("GET", path, None, with_macaroon=with_macaroon)

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
        use = Use.WATCHES if watch else Use.CALLS
        self.open_streams += watch
        try:
            with closing(await self._open_stream(method, path, body, use)) as messages:
                yield messages
        finally:
            self.open_streams -= watch

    async def begin_stream(
        self, method: str, path: str, body: Mapping[str, object] | None = None, *, use: Use
    ) -> tuple[LndObject, LndStream]:
        """The first message of a stream, and what follows, which the caller closes, whatever happens.

        Reading it to its end keeps its connection for another.

        Raises:
            NodeUnreachable: no message within the default timeout, or none at all.
            As ``get`` and ``post``.
        """
        call = Call(method, path.partition("?")[0])
        try:
            async with asyncio.timeout(self._settings.default_timeout):
                stream = await self._open_stream(method, path, body, use)
                try:
                    async for message in stream:
                        return message, stream
                except BaseException:
                    stream.close()
                    raise
        except TimeoutError:
            raise self._unreachable(call, f"no answer within {self._settings.default_timeout:g} s") from None
        raise self._unreachable(call, "the stream ended without a message")

    async def state(self, path: str, *, is_final: Callable[[LndObject], bool]) -> LndObject:
        """The first message of a stream that begins with the present state.

        Args:
            is_final: whether nothing follows it; then the stream is read to its end and its connection kept.

        Raises: as ``begin_stream``.
        """
        return await self._to_its_end(partial(self._state, path, is_final))

    async def _state(self, path: str, is_final: Callable[[LndObject], bool]) -> LndObject:
        message, stream = await self.begin_stream("GET", path, use=Use.CALLS)
        with closing(stream):
            if is_final(message):
                # What comes now matters to the connection only.
                with suppress(NodeError, TimeoutError):
                    async with asyncio.timeout(_END_SECONDS):
                        async for _ in stream:
                            pass
        return message

    async def _open_stream(self, method: str, path: str, body: Mapping[str, object] | None, use: Use) -> LndStream:
        session = self._session(use)
        call = Call(method, path.partition("?")[0])
        timeout = aiohttp.ClientTimeout(sock_connect=self._settings.default_timeout)
        with self.failures(call):
            response = await session.request(method, **self._arguments(path, body), timeout=timeout)
        if response.status == 200:
            return LndStream(self, response, call)
        try:
            with self.failures(call):
                content = await self._read(response, call)
        finally:
            _abort(response)
        raise self._refusal(call, response.status, content)

    async def aclose(self) -> None:
        """Close every connection; calls and streams that are under way end with NodeUnreachable."""
        exchanges = list(self._exchanges)
        for exchange in exchanges:
            exchange.cancel()
        await asyncio.gather(*exchanges, return_exceptions=True)
        sessions, self._sessions, self._loop = self._sessions, {}, None
        for session in sessions.values():
            await session.close()
        # Aborted connections give up their sockets in the loop's next round.
        await asyncio.sleep(0)

    async def _call(
        self, method: str, path: str, body: Mapping[str, object] | None, *, with_macaroon: bool = True
    ) -> Answer:
        call = Call(method, path.partition("?")[0])
        response, content = await self._to_its_end(partial(self._exchange, call, path, body, with_macaroon))
        if response.status != 200:
            raise self._refusal(call, response.status, content)
        date = server_time(response)
        return Answer(LndObject(self._parsed(content, call), call), date)

    async def _exchange(
        self, call: Call, path: str, body: Mapping[str, object] | None, with_macaroon: bool
    ) -> tuple[aiohttp.ClientResponse, bytes]:
        session = self._session(Use.CALLS)
        timeout = aiohttp.ClientTimeout(total=self._settings.default_timeout)
        arguments = self._arguments(path, body, with_macaroon=with_macaroon)
        with self.failures(call):
            async with session.request(call.method, **arguments, timeout=timeout) as response:
                return response, await self._read(response, call)

    async def _to_its_end(self, exchange: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Have an exchange, first come, first served. A caller that is cancelled meanwhile does not end it.

        What was sent is answered anyway, and a connection that is given up costs both sides more than the rest of an
        answer. Who is cancelled before it began sends nothing.
        """
        await self._turn.acquire()
        task = asyncio.get_running_loop().create_task(exchange())
        self._exchanges.add(task)
        task.add_done_callback(self._exchanged)
        await asyncio.wait({task})
        if task.cancelled():
            # Nobody cancelled the caller, who must not look as if.
            raise NodeUnreachable("the client was closed", protocol=LIGHTNING, retryable=False)
        return task.result()

    def _exchanged(self, task: asyncio.Task[Any]) -> None:
        self._turn.release()
        self._exchanges.discard(task)
        # Looking at the exception also says that somebody knows of it, where the caller has left.
        if not task.cancelled():
            task.exception()

    def _session(self, use: Use) -> aiohttp.ClientSession:
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
        elif self._loop is not loop:
            raise AsyncRuntimeError(
                "this client belongs to the event loop that used it first; make another one in this loop",
                protocol=LIGHTNING,
            )
        if use not in self._sessions:
            pool = self._settings.connection_pool
            if use is Use.PAYMENTS:
                # So many that as many payments can be sent as there are calls, whatever is still being read.
                most = pool.max_connections + self._settings.max_payment_streams
                pool = replace(pool, max_connections=most)
            elif use is Use.WATCHES:
                pool = replace(pool, max_connections=self._settings.max_hold_streams + _OTHER_WATCHES)
            self._sessions[use] = open_session(
                pool, timeout=self._settings.default_timeout, connector=AbortingConnector
            )
        return self._sessions[use]

    def _arguments(self, path: str, body: Mapping[str, object] | None, *, with_macaroon: bool = True) -> dict[str, Any]:
        if self._tls is None:
            self._tls = self._read_certificate()
        headers = {"Content-Type": "application/json"}
        if with_macaroon:
            headers["Grpc-Metadata-macaroon"] = self.macaroon().hex()
        return {
            "url": self._url.join(URL(path, encoded=True)),
            "data": None if body is None else orjson.dumps(body),
            "headers": headers,
            "ssl": self._tls,
            "allow_redirects": False,
        }

    def _read_certificate(self) -> ssl.SSLContext:
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
        return tls

    def _read_macaroon(self) -> bytes:
        try:
            return Path(self._settings.macaroon_file).read_bytes()
        except OSError as error:
            raise ConfigurationError(
                f"macaroon_file {self._settings.macaroon_file} cannot be read: {_kind(error)}",
                protocol=LIGHTNING,
                remedy="give a macaroon that the node has baked",
            ) from None

    async def _read(self, response: aiohttp.ClientResponse, call: Call) -> bytes:
        content = bytearray()
        async for part in response.content.iter_any():
            content += part
            self.check_size(content, response, call)
        return bytes(content)

    def check_size(self, content: bytearray, response: aiohttp.ClientResponse, call: Call) -> None:
        limit = self._settings.connection_pool.max_response_bytes
        if len(content) > limit:
            response.close()
            raise self._bad(call, f"its answer is longer than {limit} bytes")

    def result(self, line: bytes, call: Call) -> LndObject:
        message = self._parsed(line, call)
        if isinstance(message, dict) and "error" in message:
            refusal = self._refusal(call, 200, line)
            if call.method == "POST":
                # Something was said before, so the request was taken.
                refusal.outcome = Outcome.UNKNOWN
            raise refusal
        return LndObject(message, call).inner("result")

    def _parsed(self, content: bytes, call: Call) -> Any:
        try:
            return orjson.loads(content)
        except orjson.JSONDecodeError:
            raise self._bad(call, "its answer is no JSON") from None

    def _refusal(self, call: Call, status: int, content: bytes) -> NodeError:
        """The error that an answer with another status than 200 stands for."""
        code, words = _reason(content)
        if code in _NO_ANSWER_OF_ITS_OWN or status in _NO_ANSWER_STATUS:
            return self._unreachable(call, words or f"HTTP {status}")
        if status in {401, 403} or code in _UNAUTHENTICATED or any(word in words for word in _MACAROON_WORDS):
            self._tls = self._macaroon = None
            return AuthenticationFailed(
                f"lnd at {self._url.origin()} refused the macaroon for {call}: {words or f'HTTP {status}'}",
                code="permissions" if _DENIED in words else "macaroon",
                protocol=LIGHTNING,
                operation=str(call),
                remedy=f"check that {self._settings.macaroon_file} is of this node and allows this call",
            )
        if code is None:
            return self._bad(call, f"HTTP {status} without lnd's reason")
        not_ready = not_ready_in(words)
        if not_ready is not None:
            return not_ready_error(not_ready, str(call), node_code=code, words=words)
        return NodeRefused(
            f"lnd at {self._url.origin()} refused {call}: {words}",
            node_code=code,
            node_message=words,
            protocol=LIGHTNING,
            operation=str(call),
        )

    @contextmanager
    def failures(self, call: Call) -> Iterator[None]:
        # An error of aiohttp is not kept as the cause: it may hold the request with its macaroon.
        try:
            yield
        except aiohttp.ClientConnectorCertificateError as error:
            self._tls = self._macaroon = None
            raise AuthenticationFailed(
                f"the node at {self._url.origin()} does not show the pinned certificate: "
                f"{printable(str(getattr(error.certificate_error, 'verify_message', error.certificate_error)))}",
                code="certificate",
                protocol=LIGHTNING,
                operation=str(call),
                remedy=f"if the node made a new certificate, copy its tls.cert to {self._settings.certificate_file}",
            ) from None
        except aiohttp.ClientConnectorError as error:
            problem = f"no connection ({printable(error.strerror or _kind(error))})"
            raise self._unreachable(call, problem, outcome=Outcome.NOT_SENT) from None
        except aiohttp.ConnectionTimeoutError:
            raise self._unreachable(call, "no connection in time", outcome=Outcome.NOT_SENT) from None
        except TimeoutError:
            problem = f"no answer within {self._settings.default_timeout:g} s"
            raise self._unreachable(call, problem) from None
        except (aiohttp.ClientError, OSError) as error:
            raise self._unreachable(call, f"the connection broke ({_kind(error)})") from None

    def _unreachable(self, call: Call, problem: str, *, outcome: Outcome | None = None) -> NodeUnreachable:
        return NodeUnreachable(
            f"lnd at {self._url.origin()}, {call}: {problem}",
            protocol=LIGHTNING,
            operation=str(call),
            outcome=call.outcome if outcome is None else outcome,
        )

    def _bad(self, call: Call, problem: str) -> BadAnswer:
        return BadAnswer(
            f"lnd at {self._url.origin()}, {call}: {problem}",
            protocol=LIGHTNING,
            operation=str(call),
            outcome=call.outcome,
        )


def _abort(response: aiohttp.ClientResponse) -> None:
    """Drop a stream with whatever is still to come, at once: a TLS good-bye would wait for the node's own."""
    connection = response.connection
    if connection is not None and connection.transport is not None:
        connection.transport.abort()
    response.close()


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
