"""A TCP proxy for a node that can withhold the node's answers from a chosen moment on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from yarl import URL

__all__ = ["Forwarder", "forwarding"]

_PIECE = 65536


@dataclass
class _Connection:
    """One connection's progress: the TLS 1.3 handshake ends when the client answers the server's flight (RFC 8446)."""

    node_has_spoken: bool = False
    is_established: bool = False


class Forwarder:
    """Forwards bytes between clients and one node unchanged, including TLS."""

    def __init__(self, target: URL) -> None:
        self._target = target
        self._is_withholding = False
        self._server: asyncio.Server | None = None
        self.url = ""

    def withhold(self) -> None:
        """Withhold the node's answers from now on, except TLS handshakes. The node still gets all requests."""
        self._is_withholding = True

    def pass_on(self) -> None:
        """Let new connections work again."""
        self._is_withholding = False

    async def start(self, port: int = 0) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port)
        self.url = f"https://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        try:
            node, to_node = await asyncio.open_connection(self._target.host, self._target.port)
        except ConnectionError:
            to_client.transport.abort()
            return
        connection = _Connection()
        there = asyncio.create_task(self._tell_node(connection, client, to_node))
        back = asyncio.create_task(self._tell_client(connection, node, to_client))
        await asyncio.wait([there, back], return_when=asyncio.FIRST_COMPLETED)
        # One end has closed, so close the other at once and drop data in transit.
        for writer in (to_client, to_node):
            writer.transport.abort()
        await asyncio.wait([there, back])

    async def _tell_node(
        self, connection: _Connection, client: asyncio.StreamReader, to_node: asyncio.StreamWriter
    ) -> None:
        with suppress(ConnectionError):
            while data := await client.read(_PIECE):
                connection.is_established = connection.node_has_spoken
                to_node.write(data)
                await to_node.drain()

    async def _tell_client(
        self, connection: _Connection, node: asyncio.StreamReader, to_client: asyncio.StreamWriter
    ) -> None:
        with suppress(ConnectionError):
            while data := await node.read(_PIECE):
                connection.node_has_spoken = True
                if not (self._is_withholding and connection.is_established):
                    to_client.write(data)
                    await to_client.drain()


@asynccontextmanager
async def forwarding(url: str) -> AsyncIterator[Forwarder]:
    """Run a proxy in front of the node with that URL until the block ends."""
    forwarder = Forwarder(URL(url))
    await forwarder.start()
    try:
        yield forwarder
    finally:
        await forwarder.stop()
