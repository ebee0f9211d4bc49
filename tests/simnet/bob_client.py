"""A plain JSON-RPC client and a signer for the tests of the simnet's BOB node."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import aiohttp

from layer2.formats.evm_transaction import Eip1559Transaction
from layer2.local.simnet.accounts import SimAccount
from layer2.local.simnet.clock import SimClock
from layer2.local.simnet.evm.chain import BOB_CHAIN_ID
from layer2.local.simnet.evm.node import EvmNode
from layer2.local.simnet.faults import FaultSwitch

__all__ = ["BobClient", "NodeSaid", "RunningBob", "signed"]


class NodeSaid(Exception):
    """The node answered with an error."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(error["message"])
        self.code: int = error["code"]
        self.data: str | None = error.get("data")


class BobClient:
    """Calls one node."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self._url = url
        self._session = session

    async def post(self, body: Any) -> Any:
        """Send a body and return the JSON of the answer."""
        async with self._session.post(self._url, json=body) as response:
            assert response.status == 200, response.status
            return await response.json()

    async def call(self, method: str, *arguments: Any) -> Any:
        """Call a method and return its result."""
        answer = await self.post({"jsonrpc": "2.0", "id": 7, "method": method, "params": list(arguments)})
        assert answer["id"] == 7
        if "error" in answer:
            raise NodeSaid(answer["error"])
        return answer["result"]

    async def send(self, raw: bytes) -> str:
        """Send a signed transaction and return its hash."""
        return str(await self.call("eth_sendRawTransaction", "0x" + raw.hex()))


@dataclass(frozen=True)
class RunningBob:
    """A node that serves on the test's own event loop, without blocks that come by themselves."""

    node: EvmNode
    clock: SimClock
    client: BobClient
    faults: FaultSwitch
    url: str
    taker: SimAccount
    stranger: SimAccount
    """Someone without money."""


def signed(
    account: SimAccount,
    nonce: int,
    *,
    to: bytes | None = b"\x05" * 20,
    value: int = 1,
    data: bytes = b"",
    gas: int = 21_000,
    tip: int = 1_000_000,
    most: int = 1_000_000_000,
    chain_id: int = BOB_CHAIN_ID,
) -> bytes:
    """A signed transaction of type 2."""
    transaction = Eip1559Transaction(chain_id, nonce, tip, most, gas, to, value, data)
    signature = account.key.sign_recoverable(transaction.signing_hash(), hasher=None)
    return transaction.signed(signature).raw
