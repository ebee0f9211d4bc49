"""The time from the end of the process that acts on a journal until a standby acts, on PostgreSQL."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator
from typing import Final

from figures import Figure, within

from layer2.errors import JournalBusy
from layer2.journal.sql_journal import SqlJournal
from postgres_server import Server

__all__ = ["measure_take_over"]

_AIMS: Final = {signal.SIGKILL: 5.0, signal.SIGSTOP: 30.0}
_TRY_SECONDS: Final = 1.0
"""As a provider that stands by."""
_ACTING: Final = """
import asyncio, sys
from layer2.journal.sql_journal import SqlJournal

async def main():
    journal = await SqlJournal.open(sys.argv[1])
    await journal.act()
    print("acting", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def measure_take_over(server: Server, rounds: int) -> AsyncIterator[Figure]:
    """The longest of some rounds, for each way to end."""
    for number, aim in _AIMS.items():
        seconds = [await _take_over(await server.journal(), number) for _ in range(rounds)]
        yield within(f"a standby acts after {number.name} of the active process", "s", max(seconds), aim=aim)


async def _take_over(url: str, number: signal.Signals) -> float:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", _ACTING, url, stdout=asyncio.subprocess.PIPE)
    standby = await SqlJournal.open(url)
    try:
        assert process.stdout is not None
        await process.stdout.readline()
        process.send_signal(number)
        began = time.perf_counter()
        while True:
            try:
                await standby.act()
                return time.perf_counter() - began
            except JournalBusy:
                await asyncio.sleep(_TRY_SECONDS)
    finally:
        # SIGKILL has ended it already, and asyncio refuses to signal a process that it has reaped.
        if process.returncode is None:
            process.kill()
        await process.wait()
        await standby.aclose()
