"""Rootstock, on regtest only: an Ethereum-compatible chain with Rootstock's chain id. Bitcoin is an ERC-20 token there,
and gas is paid in RBTC.

Source: Rootstock's documentation (chain ids).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from layer2.errors import ProtocolNotImplemented
from layer2.model.layers import LAYERS, Layer2ProtocolType
from layer2.net.setting_rules import at_least
from layer2.ports.clock import Clock
from layer2.ports.journal import SendRecords
from layer2.ports.signing import EvmSigner
from layer2.protocols.evm.client import EvmClient
from layer2.protocols.evm.settings import EvmSettings

__all__ = ["ROOTSTOCK_REGTEST", "RootstockClient", "RootstockSettings"]

ROOTSTOCK_REGTEST = 33


@dataclass(frozen=True, slots=True, kw_only=True)
class RootstockSettings(EvmSettings):
    """The settings of a ``RootstockClient``; see ``EvmSettings``."""

    chain_id: Annotated[int, at_least(1)] = ROOTSTOCK_REGTEST
    """33 is Rootstock's regtest"""


class RootstockClient(EvmClient):
    """Rootstock through the party's own node.

    Raises:
        ProtocolNotImplemented: the network is not regtest.
    """

    protocol_type: ClassVar[Layer2ProtocolType] = Layer2ProtocolType.ROOTSTOCK

    def __init__(
        self, settings: EvmSettings, signer: EvmSigner, sends: SendRecords, clock: Clock | None = None
    ) -> None:
        if settings.network not in LAYERS[self.protocol_type].clients_on:
            raise ProtocolNotImplemented(
                f"Rootstock has no client on {settings.network} in this version", protocol=self.protocol_type.value
            )
        super().__init__(settings, signer, sends, clock)
