"""A provider whose swaps Temporal workers carry out: the engine of the process that serves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack

from layer2.assembly import JoiningLegs
from layer2.model.layers import Layer2ProtocolType
from layer2.ports.clock import Clock
from layer2.ports.journal import Journal, Role, SwapRecord
from layer2.provider.lifetime import background
from layer2.provider.settings import ProviderSettings
from layer2.swap_engine.turns import Turns
from layer2.workers.connection import Temporal
from layer2.workers.engine import WorkflowEngine

__all__ = ["open_engine"]


async def open_engine(
    settings: ProviderSettings,
    journal: Journal,
    legs: Mapping[Layer2ProtocolType, JoiningLegs],
    clock: Clock,
    on_change: Callable[[SwapRecord], None],
    closing: AsyncExitStack,
) -> WorkflowEngine:
    """Connect to Temporal, and read what the workers write.

    Raises:
        NodeUnreachable: the Temporal server cannot be reached.
    """
    temporal = await Temporal.connect(settings.temporal)
    turns = Turns(journal, legs, None, settings.timelocks, clock, lambda _: None)
    closing.push_async_callback(turns.aclose)
    engine = WorkflowEngine(journal, temporal, turns, on_change)
    closing.push_async_callback(background(engine.keep_reading(Role.PROVIDER)))
    return engine
