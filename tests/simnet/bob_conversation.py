"""One conversation with a BOB node, held with real op-geth when it is recorded and with the simnet when compared.

The sender's key and all that it signs are fixed, so hashes, signatures, gas and logs must be the same on both.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp

from layer2.contracts.factory import DETERMINISTIC_FACTORY, deployment_call
from layer2.contracts.test_token import TEST_TOKEN_ADDRESS, TEST_TOKEN_SALT, mint_call
from layer2.contracts.test_token import test_token_init_code as token_init_code
from layer2.formats.evm_abi import encode_call
from layer2.local.simnet.accounts import SimAccount
from simnet.bob_client import signed

__all__ = ["SENDER", "STRANGER", "BobConversation"]

SENDER = SimAccount.from_seed(b"conversation", "sender")
"""Owns 10 ETH in the first block, and nobody else owns any."""
STRANGER = SimAccount.from_seed(b"conversation", "stranger")

_ADDRESS = "0x" + SENDER.address.hex()
_TOKEN = "0x" + TEST_TOKEN_ADDRESS.hex()
_NOWHERE = "0x" + "99" * 32
_ERROR_NO = bytes.fromhex("08c379a0") + b"".join(n.to_bytes(32, "big") for n in (32, 2)) + b"no".ljust(32, b"\0")
_REVERTS_WITH_REASON = "0x6064600c60003960646000fd" + _ERROR_NO.hex()
_PANICS = "0x6024600c60003960246000fd" + "4e487b71" + (17).to_bytes(32, "big").hex()


class BobConversation:
    """Asks everything once, in one order.

    Args:
        url: the node's; its chain has the first block and nothing else, and makes no block by itself.
        session: the caller closes it.
        mine: makes that many blocks.
        reorganise: replaces that many blocks by empty ones.
    """

    def __init__(
        self,
        url: str,
        session: aiohttp.ClientSession,
        mine: Callable[[int], Awaitable[None]],
        reorganise: Callable[[int], Awaitable[None]],
    ) -> None:
        self._url = url
        self._session = session
        self._mine = mine
        self._reorganise = reorganise
        self._heard: dict[str, Any] = {}

    async def hold(self) -> dict[str, Any]:
        """Hold it and return the answers by the name of what was asked."""
        await self._mine(1)
        await self._of_a_fresh_chain()
        await self._of_the_pool()
        await self._mine(1)
        await self._of_a_block()
        await self._of_calls()
        await self._of_wrong_use()
        await self._of_a_reorganisation()
        return self._heard

    async def _ask(self, name: str, method: str, *arguments: Any) -> Any:
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(arguments)}
        answer = await self._post(name, body)
        return answer.get("result")

    async def _post(self, name: str, body: Any) -> Any:
        assert name not in self._heard
        as_text = {"data": body} if isinstance(body, str) else {"json": body}
        headers = {"Content-Type": "application/json"}
        async with self._session.post(self._url, headers=headers, **as_text) as response:
            answer = await response.json()
            self._heard[name] = {"http_status": response.status, "body": answer}
            return answer

    async def _send(self, name: str, raw: bytes) -> Any:
        return await self._ask(f"send: {name}", "eth_sendRawTransaction", "0x" + raw.hex())

    async def _of_a_fresh_chain(self) -> None:
        await self._ask("client version", "web3_clientVersion")
        await self._ask("network", "net_version")
        await self._ask("chain id", "eth_chainId")
        await self._ask("syncing", "eth_syncing")
        await self._ask("first height", "eth_blockNumber")
        await self._ask("first block", "eth_getBlockByNumber", "0x0", True)
        await self._ask("funds", "eth_getBalance", _ADDRESS, "latest")
        await self._ask("factory", "eth_getCode", "0x" + DETERMINISTIC_FACTORY.hex(), "latest")

    async def _of_the_pool(self) -> None:
        deploy = deployment_call(TEST_TOKEN_SALT, token_init_code())
        mint = mint_call(SENDER.address, 5)
        first = signed(SENDER, 0, to=DETERMINISTIC_FACTORY, value=0, data=deploy, gas=2_000_000)
        await self._send("deployment", first)
        await self._send("mint", signed(SENDER, 1, to=TEST_TOKEN_ADDRESS, value=0, data=mint, gas=100_000))
        self._sent = await self._send("coin", signed(SENDER, 2, value=7))
        await self._send("contract", signed(SENDER, 3, to=None, value=0, data=b"\0", gas=60_000))
        # Creation code that reverts at once.
        reverting = bytes.fromhex("60006000fd")
        self._failing = await self._send("failing", signed(SENDER, 4, to=None, value=0, data=reverting, gas=60_000))
        await self._send("again", first)
        await self._send("too cheap a replacement", signed(SENDER, 2, value=8, tip=1_050_000, most=1_050_000_000))
        await self._send("a gap", signed(SENDER, 9))
        await self._send("no funds", signed(STRANGER, 0))
        await self._send("too much value", signed(SENDER, 5, value=10**20))
        await self._send("more than is left", signed(SENDER, 5, value=10**19 - 10**15))
        await self._send("little gas", signed(SENDER, 5, gas=20_999))
        await self._send("little gas for data", signed(SENDER, 5, gas=22_600, data=b"\1" * 99))
        await self._send("much gas", signed(SENDER, 5, gas=70_000_000))
        await self._send("no tip", signed(SENDER, 5, tip=0))
        await self._send("other chain", signed(SENDER, 5, chain_id=1))
        await self._send("no bytes", b"")
        await self._send("type alone", b"\x02")
        await self._send("cut", first[:-1])
        await self._send("unknown type", b"\x05" + first[1:])
        await self._ask("waiting transaction", "eth_getTransactionByHash", self._sent)
        await self._ask("no receipt yet", "eth_getTransactionReceipt", self._sent)
        await self._ask("pending nonce", "eth_getTransactionCount", _ADDRESS, "pending")
        await self._ask("latest nonce", "eth_getTransactionCount", _ADDRESS, "latest")

    async def _of_a_block(self) -> None:
        block = await self._ask("block", "eth_getBlockByNumber", "latest", False)
        self._block = block["hash"]
        await self._ask("whole block", "eth_getBlockByHash", self._block, True)
        await self._ask("block of receipts", "eth_getBlockReceipts", self._block)
        await self._ask("transaction", "eth_getTransactionByHash", self._sent)
        receipt = await self._ask("receipt", "eth_getTransactionReceipt", self._sent)
        self._receipt_block = receipt["blockHash"]
        await self._ask("receipt of a failure", "eth_getTransactionReceipt", self._failing)
        await self._ask("raw header", "debug_getRawHeader", self._block)
        await self._ask("raw receipts", "debug_getRawReceipts", self._block)
        await self._ask("safe block", "eth_getBlockByNumber", "safe", False)
        await self._ask("finalized block", "eth_getBlockByNumber", "finalized", False)
        await self._ask("logs by hash", "eth_getLogs", {"blockHash": self._block})
        await self._ask("logs by range", "eth_getLogs", {"fromBlock": "0x0", "toBlock": "latest", "address": _TOKEN})
        await self._ask("logs of nobody", "eth_getLogs", {"fromBlock": "0x0", "address": "0x" + "01" * 20})
        await self._ask("logs of no block", "eth_getLogs", {"blockHash": _NOWHERE})
        await self._ask("logs backwards", "eth_getLogs", {"fromBlock": "0x2", "toBlock": "0x1"})
        await self._ask("logs of one to none", "eth_getLogs", {"fromBlock": "0x1", "toBlock": "0x0"})
        await self._ask("logs of the future", "eth_getLogs", {"fromBlock": "0x0", "toBlock": "0x99"})
        await self._ask("logs of pending", "eth_getLogs", {"fromBlock": "pending"})
        await self._ask("no such block", "eth_getBlockByNumber", "0x99", False)
        await self._ask("no such hash", "eth_getBlockByHash", _NOWHERE, False)
        await self._ask("no such receipts", "eth_getBlockReceipts", "0x99")
        await self._ask("no such transaction", "eth_getTransactionByHash", _NOWHERE)
        await self._ask("no such raw header", "debug_getRawHeader", _NOWHERE)
        await self._ask("raw header of no height", "debug_getRawHeader", "0x99")
        await self._ask("balance at no height", "eth_getBalance", _ADDRESS, "0x99")
        await self._ask("balance at no hash", "eth_getBalance", _ADDRESS, {"blockHash": _NOWHERE})
        await self._ask("balance at hash", "eth_getBalance", "0x" + "05" * 20, {"blockHash": self._block})
        await self._ask("fee history", "eth_feeHistory", "0x2", "latest", [50])
        await self._ask("no fee history", "eth_feeHistory", "0x0", "latest", [])
        await self._ask("gas price", "eth_gasPrice")
        await self._ask("tip", "eth_maxPriorityFeePerGas")
        await self._send("nonce used", signed(SENDER, 0))

    async def _of_calls(self) -> None:
        own = encode_call("balanceOf(address)", SENDER.address)
        too_much = encode_call("transfer(address,uint256)", STRANGER.address, 10**9)
        for name, message in {
            "balance": {"to": _TOKEN, "data": "0x" + own.hex()},
            "balance by input": {"to": _TOKEN, "input": "0x" + own.hex(), "from": _ADDRESS},
            "bare revert": {"to": _TOKEN, "from": _ADDRESS, "data": "0x" + too_much.hex()},
            "revert with a reason": {"data": _REVERTS_WITH_REASON},
            "panic": {"data": _PANICS},
            "invalid opcode": {"data": "0xfe"},
            "endless": {"data": "0x5b600056", "gas": "0x186a0"},
            "jump nowhere": {"data": "0x600956"},
            "little gas": {"to": _TOKEN, "data": "0x" + own.hex(), "gas": "0x5207"},
            "coin": {"to": "0x" + "05" * 20, "from": _ADDRESS, "value": "0x1"},
            "too much coin": {"to": "0x" + "05" * 20, "from": _ADDRESS, "value": hex(10**20)},
            "two kinds of data": {"to": _TOKEN, "data": "0x01", "input": "0x02"},
        }.items():
            await self._ask(f"call: {name}", "eth_call", message, "latest")
            await self._ask(f"estimate: {name}", "eth_estimateGas", message)

    async def _of_wrong_use(self) -> None:
        await self._ask("no such method", "eth_nothing")
        await self._ask("argument missing", "eth_getBalance")
        await self._ask("argument too many", "eth_chainId", 1)
        await self._ask("odd hex", "eth_getBalance", "0x123", "latest")
        await self._ask("short address", "eth_getBalance", "0x1234", "latest")
        await self._ask("leading zero", "eth_getBalance", _ADDRESS, "0x01")
        await self._post("no JSON", "{")
        await self._post("no batch", [])
        await self._post("no call", {"jsonrpc": "2.0", "id": 1})
        await self._post("no version", {"id": 1, "method": "eth_chainId"})
        await self._post("named arguments", {"jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": {"a": 1}})
        call = {"jsonrpc": "2.0", "method": "eth_chainId"}
        await self._post("batch", [call | {"id": 1}, call | {"id": "two", "method": "eth_nothing"}])
        await self._post("batch too large", [call | {"id": n} for n in range(9, 1010)])

    async def _of_a_reorganisation(self) -> None:
        await self._reorganise(1)
        await self._ask("receipt after", "eth_getTransactionReceipt", self._sent)
        await self._ask("transaction after", "eth_getTransactionByHash", self._sent)
        await self._ask("removed block", "eth_getBlockByHash", self._block, False)
        await self._ask("logs of a removed block", "eth_getLogs", {"blockHash": self._block})
        strict = {"blockHash": self._block, "requireCanonical": True}
        await self._ask("balance at a removed block", "eth_getBalance", "0x" + "05" * 20, strict)
        await self._mine(1)
        again = await self._ask("receipt again", "eth_getTransactionReceipt", self._sent)
        assert again["blockHash"] != self._receipt_block
