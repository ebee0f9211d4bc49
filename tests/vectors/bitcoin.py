"""Bitcoin's blocks and transactions for the cases, written with struct and hashlib."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from vectors.documents import AMOUNT, FEE, PAYMENT_HASH, PREIMAGE, Document
from vectors.keys import Key

__all__ = ["Input", "Output", "Spend", "Tx", "evidence", "funding", "leg", "script", "sha256d", "spend"]

PAYER, PAYEE, PAYEE_RELEASE = Key("bitcoin payer"), Key("bitcoin payee"), Key("bitcoin release")
LOCKTIME = 850_000
HEIGHT = 849_000
BITS = 0x207F_FFFF
BLOCK_TIME = 1_790_000_060
MARK = bytes.fromhex("6a24aa21a9ed")


def sha256d(data: bytes) -> bytes:
    return hashlib.sha256(hashlib.sha256(data).digest()).digest()


def size(value: int) -> bytes:
    """A compact size."""
    if value < 0xFD:
        return bytes([value])
    return b"\xfd" + struct.pack("<H", value) if value <= 0xFFFF else b"\xfe" + struct.pack("<I", value)


def sized(data: bytes) -> bytes:
    return size(len(data)) + data


@dataclass(frozen=True)
class Input:
    tx_hash: bytes
    index: int
    script: bytes = b""
    sequence: int = 0xFFFF_FFFD
    witness: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class Output:
    amount: int
    script: bytes


@dataclass(frozen=True)
class Tx:
    """A transaction."""

    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]
    locktime: int = 0

    def encode(self, *, witnesses: bool = True) -> bytes:
        witnesses = witnesses and any(each.witness for each in self.inputs)
        ins = [
            each.tx_hash + struct.pack("<I", each.index) + sized(each.script) + struct.pack("<I", each.sequence)
            for each in self.inputs
        ]
        outs = [struct.pack("<q", each.amount) + sized(each.script) for each in self.outputs]
        stacks = [size(len(each.witness)) + b"".join(map(sized, each.witness)) for each in self.inputs]
        return (
            (struct.pack("<i", 2) + (b"\x00\x01" if witnesses else b""))
            + (size(len(ins)) + b"".join(ins) + size(len(outs)) + b"".join(outs))
            + ((b"".join(stacks) if witnesses else b"") + struct.pack("<I", self.locktime))
        )

    @property
    def hash(self) -> bytes:
        return sha256d(self.encode(witnesses=False))

    @property
    def witness_hash(self) -> bytes:
        return sha256d(self.encode())


def leg(**changes: object) -> Document:
    """An output on a local network, of the amount of a source."""
    return {
        "kind": "bitcoin",
        "prefix": "bcrt",
        "amount": str(AMOUNT + FEE),
        "payer": PAYER.compressed.hex(),
        "payee": PAYEE.compressed.hex(),
        "payee_release": PAYEE_RELEASE.compressed.hex(),
        "payment_hash": PAYMENT_HASH.hex(),
        "locktime": LOCKTIME,
        "issued_height": HEIGHT - 100,
        "depth": 2,
        "fee_floor": 1_000,
        "finality": "safe",
    } | changes


def script(of: Document) -> bytes:
    """The leg's witness script."""
    keys = [bytes([33]) + bytes.fromhex(of[name]) for name in ("payee", "payer", "payee_release")]
    number: int = of["locktime"]
    pushed = bytes([0x50 + number]) if number <= 16 else sized(number.to_bytes(number.bit_length() // 8 + 1, "little"))
    claim = b"\x82\x01\x20\x88\xa8\x20" + bytes.fromhex(of["payment_hash"]) + b"\x88" + keys[0] + b"\xac"
    back = keys[1] + b"\xad" + keys[2] + b"\xac\x73\x64" + pushed + b"\xb1\x68"
    return b"\x63" + claim + b"\x67" + back + b"\x68"


def program(of: Document) -> bytes:
    return b"\x00\x20" + hashlib.sha256(script(of)).digest()


def funding(of: Document, **changes: Any) -> Tx:
    """A transaction whose second output is the leg's."""
    output = replace(Output(int(of["amount"]), program(of)), **changes)
    return Tx((Input(b"\x08" * 32, 0),), (Output(40_000, b"\x00\x14" + bytes(20)), output))


def claim_witness(of: Document) -> tuple[bytes, ...]:
    # The signature's bytes do not matter to a verifier: the witness is under the header.
    return (b"\x30" * 71, PREIMAGE, b"\x01", script(of))


def refund_witness(of: Document) -> tuple[bytes, ...]:
    return (b"", b"\x30" * 71, b"", script(of))


def release_witness(of: Document) -> tuple[bytes, ...]:
    return (b"\x30" * 71, b"\x31" * 71, b"", script(of))


def root(hashes: Sequence[bytes]) -> bytes:
    level = list(hashes)
    while len(level) > 1:
        level += level[-1:] * (len(level) % 2)
        level = [sha256d(level[at] + level[at + 1]) for at in range(0, len(level), 2)]
    return level[0]


def path(hashes: Sequence[bytes], index: int) -> list[bytes]:
    level, found = list(hashes), []
    while len(level) > 1:
        level += level[-1:] * (len(level) % 2)
        found.append(level[index ^ 1])
        level, index = [sha256d(level[at] + level[at + 1]) for at in range(0, len(level), 2)], index >> 1
    return found


def mined(parent: bytes, merkle_root: bytes, bits: int = BITS, *, has_work: bool = True) -> bytes:
    """A header whose hash is at or below the target of its bits, or above it."""
    target = (bits & 0xFF_FFFF) << 8 * ((bits >> 24) - 3)
    nonce = 0
    while True:
        header = struct.pack("<i32s32sIII", 0x2000_0000, parent, merkle_root, BLOCK_TIME, bits, nonce)
        if (int.from_bytes(sha256d(header), "little") <= target) is has_work:
            return header
        nonce += 1


@dataclass
class Spend:
    """A block with the transaction that spends an output. Each field can be changed before ``evidence``."""

    transaction: Tx
    funding: bytes
    input: int = 1
    index: int = 2
    others: int = 4
    headers: int = 3
    bits: int = BITS
    reserved: tuple[bytes, ...] = (bytes([11]) * 32,)
    coinbase_script: bytes = b"\x03" + HEIGHT.to_bytes(3, "little") + b"miner"
    commitments: list[bytes] | None = None
    leaves: list[bytes] | None = None
    """Another witness tree than that of the block's transactions."""
    changes: Document = field(default_factory=dict)

    def evidence(self) -> Document:
        block = [Tx((Input(bytes([place]) * 32, 0),), (Output(place, b"\x51"),)) for place in range(1, self.others + 1)]
        block.insert(self.index - 1, self.transaction)
        leaves = [bytes(32), *(each.witness_hash for each in block)] if self.leaves is None else self.leaves
        mark = MARK + sha256d(root(leaves) + self.reserved[0]) if self.reserved else MARK
        marks = [mark] if self.commitments is None else self.commitments
        outputs = (Output(5_000_000_000, b"\x51"), *(Output(0, each) for each in marks))
        first = Tx((Input(bytes(32), 2**32 - 1, self.coinbase_script, 2**32 - 1, self.reserved),), outputs)
        hashes = [first.hash, *(each.hash for each in block)]
        headers = [mined(b"\x0c" * 32, root(hashes), self.bits)]
        while len(headers) < self.headers:
            headers.append(mined(sha256d(headers[-1]), bytes(32), self.bits))
        return {
            "type": "bitcoin_spend",
            "headers": [each.hex() for each in headers],
            "funding": self.funding.hex(),
            "transaction": self.transaction.encode().hex(),
            "input": self.input,
            "index": self.index,
            "witness_path": [each.hex() for each in path(leaves, self.index)],
            "coinbase": first.encode().hex(),
            "coinbase_path": [each.hex() for each in path(hashes, 0)],
        } | self.changes


def spend(of: Document, witness: tuple[bytes, ...] | None = None, funded: Tx | None = None, **changes: Any) -> Spend:
    """A claim of the leg's output, or a spend with another witness."""
    source = funding(of) if funded is None else funded
    inputs = (
        Input(b"\x09" * 32, 0, witness=(b"\x01" * 71, b"\x02" * 33)),
        Input(source.hash, 1, witness=claim_witness(of) if witness is None else witness),
    )
    paid = (Output(40_000, b"\x00\x14" + bytes(20)),)
    made = Spend(Tx(inputs, paid), source.encode(witnesses=False))
    return replace(made, **changes)


def evidence(of: Document) -> Document:
    return spend(of).evidence()
