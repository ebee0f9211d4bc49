"""BOB, an OP-stack rollup with Ethereum as its L1. Bitcoin is an ERC-20 token there, and gas is paid in ETH.

Source: BOB's documentation (chain ids).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from layer2.model.layers import Layer2ProtocolType
from layer2.net.rules import at_least
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
    """BOB through the party's own node.

    The third argument, ``sends``, is the durable record of sends. Every transaction is recorded before it is sent, so
    that repeating a call with the same idempotency key does not pay twice, even after a crash. ``SqliteJournal`` keeps
    the record in a file. The arguments are those of ``EvmClient``.

    Example::

        import asyncio
        import os
        from pathlib import Path

        from layer2 import BTC, BobClient, BobSettings
        from layer2.signers.software import SoftwareEvmSigner
        from layer2.swap_engine.journal import SqliteJournal

        async def main() -> None:
            settings = BobSettings(
                rpc_url=os.environ["BOB_RPC_URL"],
                token_address=os.environ["BOB_TOKEN"],
                token_decimals=8,
                network=os.environ["BOB_NETWORK"],
            )
            sends = await SqliteJournal.open(Path("sends.sqlite"))
            try:
                async with BobClient(settings, SoftwareEvmSigner.from_file("bob.key"), sends) as bob:
                    await bob.initialize_async()
                    tx_id = await bob.transfer_asset_async(BTC, 100_000, "0x" + "05" * 20, idempotency_key="order 7")
                    status = await bob.wait_for_status_async(tx_id, timeout=60)
                    print(tx_id, status.state.name)
            finally:
                await sends.aclose()

        asyncio.run(main())
    """

    protocol_type: ClassVar[Layer2ProtocolType] = Layer2ProtocolType.BOB
