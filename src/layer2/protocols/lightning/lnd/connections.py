"""How connections to lnd end."""

from __future__ import annotations

import asyncio
from typing import Any
from weakref import WeakSet

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ConnectionKey

__all__ = ["AbortingConnector"]


class AbortingConnector(aiohttp.TCPConnector):
    """Drops a connection that is not to be used again at once, without a good-bye of TLS.

    lnd sends a stream's headers with its first message only, so a stream may be given up while there is no response
    yet that could be closed. The good-bye would then wait for the node's own, beyond the end of the client.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._made: WeakSet[asyncio.BaseTransport] = WeakSet()
        # aiohttp has no public place for this and the next: every connection is made and given up there.
        self._factory = self._new_handler  # type: ignore[assignment]  # a factory without arguments, as it is called

    async def close(self, *, abort_ssl: bool = False) -> None:
        """Close every connection, those too that were cancelled while they were made."""
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
