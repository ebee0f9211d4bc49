"""The clock of the simulated machines."""

from __future__ import annotations

import time
from typing import Self

__all__ = ["SimClock"]


class SimClock:
    """The time that the machines of a simnet show, in whole unix seconds.

    HTTP ``Date`` headers and invoice times come from it. It follows the wall clock, or stands still until it
    is advanced. It is not the chain's time: block timestamps have an offset of their own on top of it.

    Args:
        start: where a manual clock begins; None follows the wall clock.
    """

    def __init__(self, start: int | None) -> None:
        self._manual = start

    @classmethod
    def wall(cls) -> Self:
        """A clock that follows this machine's wall clock."""
        return cls(None)

    @classmethod
    def manual(cls, start: int) -> Self:
        """A clock that stands at ``start``, in unix seconds, until it is advanced."""
        return cls(start)

    def now(self) -> int:
        """The time in whole unix seconds."""
        return int(time.time()) if self._manual is None else self._manual

    def advance(self, seconds: int) -> int:
        """Move a manual clock forward and return its new time.

        Raises:
            ValueError: the clock follows the wall clock, or ``seconds`` is negative.
        """
        if self._manual is None:
            raise ValueError("a clock that follows the wall clock cannot be advanced")
        if seconds < 0:
            raise ValueError("a clock moves forward only")
        self._manual += seconds
        return self._manual
