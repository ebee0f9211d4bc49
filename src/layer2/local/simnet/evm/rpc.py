"""JSON-RPC 2.0 over HTTP, and over websockets at one address, for an EVM node of the simnet."""

from __future__ import annotations

from email.utils import formatdate

from aiohttp import web

from layer2.local.loopback import listen
from layer2.local.simnet.clock import SimClock
from layer2.local.simnet.evm.json_rpc import MOST_REQUEST_BYTES, answer_text, methods_of
from layer2.local.simnet.evm.methods import EvmMethods
from layer2.local.simnet.evm.node import EvmNode
from layer2.local.simnet.evm.websocket import WebsocketConnection
from layer2.local.simnet.faults import FaultSwitch

__all__ = ["EvmRpcServer"]


class EvmRpcServer:
    """Serves the methods on a loopback port.

    Args:
        node: its new heads and logs go to subscribers.
        methods: answer the calls.
        faults: the failures that are switched on; those of ``eth_subscribe`` apply to a websocket when it is made.
        clock: gives the ``Date`` header.
    """

    def __init__(self, node: EvmNode, methods: EvmMethods, faults: FaultSwitch, clock: SimClock) -> None:
        self._node = node
        self._methods = methods
        self._faults = faults
        self._clock = clock
        self._websockets: set[WebsocketConnection] = set()
        application = web.Application(client_max_size=MOST_REQUEST_BYTES)
        application.router.add_post("/", self._handle)
        application.router.add_get("/", self._handle_websocket)
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
        body = answer_text(text, self._methods.answer) or b""
        headers = {"Date": formatdate(self._clock.now(), usegmt=True)}
        response = web.Response(body=body, content_type="application/json", headers=headers)
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
