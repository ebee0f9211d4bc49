"""The contract ABI for static words: calls, events and results whose parts are 32 bytes each.

Source: the Solidity contract ABI specification. Dynamic types (bytes, string, arrays) are not supported; ``evm_revert``
decodes the reason of a reverted call.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TypeAlias

from layer2.errors.base import FormatError
from layer2.formats.keccak import keccak256

__all__ = [
    "Word",
    "address_of_word",
    "bool_of_word",
    "encode_call",
    "encode_words",
    "event_topic",
    "selector",
    "split_words",
    "uint256_of_word",
]

Word: TypeAlias = int | bytes
"""A uint256 or bool (int), an address (20 bytes) or a bytes32 (32 bytes)."""

_ABOVE_ADDRESS = bytes(12)
_SIGNATURE = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*\(([a-z0-9]+(?:,[a-z0-9]+)*)?\)", re.ASCII)
_UINT = re.compile(r"uint([1-9][0-9]{0,2})", re.ASCII)


@lru_cache(maxsize=256)
def selector(signature: str) -> bytes:
    """Compute the four bytes that identify a function or a custom error.

    Args:
        signature: canonical, as in ``transfer(address,uint256)``.

    Raises:
        FormatError: the signature is not canonical (a space, an alias such as ``uint``, a dynamic type).
    """
    return event_topic(signature)[:4]


@lru_cache(maxsize=256)
def event_topic(signature: str) -> bytes:
    """Compute the 32 bytes that are the first topic of an event.

    Args:
        signature: canonical, as in ``Transfer(address,address,uint256)``.

    Raises:
        FormatError: the signature is not canonical.
    """
    _parameter_types(signature)
    return keccak256(signature.encode("ascii"))


def encode_words(*values: Word) -> bytes:
    """Encode each value as 32 bytes.

    Args:
        values: int below 2**256 or bool as a right-aligned number, 20 bytes as an address, 32 bytes unchanged.

    Raises:
        FormatError: a number out of range, or bytes of another size.
    """
    return b"".join([_word(value) for value in values])


def encode_call(signature: str, *values: Word) -> bytes:
    """Encode a call's data: the selector, then one word for each argument.

    Args:
        signature: canonical, as in ``transfer(address,uint256)``; the types uintN, address, bytes32 and bool.
        values: the arguments in order: int for uintN, bool for bool, 20 bytes for address, 32 for bytes32.

    Raises:
        FormatError: number, type or range of the arguments do not fit the signature.
    """
    types = _parameter_types(signature)
    if len(types) != len(values):
        raise FormatError(f"ABI: {signature} takes {len(types)} arguments, got {len(values)}")
    for position, (name, value) in enumerate(zip(types, values, strict=True)):
        if not _fits(name, value):
            raise FormatError(f"ABI: argument {position} of {signature} is not a {name}")
    return selector(signature) + encode_words(*values)


def split_words(data: bytes, count: int) -> tuple[bytes, ...]:
    """Split data into exactly ``count`` words of 32 bytes.

    Raises:
        FormatError: the data has another length.
    """
    if len(data) != 32 * count:
        raise FormatError(f"ABI: {len(data)} bytes, expected {count} words of 32 bytes")
    return tuple([data[start : start + 32] for start in range(0, len(data), 32)])


def uint256_of_word(word: bytes) -> int:
    """Read 32 bytes as an unsigned integer; FormatError if they are not 32."""
    return int.from_bytes(_sized(word), "big")


def address_of_word(word: bytes) -> bytes:
    """Read 32 bytes, as in a topic, as a 20-byte address; FormatError if the upper 12 are not zero."""
    if not _sized(word).startswith(_ABOVE_ADDRESS):
        raise FormatError("ABI: an address with bits set above its 20 bytes")
    return word[12:]


def bool_of_word(word: bytes) -> bool:
    """Read 32 bytes as a boolean; FormatError if they are neither 0 nor 1."""
    number = uint256_of_word(word)
    if number > 1:
        raise FormatError("ABI: a bool that is neither 0 nor 1")
    return number == 1


def _parameter_types(signature: str) -> tuple[str, ...]:
    match = _SIGNATURE.fullmatch(signature)
    if match is None:
        raise FormatError(f"ABI: {signature!r} is not a canonical signature of static types")
    types = tuple(match[1].split(",")) if match[1] else ()
    for name in types:
        if name not in {"address", "bytes32", "bool"} and _uint_bits(name) is None:
            raise FormatError(f"ABI: type {name!r} in {signature!r} is not supported")
    return types


def _uint_bits(name: str) -> int | None:
    match = _UINT.fullmatch(name)
    bits = int(match[1]) if match else 0
    return bits if bits in range(8, 257, 8) else None


def _fits(name: str, value: Word) -> bool:
    if isinstance(value, bytes):
        return (name, len(value)) in {("address", 20), ("bytes32", 32)}
    if isinstance(value, bool):
        return name == "bool"
    bits = _uint_bits(name)
    return bits is not None and 0 <= value < 1 << bits


def _word(value: Word) -> bytes:
    if isinstance(value, bytes):
        if len(value) == 32:
            return value
        if len(value) != 20:
            raise FormatError(f"ABI: {len(value)} bytes are neither an address nor a bytes32")
        return _ABOVE_ADDRESS + value
    if not 0 <= value < 1 << 256:
        raise FormatError("ABI: a number outside of uint256")
    return value.to_bytes(32, "big")


def _sized(word: bytes) -> bytes:
    if len(word) != 32:
        raise FormatError(f"ABI: a word of {len(word)} bytes, expected 32")
    return word
