"""The clock that all machines of a simnet share."""

from __future__ import annotations

import time
from email.utils import formatdate
from functools import lru_cache
from typing import Self

__all__ = ["SimClock"]


class SimClock:
    """The time of the machines, in whole unix seconds.

    HTTP ``Date`` headers and invoice times are read from it. It follows the wall clock, or it is manual and changes
    only when it is advanced. Block timestamps are this time plus an offset that each chain has.

    Args:
        start: the time at which a manual clock begins, in unix seconds; None follows the wall clock.
    """

    def __init__(self, start: int | None) -> None:
        self._manual = start

    @classmethod
    def manual(cls, start: int) -> Self:
        """Create a clock that shows ``start``, in unix seconds, until it is advanced."""
        return cls(start)

    def now(self) -> int:
        """The time in whole unix seconds."""
        return int(time.time()) if self._manual is None else self._manual

    def http_date(self) -> str:
        """The time as an HTTP ``Date`` header shows it."""
        return _http_date(self.now())

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


@lru_cache(maxsize=2)
def _http_date(now: int) -> str:
    return formatdate(now, usegmt=True)
