"""Rootstock's blocks for the cases, with rlp and eth-utils, from the page that specifies them."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import rlp  # type: ignore[import-untyped]  # ships no types
from eth_bloom.bloom import BloomFilter
from eth_utils.crypto import keccak

from vectors import evm
from vectors.bitcoin import sha256d, size
from vectors.documents import AMOUNT, FEE, Document
from vectors.evm import BLOCK_TIME, CLAIMED

__all__ = ["Header", "Trie", "claimed", "evidence", "leg", "receipt", "receipts"]

HEIGHT = 7_000_000
DIFFICULTY = 4
START = b"\x01" * 55
FIRST_BLOCK = START + b"\x80" + (440).to_bytes(8, "big")
"""The coinbase's first 64 bytes: a padded message, whose digest is the state of SHA-256 after them."""

INITIAL_STATE = bytes.fromhex("6a09e667bb67ae853c6ef372a54ff53a510e527f9b05688c1f83d9ab5be0cd19")
"""The state of SHA-256 before any block (FIPS 180-4)."""


def leg(**changes: object) -> Document:
    """A lock of Rootstock's coin, of the amount of a source."""
    coin = {"layer": "ROOTSTOCK", "chain_id": 33, "token": "00" * 20, "token_decimals": 18}
    return evm.leg(**coin | {"amount": str((AMOUNT + FEE) * 10**10)} | changes)


@dataclass
class Header:
    """A header. Each field can be changed before ``full``."""

    fields: list[Any]
    tail: list[bytes] = field(default_factory=lambda: [b""])
    """The umm root, and in later versions more."""
    tag: bytes | None = None
    before: bytes = b"\x02" * 10
    after: bytes = b"\x03" * 20
    worth: int | None = None
    """The difficulty that Bitcoin's header really has; None is the header's."""
    count: int = len(FIRST_BLOCK)
    path: bytes = hashlib.sha256(b"sibling").digest()
    """The sibling, in the order in which hashes are displayed."""
    first_block: bytes = FIRST_BLOCK
    """What SHA-256 has read before the rest of the coinbase: one block, or nothing."""

    @property
    def mined_fields(self) -> list[Any]:
        """What the hash covers before Bitcoin's header."""
        hashed = list(self.fields)
        tail = list(self.tail)
        if tail and len(tail[0]) in (0, 20):
            hashed.append(tail.pop(0))
        if tail:
            version, *rest = tail
            hashed[6] = rlp.encode([version, keccak(rlp.encode([keccak(self.fields[6]), *rest]))])
        return hashed

    @property
    def own_tag(self) -> bytes:
        own: bytes = keccak(rlp.encode(self.mined_fields))[:20]
        umm = self.tail[0] if self.tail else b""
        return keccak(own + umm)[:20] if len(umm) == 20 else own

    def written(self) -> list[bytes]:
        """The fields as the file has them: in version 2 the edges come first."""
        return self.tail if len(self.tail) < 4 else [*self.tail[:2], self.tail[3], self.tail[2]]

    def bitcoin(self) -> tuple[bytes, bytes]:
        """Bitcoin's header, and the coinbase."""
        tag = self.own_tag + bytes(12) if self.tag is None else self.tag
        end = self.before + b"RSKBLOCK:" + tag + self.after
        root = sha256d(self.first_block + end)
        for at in range(0, len(self.path), 32):
            root = sha256d(root + self.path[at : at + 32][::-1])
        difficulty = int.from_bytes(self.fields[7], "big")
        highest, lowest = 2**256 // max(difficulty if self.worth is None else self.worth, 3), 0
        if self.worth is not None:
            lowest = 2**256 // max(difficulty, 3) + 1
        nonce = 0
        while True:
            header = struct.pack("<i32s32sIII", 4, bytes(32), root, BLOCK_TIME, 0x207F_FFFF, nonce)
            if lowest <= int.from_bytes(sha256d(header), "little") <= highest:
                break
            nonce += 1
        state = hashlib.sha256(START).digest() if self.first_block else INITIAL_STATE
        return header, self.count.to_bytes(8, "big") + state + end

    def full(self) -> bytes:
        header, coinbase = self.bitcoin()
        encoded: bytes = rlp.encode([*self.fields, *self.written(), header, self.path, coinbase])
        return encoded

    def short(self) -> bytes:
        encoded: bytes = rlp.encode([*self.fields, *self.written(), self.bitcoin()[0]])
        return encoded

    @property
    def hash(self) -> bytes:
        return keccak(rlp.encode([*self.mined_fields, self.bitcoin()[0]]))


def header(receipts_root: bytes, *, parent: bytes = bytes(32), above: int = 0, **changes: Any) -> Header:
    """A header of version 0 at a height above the first one."""
    numbers = [rlp.sedes.big_endian_int.serialize(each) for each in (DIFFICULTY, HEIGHT + above)]
    fields = [parent, bytes(32), bytes(20), bytes(32), bytes(32), receipts_root, bytes(256), *numbers]
    time = rlp.sedes.big_endian_int.serialize(BLOCK_TIME + 30 * above)
    fields += [b"\x67\xc2\x80", b"\x03\x0d\x40", time, b"", b"", b"\x03\x93\x87\x00", b""]
    return Header(fields, **changes)


@dataclass
class Trie:
    """The receipts trie of a block."""

    values: Sequence[bytes]

    def keys(self) -> list[tuple[str, bytes]]:
        encoded = [rlp.encode(index) for index in range(len(self.values))]
        bits = [f"{int.from_bytes(key, 'big'):0{8 * len(key)}b}" for key in encoded]
        return sorted(zip(bits, self.values, strict=True))

    def nodes(self, index: int) -> list[bytes]:
        """From the receipt to the root."""
        found: list[bytes] = []
        key = rlp.encode(index)
        self._build(self.keys(), 0, f"{int.from_bytes(key, 'big'):0{8 * len(key)}b}", found)
        return found

    @property
    def root(self) -> bytes:
        return keccak(self.nodes(0)[-1])

    def _build(
        self, entries: list[tuple[str, bytes]], depth: int, wanted: str, found: list[bytes]
    ) -> tuple[bytes, int]:
        if len(entries) == 1:
            bits, value = entries[0]
            node = node_of(0x20, bits[depth:], keccak(value) + len(value).to_bytes(3, "big"))
            below = len(node) + len(value)
        else:
            fork = depth
            while len({bits[fork] for bits, _ in entries}) == 1:
                fork += 1
            flags, body, total = 0, b"", 0
            for side in "01":
                child, count = self._build([each for each in entries if each[0][fork] == side], fork + 1, wanted, found)
                embedded = bool(child[0] & 0x20) and len(child) <= 44
                flags |= (0x08 | 0x02 * embedded) >> int(side)
                body += bytes([len(child)]) + child if embedded else keccak(child)
                total += count
            node = node_of(flags, entries[0][0][depth:fork], body + size(total))
            below = len(node) + total
        if any(bits == wanted for bits, _ in entries):
            found.append(node)
        return node, below


def node_of(flags: int, path: str, body: bytes) -> bytes:
    """A node with its shared path."""
    if not path:
        return bytes([0x40 | flags]) + body
    width = -(-len(path) // 8)
    return bytes([0x50 | flags, len(path) - 1]) + int(path.ljust(8 * width, "0"), 2).to_bytes(width, "big") + body


def receipt(
    *logs: list[Any], status: bytes = b"\x01", gas: int = 21_000, own: int = 21_000, again: bytes | None = None
) -> bytes:
    """An encoded receipt with the bloom filter of its logs."""
    bloom = BloomFilter()
    for address, topics, _ in logs:
        bloom.extend([address, *topics])
    last = status if again is None else again
    encoded: bytes = rlp.encode([status, gas, int(bloom).to_bytes(256, "big"), list(logs), own, last])
    return encoded


def receipts(third: bytes, count: int = 5) -> list[bytes]:
    """A block's receipts, of which the third is given."""
    values = [receipt(gas=21_000 * (place + 1)) for place in range(count - 1)]
    values[2:2] = [third]
    return values


def evidence(values: Sequence[bytes], index: int = 2, later: int = 3, first: Header | None = None) -> Document:
    """Evidence of a receipt, under the block's header and later ones."""
    trie = Trie(values)
    headers = [header(trie.root) if first is None else first]
    while len(headers) <= later:
        headers.append(header(bytes(32), parent=headers[-1].hash, above=len(headers)))
    return {
        "type": "rootstock_receipt",
        "headers": [each.full().hex() for each in headers],
        "transaction_index": index,
        "receipt": values[index].hex(),
        "receipt_proof": [node.hex() for node in trie.nodes(index)],
        "log_index": 0,
    }


def claimed(of: Document, made: Document, topic: bytes = CLAIMED) -> Document:
    """Evidence of the end of a lock, in the third receipt of a block."""
    return evidence(receipts(receipt(evm.log(of, made, topic), gas=163_000, own=100_000)))


def hash_of(full: bytes) -> bytes:
    """The hash of a header of version 0 in its full form."""
    items: list[Any] = rlp.decode(full)
    hashed: bytes = rlp.encode(items[:-2])
    return keccak(hashed)
