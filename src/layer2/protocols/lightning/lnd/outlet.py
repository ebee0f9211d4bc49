"""What one subscriber has still to take: every word in order, within a limit, or only the newest."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final, Generic, TypeVar

from layer2.errors import AsyncRuntimeError, Layer2Error
from layer2.protocols.lightning.lnd.answers import LIGHTNING
from layer2.protocols.lightning.lnd.lasting import another

__all__ = ["Cell", "Outlet"]

T = TypeVar("T")

MOST_LEFT: Final = 10_000
"""Words that a subscriber may leave; some 10 MB of invoices."""


class Cell(Generic[T]):
    """The newest word for one subscriber. One that comes before the last was taken takes its place."""

    __slots__ = ("_error", "_future", "_word")

    def __init__(self) -> None:
        self._word: T | None = None
        self._error: Layer2Error | None = None
        self._future: asyncio.Future[None] | None = None

    def put(self, word: T) -> None:
        self._word = word
        self._wake()

    def fail(self, error: Layer2Error) -> None:
        """Let the subscriber raise this, after the word that it has not taken yet."""
        self._error = error
        self._wake()

    async def next(self) -> T:
        """The newest word that was not taken yet. For one caller at a time.

        Raises:
            Layer2Error: what it was told to fail with.
        """
        while self._word is None:
            if self._error is not None:
                raise another(self._error)
            self._future = asyncio.get_running_loop().create_future()
            try:
                await self._future
            finally:
                self._future = None
        word, self._word = self._word, None
        return word

    def _wake(self) -> None:
        if self._future is not None and not self._future.done():
            self._future.set_result(None)


class Outlet(Generic[T]):
    """Every word for one subscriber, in order.

    One who leaves more than ``most`` gets those and then an error, so that nothing is missing without being told.

    Args:
        remedy: how the subscriber can go on where it stopped.
        most: words that may be left.
    """

    def __init__(self, remedy: str, most: int = MOST_LEFT) -> None:
        self._remedy = remedy
        self._most = most
        self._words: deque[T] = deque()
        self._signal: Cell[bool] = Cell()
        self._is_full = False

    def put(self, word: T) -> None:
        if self._is_full:
            return
        if len(self._words) == self._most:
            self._is_full = True
            self.fail(
                AsyncRuntimeError(
                    f"the subscriber left more than {self._most} updates", protocol=LIGHTNING, remedy=self._remedy
                )
            )
            return
        self._words.append(word)
        self._signal.put(True)

    def fail(self, error: Layer2Error) -> None:
        """Let the subscriber raise this, after all words that came before."""
        self._signal.fail(error)

    async def next(self) -> T:
        """The next word. For one caller at a time.

        Raises:
            AsyncRuntimeError: it left too many.
            Layer2Error: what it was told to fail with.
        """
        while not self._words:
            await self._signal.next()
        return self._words.popleft()
