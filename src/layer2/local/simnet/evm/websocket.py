"""JSON-RPC over websockets for an EVM node of the simnet: calls, and subscriptions to new heads.

Source: op-geth's ``eth_subscribe`` and ``eth_unsubscribe``, and its words of refusal.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

import orjson
from aiohttp import WSCloseCode, WSMsgType, web

from layer2.local.simnet.evm.answers import header_answer, quantity
from layer2.local.simnet.evm.chain import MinedBlock
from layer2.local.simnet.evm.node import EvmNode
from layer2.local.simnet.faults import FaultSwitch, reset_connection

__all__ = ["EvmWebsockets"]

_MOST_MESSAGE_BYTES = 5 * 1024 * 1024
_METHOD_NOT_FOUND = -32601
_SUBSCRIPTION_NOT_FOUND = -32000


class EvmWebsockets:
    """All websockets of one server.

    Args:
        node: whose blocks are told of.
        answer: answers what is no subscription.
        faults: those of ``eth_subscribe`` strike a connection as it is made, those of ``eth_subscription`` a notice.
    """

    def __init__(self, node: EvmNode, answer: Callable[[Any], bytes], faults: FaultSwitch) -> None:
        self._node = node
        self._answer = answer
        self._faults = faults
        self._names = itertools.count(1)
        self._open: set[web.WebSocketResponse] = set()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Serve one connection until it ends."""
        if (failure := await self._faults.before(request, {"eth_subscribe"})) is not None:
            return failure
        socket = web.WebSocketResponse(max_msg_size=_MOST_MESSAGE_BYTES)
        await socket.prepare(request)
        subscriptions: set[str] = set()
        blocks: asyncio.Queue[MinedBlock] = asyncio.Queue()
        telling = asyncio.get_running_loop().create_task(self._tell(request, socket, subscriptions, blocks))
        self._open.add(socket)
        self._node.watchers.add(blocks.put_nowait)
        try:
            async for message in socket:
                if message.type is not WSMsgType.TEXT:
                    break
                await socket.send_str(self._answered(message.data, subscriptions).decode())
        except ConnectionError:
            # The client has gone, or a fault took the connection away.
            pass
        finally:
            self._node.watchers.discard(blocks.put_nowait)
            self._open.discard(socket)
            telling.cancel()
            await asyncio.gather(telling, return_exceptions=True)
        return socket

    async def stop(self) -> None:
        """Close every connection."""
        for socket in list(self._open):
            await socket.close(code=WSCloseCode.GOING_AWAY)

    async def _tell(
        self,
        request: web.Request,
        socket: web.WebSocketResponse,
        subscriptions: set[str],
        blocks: asyncio.Queue[MinedBlock],
    ) -> None:
        while True:
            block = await blocks.get()
            for name in sorted(subscriptions):
                methods = {"eth_subscription"}
                if await self._faults.before(request, methods) or self._faults.after(request, methods):
                    reset_connection(request)
                    return
                params = {"subscription": name, "result": header_answer(block.header)}
                notice = {"jsonrpc": "2.0", "method": "eth_subscription", "params": params}
                await socket.send_str(orjson.dumps(notice).decode())

    def _answered(self, text: str, subscriptions: set[str]) -> bytes:
        try:
            body = orjson.loads(text)
        except orjson.JSONDecodeError:
            return orjson.dumps({"jsonrpc": "2.0", "id": None, "error": {"code": -32700, "message": "parse error"}})
        method = body.get("method") if isinstance(body, dict) else None
        arguments = body.get("params") if isinstance(body, dict) else None
        if not isinstance(arguments, list) or not arguments:
            return self._answer(body)
        answer: dict[str, Any] = {"jsonrpc": "2.0", "id": body.get("id")}
        if method == "eth_subscribe":
            if arguments == ["newHeads"]:
                answer["result"] = quantity(next(self._names))
                subscriptions.add(answer["result"])
            else:
                words = f'no "{arguments[0]}" subscription in eth namespace'
                answer["error"] = {"code": _METHOD_NOT_FOUND, "message": words}
        elif method == "eth_unsubscribe":
            if arguments[0] in subscriptions:
                subscriptions.remove(arguments[0])
                answer["result"] = True
            else:
                answer["error"] = {"code": _SUBSCRIPTION_NOT_FOUND, "message": "subscription not found"}
        else:
            return self._answer(body)
        return orjson.dumps(answer)
