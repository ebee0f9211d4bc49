"""lnd's REST interface over TLS with a pinned certificate: single calls, and streams.

A read (GET) that fails has no effect. An act (POST) without an answer has the outcome UNKNOWN: it is not repeated here,
and its caller looks up the result.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager, closing, nullcontext, suppress
from functools import partial
from typing import Final, TypeVar

import aiohttp
import orjson
from yarl import URL

from layer2.aio.time_limit import time_limit
from layer2.errors import AsyncRuntimeError, NodeError
from layer2.net.http_client import read_body, server_time
from layer2.protocols.lightning.lnd.answers import LIGHTNING, Answer, Call, LndObject
from layer2.protocols.lightning.lnd.connections import AbortingConnector, abort
from layer2.protocols.lightning.lnd.credentials import Credentials
from layer2.protocols.lightning.lnd.failures import Failures, closed_error
from layer2.protocols.lightning.lnd.stream import LndStream, read_json
from layer2.protocols.lightning.settings import LightningSettings

__all__ = ["LndRest"]

T = TypeVar("T")

_MAX_BYTES: Final = 32 * 1024 * 1024
"""The longest accepted answer. Before 0.21 lnd sends its whole log, of up to 20 MB, with its configuration."""
_END_SECONDS: Final = 1.0
"""Seconds to wait for the end of a stream after its last message."""
_CANCELLED_SECONDS: Final = 1.0
"""Seconds to wait for the answer to a call whose caller was cancelled."""


class LndRest:
    """The REST interface of one node. Belongs to the event loop in which it is first used.

    A call may be cancelled at any time: its connection is closed or returned to the pool. The node still executes a
    call that was sent.

    Args:
        settings: the node's address, and the limits of connections.
    """

    def __init__(self, settings: LightningSettings) -> None:
        self._origin = str(URL(settings.rest_url).origin())
        self._settings = settings
        self._max_bytes = settings.connection_pool.max_response_bytes or _MAX_BYTES
        self.open_streams = 0
        """Number of open streams, and of those being opened, without the streams of sent payments."""
        self._credentials = Credentials(settings)
        self._failures = Failures(settings, self._credentials)
        self._session: aiohttp.ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_closed = False
        self._turn, self._sends = self._semaphores()
        self._exchanges: set[asyncio.Task[object]] = set()

    def reopen(self) -> None:
        """Allow calls again after ``aclose``, also in another loop."""
        self._is_closed = False

    def macaroon(self) -> bytes:
        """The macaroon, a secret.

        Raises:
            ConfigurationError: the file cannot be read.
        """
        return self._credentials.macaroon()

    async def get(self, path: str, *, with_macaroon: bool = True) -> Answer:
        """Send a read.

        Args:
            path: with the query, already quoted.
            with_macaroon: False for calls to a node that may not have a macaroon yet.

        Raises:
            NodeUnreachable, NodeRefused, AuthenticationFailed, BadAnswer: outcome NOT_SENT or REJECTED.
            ConfigurationError: the certificate or macaroon file cannot be read.
        """
        return await self._call("GET", path, None, with_macaroon=with_macaroon)

    async def post(self, path: str, body: Mapping[str, object]) -> Answer:
        """Send an act.

        Args:
            path: without a query.
            body: the fields; bytes as base64, 64-bit integers as strings.

        Raises:
            NodeUnreachable, BadAnswer: outcome UNKNOWN, unless no connection was made.
            NodeRefused: lnd refused it, with lnd's message; outcome REJECTED.
            AuthenticationFailed, ConfigurationError: as ``get``.
        """
        return await self._call("POST", path, body)

    @asynccontextmanager
    async def stream(self, path: str) -> AsyncIterator[AsyncIterator[LndObject]]:
        """Open a stream that stays open; leaving the context closes its connection.

        Args:
            path: with the query, already quoted.

        Yields:
            The messages, as they arrive. Iterating raises the errors of ``get``.
        """
        self.open_streams += 1
        try:
            with closing(await self._open_stream(Call("GET", path.partition("?")[0]), path, None)) as messages:
                yield messages
        finally:
            self.open_streams -= 1

    async def begin_stream(
        self, method: str, path: str, body: Mapping[str, object] | None = None
    ) -> tuple[LndObject, LndStream]:
        """Open a stream and wait for its first message.

        Returns:
            The first message, and the rest of the stream, which the caller must close. A stream that is read to its end
            leaves its connection to the next call.

        Raises:
            NodeUnreachable: no message came within the default timeout, or the stream ended without one.
            NodeRefused, AuthenticationFailed, BadAnswer, ConfigurationError: as ``get`` and ``post``.
        """
        call = Call(method, path)
        async with (
            time_limit(asyncio.timeout(self._settings.default_timeout), lambda: self._failures.late(call)),
            self._sends if method == "POST" else nullcontext(),
        ):
            stream = await self._open_stream(call, path, body)
            try:
                async for message in stream:
                    return message, stream
            except BaseException:
                stream.close()
                raise
        raise self._failures.unreachable(call, "the stream ended without a message")

    async def state(self, path: str, *, is_final: Callable[[LndObject], bool]) -> LndObject:
        """Return the first message of a stream that starts with the present state. Raises what ``begin_stream`` does.

        Args:
            path: of a stream without other effects.
            is_final: whether the stream ends after this message. If so, it is read to its end, to keep the connection.
        """
        return await self._run_to_end(Call("GET", path), partial(self._state, path, is_final))

    async def _state(self, path: str, is_final: Callable[[LndObject], bool]) -> LndObject:
        message, stream = await self.begin_stream("GET", path)
        with closing(stream):
            if is_final(message):
                # Only the connection depends on what is read here.
                with suppress(NodeError):
                    async with time_limit(asyncio.timeout(_END_SECONDS)):
                        async for _ in stream:
                            pass
        return message

    async def _open_stream(self, call: Call, path: str, body: Mapping[str, object] | None) -> LndStream:
        timeout = aiohttp.ClientTimeout(sock_connect=self._settings.default_timeout)
        response = await self._request(call, path, body, timeout)
        if response.status == 200:
            return LndStream(response, call, self._failures, self._max_bytes)
        try:
            with self._failures.typed(call):
                content = await self._read(response, call)
        finally:
            abort(response)
        raise self._failures.refusal(call, response.status, content)

    async def aclose(self) -> None:
        """Close every connection. Calls and streams that are under way raise NodeUnreachable."""
        self._is_closed = True
        # Callers that wait for a turn get an error. The client may be entered again in another loop.
        self._turn, self._sends = self._semaphores()
        exchanges = list(self._exchanges)
        for exchange in exchanges:
            exchange.cancel()
        await asyncio.gather(*exchanges, return_exceptions=True)
        session, self._session, self._loop = self._session, None, None
        if session is not None:
            await session.close()
        # The loop closes the sockets of aborted connections in its next iteration.
        await asyncio.sleep(0)

    def _semaphores(self) -> tuple[asyncio.Semaphore, asyncio.Semaphore]:
        """The limits of calls, and of acts that open a stream, until its first message: calls do not wait for them."""
        most = self._settings.connection_pool.max_connections
        return asyncio.Semaphore(most), asyncio.Semaphore(most)

    async def _call(
        self, method: str, path: str, body: Mapping[str, object] | None, *, with_macaroon: bool = True
    ) -> Answer:
        call = Call(method, path.partition("?")[0])
        response, content = await self._run_to_end(call, partial(self._exchange, call, path, body, with_macaroon))
        if response.status != 200:
            raise self._failures.refusal(call, response.status, content)
        date = server_time(response)
        return Answer(LndObject(read_json(content, call, self._failures), call), date)

    async def _exchange(
        self, call: Call, path: str, body: Mapping[str, object] | None, with_macaroon: bool
    ) -> tuple[aiohttp.ClientResponse, bytes]:
        timeout = aiohttp.ClientTimeout(total=self._settings.default_timeout)
        async with await self._request(call, path, body, timeout, with_macaroon=with_macaroon) as response:
            with self._failures.typed(call):
                return response, await self._read(response, call)

    async def _run_to_end(self, call: Call, exchange: Callable[[], Coroutine[object, None, T]]) -> T:
        """Run an exchange when a connection is free, first come, first served.

        A caller that is cancelled before the exchange started sends nothing. After that the exchange continues for a
        moment without its caller: the node answers anyway, and a new connection costs more than the rest of an answer.
        """
        turn = self._turn
        await turn.acquire()
        if turn is not self._turn:
            # The client was closed meanwhile. Wake the next caller, so that it gets the same error.
            turn.release()
            raise closed_error()
        task = asyncio.get_running_loop().create_task(exchange())
        self._exchanges.add(task)
        task.add_done_callback(partial(self._exchanged, turn))
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            asyncio.get_running_loop().call_later(_CANCELLED_SECONDS, task.cancel)
            raise
        if task.cancelled():
            # The caller itself was not cancelled, so it gets another error than CancelledError.
            raise closed_error(call)
        return task.result()

    def _exchanged(self, turn: asyncio.Semaphore, task: asyncio.Task[object]) -> None:
        turn.release()
        self._exchanges.discard(task)
        # Marks the exception as retrieved if the caller was cancelled.
        if not task.cancelled():
            task.exception()

    async def _request(
        self,
        call: Call,
        path: str,
        body: Mapping[str, object] | None,
        timeout: aiohttp.ClientTimeout,
        *,
        with_macaroon: bool = True,
    ) -> aiohttp.ClientResponse:
        session = self._opened_session()
        headers = {"Content-Type": "application/json"}
        if with_macaroon:
            headers["Grpc-Metadata-macaroon"] = self.macaroon().hex()
        tls = self._credentials.tls()
        with self._failures.typed(call):
            return await session.request(
                call.method,
                URL(self._origin + path, encoded=True),
                data=None if body is None else orjson.dumps(body),
                headers=headers,
                ssl=tls,
                allow_redirects=False,
                timeout=timeout,
            )

    def _opened_session(self) -> aiohttp.ClientSession:
        if self._is_closed:
            raise AsyncRuntimeError("this client was closed; create a new one", protocol=LIGHTNING)
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
        elif self._loop is not loop:
            raise AsyncRuntimeError(
                "this client belongs to the event loop that first used it; create another one in this loop",
                protocol=LIGHTNING,
            )
        if self._session is None:
            # The number of connections is limited by the callers: by the two semaphores here, and by the feeds.
            keepalive = self._settings.connection_pool.keepalive_seconds
            self._session = aiohttp.ClientSession(
                connector=AbortingConnector(limit=0, keepalive_timeout=keepalive), cookie_jar=aiohttp.DummyCookieJar()
            )
        return self._session

    async def _read(self, response: aiohttp.ClientResponse, call: Call) -> bytes:
        content = await read_body(response, self._max_bytes)
        if content is None:
            raise self._failures.too_long(call, self._max_bytes)
        return bytes(content)
