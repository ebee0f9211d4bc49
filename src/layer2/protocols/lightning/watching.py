"""Waiting for a node's next word about an invoice or a payment, and not for ever."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import TypeVar

from layer2.errors import NodeRefused
from layer2.protocols.lightning.lnd.rest import NOT_FOUND

__all__ = ["wait_for_news"]

Record = TypeVar("Record")


async def wait_for_news(
    states: AbstractAsyncContextManager[AsyncIterator[Record]], is_news: Callable[[Record], bool], seconds: float
) -> None:
    """Return when a state comes that is news, and after ``seconds`` in any case.

    Args:
        states: a stream that begins with the present state.

    Raises:
        NodeError: the node cannot be asked.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    try:
        async with asyncio.timeout_at(until), states as records:
            async for record in records:
                if is_news(record):
                    return
    except TimeoutError:
        return
    except NodeRefused as refused:
        if refused.node_code != NOT_FOUND:
            raise
    # The stream has no more to say (there is no such payment, or its state is final): the rest only time shows.
    await asyncio.sleep(until - loop.time())
