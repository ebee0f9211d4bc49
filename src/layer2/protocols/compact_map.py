"""A map for very many entries."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator
from typing import Generic, TypeVar

__all__ = ["CompactMap"]

V = TypeVar("V")


class CompactMap(Generic[V]):
    """A map from bytes that keeps a fingerprint in place of each key. An entry takes 16 bytes, and its value.

    A dict takes about 130 bytes for an entry with a key of 32 bytes. What this map pays for it: with 100,000 entries,
    adding or removing one takes some 50 microseconds, and two different keys count as the same one with a probability
    of about 1 in 10**9. No other party can choose such keys, because Python draws new fingerprints for each process.
    """

    def __init__(self) -> None:
        self._prints = array("q")
        """Sorted."""
        self._values: list[V] = []

    def __len__(self) -> int:
        return len(self._values)

    def values(self) -> Iterator[V]:
        """All values, in no order. The map must not change meanwhile."""
        return iter(self._values)

    def get(self, key: bytes) -> V | None:
        """The value of a key, or None."""
        place, is_there = self._find(key)
        return self._values[place] if is_there else None

    def __setitem__(self, key: bytes, value: V) -> None:
        place, is_there = self._find(key)
        if is_there:
            self._values[place] = value
        else:
            self._prints.insert(place, hash(key))
            self._values.insert(place, value)

    def pop(self, key: bytes) -> V | None:
        """Remove a key; return its value, or None if it is not there."""
        place, is_there = self._find(key)
        if not is_there:
            return None
        del self._prints[place]
        return self._values.pop(place)

    def clear(self) -> None:
        """Remove everything."""
        del self._prints[:]
        self._values.clear()

    def _find(self, key: bytes) -> tuple[int, bool]:
        wanted = hash(key)
        place = bisect_left(self._prints, wanted)
        return place, place < len(self._prints) and self._prints[place] == wanted
