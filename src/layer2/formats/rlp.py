"""Recursive Length Prefix, decoded strictly: if decoding succeeds, ``encode(decode(data)) == data``.

Source: Ethereum Yellow Paper, appendix B.
"""

from __future__ import annotations

from typing import TypeAlias

from layer2.errors.base import FormatError

__all__ = ["MAX_DEPTH", "MAX_SIZE", "RlpItem", "decode", "decode_int", "encode", "encode_int", "list_prefix"]

RlpItem: TypeAlias = "bytes | list[RlpItem]"
"""A string of bytes, or a list of items."""

MAX_SIZE = 1 << 20
"""Maximum bytes, and so items, of one decoding: more than a proof's file may have."""
MAX_DEPTH = 16
"""Levels of lists; receipts, the deepest format here, need four."""

_SHORT = 55
_STRING = 0x80
_LIST = 0xC0
_STRING_PREFIX = tuple([bytes((_STRING + length,)) for length in range(_SHORT + 1)])
_LEAST_LONG = (0, _SHORT + 1, *[1 << 8 * (width - 1) for width in range(2, 9)])
"""By the number of its digits, the smallest length that needs so many. A shorter one has a leading zero."""
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
        data: the encoding alone.

    Returns:
        Bytes, or a list of items.

    Raises:
        FormatError: the encoding is truncated, is not the shortest one, is followed by more bytes, or exceeds
            ``MAX_SIZE`` or ``MAX_DEPTH``.
    """
    if len(data) > MAX_SIZE:
        raise FormatError(f"RLP: {len(data)} bytes, the maximum is {MAX_SIZE}")
    items = _items(data, 0, len(data), MAX_DEPTH)
    if len(items) != 1:
        raise FormatError(f"RLP: {len(items)} items where exactly one is expected")
    return items[0]


def encode_int(value: int) -> bytes:
    """Write a non-negative integer as big-endian bytes without leading zeros; zero is the empty string.

    The result is an item: pass it to ``encode``.

    Raises:
        FormatError: the value is negative.
    """
    if value < 0:
        raise FormatError("RLP: integers are not negative")
    return value.to_bytes((value.bit_length() + 7) // 8, "big")


def decode_int(item: RlpItem, *, max_bytes: int = 32) -> int:
    """Read a decoded item as a non-negative integer.

    Args:
        item: a result of ``decode``.
        max_bytes: the widest integer accepted, in bytes.

    Raises:
        FormatError: it is a list, has leading zeros, or is wider than ``max_bytes``.
    """
    if not isinstance(item, bytes):
        raise FormatError("RLP: a list where an integer is expected")
    if len(item) > max_bytes:
        raise FormatError(f"RLP: an integer of {len(item)} bytes, the maximum is {max_bytes}")
    if item[:1] == b"\x00":
        raise FormatError("RLP: an integer with leading zeros")
    return int.from_bytes(item, "big")


def list_prefix(length: int) -> bytes:
    """The prefix of a list, before its encoded items.

    Args:
        length: total bytes of these items.
    """
    return _prefix(_LIST, length)


def _prefix(kind: int, length: int) -> bytes:
    if length <= _SHORT:
        return bytes((kind + length,))
    digits = encode_int(length)
    return bytes((kind + _SHORT + len(digits),)) + digits


def _items(data: bytes, position: int, end: int, depth: int) -> list[RlpItem]:
    """The items between two positions; lists among them are decoded at most ``depth`` levels deep.

    An item's first byte shows its kind: up to 0x7F the byte itself, to 0xB7 a short string, to 0xBF a long string, to
    0xF7 a short list, to 0xFF a long list. Short strings come first here, because verifiers check many proofs.
    """
    items: list[RlpItem] = []
    while position < end:
        first = data[position]
        position += 1
        if first <= 0x7F:
            items.append(data[position - 1 : position])
            continue
        if first <= 0xB7:
            start = position
            # The end of the list checks that the item ends within it.
            position += first - 0x80
            items.append(data[start:position])
            if first == 0x81 and position <= end and data[start] <= 0x7F:
                raise FormatError("RLP: a prefix before a byte that needs none")
            continue
        start, length, is_list = position, first - (_LIST if first >= _LIST else _STRING), first >= _LIST
        if length > _SHORT:
            width = length - _SHORT
            start += width
            length = int.from_bytes(data[position:start], "big")
            if length < _LEAST_LONG[width] or start > end:
                raise FormatError(_wrong_length(data[position:start], is_truncated=start > end))
        position = start + length
        if position > end:
            raise FormatError(_TOO_LONG)
        if not is_list:
            items.append(data[start:position])
        elif depth == 0:
            raise FormatError(f"RLP: lists nested deeper than {MAX_DEPTH}")
        else:
            # A megabyte can hold a million empty lists: they need no call.
            items.append(_items(data, start, position, depth - 1) if length else [])
    if position > end:
        raise FormatError(_TOO_LONG)
    return items


def _wrong_length(digits: bytes, *, is_truncated: bool) -> str:
    if is_truncated:
        return "RLP: truncated within a length"
    return "RLP: a length with leading zeros" if digits[0] == 0 else "RLP: a long length for a short payload"
