"""Reading that lasts as long as someone wants it: begun anew after every end, with jittered back-off."""

from __future__ import annotations

import asyncio
import copy
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Final

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

__all__ = ["LastingRead", "another"]

LOG: Final = logging.getLogger("layer2.lightning")

_BACK_OFF: Final = wait_random_exponential(multiplier=0.25, max=30)
_STEADY_SECONDS: Final = 30.0
"""After a stream that lasted that long the back-off begins anew, also where nothing came through it."""
_REFUSALS: Final = 5
"""In a row: a node that is about to end gives errors that do not say so, but not for long."""


class LastingRead:
    """A task that reads from the node, and begins anew whenever that ends, until it is stopped.

    Args:
        name: what is read, for the log.
        read: reads until its stream ends, and says ``lasts`` with whatever comes.
        fail: hears the error that does not pass; the task has ended then.
    """

    def __init__(
        self,
        name: str,
        read: Callable[[], Coroutine[Any, Any, None]],
        fail: Callable[[Layer2Error], None],
    ) -> None:
        self._name = name
        self._read = read
        self._fail = fail
        self._task: asyncio.Task[None] | None = None
        self._all: set[asyncio.Task[None]] = set()
        self._stopping: asyncio.TimerHandle | None = None
        self._has_lasted = False
        self._refusals = 0
        self._is_down = False

    @property
    def is_under_way(self) -> bool:
        """Whether it was started, and neither stopped nor failed."""
        return self._task is not None

    @property
    def has_ended(self) -> bool:
        """Whether nothing of it is left to wait for."""
        return not self._all

    def start(self) -> None:
        """Begin, unless it is under way."""
        self._keep()
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())
            self._all.add(self._task)
            self._task.add_done_callback(self._all.discard)

    def stop_after(self, seconds: float) -> None:
        """End by then, unless it is started again."""
        if self._task is not None and self._stopping is None:
            self._stopping = asyncio.get_running_loop().call_later(seconds, self.stop)

    def stop(self) -> None:
        """End soon. Starting again does not wait for that."""
        self._keep()
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def restart(self) -> None:
        """Where it is under way, begin anew at once."""
        if self._task is not None:
            self.stop()
            self.start()

    def lasts(self) -> None:
        """Say that the node has answered: the next pause is short again."""
        self._has_lasted = True
        self._refusals = 0
        if self._is_down:
            self._is_down = False
            LOG.info("%s: %s is back", LIGHTNING, self._name)

    async def aclose(self) -> None:
        """End, and wait for that."""
        self.stop()
        await asyncio.gather(*self._all, return_exceptions=True)

    def _keep(self) -> None:
        if self._stopping is not None:
            self._stopping.cancel()
            self._stopping = None

    async def _run(self) -> None:
        begun_anew = AsyncRetrying(
            # A stream that ended without an error is opened again too.
            retry=retry_any(retry_if_result(lambda _: True), retry_if_exception(self._is_worth_another)),
            wait=self._pause,
            before_sleep=self._say_down,
        )
        try:
            await begun_anew(self._read_once)
        except Layer2Error as error:
            if self._task is asyncio.current_task():
                self._task = None
                self._fail(error)

    async def _read_once(self) -> None:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        try:
            await self._read()
        finally:
            self._has_lasted |= loop.time() - begun >= _STEADY_SECONDS

    def _is_worth_another(self, error: BaseException) -> bool:
        if isinstance(error, NodeRefused) and not error.retryable:
            self._refusals += 1
            return self._refusals < _REFUSALS
        return isinstance(error, Layer2Error) and error.retryable

    def _pause(self, state: RetryCallState) -> float:
        if self._has_lasted:
            self._has_lasted = False
            state.attempt_number = 1
        return _BACK_OFF(state)

    def _say_down(self, state: RetryCallState) -> None:
        error = None if state.outcome is None else state.outcome.exception()
        if isinstance(error, Layer2Error) and not self._is_down:
            self._is_down = True
            LOG.warning("%s: %s is down, and tried again: %s", LIGHTNING, self._name, error.message)


def another(error: Layer2Error) -> Layer2Error:
    """The same error for one more who is to raise it: what is raised twice collects the traces of both."""
    copied = copy.copy(error)
    copied.__cause__ = error
    return copied
