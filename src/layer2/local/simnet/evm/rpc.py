"""JSON-RPC 2.0 over HTTP, and over websockets at one address, for an EVM node of the simnet."""

from __future__ import annotations

from aiohttp import web

from layer2.local.loopback import listen
from layer2.local.simnet.clock import SimClock
from layer2.local.simnet.evm.json_rpc import MOST_REQUEST_BYTES, methods_of
from layer2.local.simnet.evm.node import EvmNode
from layer2.local.simnet.evm.websocket import NodeMethods, WebsocketConnection
from layer2.local.simnet.faults import FaultSwitch

__all__ = ["EvmRpcServer"]


class EvmRpcServer:
    """Serves the methods on a loopback port.

    Args:
        node: its new heads and logs go to subscribers.
        methods: answer the calls.
        faults: the failures that are switched on; those of ``eth_subscribe`` apply to a websocket when it is made.
        clock: gives the ``Date`` header.
        is_dated: whether answers have that header. Those of rskj have none.
    """

    def __init__(
        self, node: EvmNode, methods: NodeMethods, faults: FaultSwitch, clock: SimClock, *, is_dated: bool = True
    ) -> None:
        self._node = node
        self._methods = methods
        self._faults = faults
        self._clock = clock
        self._websockets: set[WebsocketConnection] = set()
        application = web.Application(client_max_size=MOST_REQUEST_BYTES)
        application.router.add_post("/", self._handle)
        application.router.add_get("/", self._handle_websocket)
        if not is_dated:
            application.on_response_prepare.append(_remove_date)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)

    async def start(self) -> str:
        """Listen on a free port of 127.0.0.1 and return the URL."""
        return f"http://127.0.0.1:{await listen(self._runner)}"

    async def stop(self) -> None:
        """Close the port and every connection."""
        for connection in list(self._websockets):
            await connection.close()
        await self._runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        text = await request.read()
        methods = methods_of(text)
        if (failure := await self._faults.before(request, methods)) is not None:
            return failure
        body, status = self._methods.respond(text)
        headers = {"Date": self._clock.http_date()}
        response = web.Response(body=body, status=status, content_type="application/json", headers=headers)
        return self._faults.after(request, methods) or response

    async def _handle_websocket(self, request: web.Request) -> web.StreamResponse:
        if (failure := await self._faults.before(request, {"eth_subscribe"})) is not None:
            return failure
        connection = WebsocketConnection(self._node, self._methods, self._faults, request)
        self._websockets.add(connection)
        try:
            return await connection.serve()
        finally:
            self._websockets.discard(connection)


async def _remove_date(_: web.Request, response: web.StreamResponse) -> None:
    response.headers.pop("Date", None)
