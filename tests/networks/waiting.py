"""Waits for the effects of other processes, with a condition and a deadline instead of a fixed delay."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

__all__ = ["until"]

_LOOK_AGAIN_SECONDS = 0.02


async def until(holds: Callable[[], Awaitable[bool]], what: str, *, seconds: float = 60.0) -> None:
    """Return as soon as the condition holds; fail with its name if it does not hold in time."""
    try:
        async with asyncio.timeout(seconds):
            while not await holds():  # noqa: ASYNC110 - the event is in another process
                await asyncio.sleep(_LOOK_AGAIN_SECONDS)
    except TimeoutError:
        raise AssertionError(f"not within {seconds:g} s: {what}") from None
