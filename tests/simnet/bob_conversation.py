"""A fixed series of calls to a BOB node. Real op-geth's answers are recorded; the simnet's are compared with them.

The sender's key and its transactions are fixed, so hashes, signatures, gas and logs must be equal on both.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp

from layer2.contracts.factory import DETERMINISTIC_FACTORY, deployment_call
from layer2.contracts.test_token import TEST_TOKEN_ADDRESS, TEST_TOKEN_SALT, mint_call
from layer2.contracts.test_token import test_token_init_code as token_init_code
from layer2.formats.evm_abi import encode_call
from layer2.formats.keccak import keccak256
from layer2.local.accounts import LocalAccount
from simnet.bob_client import authorization, signed

__all__ = ["SENDER", "STRANGER", "BobConversation"]

SENDER = LocalAccount.from_seed(b"conversation", "sender")
"""Owns 10 ETH in the first block; no other account owns any."""
STRANGER = LocalAccount.from_seed(b"conversation", "stranger")

_ADDRESS = "0x" + SENDER.address.hex()
_TOKEN = "0x" + TEST_TOKEN_ADDRESS.hex()
_NOWHERE = "0x" + "99" * 32
_BALANCE = "0x" + keccak256((2).to_bytes(32, "big") + SENDER.address.rjust(32, b"\0")).hex()
"""The token's slot with the sender's balance."""
_STRANGER = "0x" + STRANGER.address.hex()
_AUTHORIZATION = authorization(STRANGER, TEST_TOKEN_ADDRESS, 0)
"""The stranger's delegation to the token."""
_ERROR_NO = bytes.fromhex("08c379a0") + b"".join(n.to_bytes(32, "big") for n in (32, 2)) + b"no".ljust(32, b"\0")
_REVERTS_WITH_REASON = "0x6064600c60003960646000fd" + _ERROR_NO.hex()
_PANICS = "0x6024600c60003960246000fd" + "4e487b71" + (17).to_bytes(32, "big").hex()


class BobConversation:
    """Makes each call once, always in the same order.

    Args:
        url: the node's URL; its chain has only the genesis block, and makes no blocks on its own.
        session: the HTTP session, which the caller closes.
        mine: makes the given number of blocks.
        reorganise: replaces the given number of blocks by empty ones.
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
        """Make all calls and return the answers by the name of the call."""
        await self._mine(1)
        await self._of_a_fresh_chain()
        await self._of_the_pool()
        await self._mine(1)
        await self._of_a_block()
        await self._of_places_in_a_block()
        await self._of_storage()
        await self._of_calls()
        await self._of_fields_of_calls()
        await self._of_overrides()
        await self._of_filters()
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
            text = await response.text()
            answer = json.loads(text) if text else None
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
        await self._ask("accounts", "eth_accounts")
        await self._ask("listening", "net_listening")
        await self._ask("peers", "net_peerCount")
        await self._ask("hash", "web3_sha3", "0x1234")
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

    async def _of_places_in_a_block(self) -> None:
        for kind, name, nowhere in (("Number", "0x1", "0x99"), ("Hash", self._block, _NOWHERE)):
            await self._ask(f"uncles by {kind}", f"eth_getUncleCountByBlock{kind}", name)
            await self._ask(f"count by {kind}", f"eth_getBlockTransactionCountBy{kind}", nowhere)
            await self._ask(f"uncles of nothing by {kind}", f"eth_getUncleCountByBlock{kind}", nowhere)
            by_index = f"eth_getTransactionByBlock{kind}AndIndex"
            await self._ask(f"transaction past the end by {kind}", by_index, name, "0x99")
            await self._ask(f"transaction of nothing by {kind}", by_index, nowhere, "0x0")

    async def _of_storage(self) -> None:
        for key in ("0x1", "0x01", "0x" + "1".rjust(64, "0"), "1", "0X1", "0x" + "1" * 65, "0xzz", 1):
            await self._ask(f"slot {key!r}", "eth_getStorageAt", _TOKEN, key, "latest")
        keys = [_BALANCE, "0x1", "0x05", "0x" + "7".rjust(64, "0")]
        await self._ask("proof", "eth_getProof", _TOKEN, keys, "latest")
        await self._ask("proof of no account", "eth_getProof", "0x" + "77" * 20, ["0x0"], "latest")
        await self._ask("proof without a storage", "eth_getProof", _ADDRESS, ["0x0"], "latest")
        await self._ask("proof without keys", "eth_getProof", _TOKEN, [], self._block)
        await self._ask("proof of long key", "eth_getProof", _TOKEN, ["0x" + "1" * 65], "latest")
        await self._ask("proof of many keys", "eth_getProof", _TOKEN, ["0x1"] * 1025, "latest")
        await self._ask("proof at no height", "eth_getProof", _TOKEN, ["0x1"], "0x99")

    async def _of_fields_of_calls(self) -> None:
        coin = {"to": "0x" + "05" * 20, "from": _ADDRESS, "value": "0x1"}
        token = {"to": _TOKEN, "from": _ADDRESS, "data": "0x" + encode_call("decimals()").hex()}
        access_list = [{"address": _TOKEN, "storageKeys": ["0x" + "1".rjust(64, "0")]}]
        for name, message in {
            "access list": coin | {"accessList": access_list},
            "little gas for an access list": coin | {"accessList": access_list, "gas": "0x5208"},
            "access list of a token": token | {"accessList": access_list},
            "own chain": coin | {"chainId": hex(60808), "nonce": "0x63"},
            "other chain": coin | {"chainId": "0x1"},
            "two kinds of price": coin | {"gasPrice": "0x1", "maxFeePerGas": "0x1"},
            "dear": coin | {"maxFeePerGas": hex(10**15)},
            "much coin at a price": coin | {"maxFeePerGas": "0x1", "value": hex(10**19)},
            "much data": coin | {"data": "0x" + "01" * 1000},
            "little gas for much data": coin | {"data": "0x" + "01" * 1000, "gas": hex(40_000)},
            "no authorization": token | {"authorizationList": []},
            "authorization of nothing": {"data": "0x00", "authorizationList": [_AUTHORIZATION]},
            "authorization": {"to": _STRANGER, "data": token["data"], "authorizationList": [_AUTHORIZATION]},
        }.items():
            await self._ask(f"call: {name}", "eth_call", message, "latest")
            await self._ask(f"estimate: {name}", "eth_estimateGas", message)
        await self._ask("call at null", "eth_call", token, None)

    async def _of_overrides(self) -> None:
        poor = {"from": "0x" + STRANGER.address.hex(), "to": "0x" + "05" * 20, "value": "0x1"}
        reading = {"to": _TOKEN, "data": "0x" + encode_call("balanceOf(address)", SENDER.address).hex()}
        one = "0x" + "1".rjust(64, "0")
        for name, message, overrides in (
            ("balance", poor, {poor["from"]: {"balance": "0x1"}}),
            ("code", reading, {_TOKEN: {"code": "0x60015f5260205ff3"}}),
            ("part of the storage", reading, {_TOKEN: {"stateDiff": {_BALANCE: one}}}),
            ("other part of the storage", reading, {_TOKEN: {"stateDiff": {one: one}}}),
            ("whole storage", reading, {_TOKEN: {"state": {one: one}}}),
            ("both", reading, {_TOKEN: {"state": {}, "stateDiff": {}}}),
            ("nothing", reading, {}),
            ("null", reading, None),
        ):
            await self._ask(f"call overriding {name}", "eth_call", message, "latest", overrides)
            await self._ask(f"estimate overriding {name}", "eth_estimateGas", message, "latest", overrides)

    async def _of_filters(self) -> None:
        criteria = {"address": _TOKEN, "fromBlock": "0x0"}
        self._logs_filter = await self._ask("filter for logs", "eth_newFilter", criteria)
        blocks = await self._ask("filter for blocks", "eth_newBlockFilter")
        arrivals = await self._ask("filter for transactions", "eth_newPendingTransactionFilter")
        await self._ask("no new logs", "eth_getFilterChanges", self._logs_filter)
        await self._ask("logs of the filter", "eth_getFilterLogs", self._logs_filter)
        await self._ask("logs of a filter for blocks", "eth_getFilterLogs", blocks)
        await self._ask("no new transactions", "eth_getFilterChanges", arrivals)
        await self._ask("filter removed", "eth_uninstallFilter", blocks)
        await self._ask("filter removed again", "eth_uninstallFilter", blocks)
        await self._ask("changes of a removed filter", "eth_getFilterChanges", blocks)
        for name, wrong in {
            "backwards": {"fromBlock": "0x2", "toBlock": "0x1"},
            "from latest": {"fromBlock": "latest", "toBlock": "0x1"},
            "of pending": {"fromBlock": "pending"},
            "from safe": {"fromBlock": "safe"},
            "with many topics": {"topics": [None] * 5},
        }.items():
            await self._ask(f"filter {name}", "eth_newFilter", wrong)

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
        await self._post("notification", call)
        await self._post("notification of nothing", call | {"method": "eth_nothing"})
        await self._post("batch of notifications", [call, call])
        await self._post("batch with a notification", [call, call | {"id": 1}])
        await self._post("id of null", call | {"id": None})
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
        await self._ask("changed logs", "eth_getFilterChanges", self._logs_filter)
        again = await self._ask("receipt again", "eth_getTransactionReceipt", self._sent)
        assert again["blockHash"] != self._receipt_block
