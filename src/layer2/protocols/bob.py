"""BOB, an OP-stack rollup with Ethereum as its L1. Bitcoin is an ERC-20 token there, and gas is paid in ETH.

Source: BOB's documentation (chain ids).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from layer2.contracts.htlc import HTLC_ADDRESS
from layer2.errors import FormatError
from layer2.formats.evm_address import parse_address
from layer2.model.layers import LAYERS, Layer2ProtocolType, LayerFacts
from layer2.net.setting_rules import at_least, between
from layer2.protocols.evm.client import EvmClient
from layer2.protocols.evm.settings import EvmAsset, EvmSettings

__all__ = ["BOB_MAINNET", "BOB_SEPOLIA", "BobClient", "BobSettings"]

BOB_MAINNET = 60808
BOB_SEPOLIA = 808813


def _token_address(value: object) -> None:
    try:
        parse_address(str(value))
    except FormatError as error:
        raise ValueError(error.message) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class BobSettings(EvmSettings):
    """The settings of a ``BobClient``: those of ``EvmSettings``, and the token that represents bitcoin. Local networks
    use the mainnet's chain id.
    """

    chain_id: Annotated[int, at_least(1)] = BOB_MAINNET
    """60808 is BOB mainnet, 808813 BOB Sepolia"""
    token_address: Annotated[str, _token_address]
    """the ERC-20 token that you accept as BTC; several exist, so there is no default"""
    token_decimals: Annotated[int, between(0, 36)]
    """decimals of the token (WBTC 8, tBTC 18); must match the contract"""
    priority_fee_per_gas_wei: Annotated[int, at_least(0)] = 1_000_000
    """wei for the sequencer, in addition to the base fee"""
    native_price_sat: Annotated[int | None, at_least(1)] = None
    """price in satoshi of one ETH, which pays gas; without it there is no estimate of network costs in satoshi, and
    every transfer needs max_fee"""

    @property
    def tip_per_gas_wei(self) -> int:
        """``priority_fee_per_gas_wei``."""
        return self.priority_fee_per_gas_wei

    @property
    def asset(self) -> EvmAsset:
        """The token, in the contract that has the same address on every chain."""
        return EvmAsset(HTLC_ADDRESS, parse_address(self.token_address), self.token_decimals, self.native_price_sat)

    def facts(self) -> LayerFacts:
        """The facts of BOB."""
        return LAYERS[Layer2ProtocolType.BOB]


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

    # Set once: the narrower type is safe.
    settings: BobSettings  # pyright: ignore[reportIncompatibleVariableOverride]
