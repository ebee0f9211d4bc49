"""Reads that several callers share. They are repeated after failures, and any caller may leave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from layer2.errors import AuthenticationFailed, NodeError, NodeRefused, NodeUnreachable, WrongNetwork

__all__ = ["ReadTasks", "has_failed"]

T = TypeVar("T")

_ATTEMPTS = 4
_LONGEST_PAUSE = 10.0


class ReadTasks:
    """Tasks that read from a node for several callers.

    Args:
        pause: seconds; the pauses between attempts are multiples of it.
    """

    def __init__(self, pause: float) -> None:
        self._attempts = AsyncRetrying(
            retry=retry_if_exception(_is_temporary),
            wait=wait_random_exponential(multiplier=pause, max=_LONGEST_PAUSE),
            stop=stop_after_attempt(_ATTEMPTS),
            reraise=True,
        )
        self._tasks: set[asyncio.Task[Any]] = set()
        self._is_closed = False
        self._users = 0

    @asynccontextmanager
    async def used(self) -> AsyncIterator[None]:
        """Keep the tasks running while the context is open. The last context to close ends them."""
        self._users += 1
        try:
            yield
        finally:
            self._users -= 1
            if self._users == 0:
                await self._end()

    def start(self, read: Callable[[], Coroutine[Any, Any, T]]) -> asyncio.Task[T]:
        """Start a read. A temporary failure is followed by more attempts.

        Raises:
            NodeUnreachable: the client was closed.
        """
        if self._is_closed:
            raise _closed()
        task = asyncio.get_running_loop().create_task(self._attempts_of(read))
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    async def result(self, task: asyncio.Task[T]) -> T:
        """Wait for a read. Cancelling this does not cancel the task.

        Raises:
            NodeUnreachable: the client was closed.
            NodeError: the read failed. Every caller gets its own error object.
        """
        await asyncio.wait({task})
        if task.cancelled():
            raise _closed()
        error = task.exception()
        if isinstance(error, NodeError):
            kind = NodeUnreachable if isinstance(error, NodeRefused) else type(error)
            raise kind(
                error.message,
                code=error.code,
                protocol=error.protocol,
                operation=error.operation,
                retryable=error.retryable,
                remedy=error.remedy,
            )
        return task.result()

    async def aclose(self) -> None:
        """End all reads, and refuse new ones."""
        self._is_closed = True
        await self._end()

    async def _end(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _attempts_of(self, read: Callable[[], Coroutine[Any, Any, T]]) -> T:
        # Concurrent reads must not share one counter of attempts.
        async for attempt in self._attempts.copy():
            with attempt:
                return await read()
        raise AssertionError("the last failure is raised by the loop")

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        # Reading the exception marks it as retrieved, even if all callers have left.
        if not task.cancelled():
            task.exception()


def has_failed(task: asyncio.Task[Any]) -> bool:
    """Whether the task ended without a result, so that the next caller starts another read."""
    return task.done() and (task.cancelled() or task.exception() is not None)


def _closed() -> NodeUnreachable:
    return NodeUnreachable("the client was closed", retryable=False)


def _is_temporary(error: BaseException) -> bool:
    """Whether another attempt may succeed: not with wrong credentials, nor on another chain."""
    if not isinstance(error, NodeError) or isinstance(error, (AuthenticationFailed, WrongNetwork)):
        return False
    return error.retryable or error.code != "chain"
