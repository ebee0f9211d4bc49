"""The lifetime of a provider or a worker as a process: signals, the wait for the journal, the ready file."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import structlog

from layer2.aio.process_end import ending_with
from layer2.errors import JournalError
from layer2.legs.timelock_settings import TimelockSettings
from layer2.ports.journal import Journal, SwapRecord
from layer2.provider.logs import utc
from layer2.swap_engine.records import outlook_of

__all__ = [
    "announced",
    "change_log",
    "forget",
    "is_active",
    "signalled",
    "spare_collections",
    "stopped_or_replaced",
]

_STAND_BY_SECONDS = 1.0
"""Between two tries to take over."""
_NEVER_ACTS = ("register_missing", "register_of_another")
"""Waiting does not help: an operator has to learn this now, and not when the other process ends."""
_YOUNG_OBJECTS = 20_000
"""New objects between two searches for cycles; Python's default is 700."""
_STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def spare_collections() -> None:
    """Search for cycles of objects less often, and not among those that exist now, which are mostly modules.

    Otherwise these searches take about a tenth of the process's time.
    """
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS, 10, 10)


@contextlib.contextmanager
def signalled(parent: int | None) -> Iterator[asyncio.Event]:
    """An event that SIGTERM, SIGINT, SIGHUP and the end of the parent process set while the block runs."""
    loop, stopping = asyncio.get_running_loop(), asyncio.Event()
    for number in _STOPPING:
        loop.add_signal_handler(number, stopping.set)
    try:
        with ending_with(parent, stopping.set):
            yield stopping
    finally:
        for number in _STOPPING:
            loop.remove_signal_handler(number)


async def is_active(
    journal: Journal, stopping: asyncio.Event, log: structlog.stdlib.BoundLogger, *, shared: bool = False
) -> bool:
    """Wait until this process acts on the journal; return False if it has to stop before.

    Raises:
        ConfigurationError: it shares the journal, which has a register or is a SQLite file.
        JournalError: it can never act, because it lacks the journal's register.
    """
    shown = None
    while not stopping.is_set():
        try:
            await journal.act(shared=shared)
        except JournalError as error:
            if error.code in _NEVER_ACTS:
                raise
            # Another process acts, or the server is down: it may restart, or another server take its place.
            if error.message != shown:
                shown = error.message
                log.info("standing_by", reason=shown)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_STAND_BY_SECONDS):
                    await stopping.wait()
        else:
            return True
    return False


async def stopped_or_replaced(stopping: asyncio.Event, journal: Journal) -> None:
    """Wait for a signal.

    Raises:
        JournalError: this process cannot act any longer: another one has taken over, or the database continues with an
            old copy.
    """
    stopped, replaced = asyncio.ensure_future(stopping.wait()), asyncio.ensure_future(journal.replaced())
    try:
        await asyncio.wait((stopped, replaced), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in (stopped, replaced):
            each.cancel()
        await asyncio.gather(stopped, replaced, return_exceptions=True)
    if not stopping.is_set():
        raise replaced.result()


def change_log(log: structlog.stdlib.BoundLogger, rules: TimelockSettings) -> Callable[[SwapRecord], None]:
    """Log each version of a record."""

    def changed(record: SwapRecord) -> None:
        outlook = outlook_of(record, rules)
        log.info(
            "swap_changed",
            swap_id=record.swap_id,
            state=record.state.get("state"),
            version=record.version,
            deadline=outlook.deadline,
            deadline_utc=utc(outlook.deadline),
            funds=outlook.funds,
        )
        if record.attention is not None:
            log.error("swap_needs_attention", swap_id=record.swap_id, reason=record.attention)

    return changed


def forget(ready_file: Path | None) -> None:
    """Remove the ready file of an earlier process that was killed."""
    if ready_file is not None:
        ready_file.unlink(missing_ok=True)


@contextlib.contextmanager
def announced(path: Path | None, ready: dict[str, object]) -> Iterator[None]:
    """Keep the ready file while the block runs. It appears complete, because a reader may open it immediately."""
    if path is None:
        yield
        return
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(ready))
    partial.replace(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
