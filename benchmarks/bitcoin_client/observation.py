"""How long after a block the client shows what the block did to one of many watched outputs."""

from __future__ import annotations

import asyncio
import os
import statistics
import time

from figures import Figure, within

from bitcoin_client.network import Bench, Effort
from layer2.formats import segwit_address
from layer2.protocols.bitcoin.chain.follower import ChainFollower
from layer2.protocols.bitcoin.requests import BitcoinOutput, BitcoinPayment
from layer2.protocols.bitcoin.source.opening import open_source

__all__ = ["measure_observation"]

AIM = 1.0
SATOSHI = 20_000
POLL = 0.2
REGTEST = (1 << 255) - 1
"""The highest target of a block."""


async def measure_observation(bench: Bench, effort: Effort) -> list[Figure]:
    """Measure from the answer of the command that makes a block until the follower shows the payment in it."""
    source = open_source(bench.taker.settings)
    follower = ChainFollower(source, POLL, REGTEST)
    scripts = [segwit_address.script_hash_program(os.urandom(32)) for _ in range(effort.outputs)]
    state = await follower.read()
    for script in scripts:
        follower.watch(script, state.tip.height + 1)
    await follower.read()
    taken = []
    for script in scripts[: effort.blocks]:
        address = segwit_address.encode_script("bcrt", script)
        await bench.provider.submit_transaction_async(BitcoinPayment((BitcoinOutput(address, SATOSHI),)))
        seen = asyncio.create_task(_confirmed(follower, script))
        await bench.control.mine_bitcoin(1)
        began = time.perf_counter()
        await seen
        taken.append(time.perf_counter() - began)
    await follower.aclose()
    await source.aclose()
    what = f"from a block to the observation of its payment, {effort.outputs:,} watched outputs, polled every {POLL} s"
    return [
        within(f"{what}, median", "s", statistics.median(taken), aim=AIM),
        within(f"{what}, worst of {effort.blocks}", "s", max(taken)),
    ]


async def _confirmed(follower: ChainFollower, script: bytes) -> None:
    while True:
        await follower.read()
        if any(each.block is not None for each in follower.located(script)):
            return
        await asyncio.sleep(POLL)
