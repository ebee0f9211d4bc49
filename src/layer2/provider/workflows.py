"""A provider whose swaps Temporal workers carry out: the engine of the process that serves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack

import structlog

from layer2.aio.background import background
from layer2.assembly import JoiningLegs
from layer2.errors import Layer2Error
from layer2.model.layers import Layer2ProtocolType
from layer2.ports.clock import Clock
from layer2.ports.journal import Journal, Role, SwapRecord
from layer2.provider.settings import ProviderSettings
from layer2.provider.swap_book import SwapBook
from layer2.swap_engine.turns import Turns
from layer2.workers.connection import Temporal
from layer2.workers.engine import READ_SECONDS, WorkflowEngine

__all__ = ["open_engine"]

LOG = structlog.get_logger("layer2.provider")


async def open_engine(
    settings: ProviderSettings,
    journal: Journal,
    legs: Mapping[Layer2ProtocolType, JoiningLegs],
    clock: Clock,
    book: SwapBook,
    on_change: Callable[[SwapRecord], None],
    closing: AsyncExitStack,
) -> WorkflowEngine:
    """Connect to Temporal, and read what the workers and other front ends write.

    Raises:
        NodeUnreachable: the Temporal server cannot be reached.
    """
    temporal = await Temporal.connect(settings.temporal)
    turns = Turns(journal, legs, None, settings.timelocks, clock, lambda _: None)
    closing.push_async_callback(turns.aclose)
    engine = WorkflowEngine(journal, temporal, turns, on_change)
    closing.push_async_callback(background(_keep_reading(engine, book, journal, clock), "versions"))
    return engine


async def _keep_reading(engine: WorkflowEngine, book: SwapBook, journal: Journal, clock: Clock) -> None:
    """Read what workers and other front ends have written, until cancelled."""
    while True:
        began = clock.now()
        try:
            # An acceptance reads the same, and then has few swaps to read.
            await book.read_others(journal)
            await engine.read(Role.PROVIDER)
        except Layer2Error as error:
            LOG.warning("journal_unreadable", error=str(error))
        else:
            book.note_read(began)
        await asyncio.sleep(READ_SECONDS)
