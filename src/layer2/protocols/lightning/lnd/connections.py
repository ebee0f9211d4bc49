"""Closing connections to lnd without a TLS shutdown, which would wait for the node."""

from __future__ import annotations

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ConnectionKey

__all__ = ["AbortingConnector", "abort"]


class AbortingConnector(aiohttp.TCPConnector):
    """Aborts a connection that is not used again, instead of closing it by a TLS shutdown.

    lnd sends a stream's headers with its first message only, so a stream may be cancelled before it has a response to
    close. A TLS shutdown would then wait for the node's answer, even after the client was closed.
    """

    def _release(self, key: ConnectionKey, protocol: ResponseHandler, *, should_close: bool = False) -> None:
        # aiohttp has no public hook for this: every connection is given up here.
        if should_close and protocol.transport is not None:
            protocol.transport.abort()
        super()._release(key, protocol, should_close=should_close)


def abort(response: aiohttp.ClientResponse) -> None:
    """Drop an answer and its connection at once."""
    connection = response.connection
    if connection is not None and connection.transport is not None:
        connection.transport.abort()
    response.close()
