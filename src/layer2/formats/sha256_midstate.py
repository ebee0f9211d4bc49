"""SHA-256 that continues from the state after a number of whole blocks.

Rootstock's headers contain the end of a coinbase and the state of SHA-256 before it, instead of the whole transaction.

Source: FIPS 180-4, section 6.2.
"""

from __future__ import annotations

import struct
from typing import Final

from layer2.errors.base import FormatError

__all__ = ["STATE_SIZE", "resume_sha256"]

STATE_SIZE: Final = 32

_BLOCK_SIZE: Final = 64
_MASK: Final = 0xFFFF_FFFF
_LARGEST_COUNT: Final = 1 << 32


def _primes(count: int) -> list[int]:
    found: list[int] = []
    candidate = 2
    while len(found) < count:
        if all(candidate % prime for prime in found):
            found.append(candidate)
        candidate += 1
    return found


def _cube_root_bits(prime: int) -> int:
    """The first 32 bits of the fraction of a cube root, in exact integers."""
    scaled = prime << 96
    root = 1 << (scaled.bit_length() // 3 + 1)
    while True:
        closer = (2 * root + scaled // (root * root)) // 3
        if closer >= root:
            return root & _MASK
        root = closer


_CONSTANTS: Final = tuple([_cube_root_bits(prime) for prime in _primes(64)])


def resume_sha256(state: bytes, done: int, tail: bytes) -> bytes:
    """Hash a message of which the first ``done`` bytes are known by the state after them only.

    Args:
        state: 32 bytes, the state.
        done: the number of bytes before ``tail``, a multiple of 64.
        tail: the rest of the message.

    Returns:
        The digest of the whole message, 32 bytes.

    Raises:
        FormatError: a state of another size, or a count that is not one of whole blocks.

    It does not show that any message leads to the state.
    """
    if len(state) != STATE_SIZE:
        raise FormatError(f"SHA-256: a state of {len(state)} bytes, expected {STATE_SIZE}")
    if not 0 <= done < _LARGEST_COUNT or done % _BLOCK_SIZE:
        raise FormatError("SHA-256: the state is not one after whole blocks")
    size = done + len(tail)
    padded = tail + b"\x80" + bytes(-(size + 9) % _BLOCK_SIZE) + (8 * size).to_bytes(8, "big")
    words = struct.unpack(">8I", state)
    for start in range(0, len(padded), _BLOCK_SIZE):
        words = _compressed(words, padded[start : start + _BLOCK_SIZE])
    return struct.pack(">8I", *words)


def _rotated(word: int, by: int) -> int:
    return (word >> by | word << (32 - by)) & _MASK


def _compressed(state: tuple[int, ...], block: bytes) -> tuple[int, ...]:
    schedule = list(struct.unpack(">16I", block))
    for at in range(16, 64):
        early, late = schedule[at - 15], schedule[at - 2]
        small = _rotated(early, 7) ^ _rotated(early, 18) ^ early >> 3
        large = _rotated(late, 17) ^ _rotated(late, 19) ^ late >> 10
        schedule.append((schedule[at - 16] + small + schedule[at - 7] + large) & _MASK)
    a, b, c, d, e, f, g, h = state
    for constant, word in zip(_CONSTANTS, schedule, strict=True):
        choice = e & f ^ ~e & g
        first = h + (_rotated(e, 6) ^ _rotated(e, 11) ^ _rotated(e, 25)) + choice + constant + word
        majority = a & b ^ a & c ^ b & c
        second = (_rotated(a, 2) ^ _rotated(a, 13) ^ _rotated(a, 22)) + majority
        a, b, c, d, e, f, g, h = (first + second) & _MASK, a, b, c, (d + first) & _MASK, e, f, g
    return tuple([(old + new) & _MASK for old, new in zip(state, (a, b, c, d, e, f, g, h), strict=True)])
