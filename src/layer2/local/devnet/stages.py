"""Stages of a network's start: waits that go on together, each with a limit and an error that names it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine, Iterator
from typing import Any

from layer2.errors import NodeUnreachable

__all__ = ["deadline", "first_failure", "together"]

_STAGE_SECONDS = 60.0


async def together(*waits: Coroutine[Any, Any, None]) -> None:
    """Wait for all, and for none any longer when one fails; its error is the one that counts."""
    with first_failure():
        async with asyncio.TaskGroup() as tasks:
            for wait in waits:
                tasks.create_task(wait)


@contextlib.contextmanager
def first_failure() -> Iterator[None]:
    """Let the first error of a task group stand for the group: the others come from its end."""
    try:
        yield
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from failures


@contextlib.asynccontextmanager
async def deadline(what: str, seconds: float = _STAGE_SECONDS) -> AsyncIterator[None]:
    """Give the body that many seconds.

    Raises:
        NodeUnreachable: it was not done by then.
    """
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise NodeUnreachable(f"waited {seconds:.0f} s in vain for {what}") from error
