"""``get_protocol_async``: the client of one layer, typed by the layer.

It is the only module of this package that names the layers' clients.
"""

from __future__ import annotations

from typing import Literal, overload

from layer2.aio.blocking import twin
from layer2.manager.arguments import check_implemented, not_configured
from layer2.manager.entering import EnteredParts
from layer2.model.layers import Layer2ProtocolType
from layer2.ports.client import Client
from layer2.protocols.bitcoin import BitcoinClient
from layer2.protocols.bob import BobClient
from layer2.protocols.lightning import LightningNetwork
from layer2.protocols.rootstock import RootstockClient

__all__ = ["ProtocolAccess"]


class ProtocolAccess(EnteredParts):
    """The part of a manager that returns its clients."""

    @overload
    async def get_protocol_async(self, protocol_type: Literal[Layer2ProtocolType.BOB]) -> BobClient: ...
    @overload
    async def get_protocol_async(self, protocol_type: Literal[Layer2ProtocolType.ROOTSTOCK]) -> RootstockClient: ...
    @overload
    async def get_protocol_async(self, protocol_type: Literal[Layer2ProtocolType.LIGHTNING]) -> LightningNetwork: ...
    @overload
    async def get_protocol_async(self, protocol_type: Literal[Layer2ProtocolType.BITCOIN]) -> BitcoinClient: ...
    @overload
    async def get_protocol_async(self, protocol_type: Layer2ProtocolType) -> Client: ...
    async def get_protocol_async(self, protocol_type: Layer2ProtocolType) -> Client:
        """The client of one layer. It runs in this manager's loop, and closes with the manager.

        Declare a module-level constant for a layer with ``Final``. Otherwise type checkers do not infer the client's
        type.

        Raises:
            ProtocolNotImplemented: this version has no client for the layer on this network.
            ProtocolNotConfigured: the configuration has no table for the layer.
        """
        check_implemented(self.config.network, protocol_type)
        client = self._entered().clients.get(protocol_type)
        if client is None:
            raise not_configured(protocol_type)
        return client

    get_protocol_sync = twin(get_protocol_async)
