"""Closing connections to lnd without a TLS shutdown."""

from __future__ import annotations

import asyncio
from typing import Any
from weakref import WeakSet

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ConnectionKey

__all__ = ["AbortingConnector"]


class AbortingConnector(aiohttp.TCPConnector):
    """Aborts a connection that is not used again, instead of closing it by a TLS shutdown.

    lnd sends a stream's headers with its first message only, so a stream may be cancelled before it has a response to
    close. A TLS shutdown would then wait for the node's answer, even after the client was closed.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._made: WeakSet[asyncio.BaseTransport] = WeakSet()
        # aiohttp has no public hook for this and for _release: every connection is made and given up there.
        self._factory = self._new_handler  # type: ignore[assignment]  # a factory without arguments, as it is called

    async def close(self, *, abort_ssl: bool = False) -> None:
        """Close every connection, including those whose set-up was cancelled."""
        for transport in list(self._made):
            if isinstance(transport, asyncio.Transport):
                transport.abort()
        await super().close(abort_ssl=abort_ssl)

    def _release(self, key: ConnectionKey, protocol: ResponseHandler, *, should_close: bool = False) -> None:
        if should_close and protocol.transport is not None:
            protocol.transport.abort()
        super()._release(key, protocol, should_close=should_close)

    def _new_handler(self) -> ResponseHandler:
        return _Handler(self._loop, self._made)


class _Handler(ResponseHandler):
    def __init__(self, loop: asyncio.AbstractEventLoop, made: WeakSet[asyncio.BaseTransport]) -> None:
        super().__init__(loop)
        self._made = made

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._made.add(transport)
        super().connection_made(transport)
