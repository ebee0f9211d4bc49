"""Transaction statuses, ours and the peers', and many at once with one request per block."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import aiohttp
import httpx
import orjson
from eth_typing import HexStr
from figures import Figure, alone, faster
from load.rounds import Round, medians
from web3 import AsyncHTTPProvider, AsyncWeb3

from evm_client import wrk
from evm_client.network import Bench, Effort, at_concurrency
from layer2.model.transactions import EvmTxId, TxState

__all__ = ["kept_web3", "measure_statuses"]

CONCURRENCIES = (1, 10, 100, 1000)
AIMS = {1: 3.0, 100: 20.0}
"""The aim as a multiple of web3.py's rate, by concurrency."""
SHARED_AIM = 60.0
TRANSACTIONS = 200
"""All in one block."""
SHARE = 10
"""The number of statuses per caller if requests are shared."""
UNIT = "statuses/s"

Call = Callable[[EvmTxId], Awaitable[object]]


def _body(tx_id: str) -> bytes:
    return orjson.dumps({"jsonrpc": "2.0", "id": 1, "method": "eth_getTransactionReceipt", "params": [tx_id]})


def _checked(answer: bytes) -> object:
    receipt = orjson.loads(answer)["result"]
    if receipt is None:
        raise SystemExit("a peer received no receipt")
    return receipt


async def kept_web3(url: str, stack: AsyncExitStack) -> AsyncWeb3[Any]:
    """web3.py with a session that keeps its connections. By default it opens one for each request."""
    session = await stack.enter_async_context(
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=100), raise_for_status=True)
    )
    provider = AsyncHTTPProvider(url)
    await provider.cache_async_session(session)
    return AsyncWeb3(provider)


async def _peers(url: str, stack: AsyncExitStack) -> dict[str, Call]:
    """Every peer requests the same receipts, with one request each."""
    default, kept = AsyncWeb3(AsyncHTTPProvider(url)), await kept_web3(url, stack)
    stack.push_async_callback(default.provider.disconnect)
    limits = httpx.Limits(max_connections=100, max_keepalive_connections=100)
    by_httpx = await stack.enter_async_context(httpx.AsyncClient(limits=limits, timeout=60))
    by_aiohttp = await stack.enter_async_context(aiohttp.ClientSession())
    headers = {"Content-Type": "application/json"}

    async def ask_httpx(tx_id: EvmTxId) -> object:
        return _checked((await by_httpx.post(url, content=_body(tx_id), headers=headers)).content)

    async def ask_aiohttp(tx_id: EvmTxId) -> object:
        async with by_aiohttp.post(url, data=_body(tx_id), headers=headers) as response:
            return _checked(await response.read())

    return {
        "web3.py": lambda tx_id: default.eth.get_transaction_receipt(HexStr(tx_id)),
        "web3.py, kept session": lambda tx_id: kept.eth.get_transaction_receipt(HexStr(tx_id)),
        "httpx": ask_httpx,
        "aiohttp": ask_aiohttp,
    }


async def measure_statuses(bench: Bench, effort: Effort) -> list[Figure]:
    """Measure all rows of statuses."""
    tx_ids = await bench.full_block(TRANSACTIONS)
    statuses = await bench.bob.get_transaction_statuses_async(tx_ids)
    if {status.state for status in statuses} - {TxState.INCLUDED, TxState.FINAL}:
        raise SystemExit("a status of a mined transaction is wrong")
    found: list[Figure] = []
    ours: dict[int, float] = {}
    async with AsyncExitStack() as stack:
        calls: dict[str, Call] = {"ours": bench.bob.get_transaction_status_async} | await _peers(bench.url, stack)
        for concurrency in CONCURRENCIES:
            ways: dict[str, Round] = {
                name: partial(at_concurrency, concurrency, effort.seconds, call, tx_ids) for name, call in calls.items()
            }
            if effort.is_quick and concurrency == CONCURRENCIES[-1]:
                # It needs ten seconds for a thousand.
                del ways["httpx"]
            if wrk.installed():
                ways["wrk"] = partial(wrk.reads, bench.directory, bench.url, concurrency, effort.seconds, tx_ids)
            if concurrency == 100:
                ways["shared"] = partial(_shared, bench, tx_ids, concurrency, effort.seconds)
                ways["together"] = partial(_shared, bench, tx_ids, 1, effort.seconds)
            rates = await medians(effort.rounds, ways, are_warm=concurrency != CONCURRENCIES[0])
            ours[concurrency] = rates["ours"]
            found += _rows(concurrency, rates)
    what = f"statuses at concurrency {CONCURRENCIES[-1]}, against ours at 100"
    # Both are medians of the same rounds as above.
    found.append(faster(what, UNIT, ours[1000], ours[100], aim=1))
    return found


def _rows(concurrency: int, rates: dict[str, float]) -> list[Figure]:
    ours = rates["ours"]
    what = f"statuses at concurrency {concurrency}, against"
    rows = [
        faster(f"{what} {name}", UNIT, ours, rates[name], aim=AIMS.get(concurrency) if name == "web3.py" else None)
        for name in ("web3.py", "web3.py, kept session", "httpx", "aiohttp")
        if name in rates
    ]
    if "wrk" in rates:
        rows.append(faster(f"{what} wrk, unbatched", UNIT, ours, rates["wrk"], aim=1 if concurrency == 100 else None))
    else:
        rows.append(alone(f"{what} wrk (not installed)", UNIT, ours))
    if "shared" in rates:
        name = f"{concurrency} callers, each of {SHARE} statuses, one request a block, against web3.py"
        rows.append(faster(name, UNIT, rates["shared"], rates["web3.py"], aim=SHARED_AIM))
        name = f"one caller of {TRANSACTIONS} statuses, one request a block, against web3.py"
        rows.append(faster(name, UNIT, rates["together"], rates["web3.py"]))
    return rows


async def _shared(bench: Bench, tx_ids: Sequence[EvmTxId], concurrency: int, seconds: float) -> float:
    """Statuses per second for callers that each request several at once, all from one block."""
    size = SHARE if concurrency > 1 else len(tx_ids)
    parts = {tx_ids[start]: tx_ids[start : start + size] for start in range(0, len(tx_ids), size)}

    async def call(first: EvmTxId) -> object:
        return await bench.bob.get_transaction_statuses_async(parts[first])

    return size * await at_concurrency(concurrency, seconds, call, list(parts))
