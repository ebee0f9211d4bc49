"""lnd's REST interface over TLS with a pinned certificate: single calls, and streams.

A call that only reads (GET) leaves nothing behind when it fails. One that acts (POST) and is not answered has the
outcome UNKNOWN: it is not repeated here, its caller looks up what became of it. Certificate and macaroon are read
from their files when first needed, and anew after the node refused them.
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

_END_SECONDS: Final = 1.0
"""For which the end of a stream is waited for, once it has said its last."""
_LEFT_SECONDS: Final = 1.0
"""For which an answer is waited for that nobody wants any more."""
_OTHER_WATCHES: Final = 8
"""All invoices and all payments, each once more while one stream takes another's place, and some to spare."""


class Use(Enum):
    """What a connection is for; those for one use never wait for those of another."""

    CALLS = "calls"
    WATCHES = "watches"
    """Streams that stay open."""
    PAYMENTS = "payments"
    """Sending: each is a stream that stays open while the payment is under way."""


class LndRest:
    """One node's REST interface. Belongs to the event loop in which it is first used.

    Args:
        settings: where the node is.

    Cancelling any call is safe: its connection is closed or goes back to the pool, and what the node was asked to do
    goes on there.
    """

    def __init__(self, settings: LightningSettings) -> None:
        self._origin = str(URL(settings.rest_url).origin())
        self._settings = settings
        self._most_bytes = settings.connection_pool.max_response_bytes
        self.open_streams = 0
        """Streams that stay open, or are being opened, besides those of payments that were sent."""
        self._credentials = Credentials(settings)
        self._failures = Failures(settings, self._credentials)
        self._sessions: dict[Use, aiohttp.ClientSession] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._turn = asyncio.Semaphore(settings.connection_pool.max_connections)
        self._exchanges: set[asyncio.Task[Any]] = set()

    def macaroon(self) -> bytes:
        """What is shown to the node: a secret.

        Raises:
            ConfigurationError: its file cannot be read.
        """
        return self._credentials.macaroon()

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
            raise self._failures.late(call) from None
        raise self._failures.unreachable(call, "the stream ended without a message")

    async def state(self, path: str, *, is_final: Callable[[LndObject], bool]) -> LndObject:
        """The first message of a stream that begins with the present state.

        Args:
            is_final: whether nothing follows it; then the stream is read to its end and its connection kept.

        Raises: as ``begin_stream``.
        """
        return await self._to_its_end(Call("GET", path), partial(self._state, path, is_final))

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
        with self._failures.typed(call):
            response = await session.request(method, **self._arguments(path, body), timeout=timeout)
        if response.status == 200:
            return LndStream(response, call, self._failures, self._most_bytes)
        try:
            with self._failures.typed(call):
                content = await self._read(response, call)
        finally:
            abort(response)
        raise self._failures.refusal(call, response.status, content)

    async def aclose(self) -> None:
        """Close every connection; calls and streams that are under way end with NodeUnreachable."""
        # Made anew: a semaphore belongs to the loop in which someone waited for it.
        self._turn = asyncio.Semaphore(self._settings.connection_pool.max_connections)
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
        response, content = await self._to_its_end(call, partial(self._exchange, call, path, body, with_macaroon))
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
            # The session's own limit on time holds.
            async with session.request(call.method, **arguments) as response:
                return response, await self._read(response, call)

    async def _to_its_end(self, call: Call, exchange: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Have an exchange, first come, first served. A caller that is cancelled meanwhile does not end it.

        What was sent is answered anyway, and a connection that is given up costs both sides more than the rest of an
        answer. Who is cancelled before it began sends nothing. What takes long is not waited for: others stand in line.
        """
        turn = self._turn
        await turn.acquire()
        if turn is not self._turn:
            # It was closed meanwhile; the next in line is told so too.
            turn.release()
            raise closed_error()
        task = asyncio.get_running_loop().create_task(exchange())
        self._exchanges.add(task)
        task.add_done_callback(partial(self._exchanged, turn))
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            asyncio.get_running_loop().call_later(_LEFT_SECONDS, task.cancel)
            raise
        if task.cancelled():
            # Nobody cancelled the caller, who must not look as if.
            raise closed_error(call)
        return task.result()

    def _exchanged(self, turn: asyncio.Semaphore, task: asyncio.Task[Any]) -> None:
        turn.release()
        self._exchanges.discard(task)
        # Reading the exception also marks it as retrieved, where the caller has left.
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
            if len(content) > self._most_bytes:
                response.close()
                raise self._failures.too_long(call, self._most_bytes)
        return bytes(content)
