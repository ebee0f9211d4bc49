"""web3.py under cancelled calls. It is a separate program, because it may hang and have to be killed.

Arguments: the node's URL, a file of transaction ids, the seconds, the longest wait before a cancellation. It
writes the longest stall so far, in seconds, twice a second. If it stops writing, the process is stuck.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections.abc import Awaitable
from contextlib import AsyncExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from eth_typing import HexStr
from load.storm import CHANCE, CONCURRENCY, SEED, Storm

from evm_client.statuses import kept_web3
from layer2.model.transactions import EvmTxId


async def main(url: str, tx_ids: list[EvmTxId], seconds: float) -> None:
    async with AsyncExitStack() as stack:
        web3 = await kept_web3(url, stack)

        def call(tx_id: EvmTxId) -> Awaitable[object]:
            return web3.eth.get_transaction_receipt(HexStr(tx_id))

        numbers = random.Random(SEED)  # noqa: S311  # a repeatable load, no secret
        rate = await Storm(call, tx_ids, 0.0, 0.0, numbers).run(1.0)
        storm = Storm(call, tx_ids, CHANCE, CONCURRENCY / rate, numbers)
        running = asyncio.ensure_future(storm.run(seconds))
        while not running.done():
            print(max(storm.slowest, time.perf_counter() - storm.last, 0.001), flush=True)
            await asyncio.wait([running], timeout=0.5)
        await running
        print(storm.slowest, flush=True)


if __name__ == "__main__":
    lines = Path(sys.argv[2]).read_text().splitlines()
    asyncio.run(main(sys.argv[1], [EvmTxId(line) for line in lines], float(sys.argv[3])))
