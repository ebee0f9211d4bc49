"""Cancels one call in ten at a random moment, and measures stalls, slowdowns and leaks.

web3.py, with a session that keeps its connections, runs under the same load in a separate process, because it may
hang (its issue 3867).
"""

from __future__ import annotations

import asyncio
import itertools
import random
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from figures import Figure, alone, faster, within
from load.holdings import Holdings, resident
from load.leftovers import left_behind
from load.rounds import progress
from load.storm import CHANCE, CONCURRENCY, SEED, Storm

from evm_client.network import Bench, Effort, opened
from layer2.model.transactions import EvmTxId

__all__ = ["measure_cancellations", "measure_soak"]

STALL_AIM = 1.0
THROUGHPUT_AIM = 0.8
"""As a share of the rate without cancellation."""
SLICES = 5
"""The number of intervals into which the time is divided, with and without cancellations in turn."""
WEB3_SECONDS = 60.0
WEB3_SILENCE = 10.0
"""Seconds after which web3.py's process counts as stuck."""
SOAK_WARM_UP = 60.0
SOAK_AIM = 2.0
"""The allowed growth of memory in ten minutes, in MiB."""


async def measure_cancellations(bench: Bench, effort: Effort) -> list[Figure]:
    """Rates with and without cancellations, the longest stall and the leaks, and the same for web3.py."""
    tx_ids = await bench.full_block(100)
    found: list[Figure] = []
    before = Holdings.now()
    async with opened(bench.network, bench.directory / "cancellations.sqlite") as bob:
        numbers = random.Random(SEED)  # noqa: S311  # a repeatable load, no secret
        calm = Storm(bob.get_transaction_status_async, tx_ids, 0.0, 0.0, numbers)
        rate = await calm.run(min(1.0, effort.storm_seconds / 10))
        # A cancellation may come at any time during a call.
        storm = Storm(bob.get_transaction_status_async, tx_ids, CHANCE, CONCURRENCY / rate, numbers)
        rates: dict[str, list[float]] = {"calm": [], "storm": []}
        quiet = Holdings.now()
        for _ in range(SLICES):
            rates["calm"].append(await calm.run(effort.storm_seconds / SLICES / 4))
            rates["storm"].append(await storm.run(effort.storm_seconds / SLICES))
        await asyncio.sleep(0)
        settled = Holdings.now()
        share = storm.cancelled / (storm.cancelled + storm.done)
    after = Holdings.now()
    medians = {name: statistics.median(each) for name, each in rates.items()}
    what = f"{effort.storm_seconds:g} s at concurrency {CONCURRENCY}, {share:.1%} cancelled"
    found.append(
        faster(
            f"{what}: answered, against none cancelled",
            "statuses/s",
            medians["storm"],
            medians["calm"],
            aim=THROUGHPUT_AIM,
        )
    )
    silence, note = await _web3(bench, tx_ids, min(WEB3_SECONDS, effort.storm_seconds))
    name = f"{what}: longest stall, against web3.py with a kept session ({note})"
    found.append(within(name, "s", storm.slowest, peer=silence, aim=STALL_AIM))
    return found + left_behind(what, before, quiet, settled, after)


async def _web3(bench: Bench, tx_ids: Sequence[EvmTxId], seconds: float) -> tuple[float, str]:
    """The longest stall of web3.py under the same load in seconds, and how the run ended."""
    ids = bench.directory / "tx-ids"
    ids.write_text("\n".join(tx_ids))
    program = Path(__file__).parent / "web3_storm.py"
    limit = min(WEB3_SILENCE, seconds)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(program),
        bench.url,
        str(ids),
        str(seconds),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    if process.stdout is None:
        raise RuntimeError("no pipe")
    began = time.perf_counter()
    slowest = 0.0
    try:
        while True:
            # It writes its first line when web3.py has been imported.
            line = await asyncio.wait_for(process.stdout.readline(), limit + 10 * (slowest == 0))
            if not line:
                break
            slowest = max(slowest, float(line))
    except TimeoutError:
        process.kill()
        await process.wait()
        lived = time.perf_counter() - began - limit
        return limit, f"stalled after {lived:.0f} s, ended {limit:g} s later"
    if await process.wait() != 0:
        return slowest, "it failed"
    return slowest, "it finished"


async def measure_soak(bench: Bench, effort: Effort) -> list[Figure]:
    """Run the same load for ten minutes and measure memory after the first minute. Only with ``SOAK=1``."""
    if not effort.soak_seconds:
        return []
    tx_ids = await bench.full_block(100)
    samples: list[tuple[float, int]] = []
    async with opened(bench.network, bench.directory / "soak.sqlite") as bob:
        numbers = random.Random(SEED)  # noqa: S311  # a repeatable load, no secret
        calm = Storm(bob.get_transaction_status_async, tx_ids, 0.0, 0.0, numbers)
        rate = await calm.run(SOAK_WARM_UP / 2)
        storm = Storm(bob.get_transaction_status_async, tx_ids, CHANCE, CONCURRENCY / rate, numbers)
        await storm.run(SOAK_WARM_UP / 2)
        start = time.perf_counter()
        for step in itertools.count(1):
            if (passed := time.perf_counter() - start) >= effort.soak_seconds:
                break
            samples.append((passed, resident()))
            await storm.run(min(5.0, effort.soak_seconds - passed))
            if step % 12 == 0:
                progress(f"soak: {passed:.0f} s, {samples[-1][1] / 2**20:.1f} MiB")
    slope = statistics.linear_regression([at for at, _ in samples], [size for _, size in samples]).slope
    what = f"{effort.soak_seconds / 60:g} minutes at concurrency {CONCURRENCY}, one call in ten cancelled"
    return [
        within(f"{what}: growth of memory", "MiB", slope * effort.soak_seconds / 2**20, aim=SOAK_AIM),
        alone(f"{what}: memory in the end", "MiB", samples[-1][1] / 2**20),
        alone(f"{what}: answered", "statuses", storm.done),
    ]
