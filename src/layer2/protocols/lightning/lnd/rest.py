"""lnd's REST interface over TLS with a pinned certificate: single calls, and streams.

A read (GET) that fails has no effect. An act (POST) without an answer has the outcome UNKNOWN: it is not repeated here,
and its caller looks up the result.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import replace
from enum import Enum
from functools import partial
from typing import Any, Final, TypeVar

import aiohttp
import orjson
from yarl import URL

from layer2.errors import AsyncRuntimeError, NodeError
from layer2.net.http_client import open_session, server_time
from layer2.protocols.lightning.lnd.answers import LIGHTNING, Answer, Call, LndObject
from layer2.protocols.lightning.lnd.connections import AbortingConnector
from layer2.protocols.lightning.lnd.credentials import Credentials
from layer2.protocols.lightning.lnd.failures import Failures, closed_error
from layer2.protocols.lightning.lnd.stream import LndStream, abort, read_json
from layer2.protocols.lightning.settings import LightningSettings

__all__ = ["LndRest", "Use"]

T = TypeVar("T")

_MAX_BYTES: Final = 32 * 1024 * 1024
"""The longest accepted answer. Before 0.21 lnd sends its whole log, of up to 20 MB, with its configuration."""
_END_SECONDS: Final = 1.0
"""Seconds to wait for the end of a stream after its last message."""
_CANCELLED_SECONDS: Final = 1.0
"""Seconds to wait for the answer to a call whose caller was cancelled."""
_OTHER_WATCHES: Final = 8
"""Connections for the streams of all invoices and all payments, each twice while it is replaced, with a reserve."""


class Use(Enum):
    """The use of a connection. Each use has its own connections, so that none waits for another use."""

    CALLS = "calls"
    WATCHES = "watches"
    """Streams that stay open, except those of sent payments."""
    PAYMENTS = "payments"
    """Sends: a stream that stays open while the payment is under way."""


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
        self._sessions: dict[Use, aiohttp.ClientSession] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._turn = asyncio.Semaphore(settings.connection_pool.max_connections)
        self._exchanges: set[asyncio.Task[Any]] = set()

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
            with closing(await self._open_stream("GET", path, None, Use.WATCHES)) as messages:
                yield messages
        finally:
            self.open_streams -= 1

    async def begin_stream(
        self, method: str, path: str, body: Mapping[str, object] | None = None, *, use: Use
    ) -> tuple[LndObject, LndStream]:
        """Open a stream and wait for its first message.

        Returns:
            The first message, and the rest of the stream, which the caller must close. A stream that is read to its end
            leaves its connection to the next call.

        Raises:
            NodeUnreachable: no message came within the default timeout, or the stream ended without one.
            NodeRefused, AuthenticationFailed, BadAnswer, ConfigurationError: as ``get`` and ``post``.
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
            raise self._failures.late(call) from None
        raise self._failures.unreachable(call, "the stream ended without a message")

    async def state(self, path: str, *, is_final: Callable[[LndObject], bool]) -> LndObject:
        """Return the first message of a stream that starts with the present state. Raises what ``begin_stream`` does.

        Args:
            path: of a stream without other effects.
            is_final: whether the stream ends after this message. If so, it is read to its end, to keep the connection.
        """
        return await self._run_to_end(Call("GET", path), partial(self._state, path, is_final))

    async def _state(self, path: str, is_final: Callable[[LndObject], bool]) -> LndObject:
        message, stream = await self.begin_stream("GET", path, use=Use.CALLS)
        with closing(stream):
            if is_final(message):
                # Only the connection depends on what is read here.
                with suppress(NodeError, TimeoutError):
                    async with asyncio.timeout(_END_SECONDS):
                        async for _ in stream:
                            pass
        return message

    async def _open_stream(self, method: str, path: str, body: Mapping[str, object] | None, use: Use) -> LndStream:
        session = self._session(use)
        call = Call(method, path.partition("?")[0])
        timeout = aiohttp.ClientTimeout(sock_connect=self._settings.default_timeout)
        with self._failures.typed(call):
            response = await session.request(method, **self._arguments(path, body), timeout=timeout)
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
        # A semaphore belongs to the loop in which it was waited for, and this object may be used in another loop later.
        self._turn = asyncio.Semaphore(self._settings.connection_pool.max_connections)
        exchanges = list(self._exchanges)
        for exchange in exchanges:
            exchange.cancel()
        await asyncio.gather(*exchanges, return_exceptions=True)
        sessions, self._sessions, self._loop = self._sessions, {}, None
        for session in sessions.values():
            await session.close()
        # The loop closes the sockets of aborted connections in its next iteration.
        await asyncio.sleep(0)

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
        session = self._session(Use.CALLS)
        arguments = self._arguments(path, body, with_macaroon=with_macaroon)
        with self._failures.typed(call):
            # The time-out is the session's.
            async with session.request(call.method, **arguments) as response:
                return response, await self._read(response, call)

    async def _run_to_end(self, call: Call, exchange: Callable[[], Coroutine[Any, Any, T]]) -> T:
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

    def _exchanged(self, turn: asyncio.Semaphore, task: asyncio.Task[Any]) -> None:
        turn.release()
        self._exchanges.discard(task)
        # Marks the exception as retrieved if the caller was cancelled.
        if not task.cancelled():
            task.exception()

    def _session(self, use: Use) -> aiohttp.ClientSession:
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
        elif self._loop is not loop:
            raise AsyncRuntimeError(
                "this client belongs to the event loop that first used it; create another one in this loop",
                protocol=LIGHTNING,
            )
        if use not in self._sessions:
            pool = self._settings.connection_pool
            if use is Use.PAYMENTS:
                # Enough to send as many payments as there are calls while every followed stream is open.
                pool = replace(pool, max_connections=pool.max_connections + self._settings.max_payment_streams)
            elif use is Use.WATCHES:
                pool = replace(pool, max_connections=self._settings.max_hold_streams + _OTHER_WATCHES)
            self._sessions[use] = open_session(
                pool, timeout=self._settings.default_timeout, connector=AbortingConnector
            )
        return self._sessions[use]

    def _arguments(self, path: str, body: Mapping[str, object] | None, *, with_macaroon: bool = True) -> dict[str, Any]:
        headers = {"Content-Type": "application/json"}
        if with_macaroon:
            headers["Grpc-Metadata-macaroon"] = self.macaroon().hex()
        return {
            "url": URL(self._origin + path, encoded=True),
            "data": None if body is None else orjson.dumps(body),
            "headers": headers,
            "ssl": self._credentials.tls(),
            "allow_redirects": False,
        }

    async def _read(self, response: aiohttp.ClientResponse, call: Call) -> bytes:
        content = bytearray()
        async for part in response.content.iter_any():
            content += part
            if len(content) > self._max_bytes:
                response.close()
                raise self._failures.too_long(call, self._max_bytes)
        return bytes(content)
