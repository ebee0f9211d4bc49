"""Bitcoin of an account on a chain whose coin also pays gas: its balance, and the fees that it has paid so far."""

from __future__ import annotations

from typing import Any

import aiohttp

from layer2.protocols.rootstock import RootstockClient

__all__ = ["coins_and_fees", "coins_of"]

_SAT = 10**10
"""Wei in a satoshi."""

_paid: dict[tuple[str, str], dict[str, int]] = {}
"""By node and block: the fees that each account has paid in the chain up to the block."""


async def coins_of(client: RootstockClient) -> tuple[int, int]:
    """``coins_and_fees`` of a client's account at its node's newest block."""
    return await coins_and_fees(client.settings.rpc_url, await client.receive_address_async())


async def coins_and_fees(url: str, account: str, block_name: str = "latest") -> tuple[int, int]:
    """The account's satoshi after a block as if it had never paid fees, and the fees that it has paid, in wei.

    Args:
        url: of the chain's node.
        account: its address.
        block_name: the block's height, or the newest one.
    """
    account = account.lower()
    async with aiohttp.ClientSession() as session:
        newest = await _call(session, url, "eth_getBlockByNumber", block_name, True)
        branch, block = [], newest
        while (url, block["hash"]) not in _paid and int(block["number"], 16):
            branch.append(block)
            block = await _call(session, url, "eth_getBlockByHash", block["parentHash"], True)
        paid = _paid.setdefault((url, block["hash"]), {})
        for block in reversed(branch):
            paid = paid.copy()
            for transaction in block["transactions"]:
                payer, receipt = transaction["from"].lower(), None
                if int(transaction["gasPrice"], 16):
                    receipt = await _call(session, url, "eth_getTransactionReceipt", transaction["hash"])
                if receipt is not None:
                    fee = int(receipt["gasUsed"], 16) * int(receipt["effectiveGasPrice"], 16)
                    paid[payer] = paid.get(payer, 0) + fee
            _paid[url, block["hash"]] = paid
        balance = int(await _call(session, url, "eth_getBalance", account, newest["number"]), 16)
    fees = paid.get(account, 0)
    return (balance + fees) // _SAT, fees


async def _call(session: aiohttp.ClientSession, url: str, method: str, *arguments: object) -> Any:
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(arguments)}
    async with session.post(url, json=body) as response:
        answer = await response.json()
    if answer.get("result") is None:
        raise aiohttp.ClientError(f"{method}: {answer}")
    return answer["result"]
