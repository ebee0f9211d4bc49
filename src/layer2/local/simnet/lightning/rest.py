"""The HTTPS server in front of one simulated Lightning node: routes, macaroon, streams and fault switches.

It answers as lnd's gateway does. Every call needs the macaroon. An error is ``{code, message, details}`` with the
gateway's HTTP status, and in a stream it is wrapped as ``{"error": ...}``. A stream sends one JSON object per line,
``{"result": ...}``, sends its headers only with the first object, and ends when the state is final.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import ssl
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from aiohttp import web

from layer2.local.loopback import listen
from layer2.local.simnet.clock import SimClock
from layer2.local.simnet.faults import FaultKind, FaultSwitch, reset_connection
from layer2.local.simnet.lightning.ledger import Ledger
from layer2.local.simnet.lightning.messages import MalformedRequest, Message, RestError, Status, read_hex
from layer2.local.simnet.lightning.node import SimulatedNode
from layer2.local.simnet.lightning.routes import Route, missing_routes, routes_of
from layer2.local.simnet.lightning.streams import Listener, StateFeed, Subscription

__all__ = ["LightningRestServer"]

_Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]

MACAROON_HEADER = "Grpc-Metadata-Macaroon"


class LightningRestServer:
    """Serves one node on a free loopback port.

    Args:
        node: answers the calls.
        ledger: shared with the other node.
        feed: shared with the other node's server, and woken after each call.
        clock: for the expiry of invoices.
        macaroon: the bytes that each call must send as hex.
    """

    def __init__(
        self,
        node: SimulatedNode,
        ledger: Ledger,
        feed: StateFeed,
        clock: SimClock,
        *,
        macaroon: bytes,
    ) -> None:
        self.faults = FaultSwitch(tuple(FaultKind), "path", str.startswith)
        self._node = node
        self._ledger = ledger
        self._feed = feed
        self._clock = clock
        self._macaroon = macaroon
        self._runner: web.AppRunner | None = None
        self._transports: set[asyncio.Transport] = set()

    async def start(self, tls: ssl.SSLContext, port: int = 0) -> int:
        """Listen, and return the port.

        Args:
            tls: the context with the node's certificate.
            port: the port; 0 selects a free one.
        """
        app = web.Application(middlewares=[self._guard])
        app.on_response_prepare.append(self._date)
        for route in routes_of(self._node):
            app.router.add_route(route.method, route.path, self._handler(route))
        for method, path in missing_routes():
            app.router.add_route(method, path, _unsupported)
        # A stream ends as soon as its client disconnects. A call finishes its work before its first await.
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5, handler_cancellation=True)
        return await listen(self._runner, port, tls=tls)

    @property
    def is_running(self) -> bool:
        """Whether it listens."""
        return self._runner is not None

    async def stop(self) -> None:
        """Stop listening and end every stream."""
        self.reset_connections()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    @property
    def open_requests(self) -> int:
        """The number of unfinished requests, including streams."""
        return len(self._transports)

    def reset_connections(self) -> None:
        """Abort every unfinished request."""
        for transport in self._transports:
            transport.abort()

    async def _date(self, _: web.Request, response: web.StreamResponse) -> None:
        response.headers["Date"] = self._clock.http_date()

    @web.middleware
    async def _guard(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        """Apply the fault switches to each request, and answer unknown paths as lnd does."""
        transport = request.transport
        if transport is None or self.faults.hit(FaultKind.DOWN, request.path) is not None:
            return reset_connection(request)
        self._transports.add(transport)
        try:
            return await self._faulty(request, handler)
        except web.HTTPNotFound:
            return _error(RestError("Not Found", Status.NOT_FOUND))
        except web.HTTPMethodNotAllowed:
            return _error(RestError("Method Not Allowed", Status.UNIMPLEMENTED))
        finally:
            self._transports.discard(transport)

    async def _faulty(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        delay = self.faults.hit(FaultKind.DELAY, request.path)
        if delay is not None:
            await asyncio.sleep(delay.seconds)
        error = self.faults.hit(FaultKind.ERROR, request.path)
        if error is not None:
            return _error(RestError("fault switch: error", http=error.status))
        return await handler(request)

    def _handler(self, route: Route) -> _Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            drop = self.faults.hit(FaultKind.DROP_REPLY, request.path) is not None
            body = await request.read()
            try:
                message = _message(request, body, route)
                if not route.is_open:
                    self._check_macaroon(request)
                self._ledger.pass_time(self._clock.now())
                # Publish earlier events first, so that a new stream starts with the effects of this call.
                self._feed.wake()
                answer = route.call(message)
                if not isinstance(answer, Subscription):
                    return reset_connection(request) if drop else web.json_response(answer)
                listener = self._feed.open(answer)
            except RestError as error:
                stream = route.is_stream and not isinstance(error, MalformedRequest)
                return reset_connection(request) if drop else _error(error, stream=stream)
            finally:
                self._feed.wake()
            try:
                return reset_connection(request) if drop else await self._stream(request, listener)
            finally:
                self._feed.close(listener)

        return handle

    async def _stream(self, request: web.Request, listener: Listener) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.enable_chunked_encoding()
        number = 0
        async for record in listener.records():
            number += 1
            if self.faults.hit(FaultKind.WITHHOLD_MESSAGE, request.path, message=number) is not None:
                continue
            if self.faults.hit(FaultKind.CUT_STREAM, request.path, message=number) is not None:
                return reset_connection(request)
            if not response.prepared:
                await response.prepare(request)
            line = json.dumps({"result": self._node.answer(record)}).encode() + b"\n"
            await response.write(line)
            if self.faults.hit(FaultKind.REPEAT_MESSAGE, request.path, message=number) is not None:
                await response.write(line)
        return response

    def _check_macaroon(self, request: web.Request) -> None:
        shown = request.headers.getall(MACAROON_HEADER, [])
        if len(shown) != 1:
            raise RestError(f"expected 1 macaroon, got {len(shown)}")
        if not hmac.compare_digest(read_hex(shown[0]), self._macaroon):
            raise RestError("verification failed: signature mismatch after caveat verification")


def _message(request: web.Request, body: bytes, route: Route) -> Message:
    if request.method == "POST":
        return Message.from_body(body, route.fields)
    # aiohttp has already unquoted the parts of the path once, as lnd's gateway does.
    path = request.match_info
    query = ((name, text) for name, text in request.query.items() if name not in path)
    return Message.from_parameters([*path.items(), *query], route.fields)


async def _unsupported(request: web.Request) -> web.Response:
    text = f"the simulated node does not support {request.method} {request.path}"
    return _error(RestError(text, Status.UNIMPLEMENTED))


def _error(error: RestError, *, stream: bool = False) -> web.Response:
    body = error.body()
    return web.json_response({"error": body} if stream else body, status=error.http)
