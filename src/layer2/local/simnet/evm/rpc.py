"""JSON-RPC 2.0 over HTTP, and over websockets at one address, for an EVM node of the simnet, with op-geth's limits.

Sources: JSON-RPC 2.0; op-geth's limits of 1000 calls and 25 MB of results in a batch and 5 MiB in a request.
"""

from __future__ import annotations

from email.utils import formatdate
from typing import Any

import orjson
from aiohttp import web

from layer2.local.simnet.clock import SimClock
from layer2.local.simnet.evm.arguments import RpcError
from layer2.local.simnet.evm.methods import EvmMethods
from layer2.local.simnet.evm.node import EvmNode
from layer2.local.simnet.evm.websocket import EvmWebsockets
from layer2.local.simnet.faults import FaultSwitch

__all__ = ["EvmRpcServer"]

_MOST_CALLS = 1000
_MOST_REQUEST_BYTES = 5 * 1024 * 1024
_MOST_RESULT_BYTES = 25_000_000
_PARSE_ERROR = -32700
_INVALID_REQUEST = -32600
_INVALID_PARAMS = -32602
_RESPONSE_TOO_LARGE = -32003


class EvmRpcServer:
    """Serves the methods on a loopback port.

    Args:
        node: its new heads and logs go to subscribers.
        methods: answer the calls.
        faults: the failures that are switched on.
        clock: gives the ``Date`` header.
    """

    def __init__(self, node: EvmNode, methods: EvmMethods, faults: FaultSwitch, clock: SimClock) -> None:
        self._methods = methods
        self._faults = faults
        self._clock = clock
        self._websockets = EvmWebsockets(node, self._answer, faults)
        application = web.Application(client_max_size=_MOST_REQUEST_BYTES)
        application.router.add_post("/", self._handle)
        application.router.add_get("/", self._websockets.handle)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)

    async def start(self) -> str:
        """Listen on a free port of 127.0.0.1 and return the URL."""
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        return f"http://{host}:{port}"

    async def stop(self) -> None:
        """Close the port and every connection."""
        await self._websockets.stop()
        await self._runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        try:
            body = orjson.loads(await request.read())
        except orjson.JSONDecodeError:
            return self._respond(_error(None, _PARSE_ERROR, "parse error"))
        methods = _methods_of(body)
        if (failure := await self._faults.before(request, methods)) is not None:
            return failure
        answer = self._answer(body)
        return self._faults.after(request, methods) or self._respond(answer or b"")

    def _respond(self, body: bytes) -> web.Response:
        date = formatdate(self._clock.now(), usegmt=True)
        return web.Response(body=body, content_type="application/json", headers={"Date": date})

    def _answer(self, body: Any) -> bytes | None:
        """Execute a call or a batch. Returns None if it holds notifications only, which are not answered."""
        if not isinstance(body, list):
            return self._answer_one(body)
        if not body:
            return _error(None, _INVALID_REQUEST, "empty batch")
        if len(body) > _MOST_CALLS:
            # One error, with the first call's id, replaces all answers.
            return b"[" + _error(_id_of(body[0]), _INVALID_REQUEST, "batch too large") + b"]"
        answers: list[bytes] = []
        size = 0
        for call in body:
            if size > _MOST_RESULT_BYTES:
                answers.append(_error(_id_of(call), _RESPONSE_TOO_LARGE, "response too large"))
            elif (answer := self._answer_one(call)) is not None:
                answers.append(answer)
                size += len(answer)
        return b"[" + b",".join(answers) + b"]" if answers else None

    def _answer_one(self, call: Any) -> bytes | None:
        identifier = _id_of(call)
        method = call.get("method") if isinstance(call, dict) else None
        if not isinstance(method, str) or call.get("jsonrpc") != "2.0":
            return _error(identifier, _INVALID_REQUEST, "invalid request")
        answer = self._executed(identifier, method, call.get("params"))
        # A request without an id is a notification.
        return answer if "id" in call else None

    def _executed(self, identifier: Any, method: str, arguments: Any) -> bytes:
        if arguments is not None and not isinstance(arguments, list):
            return _error(identifier, _INVALID_PARAMS, "non-array args")
        try:
            result = self._methods.answer(method, arguments or [])
        except RpcError as error:
            return _error(identifier, error.code, str(error), error.data)
        return orjson.dumps({"jsonrpc": "2.0", "id": identifier, "result": result})


def _id_of(call: Any) -> Any:
    return call.get("id") if isinstance(call, dict) else None


def _methods_of(body: Any) -> frozenset[str]:
    calls = body if isinstance(body, list) else [body]
    return frozenset(str(call.get("method")) for call in calls if isinstance(call, dict))


def _error(identifier: Any, code: int, message: str, data: str | None = None) -> bytes:
    error: dict[str, Any] = {"code": code, "message": message}
    if data is not None:
        error["data"] = data
    return orjson.dumps({"jsonrpc": "2.0", "id": identifier, "error": error})
