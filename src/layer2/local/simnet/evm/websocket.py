"""JSON-RPC over websockets for an EVM node of the simnet: calls, and subscriptions to new heads and to logs.

Source: op-geth's ``eth_subscribe`` and ``eth_unsubscribe``, and its error messages.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Sequence
from typing import Protocol

import orjson
from aiohttp import WSCloseCode, WSMsgType, web

from layer2.formats.evm_hex import format_quantity
from layer2.local.simnet.evm.arguments import METHOD_NOT_FOUND, LogFilter, RpcError
from layer2.local.simnet.evm.chain import MinedBlock
from layer2.local.simnet.evm.json_rpc import MOST_REQUEST_BYTES, answer_text
from layer2.local.simnet.evm.log_methods import followed_logs, log_changes
from layer2.local.simnet.evm.node import EvmNode
from layer2.local.simnet.faults import FaultSwitch, reset_connection

__all__ = ["NodeMethods", "WebsocketConnection"]

_NOTIFICATION = {"eth_subscription"}


class NodeMethods(Protocol):
    """The JSON-RPC methods of a node: ``EvmMethods`` or ``RskMethods``."""

    has_log_subscriptions: bool

    def answer(self, method: str, arguments: list[object]) -> object:
        """Answer one call, or raise RpcError."""
        ...

    def respond(self, text: bytes) -> tuple[bytes, int]:
        """The body of the answer to an HTTP request, and its status."""
        ...

    def head(self, block: MinedBlock) -> dict[str, object]:
        """The notification of a new head."""
        ...


class WebsocketConnection:
    """One websocket and its subscriptions.

    Args:
        node: its blocks are the subject of the subscriptions.
        methods: execute every call other than the two for subscriptions.
        faults: those of ``eth_subscription`` apply to a notification.
        request: the one that asks for the websocket.
    """

    def __init__(self, node: EvmNode, methods: NodeMethods, faults: FaultSwitch, request: web.Request) -> None:
        self._node = node
        self._methods = methods
        self._faults = faults
        self._request = request
        self._socket = web.WebSocketResponse(max_msg_size=MOST_REQUEST_BYTES)
        self._names = itertools.count(1)
        self._subscriptions: dict[str, LogFilter | None] = {}
        """By id: the criteria of a subscription to logs, None for one to new heads."""
        self._blocks: asyncio.Queue[MinedBlock] = asyncio.Queue()

    async def serve(self) -> web.StreamResponse:
        """Answer and notify until the connection ends."""
        await self._socket.prepare(self._request)
        notifying = asyncio.create_task(self._notify(self._node.chain.head))
        watcher = self._blocks.put_nowait
        self._node.watchers.add(watcher)
        try:
            # The client may be gone, or a fault has reset the connection.
            with contextlib.suppress(ConnectionError):
                async for message in self._socket:
                    # Clients such as web3.py send binary frames; the answers are text, as op-geth's are.
                    if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                        break
                    if (answer := answer_text(message.data, self._execute)) is not None:
                        await self._socket.send_str(answer.decode())
        finally:
            self._node.watchers.discard(watcher)
            notifying.cancel()
            await asyncio.gather(notifying, return_exceptions=True)
        return self._socket

    async def close(self) -> None:
        """Close the websocket."""
        await self._socket.close(code=WSCloseCode.GOING_AWAY)

    async def _notify(self, reported: MinedBlock) -> None:
        while True:
            block = await self._blocks.get()
            for name, wanted in sorted(self._subscriptions.items()):
                results: Sequence[object] = [self._methods.head(block)]
                if wanted is not None:
                    results = log_changes(self._node.chain, wanted, reported, block)
                for result in results:
                    before = await self._faults.before(self._request, _NOTIFICATION)
                    if before or self._faults.after(self._request, _NOTIFICATION):
                        reset_connection(self._request)
                        return
                    params = {"subscription": name, "result": result}
                    notice = {"jsonrpc": "2.0", "method": "eth_subscription", "params": params}
                    await self._socket.send_str(orjson.dumps(notice).decode())
            reported = block

    def _execute(self, method: str, arguments: list[object]) -> object:
        match method, arguments:
            case "eth_subscribe", ["newHeads"]:
                return self._subscribe(None)
            case "eth_subscribe", ["logs", *_] if not self._methods.has_log_subscriptions:
                raise RpcError(METHOD_NOT_FOUND, "the simnet has no subscriptions to this chain's logs")
            case "eth_subscribe", ["logs"]:
                return self._subscribe(followed_logs({}))
            case "eth_subscribe", ["logs", criteria]:
                return self._subscribe(followed_logs(criteria, 1))
            case "eth_subscribe", [kind, *_]:
                raise RpcError(METHOD_NOT_FOUND, f'no "{kind}" subscription in eth namespace')
            case "eth_unsubscribe", [str(name)] if name in self._subscriptions:
                del self._subscriptions[name]
                return True
            case "eth_unsubscribe", [_]:
                raise RpcError(-32000, "subscription not found")
            case _:
                return self._methods.answer(method, arguments)

    def _subscribe(self, wanted: LogFilter | None) -> str:
        name = format_quantity(next(self._names))
        self._subscriptions[name] = wanted
        return name
