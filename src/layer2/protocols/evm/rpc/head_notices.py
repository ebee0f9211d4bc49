"""Notices of new heads by websocket. A notice only triggers a read over HTTP; its contents are not used.

Sources: JSON-RPC 2.0; the ``eth_subscribe`` method of the execution clients; RFC 6455 (ping and pong).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

import aiohttp
import orjson
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential

from layer2.errors import AuthenticationFailed, BadAnswer, NodeError, NodeRefused, NodeUnreachable
from layer2.formats.printable import printable
from layer2.net.client_settings import ConnectionPoolConfig
from layer2.net.http_client import connection_failure, open_session, server_url
from layer2.protocols.evm.rpc.http_exchange import DEFAULT_RESPONSE_BYTES

__all__ = ["HeadNotices"]

LOG: Final = logging.getLogger("layer2.evm")

_SUBSCRIBE = orjson.dumps({"jsonrpc": "2.0", "id": 1, "method": "eth_subscribe", "params": ["newHeads"]}).decode()
_HEARTBEAT_SECONDS = 15.0
"""Seconds between pings. A pong may take half of that, so a dead connection is detected within 23 s."""
_CLOSE_SECONDS = 1.0
_IDLE_SECONDS = 60.0
"""How long the connection is kept after the last waiter has left."""
_STEADY_SECONDS = 30.0
"""A connection that lasted this long resets the back-off."""
_BACK_OFF = wait_random_exponential(multiplier=0.25, max=60)


class HeadNotices:
    """One websocket to a node. It is open, and reconnects, while a caller waits for new heads.

    A notice only wakes the callers that read heads over HTTP. A lost, repeated or wrong notice costs time and nothing
    else. Polling continues in parallel, so a silent websocket delays a head by at most the poll interval.

    Args:
        url: ``ws`` or ``wss``. A user, a password and keys in it are never shown.
        protocol: the layer's name, for errors.
        pool: limits the length of a message.
        timeout: seconds for connecting and subscribing.

    Raises:
        ConfigurationError: the URL is invalid.
    """

    def __init__(self, url: str, *, protocol: str, pool: ConnectionPoolConfig, timeout: float) -> None:
        self._url = server_url(url, "the websocket", ("ws", "wss"))
        self.endpoint = str(self._url.origin())
        """The node's address without user, password, path and query, which may contain keys."""
        self._protocol = protocol
        self._pool = pool
        self._timeout = timeout
        self._on_head: Callable[[], None] = lambda: None
        self._wanted_at = 0.0
        self._has_lasted = False
        self._is_down = False
        self._task: asyncio.Task[None] | None = None

    async def check(self) -> None:
        """Check that the node accepts the subscription: connect, subscribe, and close the connection.

        Raises:
            NodeUnreachable: no connection, or no answer in time.
            AuthenticationFailed: the node requires other credentials.
            NodeRefused: the node has no subscriptions.
            BadAnswer: the address serves no websocket, or no JSON-RPC.
        """
        async with self._subscribed():
            pass

    def want(self, on_head: Callable[[], None]) -> None:
        """Keep the connection open, and call ``on_head`` when a new head is announced."""
        loop = asyncio.get_running_loop()
        self._on_head, self._wanted_at = on_head, loop.time()
        if self._task is None:
            self._task = loop.create_task(self._run())

    async def aclose(self) -> None:
        """Close the connection."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        attempts = AsyncRetrying(
            retry=retry_if_exception_type(NodeError), wait=self._pause, before_sleep=self._report_down
        )
        try:
            async for attempt in attempts:
                with attempt:
                    await self._listen()
        finally:
            self._task = None

    async def _listen(self) -> None:
        """Forward notices until no caller has waited for a while.

        Raises:
            NodeError: the connection failed or ended.
        """
        loop = asyncio.get_running_loop()
        self._has_lasted = False
        async with self._subscribed() as socket:
            if self._is_down:
                self._is_down = False
                LOG.info("%s: the websocket at %s is connected again", self._protocol, self.endpoint)
            # There may be new blocks since the last connection.
            self._on_head()
            begun = loop.time()
            try:
                while loop.time() - self._wanted_at < _IDLE_SECONDS:
                    if (await self._message(socket)).get("method") == "eth_subscription":
                        self._on_head()
            finally:
                self._has_lasted = loop.time() - begun >= _STEADY_SECONDS

    def _pause(self, state: RetryCallState) -> float:
        if self._has_lasted:
            state.attempt_number = 1
        return _BACK_OFF(state)

    def _report_down(self, state: RetryCallState) -> None:
        error = None if state.outcome is None else state.outcome.exception()
        if not self._is_down and isinstance(error, NodeError):
            self._is_down = True
            LOG.warning("%s: %s; until it reconnects, new blocks are found by polling", self._protocol, error.message)

    @asynccontextmanager
    async def _subscribed(self) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        async with open_session(self._pool, timeout=self._timeout) as session:
            socket = await self._connect(session)
            try:
                await self._subscribe(socket)
                yield socket
            finally:
                await socket.close()

    async def _connect(self, session: aiohttp.ClientSession) -> aiohttp.ClientWebSocketResponse:
        try:
            return await session.ws_connect(
                self._url,
                heartbeat=_HEARTBEAT_SECONDS,
                max_msg_size=self._pool.max_response_bytes or DEFAULT_RESPONSE_BYTES,
                # aiohttp declares these fields in a way that only mypy's plugin for attrs reads.
                timeout=aiohttp.ClientWSTimeout(ws_close=_CLOSE_SECONDS),  # pyright: ignore[reportCallIssue]
            )
        # An error of aiohttp may contain the URL with its keys, so it is not kept as the cause.
        except aiohttp.WSServerHandshakeError as error:
            raise self._refused(error.status) from None
        except (aiohttp.ClientError, OSError) as error:
            raise self._failed(NodeUnreachable, connection_failure(error, self._timeout).problem) from None

    async def _subscribe(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        try:
            async with asyncio.timeout(self._timeout):
                await socket.send_str(_SUBSCRIBE)
                while (answer := await self._message(socket)).get("id") != 1:
                    # A node may announce a head before it answers. The heads are read after the subscription anyway.
                    pass
        except TimeoutError:
            problem = f"no answer to eth_subscribe within {self._timeout:g} s"
            raise self._failed(NodeUnreachable, problem) from None
        except (aiohttp.ClientError, OSError) as error:
            raise self._failed(NodeUnreachable, connection_failure(error, self._timeout).problem) from None
        if isinstance(refusal := answer.get("error"), dict):
            code, message = refusal.get("code"), printable(str(refusal.get("message")))
            raise NodeRefused(
                f"the websocket at {self.endpoint} refused eth_subscribe: {message}",
                node_code=code if isinstance(code, int) else 0,
                node_message=message,
                protocol=self._protocol,
                operation="eth_subscribe",
            )
        if not isinstance(answer.get("result"), str):
            raise self._failed(BadAnswer, "it answered without a subscription")

    async def _message(self, socket: aiohttp.ClientWebSocketResponse) -> dict[str, object]:
        """Read the node's next message, which has to be a JSON object."""
        message = await socket.receive()
        if message.type is not aiohttp.WSMsgType.TEXT:
            raise self._failed(NodeUnreachable, f"the connection ended ({message.type.name.lower()})")
        try:
            value = orjson.loads(message.data)
        except orjson.JSONDecodeError:
            raise self._failed(BadAnswer, "a message that is not JSON") from None
        if not isinstance(value, dict):
            raise self._failed(BadAnswer, "a message that is not an object")
        return value

    def _refused(self, status: int) -> NodeError:
        if status in {401, 403}:
            return self._failed(AuthenticationFailed, f"it refused the credentials (HTTP {status})")
        if status == 429 or status >= 500:
            return self._failed(NodeUnreachable, f"HTTP {status}")
        return self._failed(BadAnswer, f"the address serves no websocket (HTTP {status})")

    def _failed(self, kind: type[NodeError], problem: str) -> NodeError:
        return kind(
            f"the websocket at {self.endpoint}: {problem}",
            protocol=self._protocol,
            operation="eth_subscribe",
            remedy="correct websocket_url, or remove it: new blocks are then polled every poll_interval_ms",
        )
