"""Recursive Length Prefix, decoded strictly: where decoding succeeds, ``encode(decode(data)) == data``.

Source: Ethereum Yellow Paper, appendix B.
"""

from __future__ import annotations

from typing import TypeAlias

from layer2.errors import FormatError

__all__ = ["MAX_DEPTH", "MAX_ITEMS", "MAX_SIZE", "RlpItem", "decode", "decode_int", "encode", "encode_int"]

RlpItem: TypeAlias = "bytes | list[RlpItem]"
"""A string of bytes, or a list of items."""

MAX_SIZE = 8 * 1024 * 1024
"""Bytes that one decoding accepts: above any receipt that fits under a block's gas limit."""
MAX_DEPTH = 16
"""Lists inside lists; receipts, the deepest of our formats, need four."""
MAX_ITEMS = 1 << 20
"""Items of one decoding, so that a small input cannot ask for much memory."""

_SHORT = 55
_STRING = 0x80
_LIST = 0xC0
_STRING_PREFIX = tuple([bytes((_STRING + length,)) for length in range(_SHORT + 1)])
_TOO_LONG = "RLP: truncated, or an item longer than the list that holds it"


def encode(item: RlpItem) -> bytes:
    """Encode an item.

    Args:
        item: bytes, or a list of items.

    Returns:
        The only encoding of that item.
    """
    if isinstance(item, bytes):
        length = len(item)
        if length == 1 and item[0] < _STRING:
            return item
        return (_STRING_PREFIX[length] if length <= _SHORT else _prefix(_STRING, length)) + item
    payload = b"".join([encode(part) for part in item])
    return _prefix(_LIST, len(payload)) + payload


def decode(data: bytes) -> RlpItem:
    """Decode exactly one item.

    Args:
        data: the encoding, with nothing before or after it.

    Returns:
        Bytes, or a list of items.

    Raises:
        FormatError: the encoding is truncated, not the shortest one, followed by further bytes, or beyond
            ``MAX_SIZE``, ``MAX_DEPTH`` or ``MAX_ITEMS``.
    """
    if len(data) > MAX_SIZE:
        raise FormatError(f"RLP: {len(data)} bytes, at most {MAX_SIZE} are accepted")
    top: list[RlpItem] = []
    open_lists: list[tuple[list[RlpItem], int]] = []
    current, position, end = top, 0, len(data)
    # Proofs are checked by the thousand, so what is common is decided here and not in a function of its own.
    for _ in range(MAX_ITEMS + 1):
        while position >= end:
            if position > end:
                raise FormatError(_TOO_LONG)
            if not open_lists:
                return _only(top)
            current, end = open_lists.pop()
        first = data[position]
        start = position + 1
        if first < _STRING:
            current.append(data[position:start])
            position = start
        elif first <= _STRING + _SHORT:
            # That it ends within its list is looked at when the list ends.
            position = start + first - _STRING
            current.append(data[start:position])
            if first == _STRING + 1 and position <= end and data[start] < _STRING:
                raise FormatError("RLP: a prefix before a byte that stands for itself")
        elif first < _LIST:
            start, position = _long(data, start, first - _STRING - _SHORT, end)
            current.append(data[start:position])
        else:
            if first <= _LIST + _SHORT:
                stop = start + first - _LIST
                if stop > end:
                    raise FormatError(_TOO_LONG)
            else:
                start, stop = _long(data, start, first - _LIST - _SHORT, end)
            if len(open_lists) == MAX_DEPTH:
                raise FormatError(f"RLP: lists nested deeper than {MAX_DEPTH}")
            open_lists.append((current, end))
            child: list[RlpItem] = []
            current.append(child)
            current, position, end = child, start, stop
    raise FormatError(f"RLP: more than {MAX_ITEMS} items")


def encode_int(value: int) -> bytes:
    """Write a non-negative integer as big-endian bytes without leading zeros; zero is the empty string.

    The result is an item, still to be given to ``encode``.

    Raises:
        FormatError: the value is negative.
    """
    if value < 0:
        raise FormatError("RLP: integers are not negative")
    return value.to_bytes((value.bit_length() + 7) // 8, "big")


def decode_int(item: RlpItem, *, max_bytes: int = 32) -> int:
    """Read a decoded item as a non-negative integer.

    Args:
        item: what ``decode`` returned.
        max_bytes: the widest integer accepted, in bytes.

    Raises:
        FormatError: it is a list, has leading zeros, or is wider than ``max_bytes``.
    """
    if not isinstance(item, bytes):
        raise FormatError("RLP: a list where an integer is expected")
    if len(item) > max_bytes:
        raise FormatError(f"RLP: an integer of {len(item)} bytes, at most {max_bytes} are allowed")
    if item[:1] == b"\x00":
        raise FormatError("RLP: an integer with leading zeros")
    return int.from_bytes(item, "big")


def _prefix(kind: int, length: int) -> bytes:
    if length <= _SHORT:
        return bytes((kind + length,))
    digits = encode_int(length)
    return bytes((kind + _SHORT + len(digits),)) + digits


def _long(data: bytes, start: int, width: int, end: int) -> tuple[int, int]:
    """Where a payload starts and stops whose length is written in ``width`` bytes from ``start`` on."""
    digits = data[start : start + width]
    start += width
    if start > end:
        raise FormatError("RLP: truncated within a length")
    if digits[0] == 0:
        raise FormatError("RLP: a length with leading zeros")
    length = int.from_bytes(digits, "big")
    if length <= _SHORT:
        raise FormatError("RLP: a long length for a short payload")
    if start + length > end:
        raise FormatError(_TOO_LONG)
    return start, start + length


def _only(items: list[RlpItem]) -> RlpItem:
    if len(items) != 1:
        raise FormatError(f"RLP: {len(items)} items where exactly one is expected")
    return items[0]
