"""One EVM chain of the simnet: its node, block maker, fault switch and RPC server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from eth_typing import Address

from layer2.contracts.erc20 import balance_of_call, decode_uint256
from layer2.contracts.test_token import TEST_TOKEN_ADDRESS
from layer2.local.accounts import START_WEI, LocalAccount, describe_chain, preparing_calls
from layer2.local.network import LocalChain
from layer2.local.simnet.clock import SimClock
from layer2.local.simnet.evm.block_maker import Automatic, BlockMaker
from layer2.local.simnet.evm.calls import CALL_GAS_LIMIT, CallRequest
from layer2.local.simnet.evm.chain import MinedBlock
from layer2.local.simnet.evm.methods import EvmMethods
from layer2.local.simnet.evm.node import EvmNode
from layer2.local.simnet.evm.rpc import EvmRpcServer
from layer2.local.simnet.faults import FaultSwitch
from layer2.local.simnet.rskj.methods import RskMethods
from layer2.local.simnet.rskj.rules import RskRules

__all__ = ["SimChain"]


class SimChain:
    """One chain. It shares only the clock with the other chain.

    Args:
        chain_id: the chain id that its transactions are signed for.
        accounts: each has the chain's coin in the genesis block; ``deployer`` deploys the contracts.
        clock: the machines' clock, which the block times follow.
        automatic: when the chain makes blocks on its own.
        is_rootstock: whether its node speaks rskj's dialect, and not op-geth's.
    """

    def __init__(
        self,
        chain_id: int,
        accounts: Mapping[str, LocalAccount],
        clock: SimClock,
        automatic: Automatic,
        *,
        is_rootstock: bool = False,
    ) -> None:
        self._accounts = accounts
        self._is_rootstock = is_rootstock
        rules = RskRules() if is_rootstock else None
        self.node = EvmNode({account.address: START_WEI for account in accounts.values()}, clock, chain_id, rules)
        self.maker = BlockMaker(self.node, automatic)
        self.faults = FaultSwitch()
        self._counted: tuple[MinedBlock, dict[str, dict[str, int]]] | None = None
        kind = RskMethods if is_rootstock else EvmMethods
        methods = kind(self.node, self.maker.on_transaction)
        self._rpc = EvmRpcServer(self.node, methods, self.faults, clock, is_dated=not is_rootstock)

    async def start(self) -> LocalChain:
        """Prepare the chain and start the server. Automatic blocks begin with ``maker.start``."""
        self._deploy()
        url = await self._rpc.start()
        return describe_chain(self.node.chain.chain_id, url)

    async def stop(self) -> None:
        """Stop automatic blocks and the server."""
        await self.maker.stop()
        await self._rpc.stop()

    async def mine(self, blocks: int) -> int:
        """Make blocks and return the height."""
        return self.node.mine(blocks)

    async def set_automatic(self, enabled: bool) -> None:
        """Switch automatic blocks on or off."""
        self.maker.set_enabled(enabled)

    async def advance_time(self, seconds: int) -> int:
        """Move the chain's time, but not the clock, make a block and return its timestamp."""
        return self.node.advance_time(seconds)

    async def set_finality(self, safe: int | None, finalized: int | None) -> None:
        """Hold the safe and finalized heads, or let them follow."""
        self.node.set_finality(safe, finalized)

    async def reorganise(self, depth: int, *, keep_transactions: bool, transactions: Sequence[bytes]) -> int:
        """Replace the last blocks and return the height; see ``EvmNode.reorganise``."""
        height = self.node.reorganise(depth, keep_transactions=keep_transactions, transactions=transactions)
        if keep_transactions:
            self.maker.on_transaction()
        return height

    def status(self) -> dict[str, object]:
        """Heights, time and each party's balances, for people."""
        head = self.node.chain.head
        return {
            "height": head.number,
            "safe": self.node.safe_height,
            "finalized": self.node.finalized_height,
            "timestamp": head.timestamp,
            "waiting_transactions": len(self.node.pool),
            "balances": self._balances(),
        }

    def _balances(self) -> dict[str, dict[str, int]]:
        """Each party's balances. They are computed once for each block, because tests ask for the status often."""
        head = self.node.chain.head
        if self._counted is None or self._counted[0] is not head:
            self._counted = head, {name: self._balances_of(name, head) for name in ("taker", "provider")}
        return self._counted[1]

    def _balances_of(self, name: str, head: MinedBlock) -> dict[str, int]:
        address = self._accounts[name].address
        wei = self.node.chain.state_at(head).get_balance(Address(address))
        if self._is_rootstock:
            return {"wei": wei}
        request = CallRequest(address, TEST_TOKEN_ADDRESS, 0, balance_of_call(address), CALL_GAS_LIMIT)
        return {"wei": wei, "token": decode_uint256(self.node.calls.call(request, head))}

    def _deploy(self) -> None:
        """Create the contracts, and on BOB mint each party's tokens."""
        deployer, chain_id = self._accounts["deployer"], self.node.chain.chain_id
        calls = preparing_calls((self._accounts[name].address for name in ("taker", "provider")), chain_id)
        for nonce, (to, data) in enumerate(calls):
            self.node.send(deployer.sign_call(nonce, to, data, chain_id=chain_id))
        self.node.mine()
        receipts = self.node.chain.head.receipts
        if [receipt.state_root for receipt in receipts] != [b"\x01"] * len(calls):
            raise RuntimeError(f"the contracts of the simnet's chain {chain_id} could not be deployed")
