"""Waits for events on this event loop, on which the simulated nodes run too. They count iterations, not time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from layer2.protocols.lightning import LightningNetwork
from protocols.lightning.world import World

__all__ = ["SECONDS", "requests_open", "streams_open", "until"]

SECONDS = 10
"""Time limit for events that happen at once, on a machine that may be busy."""


async def until(holds: Callable[[], bool]) -> None:
    """Return when the condition holds."""
    async with asyncio.timeout(SECONDS):
        while not holds():  # noqa: ASYNC110 - the event is in another task
            await asyncio.sleep(0)


async def streams_open(client: LightningNetwork, count: int) -> None:
    """Return when the client has exactly this number of streams."""
    await until(lambda: client.open_streams == count)


async def requests_open(world: World, count: int) -> None:
    """Return when exactly this number of requests wait at the taker's node."""
    async with asyncio.timeout(SECONDS):
        while world.simulation.status()["taker"]["open_requests"] != count:  # noqa: ASYNC110 - the event is in another task
            await asyncio.sleep(0)
