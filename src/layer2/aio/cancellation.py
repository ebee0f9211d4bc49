"""Waiting for something unless an event says to stop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from layer2.errors import TaskCancelled

__all__ = ["cancellable"]

R = TypeVar("R")


async def cancellable(awaitable: Awaitable[R], event: asyncio.Event) -> R:
    """Await something, or stop waiting when the event is set.

    Returns:
        The awaitable's result, also where both happened at once.

    Raises:
        TaskCancelled: the event came first. The call was cancelled; what it had sent by then goes on.
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
            raise TaskCancelled("the wait was ended by its event; what had been sent goes on")
        return work.result()
    finally:
        stop.cancel()
        if not work.done():
            work.cancel()
            await asyncio.wait((work,))
