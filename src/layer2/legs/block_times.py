"""Bounds of when Bitcoin reaches a height, and waits that combine seconds and blocks."""

from __future__ import annotations

import math
from bisect import bisect
from dataclasses import dataclass
from functools import lru_cache

__all__ = ["BlockTimes", "Span"]


@dataclass(frozen=True, slots=True)
class BlockTimes:
    """Bounds of Bitcoin's block arrivals: a Poisson process whose rate drifts with the hash rate."""

    fast_seconds: int
    """Mean time between blocks in a fast difficulty period: bounds how early a height is reached."""
    slow_seconds: int
    """Mean time between blocks in a slow period: bounds how late a height is reached."""
    tail_probability: float
    """The probability, within such a period, that a bound does not hold."""

    def earliest(self, blocks: int) -> int:
        """The longest time, in seconds, in which so many blocks arrive with at most the tail probability."""
        return _earliest(self, blocks)

    def latest(self, blocks: int) -> int:
        """Seconds after which so many more blocks have surely arrived."""
        return _latest(self, blocks)

    def fewest_lasting(self, seconds: int) -> int:
        """The minimum number of blocks that surely takes at least so many seconds."""
        return _fewest_lasting(self, seconds)


@dataclass(frozen=True, slots=True)
class Span:
    """A wait from a given moment: seconds of wall time, followed by Bitcoin blocks."""

    seconds: int = 0
    blocks: int = 0

    def __add__(self, other: Span) -> Span:
        return Span(self.seconds + other.seconds, self.blocks + other.blocks)

    def latest(self, times: BlockTimes) -> int:
        """Seconds after which the wait is surely over."""
        return self.seconds + times.latest(self.blocks)

    def in_blocks(self, times: BlockTimes) -> int:
        """Blocks after which the wait is surely over: only the seconds are converted."""
        return times.fewest_lasting(self.seconds) + self.blocks


@lru_cache(maxsize=8192)
def _earliest(times: BlockTimes, blocks: int) -> int:
    def is_longer(seconds: int) -> bool:
        return _at_least(blocks, seconds / times.fast_seconds) > times.tail_probability

    # The answer is at most the mean of the count.
    return bisect(range(1, blocks * times.fast_seconds + 1), False, key=is_longer) if blocks > 0 else 0


@lru_cache(maxsize=8192)
def _latest(times: BlockTimes, blocks: int) -> int:
    def is_enough(seconds: int) -> bool:
        return _fewer_than(blocks, seconds / times.slow_seconds) <= times.tail_probability

    mean = blocks * times.slow_seconds
    return mean + bisect(range(mean, 2 * mean + 40 * times.slow_seconds), False, key=is_enough) if blocks > 0 else 0


@lru_cache(maxsize=8192)
def _fewest_lasting(times: BlockTimes, seconds: int) -> int:
    most = 2 * seconds // times.fast_seconds + 100
    return bisect(range(most), False, key=lambda blocks: _earliest(times, blocks) >= seconds) if seconds > 0 else 0


def _at_least(blocks: int, mean: float) -> float:
    """P(X >= blocks) of a Poisson count whose mean is at most ``blocks``."""
    if mean <= 0:
        return 0.0
    term = _probability(blocks, mean)
    total, count = 0.0, blocks
    while term > total * 1e-17:
        total += term
        count += 1
        term *= mean / count
    return total


def _fewer_than(blocks: int, mean: float) -> float:
    """P(X < blocks) of a Poisson count whose mean is at least ``blocks``."""
    count = blocks - 1
    term = _probability(count, mean)
    total = 0.0
    while count >= 0 and term > total * 1e-17:
        total += term
        term *= count / mean
        count -= 1
    return total


def _probability(count: int, mean: float) -> float:
    return math.exp(count * math.log(mean) - mean - math.lgamma(count + 1))
