"""The whole simnet on one event loop: BOB's node, two Lightning nodes, and the control server."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
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
from layer2.local_network import LightningNode, LocalNetwork, Party
from layer2.simnet.accounts import START_SATOSHIS, START_WEI, SimAccount
from layer2.simnet.block_maker import Automatic, BlockMaker
from layer2.simnet.clock import SimClock
from layer2.simnet.control import ControlServer
from layer2.simnet.evm_chain import CALL_GAS_LIMIT, CHAIN_ID, CallRequest
from layer2.simnet.evm_methods import EvmMethods
from layer2.simnet.evm_node import EvmNode
from layer2.simnet.evm_rpc import EvmRpcServer
from layer2.simnet.faults import FaultSwitch
from layer2.simnet.lightning_channel import Side
from layer2.simnet.lightning_network import LightningSimulation

__all__ = ["Simnet"]

_DEPLOYMENT_GAS = 2_000_000


class Simnet:
    """A running local network. The same seed and the same calls give the same keys, hashes and invoices,
    where the clock is manual.

    Args:
        directory: where keys, certificates and the description go; made if it is not there.
        seed: all keys come from it. Test money only.
        clock: the machines' clock, which block times follow.
        automatic: when blocks come by themselves.
    """

    def __init__(self, directory: Path, seed: bytes, clock: SimClock, automatic: Automatic) -> None:
        self._directory = directory
        self._clock = clock
        self._accounts = {name: SimAccount.from_seed(seed, name) for name in ("deployer", "taker", "provider")}
        self._token = deployed_address(TEST_TOKEN_SALT, test_token_init_code())
        self._node = EvmNode({account.address: START_WEI for account in self._accounts.values()}, clock)
        self._maker = BlockMaker(self._node, automatic)
        self._bob_faults = FaultSwitch()
        self._rpc = EvmRpcServer(
            self._node, EvmMethods(self._node, self._maker.on_transaction), self._bob_faults, clock
        )
        self._lightning = LightningSimulation(seed, clock, directory)
        self._control = ControlServer(self)

    async def start(self) -> LocalNetwork:
        """Deploy the contracts, give out the test money, serve everything and write ``network.json``."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._deploy()
        bob_url = await self._rpc.start()
        taker, provider = await self._lightning.start()
        network = LocalNetwork(
            name="simnet",
            directory=str(self._directory),
            control_url=await self._control.start(),
            bob_rpc_url=bob_url,
            bob_websocket_url=bob_url.replace("http://", "ws://"),
            chain_id=CHAIN_ID,
            htlc_address=to_checksum(htlc_address()),
            token_address=to_checksum(self._token),
            token_decimals=TEST_TOKEN_DECIMALS,
            taker=self._party("taker", taker),
            provider=self._party("provider", provider),
            process_ids=(os.getpid(),),
        )
        self._maker.start()
        network.save()
        return network

    async def stop(self) -> None:
        """Stop serving and take the description away."""
        (self._directory / "network.json").unlink(missing_ok=True)
        await self._maker.stop()
        await self._control.stop()
        await self._lightning.stop()
        await self._rpc.stop()

    def mine(self, blocks: int) -> int:
        """Make BOB blocks and return the height."""
        return self._node.mine(blocks)

    def set_automatic(self, enabled: bool) -> None:
        """Turn blocks that come by themselves on or off."""
        self._maker.set_enabled(enabled)

    def advance_chain_time(self, seconds: int) -> int:
        """Move BOB's time, not the machines', make a block there and return its timestamp."""
        return self._node.advance_time(seconds)

    def advance_clock(self, seconds: int) -> int:
        """Move the machines' manual clock, which BOB's next block follows, and return its time."""
        return self._clock.advance(seconds)

    def set_finality(self, safe: int | None, finalized: int | None) -> None:
        """Hold the safe and finalized heads, or let them follow."""
        self._node.set_finality(safe, finalized)

    def reorganise(self, depth: int, keep_transactions: bool, transactions: Sequence[bytes]) -> int:
        """Replace BOB's last blocks and return the height."""
        height = self._node.reorganise(depth, keep_transactions=keep_transactions, transactions=transactions)
        if keep_transactions:
            self._maker.on_transaction()
        return height

    async def stop_lightning(self, party: str) -> None:
        """End that party's Lightning node as by SIGKILL: its connections break, and nobody answers there."""
        await self._lightning.stop_node(Side(party))

    async def start_lightning(self, party: str, *, new_certificate: bool) -> None:
        """Let that party's Lightning node answer again, with all that it knew."""
        await self._lightning.start_node(Side(party), new_certificate=new_certificate)

    async def mine_bitcoin(self, blocks: int) -> int:
        """Make Bitcoin blocks for both Lightning nodes and return the height."""
        return await self._lightning.mine(blocks)

    def set_fault(self, target: str, kind: str, arguments: Mapping[str, Any]) -> None:
        """Set a fault switch of BOB's node or of a Lightning node.

        Raises:
            ValueError: no such target or kind, or arguments that do not fit.
        """
        match target:
            case "bob":
                self._bob_faults.set(kind, **arguments)
            case "taker_lightning" | "provider_lightning":
                self._lightning.set_fault(target, kind, **arguments)
            case _:
                raise ValueError(f"no target {target!r}: bob, taker_lightning or provider_lightning")

    async def status(self) -> dict[str, Any]:
        """Heights, times and balances, for people."""
        head = self._node.chain.head
        return {
            "network": "simnet",
            "clock": self._clock.now(),
            "bob": {
                "height": head.number,
                "safe": self._node.safe_height,
                "finalized": self._node.finalized_height,
                "timestamp": head.timestamp,
                "waiting_transactions": len(self._node.pool),
            },
            "balances": {name: self._balances(name) for name in ("taker", "provider")},
            "lightning": await self._lightning.status(),
        }

    def _balances(self, name: str) -> dict[str, int]:
        address, head = self._accounts[name].address, self._node.chain.head
        request = CallRequest(address, self._token, 0, balance_of_call(address), CALL_GAS_LIMIT)
        return {
            "wei": self._node.chain.state_at(head).get_balance(Address(address)),
            "token": decode_uint256(self._node.chain.call(request, head)),
        }

    def _party(self, name: str, lightning: LightningNode) -> Party:
        account, key_file = self._accounts[name], self._directory / f"{name}-evm.key"
        account.write_key(key_file)
        return Party(to_checksum(account.address), str(key_file), lightning)

    def _deploy(self) -> None:
        """Create the contracts through the factory, as on any chain, and mint each party's tokens."""
        calls = [
            (DETERMINISTIC_FACTORY, deployment_call(HTLC_SALT, htlc_init_code())),
            (DETERMINISTIC_FACTORY, deployment_call(TEST_TOKEN_SALT, test_token_init_code())),
            (self._token, mint_call(self._accounts["taker"].address, START_SATOSHIS)),
            (self._token, mint_call(self._accounts["provider"].address, START_SATOSHIS)),
        ]
        for nonce, (to, data) in enumerate(calls):
            self._node.send(self._accounts["deployer"].sign_call(nonce, to, data, _DEPLOYMENT_GAS))
        self._node.mine()
        receipts = self._node.chain.head.receipts
        if [receipt.state_root for receipt in receipts] != [b"\x01"] * len(calls):
            raise RuntimeError("the contracts of the simnet could not be deployed")
