"""One EVM chain of the simnet: its node, block maker, fault switch and RPC server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from eth_typing import Address

from layer2.contracts.erc20 import balance_of_call, decode_uint256
from layer2.contracts.factory import DETERMINISTIC_FACTORY, deployed_address, deployment_call
from layer2.contracts.htlc import HTLC_SALT, htlc_address, htlc_init_code
from layer2.contracts.test_token import (
    TEST_TOKEN_DECIMALS,
    TEST_TOKEN_SALT,
    mint_call,
    test_token_init_code,
)
from layer2.formats.evm_address import to_checksum
from layer2.local.network import LocalChain
from layer2.local.simnet.accounts import START_SATOSHIS, START_WEI, SimAccount
from layer2.local.simnet.clock import SimClock
from layer2.local.simnet.evm.block_maker import Automatic, BlockMaker
from layer2.local.simnet.evm.calls import CALL_GAS_LIMIT, CallRequest
from layer2.local.simnet.evm.methods import EvmMethods
from layer2.local.simnet.evm.node import EvmNode
from layer2.local.simnet.evm.rpc import EvmRpcServer
from layer2.local.simnet.faults import FaultSwitch

__all__ = ["SimChain"]

_DEPLOYMENT_GAS = 2_000_000


class SimChain:
    """One chain. It shares only the clock with the other chain.

    Args:
        chain_id: the chain id that its transactions are signed for.
        accounts: each has ETH in the genesis block; ``deployer`` deploys the contracts, the others get tokens.
        clock: the machines' clock, which the block times follow.
        automatic: when the chain makes blocks on its own.
    """

    def __init__(
        self, chain_id: int, accounts: Mapping[str, SimAccount], clock: SimClock, automatic: Automatic
    ) -> None:
        self._accounts = accounts
        self._token = deployed_address(TEST_TOKEN_SALT, test_token_init_code())
        self.node = EvmNode({account.address: START_WEI for account in accounts.values()}, clock, chain_id)
        self.maker = BlockMaker(self.node, automatic)
        self.faults = FaultSwitch()
        methods = EvmMethods(self.node, self.maker.on_transaction)
        self._rpc = EvmRpcServer(self.node, methods, self.faults, clock)

    async def start(self) -> LocalChain:
        """Deploy the contracts, mint the tokens and start the server. Automatic blocks begin with ``maker.start``."""
        self._deploy()
        url = await self._rpc.start()
        return LocalChain(
            rpc_url=url,
            websocket_url=url.replace("http://", "ws://"),
            chain_id=self.node.chain.chain_id,
            htlc_address=to_checksum(htlc_address()),
            token_address=to_checksum(self._token),
            token_decimals=TEST_TOKEN_DECIMALS,
        )

    async def stop(self) -> None:
        """Stop automatic blocks and the server."""
        await self.maker.stop()
        await self._rpc.stop()

    def reorganise(self, depth: int, keep_transactions: bool, transactions: Sequence[bytes]) -> int:
        """Replace the last blocks and return the height; see ``EvmNode.reorganise``."""
        height = self.node.reorganise(depth, keep_transactions=keep_transactions, transactions=transactions)
        if keep_transactions:
            self.maker.on_transaction()
        return height

    def status(self) -> dict[str, Any]:
        """Heights, time and each party's balances, for people."""
        head = self.node.chain.head
        return {
            "height": head.number,
            "safe": self.node.safe_height,
            "finalized": self.node.finalized_height,
            "timestamp": head.timestamp,
            "waiting_transactions": len(self.node.pool),
            "balances": {name: self._balances(name) for name in ("taker", "provider")},
        }

    def _balances(self, name: str) -> dict[str, int]:
        address, head = self._accounts[name].address, self.node.chain.head
        request = CallRequest(address, self._token, 0, balance_of_call(address), CALL_GAS_LIMIT)
        return {
            "wei": self.node.chain.state_at(head).get_balance(Address(address)),
            "token": decode_uint256(self.node.calls.call(request, head)),
        }

    def _deploy(self) -> None:
        """Create the contracts through the factory, as on every chain, and mint each party's tokens."""
        calls = [
            (DETERMINISTIC_FACTORY, deployment_call(HTLC_SALT, htlc_init_code())),
            (DETERMINISTIC_FACTORY, deployment_call(TEST_TOKEN_SALT, test_token_init_code())),
            (self._token, mint_call(self._accounts["taker"].address, START_SATOSHIS)),
            (self._token, mint_call(self._accounts["provider"].address, START_SATOSHIS)),
        ]
        deployer, chain_id = self._accounts["deployer"], self.node.chain.chain_id
        for nonce, (to, data) in enumerate(calls):
            self.node.send(deployer.sign_call(nonce, to, data, _DEPLOYMENT_GAS, chain_id=chain_id))
        self.node.mine()
        receipts = self.node.chain.head.receipts
        if [receipt.state_root for receipt in receipts] != [b"\x01"] * len(calls):
            raise RuntimeError(f"the contracts of the simnet's chain {chain_id} could not be deployed")
