"""The HTTPS server in front of one simulated Lightning node: routes, macaroon, streams and fault switches.

It answers as lnd's gateway does: every call needs the macaroon; an error is ``{code, message, details}`` with the
gateway's HTTP status, and in a stream it is wrapped as ``{"error": ...}``; a stream sends one JSON object a line,
``{"result": ...}``, its headers only with the first of them, and ends when the state is final.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any

from aiohttp import web

from layer2.simnet.clock import SimClock
from layer2.simnet.lightning_faults import FaultKind, FaultSwitches
from layer2.simnet.lightning_ledger import Invoice, Ledger, Payment, PaymentState
from layer2.simnet.lightning_messages import MalformedRequest, Message, RestError, Status, read_hex
from layer2.simnet.lightning_node import SimulatedNode

__all__ = ["LightningRestServer", "StateFeed"]

MACAROON_HEADER = "Grpc-Metadata-Macaroon"

_Unary = Callable[[Message], dict[str, Any]]
_Stream = Callable[[Message], tuple[type[Invoice], bytes] | tuple[type[Payment], bytes]]

_INVOICE_FIELDS = frozenset({"memo", "value", "value_msat", "description_hash", "expiry", "cltv_expiry", "private"})
_INVOICE_ABSENT = frozenset({"fallback_addr", "route_hints"})
# lnd reads the whole Invoice message here and ignores what it computes itself.
_PLAIN_ABSENT = _INVOICE_ABSENT | {"is_amp", "is_blinded", "blinded_path_config", "is_keysend"}
_SEND_FIELDS = frozenset(
    {
        "payment_request",
        "timeout_seconds",
        "fee_limit_sat",
        "fee_limit_msat",
        "cltv_limit",
        "max_parts",
        "amt",
        "amt_msat",
        "no_inflight_updates",
        "allow_self_payment",
    }
)
_SEND_ABSENT = frozenset(
    {
        "dest",
        "payment_hash",
        "final_cltv_delta",
        "outgoing_chan_id",
        "outgoing_chan_ids",
        "last_hop_pubkey",
        "route_hints",
        "dest_custom_records",
        "dest_features",
        "payment_addr",
        "max_shard_size_msat",
        "amp",
        "time_pref",
        "cancelable",
        "first_hop_custom_records",
    }
)


class StateFeed:
    """Hands out the states of invoices and payments to those who stream them.

    Args:
        ledger: whose history is read.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._changed = asyncio.Event()

    def wake(self) -> None:
        """Let the streams look at the history again."""
        self._changed.set()
        self._changed = asyncio.Event()

    def position(self) -> int:
        """Where the history ends now."""
        return len(self._ledger.history)

    async def states(
        self, node: SimulatedNode, kind: type[Invoice] | type[Payment], payment_hash: bytes, position: int
    ) -> AsyncIterator[Invoice | Payment]:
        """Every state of one invoice or payment of the node from that position on, until a final one."""
        while True:
            for record in self._ledger.history[position:]:
                position += 1
                owner = record.owner if isinstance(record, Invoice) else record.sender
                if isinstance(record, kind) and owner is node.side and record.payment_hash == payment_hash:
                    yield record
                    if record.state.is_final:
                        return
            await self._changed.wait()

    def latest(self, node: SimulatedNode, kind: type[Invoice] | type[Payment], payment_hash: bytes) -> int:
        """The position of the present state in the history, or its end where there is none yet."""
        for position in range(len(self._ledger.history) - 1, -1, -1):
            record = self._ledger.history[position]
            owner = record.owner if isinstance(record, Invoice) else record.sender
            if isinstance(record, kind) and owner is node.side and record.payment_hash == payment_hash:
                return position
        return self.position()


@dataclass(frozen=True, slots=True)
class _Route:
    method: str
    path: str
    unary: _Unary | None = None
    stream: _Stream | None = None
    known: frozenset[str] = frozenset()
    absent: frozenset[str] = frozenset()
    from_now: bool = False
    """A stream that begins with what its own call does, not with the present state."""


class LightningRestServer:
    """Serves one node on a free port of the loopback.

    Args:
        node: what it does.
        ledger: shared with the other node.
        feed: shared with the other node's server, and woken after each call.
        clock: for the invoices' lives.
        macaroon: the bytes that each call must show as hex.
        tls: the context with the node's certificate.
    """

    def __init__(
        self,
        node: SimulatedNode,
        ledger: Ledger,
        feed: StateFeed,
        clock: SimClock,
        *,
        macaroon: bytes,
        tls: ssl.SSLContext,
    ) -> None:
        self.faults = FaultSwitches()
        self._node = node
        self._ledger = ledger
        self._feed = feed
        self._clock = clock
        self._macaroon = macaroon
        self._tls = tls
        self._runner: web.AppRunner | None = None
        self._transports: set[asyncio.Transport] = set()

    async def start(self) -> int:
        """Listen, and return the port."""
        app = web.Application(middlewares=[self._guard])
        app.on_response_prepare.append(self._date)
        for route in self._routes():
            app.router.add_route(route.method, route.path, self._handler(route))
        # A stream whose client is gone ends at once; what a call does is done before it first waits.
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5, handler_cancellation=True)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._tls)
        await site.start()
        port: int = self._runner.addresses[0][1]
        return port

    async def stop(self) -> None:
        """Stop listening and end every stream."""
        self.reset_connections()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    @property
    def open_requests(self) -> int:
        """How many requests wait for their answer or its end; streams are among them."""
        return len(self._transports)

    def reset_connections(self) -> None:
        """Cut every request that is under way."""
        for transport in self._transports:
            transport.abort()

    def _routes(self) -> list[_Route]:
        node = self._node
        paid_by_hash = frozenset({"payment_hash"})
        return [
            _Route("GET", "/v1/getinfo", node.get_info),
            _Route("GET", "/v1/getdebuginfo", node.get_debug_info),
            _Route("GET", "/v1/balance/blockchain", node.wallet_balance),
            _Route("GET", "/v1/balance/channels", node.channel_balance),
            _Route("GET", "/v1/channels", node.list_channels),
            _Route("GET", "/v1/channels/pending", node.pending_channels),
            _Route("GET", "/v1/channels/closed", node.closed_channels),
            _Route(
                "POST",
                "/v1/invoices",
                node.add_invoice,
                known=_INVOICE_FIELDS | {"r_preimage"},
                absent=_PLAIN_ABSENT,
            ),
            _Route("GET", "/v1/invoices", node.list_invoices),
            _Route("GET", "/v1/invoice/{r_hash_str}", node.lookup_invoice),
            _Route(
                "POST",
                "/v2/invoices/hodl",
                node.add_hold_invoice,
                known=_INVOICE_FIELDS | {"hash"},
                absent=_INVOICE_ABSENT,
            ),
            _Route("POST", "/v2/invoices/settle", node.settle_invoice, known=frozenset({"preimage"})),
            _Route("POST", "/v2/invoices/cancel", node.cancel_invoice, known=paid_by_hash),
            _Route("GET", "/v2/invoices/lookup", node.lookup_invoice_v2),
            _Route("GET", "/v2/invoices/subscribe/{r_hash}", stream=node.subscribe_invoice),
            _Route(
                "POST",
                "/v2/router/send",
                stream=node.send_payment,
                known=_SEND_FIELDS,
                absent=_SEND_ABSENT,
                from_now=True,
            ),
            _Route("GET", "/v2/router/track/{payment_hash}", stream=node.track_payment),
            _Route("GET", "/v1/payments", node.list_payments),
            _Route("GET", "/v1/payreq/{pay_req}", node.decode_payment_request),
        ]

    async def _date(self, _: web.Request, response: web.StreamResponse) -> None:
        response.headers["Date"] = formatdate(self._clock.now(), usegmt=True)

    @web.middleware
    async def _guard(self, request: web.Request, handler: Callable[[web.Request], Any]) -> web.StreamResponse:
        """Fault switches around each request, and lnd's answers for paths that it does not have."""
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

    def _handler(self, route: _Route) -> Callable[[web.Request], Any]:
        async def handle(request: web.Request) -> web.StreamResponse:
            drop = self.faults.hit(FaultKind.DROP_REPLY, request.path) is not None
            body = await request.read()
            try:
                message = _message(request, body, route)
                self._check_macaroon(request)
                self._ledger.pass_time(self._clock.now())
                position = self._feed.position()
                if route.unary is not None:
                    response = web.json_response(route.unary(message))
                    return _reset(request) if drop else response
                assert route.stream is not None
                kind, payment_hash = route.stream(message)
            except RestError as error:
                stream = route.stream is not None and not isinstance(error, MalformedRequest)
                return _reset(request) if drop else _error(error, stream=stream)
            finally:
                self._feed.wake()
            if drop:
                return _reset(request)
            if not route.from_now:
                position = self._feed.latest(self._node, kind, payment_hash)
            quiet = message.flag("no_inflight_updates")
            return await self._stream(request, self._feed.states(self._node, kind, payment_hash, position), quiet=quiet)

        return handle

    async def _stream(
        self, request: web.Request, states: AsyncIterator[Invoice | Payment], *, quiet: bool
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.enable_chunked_encoding()
        async for record in states:
            if quiet and record.state is PaymentState.IN_FLIGHT:
                continue
            if not response.prepared:
                await response.prepare(request)
            await response.write(json.dumps({"result": self._node.answer(record)}).encode() + b"\n")
        return response

    def _check_macaroon(self, request: web.Request) -> None:
        shown = request.headers.getall(MACAROON_HEADER, [])
        if len(shown) != 1:
            raise RestError(f"expected 1 macaroon, got {len(shown)}")
        if not hmac.compare_digest(read_hex(shown[0]), self._macaroon):
            raise RestError("verification failed: signature mismatch after caveat verification")


def _message(request: web.Request, body: bytes, route: _Route) -> Message:
    if request.method == "POST":
        return Message.from_body(body, route.known, route.absent)
    # aiohttp has already unquoted the path's parts once, as lnd's gateway does.
    return Message({**request.query, **request.match_info})


def _error(error: RestError, *, stream: bool = False) -> web.Response:
    body = error.body()
    return web.json_response({"error": body} if stream else body, status=error.http)


def _reset(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()
