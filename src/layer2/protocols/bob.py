"""BOB: an OP-stack rollup with Ethereum as its L1. Bitcoin is an ERC-20 there, ETH is gas.

Source: BOB's chain ids, from its own documentation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from layer2.model.layers import Layer2ProtocolType
from layer2.protocols.evm.client import EvmClient
from layer2.protocols.evm.settings import EvmSettings

__all__ = ["BOB_MAINNET", "BOB_SEPOLIA", "BobClient", "BobSettings"]

BOB_MAINNET = 60808
BOB_SEPOLIA = 808813


@dataclass(frozen=True, slots=True, kw_only=True)
class BobSettings(EvmSettings):
    """The settings of a ``BobClient``; see ``EvmSettings``. Local networks have the mainnet's chain id."""

    chain_id: int = BOB_MAINNET


class BobClient(EvmClient):
    """BOB through the party's own node.

    >>> settings = BobSettings(rpc_url="http://127.0.0.1:8545", token="0x...", token_decimals=8)
    >>> async with BobClient(settings, SoftwareEvmSigner.from_file("bob.key"), sends) as bob:
    ...     await bob.initialize_async()
    ...     tx_id = await bob.transfer_asset_async(BTC, 100_000, "0x...")
    ...     status = await bob.wait_for_status_async(tx_id)
    """

    protocol_type: ClassVar[Layer2ProtocolType] = Layer2ProtocolType.BOB
