"""Stages of a network's start: concurrent waits, each with a time limit and an error that names it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine, Iterator

from layer2.errors import NodeUnreachable

__all__ = ["deadline", "first_failure", "together"]

_STAGE_SECONDS = 60.0


async def together(*waits: Coroutine[object, None, None]) -> None:
    """Wait for all. If one fails, cancel the others and raise its error."""
    with first_failure():
        async with asyncio.TaskGroup() as tasks:
            for wait in waits:
                tasks.create_task(wait)


@contextlib.contextmanager
def first_failure() -> Iterator[None]:
    """Raise a task group's first error in place of the group: the other errors follow from it."""
    try:
        yield
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from failures


@contextlib.asynccontextmanager
async def deadline(what: str, seconds: float = _STAGE_SECONDS) -> AsyncIterator[None]:
    """Limit the body to ``seconds``.

    Raises:
        NodeUnreachable: the body did not finish in time.
    """
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise NodeUnreachable(f"timed out after {seconds:.0f} s waiting for {what}") from error
