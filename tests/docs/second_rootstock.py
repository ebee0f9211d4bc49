"""The part of the second verifier that reads Rootstock's blocks, written from the format's page and FIPS 180-4."""

from __future__ import annotations

import hashlib
from math import isqrt
from typing import Any

import rlp  # type: ignore[import-untyped]  # ships no types
from eth_utils.crypto import keccak

PRIMES = [number for number in range(2, 312) if all(number % other for other in range(2, isqrt(number) + 1))]
ROUNDS = [int(prime ** (1 / 3) % 1 * 2**32) for prime in PRIMES]


def require(holds: object, what: str) -> None:
    if not holds:
        raise ValueError(what)


def receipt_of(evidence: dict[str, Any]) -> list[Any]:
    """Status and logs of the receipt, if it is under headers with work."""
    headers = [rlp.decode(bytes.fromhex(each)) for each in evidence["headers"]]
    require(headers, "7 header")
    hashes = [hash_with_work(each) for each in headers]
    for above, child in enumerate(headers[1:]):
        require(child[0] == hashes[above], "7 header")
        require(number(child[8]) == number(headers[above][8]) + 1, "7 header")
        require(number(child[11]) > number(headers[above][11]), "7 header")
    encoded = bytes.fromhex(evidence["receipt"])
    nodes = [bytes.fromhex(each) for each in evidence["receipt_proof"]]
    key = rlp.encode(evidence["transaction_index"])
    bits = f"{int.from_bytes(key, 'big'):0{8 * len(key)}b}"
    leaf = follow(headers[0][5], bits, nodes)
    require(leaf == keccak(encoded) + len(encoded).to_bytes(3, "big"), "7 receipt_inclusion")
    status, _, _, logs, _, again = rlp.decode(encoded)
    require(status == again, "7 receipt_inclusion")
    return [status, logs]


def number(field: bytes) -> int:
    return int.from_bytes(field, "big")


def hash_with_work(header: list[Any]) -> bytes:
    """The block's hash; refused if Bitcoin's header does not show the work for exactly these fields."""
    require(len(header) in range(19, 24), "7 header")
    *fields, bitcoin, path, coinbase = header
    require(len(bitcoin) == 80 and len(path) % 32 == 0 and len(path) <= 30 * 32, "7 header")
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
    require(difficulty >= 0 and found <= 2**256 // max(difficulty, 3), "7 header")
    done, state, end = number(coinbase[:8]), coinbase[8:40], coinbase[40:]
    before, mark, after = end.rpartition(b"RSKBLOCK:")
    require(mark and len(before) < 64 and 32 <= len(after) <= 160 and after[:20] == tag, "7 header")
    require(done % 64 == 0 and done + len(end) > 64, "7 header")
    root = hashlib.sha256(sha256_from(state, done, end)).digest()
    for start in range(0, len(path), 32):
        root = hashlib.sha256(hashlib.sha256(root + path[start : start + 32][::-1]).digest()).digest()
    require(root == bitcoin[36:68], "7 header")
    return keccak(rlp.encode([*mined, bitcoin]))


def sha256_from(state: bytes, done: int, end: bytes) -> bytes:
    zeros = -(done + len(end) + 9) % 64
    data = end + b"\x80" + bytes(zeros) + (8 * (done + len(end))).to_bytes(8, "big")
    words = [number(state[at : at + 4]) for at in range(0, 32, 4)]
    for start in range(0, len(data), 64):
        words = compressed(words, data[start : start + 64])
    return b"".join(word.to_bytes(4, "big") for word in words)


def compressed(words: list[int], block: bytes) -> list[int]:
    def turned(word: int, *amounts: int) -> int:
        result = 0
        for amount in amounts:
            result ^= word >> amount | word << 32 - amount
        return result & 0xFFFFFFFF

    line = [number(block[at : at + 4]) for at in range(0, 64, 4)]
    for at in range(16, 64):
        little = turned(line[at - 15], 7, 18) ^ line[at - 15] >> 3
        big = turned(line[at - 2], 17, 19) ^ line[at - 2] >> 10
        line.append((line[at - 16] + little + line[at - 7] + big) & 0xFFFFFFFF)
    a, b, c, d, e, f, g, h = words
    for constant, word in zip(ROUNDS, line, strict=True):
        first = h + turned(e, 6, 11, 25) + (e & f ^ ~e & g) + constant + word
        second = turned(a, 2, 13, 22) + (a & b ^ a & c ^ b & c)
        a, b, c, d, e, f, g, h = (first + second) & 0xFFFFFFFF, a, b, c, (d + first) & 0xFFFFFFFF, e, f, g
    return [(old + new) & 0xFFFFFFFF for old, new in zip(words, (a, b, c, d, e, f, g, h), strict=True)]


def follow(root: bytes, bits: str, nodes: list[bytes]) -> bytes:
    """The end of the leaf at these bits: the receipt's hash and length."""
    wanted, is_embedded = root, False
    for place, node in enumerate(reversed(nodes)):
        require((node if is_embedded else keccak(node)) == wanted, "7 receipt_inclusion")
        flags, rest = node[0], node[1:]
        require(flags & 0xC0 == 0x40, "7 receipt_inclusion")
        if flags & 0x10:
            size = rest[0] + 1
            width = -(-size // 8)
            path = f"{number(rest[1 : 1 + width]):0{8 * width}b}"[:size]
            require(bits.startswith(path), "7 receipt_inclusion")
            bits, rest = bits[size:], rest[1 + width :]
        if flags & 0x20:
            require(not bits and place == len(nodes) - 1 and len(rest) == 35, "7 receipt_inclusion")
            return rest
        require(bits and flags & 0x0C == 0x0C and not is_embedded, "7 receipt_inclusion")
        for side in (0, 1):
            is_embedded = bool(flags & (0x02 >> side))
            width = rest[0] if is_embedded else 32
            rest = rest[1:] if is_embedded else rest
            wanted, rest = rest[:width], rest[width:]
            if bits[0] == str(side):
                break
        bits = bits[1:]
    raise ValueError("7 receipt_inclusion")
