"""A strict reader of Bitcoin's binary encodings."""

from __future__ import annotations

from layer2.errors.base import FormatError

__all__ = ["ByteReader"]


class ByteReader:
    """Reads bytes from the front.

    Args:
        data: the bytes.
        what: the name of the whole, for errors.
    """

    __slots__ = ("_at", "_data", "_what")

    def __init__(self, data: bytes, what: str) -> None:
        self._data = data
        self._what = what
        self._at = 0

    @property
    def position(self) -> int:
        """How many bytes have been read."""
        return self._at

    def take(self, count: int) -> bytes:
        """The next ``count`` bytes.

        Raises:
            FormatError: fewer are left.
        """
        start, self._at = self._at, self._at + count
        if self._at > len(self._data):
            raise FormatError(f"{self._what} ends too early")
        return self._data[start : self._at]

    def peek(self, count: int) -> bytes:
        """The next ``count`` bytes or fewer, which stay unread."""
        return self._data[self._at : self._at + count]

    def integer(self, size: int) -> int:
        """An unsigned little-endian number of ``size`` bytes. Raises: as ``take``."""
        return int.from_bytes(self.take(size), "little")

    def compact_size(self) -> int:
        """A length in its shortest form.

        Raises:
            FormatError: too few bytes, or a form that is longer than necessary.
        """
        if self._at >= len(self._data):
            raise FormatError(f"{self._what} ends too early")
        first = self._data[self._at]
        self._at += 1
        if first < 0xFD:
            return first
        size, least = {0xFD: (2, 0xFD), 0xFE: (4, 0x1_0000), 0xFF: (8, 0x1_0000_0000)}[first]
        value = self.integer(size)
        if value < least:
            raise FormatError(f"{self._what} contains a length that is not in its shortest form")
        return value

    def count(self, smallest: int) -> int:
        """A number of items of at least ``smallest`` bytes each.

        Raises:
            FormatError: the rest of the bytes cannot hold as many, or as ``compact_size``.
        """
        count = self.compact_size()
        if count * smallest > len(self._data) - self._at:
            raise FormatError(f"{self._what} ends too early")
        return count

    def end(self) -> None:
        """Check that nothing is left.

        Raises:
            FormatError: bytes are left.
        """
        if self._at != len(self._data):
            raise FormatError(f"{self._what} is followed by other bytes")
