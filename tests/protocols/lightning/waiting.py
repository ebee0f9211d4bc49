"""Waiting for what happens on this very loop, on which the simulated nodes run too: turns of the loop, never time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from layer2.protocols.lightning import LightningNetwork
from protocols.lightning.world import World

__all__ = ["SECONDS", "requests_open", "streams_open", "until"]

SECONDS = 10
"""For what comes at once, on a machine that may be busy."""


async def until(holds: Callable[[], bool]) -> None:
    """Return as soon as it holds."""
    async with asyncio.timeout(SECONDS):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0)


async def streams_open(client: LightningNetwork, count: int) -> None:
    """Return when the client has exactly so many streams."""
    await until(lambda: client.open_streams == count)


async def requests_open(world: World, count: int) -> None:
    """Return when the taker's node has exactly so many requests that wait."""
    async with asyncio.timeout(SECONDS):
        while (await world.simulation.status())["nodes"]["taker"]["open_requests"] != count:  # noqa: ASYNC110
            await asyncio.sleep(0)
