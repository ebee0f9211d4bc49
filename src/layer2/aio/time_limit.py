"""Time limits of blocks, with a typed error or without an error."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from layer2.errors import Layer2Error

__all__ = ["time_limit"]


@asynccontextmanager
async def time_limit(
    limit: asyncio.Timeout, error: Callable[[], Layer2Error] | None = None
) -> AsyncIterator[asyncio.Timeout]:
    """End the block when the limit expires. Every other error leaves the block unchanged, also other time-outs.

    Args:
        limit: from ``asyncio.timeout`` or ``asyncio.timeout_at``.
        error: makes the error to raise, with the cause that it has; None ends the block without an error.
    """
    try:
        async with limit:
            yield limit
    except TimeoutError as raised:
        if isinstance(raised, Layer2Error) or not limit.expired():
            raise
        if error is not None:
            made = error()
            raise made from made.__cause__
