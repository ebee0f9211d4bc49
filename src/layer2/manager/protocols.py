"""``get_protocol_async``: the client of one layer, typed by the layer.

Only this module and the composition root know the layers' clients by name.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Literal, overload

from layer2.aio.blocking import Portal, twin
from layer2.errors import InvalidRequest, ProtocolNotConfigured, ProtocolNotImplemented
from layer2.model.layers import LAYERS, Layer2ProtocolType
from layer2.ports.client import Layer2ProtocolAsync
from layer2.protocols.bob import BobClient
from layer2.protocols.lightning import LightningNetwork
from layer2.protocols.rootstock import RootstockClient

__all__ = ["ProtocolAccess", "check_implemented", "not_configured"]


class ProtocolAccess(ABC):
    """The part of a manager that returns its clients."""

    @abstractmethod
    def blocking_portal(self) -> Portal: ...

    @abstractmethod
    def _client(self, protocol_type: Layer2ProtocolType) -> Layer2ProtocolAsync[Any, Any, Any, Any] | None:
        """The client of a layer, or None if the configuration has no table for it."""

    @property
    @abstractmethod
    def _network(self) -> str: ...

    @overload
    async def get_protocol_async(self, protocol_type: Literal[Layer2ProtocolType.BOB]) -> BobClient: ...
    @overload
    async def get_protocol_async(self, protocol_type: Literal[Layer2ProtocolType.ROOTSTOCK]) -> RootstockClient: ...
    @overload
    async def get_protocol_async(self, protocol_type: Literal[Layer2ProtocolType.LIGHTNING]) -> LightningNetwork: ...
    @overload
    async def get_protocol_async(
        self, protocol_type: Layer2ProtocolType
    ) -> Layer2ProtocolAsync[Any, Any, Any, Any]: ...
    async def get_protocol_async(self, protocol_type: Layer2ProtocolType) -> Layer2ProtocolAsync[Any, Any, Any, Any]:
        """The client of one layer. It runs in this manager's loop, and closes with the manager.

        Declare a module-level constant for a layer with ``Final``. Otherwise type checkers do not infer the client's
        type.

        Raises:
            ProtocolNotImplemented: this version has no client for the layer on this network.
            ProtocolNotConfigured: the configuration has no table for the layer.
        """
        check_implemented(self._network, protocol_type)
        client = self._client(protocol_type)
        if client is None:
            raise not_configured(protocol_type)
        return client

    get_protocol_sync = twin(get_protocol_async)


def not_configured(protocol_type: Layer2ProtocolType) -> ProtocolNotConfigured:
    """The error for a layer without a table in the configuration."""
    table = f"[{protocol_type.value.lower()}]"
    return ProtocolNotConfigured(
        f"the configuration has no table {table}", protocol=protocol_type.value, remedy=f"add {table}"
    )


def check_implemented(network: str, *protocol_types: Layer2ProtocolType) -> None:
    """Check that this version has clients for these layers.

    Raises:
        InvalidRequest: code ``protocol``: an argument is not a ``Layer2ProtocolType``.
        ProtocolNotImplemented: this version has no client for a layer on the network.
    """
    for protocol_type in protocol_types:
        if not isinstance(protocol_type, Layer2ProtocolType):
            raise InvalidRequest(
                f"{protocol_type!r} is not a layer",
                code="protocol",
                remedy="pass a Layer2ProtocolType, such as Layer2ProtocolType.BOB",
            )
        facts = LAYERS.get(protocol_type)
        if facts is None or network not in facts.clients_on:
            raise ProtocolNotImplemented(
                f"this version has no client for {protocol_type.value} on {network}", protocol=protocol_type.value
            )
