"""Bitcoin blocks while an example runs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import aiohttp

from layer2.local.network import LocalNetworkControl
from networks.mining import BitcoinMiner

__all__ = ["bitcoin_blocks"]


@contextmanager
def bitcoin_blocks(control_url: str) -> Iterator[None]:
    """Mine what waits in the mempool until it is final, in a thread: an example has an event loop of its own."""
    started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def mine() -> None:
        ended = asyncio.Event()
        async with aiohttp.ClientSession() as session:
            miner = BitcoinMiner(LocalNetworkControl(control_url, session))
            async with miner.running(), miner.quick_finality():
                started.set_result((asyncio.get_running_loop(), ended))
                await ended.wait()

    with ThreadPoolExecutor(max_workers=1) as pool:
        mining = pool.submit(asyncio.run, mine())
        loop, ended = started.result(timeout=10)
        try:
            yield
        finally:
            loop.call_soon_threadsafe(ended.set)
        mining.result(timeout=30)
