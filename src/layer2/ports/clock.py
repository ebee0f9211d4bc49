"""Clock and randomness: what code takes from outside so that tests can give their own."""

from __future__ import annotations

import os
import time
from typing import Protocol

__all__ = ["Clock", "Entropy", "SystemClock", "SystemEntropy"]


class Clock(Protocol):
    """This machine's clock, in unix seconds. Chains and nodes have clocks of their own: ask them."""

    def now(self) -> float: ...


class SystemClock:
    """The operating system's clock."""

    def now(self) -> float:
        return time.time()


class Entropy(Protocol):
    """Unpredictable bytes."""

    def token(self, length: int) -> bytes: ...


class SystemEntropy:
    """The operating system's random source."""

    def token(self, length: int) -> bytes:
        return os.urandom(length)
