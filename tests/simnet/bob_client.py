"""A minimal JSON-RPC client and a signer for the tests of the simnet's EVM nodes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import aiohttp

from layer2.formats import rlp
from layer2.formats.evm_transaction import Eip1559Transaction
from layer2.formats.keccak import keccak256
from layer2.local.accounts import LocalAccount
from layer2.local.simnet.clock import SimClock
from layer2.local.simnet.evm.chain import BOB_CHAIN_ID
from layer2.local.simnet.evm.node import EvmNode
from layer2.local.simnet.faults import FaultSwitch

__all__ = ["BobClient", "NodeError", "RunningBob", "authorization", "signed"]


class NodeError(Exception):
    """The node answered with an error."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(error["message"])
        self.code: int = error["code"]
        self.data: str | None = error.get("data")


class BobClient:
    """A client of one node."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self._url = url
        self._session = session

    async def post(self, body: Any) -> Any:
        """Send a body and return the JSON of the response."""
        async with self._session.post(self._url, json=body) as response:
            assert response.status == 200, response.status
            return await response.json()

    async def call(self, method: str, *arguments: Any) -> Any:
        """Call a method and return its result."""
        answer = await self.post({"jsonrpc": "2.0", "id": 7, "method": method, "params": list(arguments)})
        assert answer["id"] == 7
        if "error" in answer:
            raise NodeError(answer["error"])
        return answer["result"]

    async def send(self, raw: bytes) -> str:
        """Send a signed transaction and return its hash."""
        return str(await self.call("eth_sendRawTransaction", "0x" + raw.hex()))


@dataclass(frozen=True)
class RunningBob:
    """A node that runs on the test's event loop and makes no blocks on its own."""

    node: EvmNode
    clock: SimClock
    client: BobClient
    faults: FaultSwitch
    url: str
    taker: LocalAccount
    stranger: LocalAccount
    """An account without money."""


def signed(
    account: LocalAccount,
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
    """Sign a transaction of type 2 and return its encoding."""
    transaction = Eip1559Transaction(chain_id, nonce, tip, most, gas, to, value, data)
    signature = account.key.sign_recoverable(transaction.signing_hash(), hasher=None)
    return transaction.signed(signature).raw


def authorization(account: LocalAccount, address: bytes, nonce: int, chain_id: int = BOB_CHAIN_ID) -> dict[str, str]:
    """A signed delegation of the account to the code of an address (EIP-7702)."""
    message = b"\x05" + rlp.encode([rlp.encode_int(chain_id), address, rlp.encode_int(nonce)])
    signature = account.key.sign_recoverable(keccak256(message), hasher=None)
    r, s = (int.from_bytes(signature[start : start + 32], "big") for start in (0, 32))
    return {
        "chainId": hex(chain_id),
        "address": "0x" + address.hex(),
        "nonce": hex(nonce),
        "yParity": hex(signature[64]),
        "r": hex(r),
        "s": hex(s),
    }
