"""Waits that an event can end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from layer2.errors import TaskCancelled

__all__ = ["cancellable"]

R = TypeVar("R")


async def cancellable(awaitable: Awaitable[R], event: asyncio.Event) -> R:
    """Await something, or stop when the event is set.

    Returns:
        The awaitable's result, also if both happen at once.

    Raises:
        TaskCancelled: the event was set first. The awaitable was cancelled; anything that it had sent continues.
        asyncio.CancelledError: the caller itself was cancelled.
    """
    work = asyncio.ensure_future(awaitable)
    stop = asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait((work, stop), return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            work.cancel()
            await asyncio.wait((work,))
        if work.cancelled():
            raise TaskCancelled("the cancel event ended the wait; operations that were sent continue")
        return work.result()
    finally:
        stop.cancel()
        if not work.done():
            work.cancel()
            await asyncio.wait((work,))
