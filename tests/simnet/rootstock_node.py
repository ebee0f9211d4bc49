"""A node of the simnet that speaks rskj's dialect, for its own tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from layer2.formats.evm_transaction import LegacyTransaction
from layer2.local.accounts import START_WEI, LocalAccount
from layer2.local.simnet.clock import SimClock
from layer2.local.simnet.evm.node import EvmNode
from layer2.local.simnet.evm.rpc import EvmRpcServer
from layer2.local.simnet.faults import FaultSwitch
from layer2.local.simnet.rskj.methods import RskMethods
from layer2.local.simnet.rskj.rules import FIRST_MINIMUM_GAS_PRICE, RskRules
from simnet.bob_client import BobClient

__all__ = ["CHAIN_ID", "MINIMUM", "RunningRootstock", "legacy", "rootstock_node"]

CHAIN_ID = 33
MINIMUM = FIRST_MINIMUM_GAS_PRICE


class _Client(BobClient):
    """Its answers may have HTTP status 400."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        super().__init__(url, session)
        self._address, self._opened = url, session
        self.status = 0

    async def post(self, body: Any) -> Any:
        async with self._opened.post(self._address, json=body) as response:
            self.status = response.status
            return await response.json()


@dataclass(frozen=True)
class RunningRootstock:
    """A node that runs on the test's event loop and makes no blocks on its own."""

    node: EvmNode
    rules: RskRules
    clock: SimClock
    client: _Client
    url: str
    taker: LocalAccount
    other: LocalAccount

    async def block(self, name: str = "latest", *, full: bool = False) -> dict[str, Any]:
        block: dict[str, Any] = await self.client.call("eth_getBlockByNumber", name, full)
        return block


@asynccontextmanager
async def rootstock_node() -> AsyncIterator[RunningRootstock]:
    """Run a node with two rich accounts."""
    taker, other = (LocalAccount.from_seed(b"tests", name) for name in ("taker", "other"))
    clock, rules = SimClock.manual(1_800_000_000), RskRules()
    node = EvmNode(dict.fromkeys((taker.address, other.address), START_WEI), clock, CHAIN_ID, rules)
    server = EvmRpcServer(node, RskMethods(node, lambda: None), FaultSwitch(), clock, is_dated=False)
    url = await server.start()
    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
            yield RunningRootstock(node, rules, clock, _Client(url, session), url, taker, other)
    finally:
        await server.stop()


def legacy(
    account: LocalAccount,
    nonce: int,
    *,
    price: int = MINIMUM,
    to: bytes | None = b"\x05" * 20,
    value: int = 1,
    data: bytes = b"",
    gas: int = 21_000,
    chain_id: int = CHAIN_ID,
) -> bytes:
    """Sign a legacy transaction and return its encoding."""
    transaction = LegacyTransaction(chain_id, nonce, price, gas, to, value, data)
    signature = account.key.sign_recoverable(transaction.signing_hash(), hasher=None)
    return transaction.signed(signature).raw
