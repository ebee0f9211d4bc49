"""``get_protocol_async``: the client of one layer, typed by the layer that is asked for.

The only module, apart from the composition root, that knows the layers' clients by name.
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

__all__ = ["ProtocolAccess", "check_implemented"]


class ProtocolAccess(ABC):
    """The part of a manager that gives its clients out."""

    @abstractmethod
    def blocking_portal(self) -> Portal: ...

    @abstractmethod
    def _client(self, protocol_type: Layer2ProtocolType) -> Layer2ProtocolAsync[Any, Any, Any, Any] | None:
        """The client of a layer, or None where the configuration has none."""

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
        """The client of one layer. It shares this manager's loop and is closed with it.

        A module-level constant for the layer needs ``Final``, or the client's own type is not inferred.

        Raises:
            ProtocolNotImplemented: this version has no client for that layer on this network.
            ProtocolNotConfigured: the configuration has no section for it.
        """
        client = self._client(protocol_type)
        check_implemented(self._network, protocol_type)
        if client is None:
            raise ProtocolNotConfigured(
                f"the configuration has no section [{protocol_type.value.lower()}]", protocol=protocol_type.value
            )
        return client

    get_protocol_sync = twin(get_protocol_async)


def check_implemented(network: str, *protocol_types: Layer2ProtocolType) -> None:
    """Check that there are clients for these layers.

    Raises:
        InvalidRequest: code ``protocol``: not a layer.
        ProtocolNotImplemented: this version has no client for a layer on the network.
    """
    for protocol_type in protocol_types:
        if not isinstance(protocol_type, Layer2ProtocolType):
            raise InvalidRequest(
                f"{protocol_type!r} is not a layer", code="protocol", remedy="pass a Layer2ProtocolType"
            )
        facts = LAYERS.get(protocol_type)
        if facts is None or network not in facts.clients_on:
            raise ProtocolNotImplemented(
                f"{protocol_type.value} has no client on {network} in this version", protocol=protocol_type.value
            )
