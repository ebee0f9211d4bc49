"""JSON-RPC over websockets for an EVM node of the simnet: calls, and subscriptions to new heads and to logs.

Source: op-geth's ``eth_subscribe`` and ``eth_unsubscribe``, and its error messages.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import WSCloseCode, WSMsgType, web

from layer2.local.simnet.evm.answers import header_answer, quantity
from layer2.local.simnet.evm.arguments import LogFilter, RpcError
from layer2.local.simnet.evm.chain import MinedBlock
from layer2.local.simnet.evm.logs import followed_logs, log_changes
from layer2.local.simnet.evm.node import EvmNode
from layer2.local.simnet.faults import FaultSwitch, reset_connection

__all__ = ["EvmWebsockets"]

_MOST_MESSAGE_BYTES = 5 * 1024 * 1024
_METHOD_NOT_FOUND = -32601
_SUBSCRIPTION_NOT_FOUND = -32000


@dataclass(slots=True)
class _Connection:
    """One websocket and its subscriptions."""

    request: web.Request
    socket: web.WebSocketResponse
    reported: MinedBlock
    """The head that the subscribers were notified of last, or the head when the connection was made."""
    subscriptions: dict[str, LogFilter | None] = field(default_factory=dict)
    """By id: the criteria of a subscription to logs, None for one to new heads."""
    blocks: asyncio.Queue[MinedBlock] = field(default_factory=asyncio.Queue)


class EvmWebsockets:
    """All websockets of one server.

    Args:
        node: its blocks are the subject of the subscriptions.
        answer: answers every call other than the two for subscriptions.
        faults: those of ``eth_subscribe`` apply to a connection when it is made, those of ``eth_subscription`` to a
            notification.
    """

    def __init__(self, node: EvmNode, answer: Callable[[Any], bytes | None], faults: FaultSwitch) -> None:
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
        connection = _Connection(request, socket, self._node.chain.head)
        notifying = asyncio.get_running_loop().create_task(self._notify(connection))
        self._open.add(socket)
        watcher = connection.blocks.put_nowait
        self._node.watchers.add(watcher)
        try:
            async for message in socket:
                # Clients such as web3.py send binary frames; the answers are text, as op-geth's are.
                if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                    break
                answer = self._answered(message.data, connection.subscriptions)
                if answer is not None:
                    await socket.send_str(answer.decode())
        except ConnectionError:
            # The client has gone, or a fault reset the connection.
            pass
        finally:
            self._node.watchers.discard(watcher)
            self._open.discard(socket)
            notifying.cancel()
            await asyncio.gather(notifying, return_exceptions=True)
        return socket

    async def stop(self) -> None:
        """Close every connection."""
        for socket in list(self._open):
            await socket.close(code=WSCloseCode.GOING_AWAY)

    async def _notify(self, connection: _Connection) -> None:
        while True:
            block = await connection.blocks.get()
            before, connection.reported = connection.reported, block
            for name, wanted in sorted(connection.subscriptions.items()):
                for result in self._results(wanted, before, block):
                    if not await self._send(connection, {"subscription": name, "result": result}):
                        return

    def _results(self, wanted: LogFilter | None, before: MinedBlock, block: MinedBlock) -> list[dict[str, Any]]:
        if wanted is None:
            return [header_answer(block.header)]
        return log_changes(self._node.chain, wanted, before, block)

    async def _send(self, connection: _Connection, params: dict[str, Any]) -> bool:
        """Send a notification, unless a fault resets the connection. Returns whether it was sent."""
        request, methods = connection.request, {"eth_subscription"}
        if await self._faults.before(request, methods) or self._faults.after(request, methods):
            reset_connection(request)
            return False
        notice = {"jsonrpc": "2.0", "method": "eth_subscription", "params": params}
        await connection.socket.send_str(orjson.dumps(notice).decode())
        return True

    def _answered(self, text: str | bytes, subscriptions: dict[str, LogFilter | None]) -> bytes | None:
        try:
            body = orjson.loads(text)
        except orjson.JSONDecodeError:
            return orjson.dumps({"jsonrpc": "2.0", "id": None, "error": {"code": -32700, "message": "parse error"}})
        method = body.get("method") if isinstance(body, dict) and "id" in body else None
        arguments = body.get("params") if isinstance(body, dict) else None
        if method not in ("eth_subscribe", "eth_unsubscribe") or not isinstance(arguments, list) or not arguments:
            return self._answer(body)
        answer: dict[str, Any] = {"jsonrpc": "2.0", "id": body["id"]}
        try:
            if method == "eth_subscribe":
                wanted = _subscribed(arguments)
                answer["result"] = quantity(next(self._names))
                subscriptions[answer["result"]] = wanted
            else:
                answer["result"] = _removed(subscriptions, arguments[0])
        except RpcError as error:
            answer["error"] = {"code": error.code, "message": str(error)}
        return orjson.dumps(answer)


def _subscribed(arguments: list[Any]) -> LogFilter | None:
    """The criteria of a subscription to logs, None for one to new heads."""
    match arguments:
        case ["newHeads"]:
            return None
        case ["logs"]:
            return followed_logs({})
        case ["logs", criteria]:
            return followed_logs(criteria, 1)
        case _:
            raise RpcError(_METHOD_NOT_FOUND, f'no "{arguments[0]}" subscription in eth namespace')


def _removed(subscriptions: dict[str, LogFilter | None], name: Any) -> bool:
    if not isinstance(name, str) or name not in subscriptions:
        raise RpcError(_SUBSCRIPTION_NOT_FOUND, "subscription not found")
    del subscriptions[name]
    return True
