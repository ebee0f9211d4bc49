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


def encode(item: RlpItem) -> bytes:
    """Encode an item.

    Args:
        item: bytes, or a list of items.

    Returns:
        The only encoding of that item.
    """
    if isinstance(item, bytes):
        if len(item) == 1 and item[0] < _STRING:
            return item
        return _prefix(_STRING, len(item)) + item
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
    parents: list[tuple[list[RlpItem], int]] = []
    current, end = top, len(data)
    position = items = 0
    while position < len(data):
        is_list, start, stop = _span(data, position, end)
        items += 1
        if items > MAX_ITEMS:
            raise FormatError(f"RLP: more than {MAX_ITEMS} items")
        if is_list:
            child: list[RlpItem] = []
            current.append(child)
            parents.append((current, end))
            if len(parents) > MAX_DEPTH:
                raise FormatError(f"RLP: lists nested deeper than {MAX_DEPTH}")
            current, end, position = child, stop, start
        else:
            current.append(data[start:stop])
            position = stop
        while parents and position == end:
            current, end = parents.pop()
    if len(top) != 1:
        raise FormatError(f"RLP: {len(top)} items where exactly one is expected")
    return top[0]


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


def _span(data: bytes, position: int, end: int) -> tuple[bool, int, int]:
    """Whether the item at ``position`` is a list, and where its payload starts and stops."""
    first = data[position]
    if first < _STRING:
        return False, position, position + 1
    is_list = first >= _LIST
    length = first - (_LIST if is_list else _STRING)
    start = position + 1
    if length > _SHORT:
        digits = data[start : start + length - _SHORT]
        start += length - _SHORT
        if start > end:
            raise FormatError("RLP: truncated within a length")
        if digits[0] == 0:
            raise FormatError("RLP: a length with leading zeros")
        length = int.from_bytes(digits, "big")
        if length <= _SHORT:
            raise FormatError("RLP: a long length for a short payload")
    stop = start + length
    if stop > end:
        raise FormatError("RLP: truncated, or an item longer than the list that holds it")
    if length == 1 and not is_list and data[start] < _STRING:
        raise FormatError("RLP: a prefix before a byte that stands for itself")
    return is_list, start, stop
