"""100,000 swaps that sleep: the time to load them from SQLite and from PostgreSQL, and their memory in a provider's
runner.

Every swap is funded on both sides, from BOB to Rootstock, and waits for its taker. The nodes are in memory, so nothing
but this library and the database is measured. It starts a PostgreSQL server of its own. ``QUICK=1`` takes 10,000.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final

from figures import Figure, alone, machine, show, within
from load.holdings import resident
from load.rounds import progress
from sleeping_swaps import journal_rows
from sleeping_swaps.quiet_layers import QuietLocks

from layer2.contracts.htlc import HTLC_ADDRESS
from layer2.formats.evm_address import to_checksum
from layer2.journal.sql_journal import SqlJournal
from layer2.legs.timelock_settings import REGTEST
from layer2.model.layers import Layer2ProtocolType
from layer2.model.transactions import SwapId
from layer2.ports.clock import SystemClock
from layer2.ports.journal import Role
from layer2.protocols.bob import BobSettings
from layer2.protocols.rootstock import RootstockSettings
from layer2.swap_engine.runner import SwapRunner
from postgres_server import Server

_ACCOUNT: Final = b"\x0b" * 20
_AIMED_AT: Final = 100_000
_MEGABYTE: Final = 1_000_000
_AIM_MEGABYTES: Final = 60.0
_AIM_SECONDS: Final = 15.0
_AIM_SECONDS_ON_A_SERVER: Final = 45.0
_URL: Final = "http://127.0.0.1:1"


def _layers() -> dict[Layer2ProtocolType, QuietLocks]:
    bob = BobSettings(
        network="regtest",
        rpc_url=_URL,
        token_address=to_checksum(journal_rows.TOKEN, 60_808),
        token_decimals=8,
        log_search_blocks=1_000,
    )
    rootstock = RootstockSettings(
        network="regtest",
        rpc_url=_URL,
        chain_id=33,
        contract_address=to_checksum(HTLC_ADDRESS, 33),
        log_search_blocks=1_000,
    )
    return {
        layer: QuietLocks(layer, settings, _ACCOUNT)
        for layer, settings in ((Layer2ProtocolType.BOB, bob), (Layer2ProtocolType.ROOTSTOCK, rootstock))
    }


def _grown(before: int) -> float:
    gc.collect()
    return (resident() - before) / _MEGABYTE


async def _until(holds: Callable[[], bool]) -> None:
    while not holds():  # noqa: ASYNC110 - what it waits for is in other tasks
        await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def _opened(place: str) -> AsyncIterator[tuple[SqlJournal, SwapRunner]]:
    """A journal, and a runner on two layers."""
    journal, layers = await SqlJournal.open(place), _layers()
    runner = SwapRunner(journal, layers, None, REGTEST, SystemClock())
    try:
        yield journal, runner
    finally:
        await runner.aclose()
        for layer in layers.values():
            await layer.aclose()
        await journal.aclose()


async def _seconds_to_load(runner: SwapRunner, count: int) -> float:
    began = time.perf_counter()
    resumed = await runner.resume((Role.PROVIDER,))
    loaded = time.perf_counter() - began
    assert len(resumed) == count
    return loaded


async def measure(place: str, count: int) -> list[Figure]:
    """Measure one start, and the memory when every swap sleeps."""
    async with _opened(place) as (journal, runner):
        # The first swap imports and creates what is made once, which an idle provider has.
        first = await journal.load(SwapId(f"{1:032x}"))
        assert first is not None
        runner.drive(first)
        await asyncio.sleep(1)
        gc.collect()
        before = resident()
        loaded = await _seconds_to_load(runner, count)
        del first
        memory_loaded = _grown(before)
        began, used = time.perf_counter(), time.process_time()
        await _until(lambda: runner.awake <= 1)
        turned, used = time.perf_counter() - began, time.process_time() - used
        memory = _grown(before)
        used_asleep = time.process_time()
        await asyncio.sleep(20)
        used_asleep = time.process_time() - used_asleep
    is_aimed = count == _AIMED_AT
    what = f"{count:,} sleeping swaps"
    return [
        within(f"{what}: loaded by resume()", "s", loaded, aim=_AIM_SECONDS if is_aimed else None),
        within(f"{what}: memory over an idle runner", "MB", memory, aim=_AIM_MEGABYTES if is_aimed else None),
        alone(f"{what}: memory, each", "bytes", memory * _MEGABYTE / count),
        alone(f"{what}: memory when they are loaded and had no turn yet", "MB", memory_loaded),
        alone(f"{what}: from then until each has had its first turn", "s", turned),
        alone("processor time of a first turn", "ms", used * 1_000 / count),
        alone(f"{what}: processor time while nothing happens", "% of a core", used_asleep / 20 * 100),
    ]


async def measure_load(place: str, count: int) -> Figure:
    """Measure how long a start reads the swaps from a PostgreSQL server."""
    async with _opened(place) as (_, runner):
        loaded = await _seconds_to_load(runner, count)
    aim = _AIM_SECONDS_ON_A_SERVER if count == _AIMED_AT else None
    return within(f"{count:,} sleeping swaps: loaded by resume() from PostgreSQL", "s", loaded, aim=aim)


def _write(place: str, count: int) -> None:
    subprocess.run([sys.executable, journal_rows.__file__, place, str(count)], check=True)  # noqa: S603  # ours


def main() -> None:
    count = 10_000 if os.environ.get("QUICK") == "1" else _AIMED_AT
    with tempfile.TemporaryDirectory(prefix="layer2-bench-") as directory:
        path = str(Path(directory) / "journal.sqlite")
        progress("the journal in SQLite ...")
        _write(path, count)
        progress("sleeping swaps ...")
        found = asyncio.run(measure(path, count))
    progress("the journal on PostgreSQL ...")
    server = Server()
    try:
        url = server.create()
        _write(url, count)
        found.append(asyncio.run(measure_load(url, count)))
    finally:
        server.close()
    load = ", ".join(f"{number:.1f}" for number in os.getloadavg())
    show(f"{machine('SQLAlchemy', 'psycopg')}; load {load} (1, 5 and 15 minutes)", found)


if __name__ == "__main__":
    main()
