"""The memory of calls that wait for the node."""

from __future__ import annotations

import asyncio
import gc

from figures import Figure, alone
from load.holdings import resident

from evm_client.network import Bench, Effort

__all__ = ["measure_memory"]

IN_FLIGHT = 10_000


async def measure_memory(bench: Bench, effort: Effort) -> list[Figure]:
    """Measure memory. Run this first, while the process has no freed memory to reuse."""
    del effort
    tx_ids = await bench.full_block(100)
    gc.collect()
    before = most = resident()
    calls = [
        asyncio.ensure_future(bench.bob.get_transaction_status_async(tx_ids[number % len(tx_ids)]))
        for number in range(IN_FLIGHT)
    ]
    waiting = asyncio.gather(*calls)
    while not waiting.done():
        most = max(most, resident())
        await asyncio.sleep(0.005)
    await waiting
    what = f"memory for {IN_FLIGHT:,} statuses in flight"
    return [
        alone(what, "MiB", (most - before) / 2**20),
        alone(f"{what}, each", "bytes", (most - before) / IN_FLIGHT),
    ]
