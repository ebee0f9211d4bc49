"""Reads that several wait for, and that any of them may leave: tried again after failures, ended with typed errors."""

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
    """Tasks that read from a node for whoever waits for them.

    Args:
        pause: seconds, by which the pauses between attempts are measured.
    """

    def __init__(self, pause: float) -> None:
        self._attempts = AsyncRetrying(
            retry=retry_if_exception(_may_pass),
            wait=wait_random_exponential(multiplier=pause, max=_LONGEST_PAUSE),
            stop=stop_after_attempt(_ATTEMPTS),
            reraise=True,
        )
        self._tasks: set[asyncio.Task[Any]] = set()
        self._is_closed = False
        self._users = 0

    @asynccontextmanager
    async def used(self) -> AsyncIterator[None]:
        """Keep the tasks going; they end with the last who uses them."""
        self._users += 1
        try:
            yield
        finally:
            self._users -= 1
            if self._users == 0:
                await self._end()

    def start(self, read: Callable[[], Coroutine[Any, Any, T]]) -> asyncio.Task[T]:
        """Begin to read; a failure that may pass is followed by some more attempts.

        Raises:
            NodeUnreachable: the client was closed.
        """
        if self._is_closed:
            raise _closed()
        task = asyncio.get_running_loop().create_task(self._patiently(read))
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    async def result(self, task: asyncio.Task[T]) -> T:
        """Wait for what is read. Cancelling this leaves the task to the others.

        Raises:
            NodeUnreachable: the client was closed.
            NodeError: reading failed; every caller gets an error of its own.
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
        """End all reading for good."""
        self._is_closed = True
        await self._end()

    async def _end(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _patiently(self, read: Callable[[], Coroutine[Any, Any, T]]) -> T:
        # One object of tenacity's must not count the attempts of several calls at once.
        async for attempt in self._attempts.copy():
            with attempt:
                return await read()
        raise AssertionError("the last failure is raised by the loop")

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        # Reading the exception also marks it as retrieved, where all who waited have left.
        if not task.cancelled():
            task.exception()


def has_failed(task: asyncio.Task[Any]) -> bool:
    """Whether it has ended without a result, so that whoever comes next asks anew."""
    return task.done() and (task.cancelled() or task.exception() is not None)


def _closed() -> NodeUnreachable:
    return NodeUnreachable("the client was closed", retryable=False)


def _may_pass(error: BaseException) -> bool:
    """Whether asking again may help: not after a refusal of credentials, nor on a chain that is another one."""
    if not isinstance(error, NodeError) or isinstance(error, (AuthenticationFailed, WrongNetwork)):
        return False
    return error.retryable or error.code != "chain"
