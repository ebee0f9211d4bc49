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
from collections.abc import Callable
from email.utils import formatdate
from typing import Any

from aiohttp import web

from layer2.local.simnet.clock import SimClock
from layer2.local.simnet.lightning.faults import FaultKind, FaultSwitches
from layer2.local.simnet.lightning.ledger import Ledger
from layer2.local.simnet.lightning.messages import MalformedRequest, Message, RestError, Status, read_hex
from layer2.local.simnet.lightning.node import SimulatedNode
from layer2.local.simnet.lightning.routes import Route, StreamRoute, routes_of
from layer2.local.simnet.lightning.streams import Listener, StateFeed

__all__ = ["LightningRestServer"]

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
        self.faults = FaultSwitches()
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
        # A stream ends as soon as its client disconnects. A call finishes its work before its first await.
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5, handler_cancellation=True)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", port, ssl_context=tls)
        await site.start()
        listening: int = self._runner.addresses[0][1]
        return listening

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
        response.headers["Date"] = formatdate(self._clock.now(), usegmt=True)

    @web.middleware
    async def _guard(self, request: web.Request, handler: Callable[[web.Request], Any]) -> web.StreamResponse:
        """Apply the fault switches to each request, and answer unknown paths as lnd does."""
        transport = request.transport
        if transport is None or self.faults.hit(FaultKind.DOWN, request.path) is not None:
            return _reset(request)
        self._transports.add(transport)
        try:
            return await self._faulty(request, handler)
        except web.HTTPNotFound:
            return _error(RestError("Not Found", Status.NOT_FOUND))
        except web.HTTPMethodNotAllowed:
            return _error(RestError("Method Not Allowed", Status.UNIMPLEMENTED))
        finally:
            self._transports.discard(transport)

    async def _faulty(self, request: web.Request, handler: Callable[[web.Request], Any]) -> web.StreamResponse:
        delay = self.faults.hit(FaultKind.DELAY, request.path)
        if delay is not None:
            await asyncio.sleep(delay.seconds)
        error = self.faults.hit(FaultKind.ERROR, request.path)
        if error is not None:
            return _error(RestError("fault switch: error", http=error.status))
        response: web.StreamResponse = await handler(request)
        return response

    def _handler(self, route: Route | StreamRoute) -> Callable[[web.Request], Any]:
        async def handle(request: web.Request) -> web.StreamResponse:
            drop = self.faults.hit(FaultKind.DROP_REPLY, request.path) is not None
            body = await request.read()
            listener = None
            try:
                message = _message(request, body, route)
                if not route.is_open:
                    self._check_macaroon(request)
                self._ledger.pass_time(self._clock.now())
                # Publish earlier events first, so that a new stream starts with the effects of this call.
                self._feed.wake()
                match route:
                    case Route():
                        response = web.json_response(route.call(message))
                        return _reset(request) if drop else response
                    case StreamRoute():
                        listener = self._feed.open(route.call(message))
            except RestError as error:
                stream = isinstance(route, StreamRoute) and not isinstance(error, MalformedRequest)
                return _reset(request) if drop else _error(error, stream=stream)
            finally:
                self._feed.wake()
            try:
                return _reset(request) if drop else await self._stream(request, listener)
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
                return _reset(request)
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


def _message(request: web.Request, body: bytes, route: Route | StreamRoute) -> Message:
    if request.method == "POST":
        return Message.from_body(body, route.known, route.absent)
    # aiohttp has already unquoted the parts of the path once, as lnd's gateway does.
    return Message({**request.query, **request.match_info})


def _error(error: RestError, *, stream: bool = False) -> web.Response:
    body = error.body()
    return web.json_response({"error": body} if stream else body, status=error.http)


def _reset(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()
