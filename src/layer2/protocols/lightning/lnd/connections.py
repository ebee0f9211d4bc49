"""How connections to lnd end."""

from __future__ import annotations

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ConnectionKey

__all__ = ["AbortingConnector"]


class AbortingConnector(aiohttp.TCPConnector):
    """Drops a connection that is not to be used again at once, without a good-bye of TLS.

    lnd sends a stream's headers with its first message only, so a stream may be given up while there is no response
    yet that could be closed. The good-bye would then wait for the node's own, beyond the end of the client.
    """

    # aiohttp has no public place for it: every connection comes here when it is given up.
    def _release(self, key: ConnectionKey, protocol: ResponseHandler, *, should_close: bool = False) -> None:
        if should_close and protocol.transport is not None:
            protocol.transport.abort()
        super()._release(key, protocol, should_close=should_close)
