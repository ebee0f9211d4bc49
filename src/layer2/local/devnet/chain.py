"""One EVM chain of the devnet: its op-geth and its sequencer, started and supplied with contracts and money."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from coincurve import PrivateKey

from layer2.contracts.htlc import HTLC_ADDRESS
from layer2.contracts.test_token import TEST_TOKEN_ADDRESS, TEST_TOKEN_DECIMALS
from layer2.formats.evm_address import address_of_public_key, to_checksum
from layer2.local.devnet.deployment import deploy, token_balance, wei_balance
from layer2.local.devnet.op_geth import OpGeth
from layer2.local.devnet.processes import Child
from layer2.local.devnet.sequencer import Sequencer
from layer2.local.devnet.stages import deadline
from layer2.local.network import LocalChain

__all__ = ["WEI_EACH", "DevnetChain"]

WEI_EACH = 10 * 10**18
"""Wei for gas that each party receives in the first block."""

_FAUCET_WEI = 10**24


@dataclass(frozen=True, slots=True)
class DevnetChain:
    """A node and its sequencer. Chains share nothing."""

    layer: str
    """``"BOB"`` or ``"ROOTSTOCK"``"""
    node: OpGeth
    sequencer: Sequencer

    async def start(
        self, parties: Mapping[str, bytes], own: Callable[[Child], None], progress: Callable[[str], None]
    ) -> None:
        """Start the node and return when the contracts are deployed and each party has its money.

        Args:
            parties: their addresses (20 bytes) by name.
            own: is called with the node's process once it has started.
            progress: receives a line of text for each stage.
        """
        faucet = PrivateKey()
        balances = dict.fromkeys(parties.values(), WEI_EACH)
        balances[address_of_public_key(faucet.public_key.format())] = _FAUCET_WEI
        progress(f"{self.layer}: starting op-geth")
        async with deadline(f"{self.node.name} to answer"):
            own(await self.node.start(int(time.time()) - 1, balances))
            await self.node.wait_until_answering()
        async with deadline(f"the contracts to be deployed on {self.layer}"):
            await self.sequencer.start()
            await deploy(self.node, self.sequencer, faucet, tuple(parties.values()))
        progress(f"{self.layer}: ready, chain {self.node.chain_id}, block {self.sequencer.head.number}")

    def description(self) -> LocalChain:
        """The chain's entry in the network's description."""
        return LocalChain(
            rpc_url=self.node.url,
            websocket_url=self.node.websocket_url,
            chain_id=self.node.chain_id,
            htlc_address=to_checksum(HTLC_ADDRESS),
            token_address=to_checksum(TEST_TOKEN_ADDRESS),
            token_decimals=TEST_TOKEN_DECIMALS,
        )

    async def status(self, parties: Mapping[str, bytes]) -> dict[str, Any]:
        """Heights, time and each party's balances, for display."""
        head, rpc = self.sequencer.head, self.node.rpc
        return {
            "height": head.number,
            "safe": self.sequencer.safe,
            "finalized": self.sequencer.finalized,
            "timestamp": head.timestamp,
            "automatic": self.sequencer.automatic,
            "balances": {
                name: {"wei": await wei_balance(rpc, address), "token": await token_balance(rpc, address)}
                for name, address in parties.items()
            },
        }
