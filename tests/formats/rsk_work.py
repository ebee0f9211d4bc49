"""The work of a Rootstock block by other libraries, written from docs/proof-format.md and FIPS 180-4."""

from __future__ import annotations

import hashlib
from math import isqrt
from typing import Any

import rlp  # type: ignore[import-untyped]  # ships no types
from eth_utils.crypto import keccak

__all__ = ["hash_with_work"]

_PRIMES = [number for number in range(2, 312) if all(number % other for other in range(2, isqrt(number) + 1))]
_ROUNDS = [int(prime ** (1 / 3) % 1 * 2**32) for prime in _PRIMES]


def _require(holds: object) -> None:
    if not holds:
        raise ValueError("not a header with its work")


def hash_with_work(header: list[Any]) -> bytes:
    """The block's hash; refused if Bitcoin's header does not show the work for exactly these fields."""
    _require(len(header) in range(19, 24))
    *fields, bitcoin, path, coinbase = header
    _require(len(bitcoin) == 80 and len(path) % 32 == 0 and len(path) <= 30 * 32)
    mined, rest = fields[:16], fields[16:]
    umm = rest.pop(0) if rest and len(rest[0]) in (0, 20) else None
    if rest:
        version, edges, *event = rest
        mined[6] = rlp.encode([version, keccak(rlp.encode([keccak(mined[6]), *event, edges]))])
    if umm is not None:
        mined.append(umm)
    tag = keccak(rlp.encode(mined))[:20]
    if umm:
        tag = keccak(tag + umm)[:20]
    difficulty = int.from_bytes(header[7], "big", signed=True)
    found = int.from_bytes(hashlib.sha256(hashlib.sha256(bitcoin).digest()).digest(), "little")
    _require(difficulty >= 0 and found <= 2**256 // max(difficulty, 3))
    done, state, end = _number(coinbase[:8]), coinbase[8:40], coinbase[40:]
    before, mark, after = end.rpartition(b"RSKBLOCK:")
    _require(mark and len(before) < 64 and 32 <= len(after) <= 160 and after[:20] == tag)
    _require(done % 64 == 0 and done + len(end) > 64)
    root = hashlib.sha256(_sha256_from(state, done, end)).digest()
    for start in range(0, len(path), 32):
        root = hashlib.sha256(hashlib.sha256(root + path[start : start + 32][::-1]).digest()).digest()
    _require(root == bitcoin[36:68])
    return keccak(rlp.encode([*mined, bitcoin]))


def _number(field: bytes) -> int:
    return int.from_bytes(field, "big")


def _sha256_from(state: bytes, done: int, end: bytes) -> bytes:
    zeros = -(done + len(end) + 9) % 64
    data = end + b"\x80" + bytes(zeros) + (8 * (done + len(end))).to_bytes(8, "big")
    words = [_number(state[at : at + 4]) for at in range(0, 32, 4)]
    for start in range(0, len(data), 64):
        words = _compressed(words, data[start : start + 64])
    return b"".join(word.to_bytes(4, "big") for word in words)


def _compressed(words: list[int], block: bytes) -> list[int]:
    def turned(word: int, *amounts: int) -> int:
        result = 0
        for amount in amounts:
            result ^= word >> amount | word << 32 - amount
        return result & 0xFFFFFFFF

    line = [_number(block[at : at + 4]) for at in range(0, 64, 4)]
    for at in range(16, 64):
        little = turned(line[at - 15], 7, 18) ^ line[at - 15] >> 3
        big = turned(line[at - 2], 17, 19) ^ line[at - 2] >> 10
        line.append((line[at - 16] + little + line[at - 7] + big) & 0xFFFFFFFF)
    a, b, c, d, e, f, g, h = words
    for constant, word in zip(_ROUNDS, line, strict=True):
        first = h + turned(e, 6, 11, 25) + (e & f ^ ~e & g) + constant + word
        second = turned(a, 2, 13, 22) + (a & b ^ a & c ^ b & c)
        a, b, c, d, e, f, g, h = (first + second) & 0xFFFFFFFF, a, b, c, (d + first) & 0xFFFFFFFF, e, f, g
    return [(old + new) & 0xFFFFFFFF for old, new in zip(words, (a, b, c, d, e, f, g, h), strict=True)]
