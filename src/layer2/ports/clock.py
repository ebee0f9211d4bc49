"""Clock and randomness: what code takes from outside so that tests can give their own."""

from __future__ import annotations

import os
import time
from typing import Protocol

__all__ = ["Clock", "Entropy", "SystemClock", "SystemEntropy"]


class Clock(Protocol):
    """This machine's clock. It may differ from the clocks of chains and nodes."""

    def now(self) -> float:
        """Unix seconds."""
        ...


class SystemClock:
    """The operating system's clock."""

    def now(self) -> float:
        """Unix seconds."""
        return time.time()


class Entropy(Protocol):
    """Unpredictable bytes."""

    def token(self, length: int) -> bytes:
        """``length`` unpredictable bytes."""
        ...


class SystemEntropy:
    """The operating system's random source."""

    def token(self, length: int) -> bytes:
        """``length`` bytes from ``os.urandom``."""
        return os.urandom(length)
