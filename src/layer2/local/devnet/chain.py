"""One EVM chain of the devnet: its op-geth and its sequencer, started and supplied with contracts and money."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from coincurve import PrivateKey

from layer2.contracts.erc20 import balance_of_call, decode_uint256
from layer2.contracts.test_token import TEST_TOKEN_ADDRESS
from layer2.errors import BadAnswer
from layer2.local.accounts import START_WEI, LocalAccount, describe_chain, preparing_calls
from layer2.local.devnet.json_rpc import JsonRpc
from layer2.local.devnet.op_geth import OpGeth
from layer2.local.devnet.sequencer import Sequencer
from layer2.local.devnet.stages import deadline
from layer2.local.network import LocalChain
from layer2.local.processes import Child

__all__ = ["DevnetChain"]

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
        faucet = LocalAccount.of(PrivateKey())
        balances = {**dict.fromkeys(parties.values(), START_WEI), faucet.address: _FAUCET_WEI}
        progress(f"{self.layer}: starting op-geth")
        async with deadline(f"{self.node.name} to answer"):
            own(await self.node.start(int(time.time()) - 1, balances))
            await self.node.wait_until_answering()
        async with deadline(f"the contracts to be deployed on {self.layer}"):
            await self.sequencer.start()
            await self._prepare(faucet, parties.values())
        progress(f"{self.layer}: ready, chain {self.node.chain_id}, block {self.sequencer.head.number}")

    async def _prepare(self, faucet: LocalAccount, parties: Iterable[bytes]) -> None:
        """Deploy the contracts, and on BOB mint the parties' tokens.

        Raises:
            BadAnswer: a transaction failed.
        """
        rpc = self.node.rpc
        hashes = []
        for nonce, (to, data) in enumerate(preparing_calls(parties, self.node.chain_id)):
            raw = faucet.sign_call(nonce, to, data, chain_id=self.node.chain_id)
            hashes.append(await rpc.call("eth_sendRawTransaction", "0x" + raw.hex()))
        await self.sequencer.mine(1)
        for transaction_hash in hashes:
            receipt = await rpc.call("eth_getTransactionReceipt", transaction_hash)
            if receipt is None or receipt["status"] != "0x1":
                raise BadAnswer(f"a transaction that sets up the chain failed: {receipt}")

    def description(self) -> LocalChain:
        """The chain's entry in the network's description."""
        return describe_chain(self.node.chain_id, self.node.url)

    async def status(self, parties: Mapping[str, bytes]) -> dict[str, object]:
        """Heights, time and each party's balances, for display."""
        head, rpc = self.sequencer.head, self.node.rpc
        return {
            "height": head.number,
            "safe": self.sequencer.safe,
            "finalized": self.sequencer.finalized,
            "timestamp": head.timestamp,
            "automatic": self.sequencer.automatic,
            "balances": {
                name: {"wei": await _wei_balance(rpc, address), **await self._token_balance(address)}
                for name, address in parties.items()
            },
        }

    async def _token_balance(self, owner: bytes) -> dict[str, int]:
        """Units of the test token that an address has at the latest block, if the chain has the token."""
        if not self.description().token_address:
            return {}
        call = {"to": "0x" + TEST_TOKEN_ADDRESS.hex(), "data": "0x" + balance_of_call(owner).hex()}
        answer = await self.node.rpc.call("eth_call", call, "latest")
        return {"token": decode_uint256(bytes.fromhex(answer[2:]))}


async def _wei_balance(rpc: JsonRpc, owner: bytes) -> int:
    """Wei that an address has at the latest block."""
    return int(await rpc.call("eth_getBalance", "0x" + owner.hex(), "latest"), 16)
