"""BOB, an OP-stack rollup with Ethereum as its L1. Bitcoin is an ERC-20 token there, and gas is paid in ETH.

Source: BOB's documentation (chain ids).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from layer2.model.layers import Layer2ProtocolType
from layer2.net.setting_rules import at_least
from layer2.protocols.evm.client import EvmClient
from layer2.protocols.evm.settings import EvmSettings

__all__ = ["BOB_MAINNET", "BOB_SEPOLIA", "BobClient", "BobSettings"]

BOB_MAINNET = 60808
BOB_SEPOLIA = 808813


@dataclass(frozen=True, slots=True, kw_only=True)
class BobSettings(EvmSettings):
    """The settings of a ``BobClient``; see ``EvmSettings``. Local networks use the mainnet's chain id."""

    chain_id: Annotated[int, at_least(1)] = BOB_MAINNET
    """60808 is BOB mainnet, 808813 BOB Sepolia"""


class BobClient(EvmClient):
    """BOB through the party's own node. The arguments are those of ``EvmClient``.

    A ``Layer2Manager`` creates it from the configuration, and passes its journal as the durable record of sends. So a
    call that is repeated with the same idempotency key does not pay twice, even after a crash.

    Example::

        import asyncio

        from layer2 import BTC, Layer2Config, Layer2Manager, Layer2ProtocolType

        async def main() -> None:
            async with Layer2Manager(Layer2Config.load()) as layers:
                bob = await layers.get_protocol_async(Layer2ProtocolType.BOB)
                await bob.initialize_async()
                tx_id = await bob.transfer_asset_async(BTC, 100_000, "0x" + "05" * 20, idempotency_key="order 7")
                status = await bob.wait_for_status_async(tx_id, timeout=60)
                print(tx_id, status.state.name)

        asyncio.run(main())
    """

    protocol_type: ClassVar[Layer2ProtocolType] = Layer2ProtocolType.BOB
