"""A read of a stream that starts again whenever it ends, with jittered back-off."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Final

from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_any,
    retry_if_exception,
    retry_if_result,
    wait_random_exponential,
)

from layer2.errors import Layer2Error, NodeRefused
from layer2.protocols.lightning.lnd.answers import LIGHTNING

__all__ = ["ReconnectingStream"]

LOG: Final = logging.getLogger("layer2.lightning")

_BACK_OFF: Final = wait_random_exponential(multiplier=0.25, max=30)
_STEADY_SECONDS: Final = 30.0
"""A stream that was open this long resets the back-off, even if it carried no message."""
_MAX_REFUSALS: Final = 5
"""Refusals in a row that end the read. An lnd that is shutting down refuses calls with ordinary errors for a moment."""


class ReconnectingStream:
    """A task that reads a stream of the node and opens it again whenever it ends, as long as the stream has users.

    A user is the function that is called with an error that a retry cannot cure. The stream has no users then.

    Args:
        name: what is read, for the log.
        read: opens the stream and reads it to its end; calls ``received`` for each message.
        tasks: gets the task of each read, and loses it when it has ended.
        linger: seconds for which it stays open without a user. A caller that waits in short turns is back before.
    """

    def __init__(
        self,
        name: str,
        read: Callable[[], Coroutine[object, None, None]],
        tasks: set[asyncio.Task[None]],
        linger: float = 0.0,
    ) -> None:
        self._name = name
        self._read = read
        self._tasks = tasks
        self._linger = linger
        self.users: set[Callable[[Layer2Error], None]] = set()
        self._task: asyncio.Task[None] | None = None
        self._stopping: asyncio.TimerHandle | None = None
        self._resets_back_off = False
        self._refusals = 0
        self._is_down = False

    @property
    def is_running(self) -> bool:
        """Whether it was started, and has neither been stopped nor failed."""
        return self._task is not None

    def join(self, user: Callable[[Layer2Error], None]) -> None:
        """Add a user, and open the stream if it is not open."""
        self.users.add(user)
        self._cancel_stop()
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())
            self._tasks.add(self._task)
            self._task.add_done_callback(self._tasks.discard)

    def leave(self, user: Callable[[Layer2Error], None]) -> None:
        """Remove a user. If it was the last, the stream is closed soon."""
        self.users.discard(user)
        if not self.users and self._task is not None and self._stopping is None:
            self._stopping = asyncio.get_running_loop().call_later(self._linger, self.stop)

    def stop(self) -> None:
        """Cancel the read, without waiting for its end. The users stay; the next ``join`` opens the stream again."""
        self._cancel_stop()
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def fail(self, error: Layer2Error) -> None:
        """Stop, and give all users this error."""
        self.stop()
        users, self.users = self.users, set()
        for user in users:
            user(error)

    def received(self) -> None:
        """Record that the node has answered: the next back-off starts from the shortest pause."""
        self._resets_back_off = True
        self._refusals = 0
        if self._is_down:
            self._is_down = False
            LOG.info("%s: %s is up again", LIGHTNING, self._name)

    def _cancel_stop(self) -> None:
        if self._stopping is not None:
            self._stopping.cancel()
            self._stopping = None

    async def _run(self) -> None:
        retrying = AsyncRetrying(
            # A stream that ended without an error is opened again too.
            retry=retry_any(retry_if_result(lambda _: True), retry_if_exception(self._is_retryable)),
            wait=self._pause,
            before_sleep=self._log_down,
        )
        try:
            await retrying(self._read_once)
        except Layer2Error as error:
            if self._task is asyncio.current_task():
                self._task = None
                self.fail(error)

    async def _read_once(self) -> None:
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            await self._read()
        finally:
            self._resets_back_off |= loop.time() - started >= _STEADY_SECONDS

    def _is_retryable(self, error: BaseException) -> bool:
        if isinstance(error, NodeRefused) and not error.retryable:
            self._refusals += 1
            return self._refusals < _MAX_REFUSALS
        return isinstance(error, Layer2Error) and error.retryable

    def _pause(self, state: RetryCallState) -> float:
        if self._resets_back_off:
            self._resets_back_off = False
            state.attempt_number = 1
        return _BACK_OFF(state)

    def _log_down(self, state: RetryCallState) -> None:
        error = None if state.outcome is None else state.outcome.exception()
        if isinstance(error, Layer2Error) and not self._is_down:
            self._is_down = True
            LOG.warning("%s: %s is down and will be opened again: %s", LIGHTNING, self._name, error.message)
