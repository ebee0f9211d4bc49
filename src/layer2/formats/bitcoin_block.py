"""Bitcoin blocks: headers and their work, Merkle paths, and the commitment to witnesses (BIP 141)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from layer2.errors.base import FormatError
from layer2.formats.bitcoin_transaction import Transaction, compact_size, double_sha256, read_transaction
from layer2.formats.byte_reader import ByteReader

__all__ = [
    "HEADER_SIZE",
    "MEDIAN_OF",
    "BitcoinBlock",
    "BitcoinHeader",
    "decode_block",
    "decode_header",
    "median_time",
    "merkle_path",
    "merkle_root",
    "root_of_path",
    "witness_commitment",
]

HEADER_SIZE: Final = 80
MEDIAN_OF: Final = 11
"""Blocks whose median time is the median time past (BIP 113)."""
_COMMITMENT_MARK: Final = bytes.fromhex("6a24aa21a9ed")
_COMMITMENT_SIZE: Final = 38
_MAX_DEPTH: Final = 32


@dataclass(frozen=True, slots=True)
class BitcoinHeader:
    """A block's header. Hashes are 32 bytes in the order in which headers contain them."""

    version: int
    parent: bytes
    merkle_root: bytes
    time: int
    """Unix seconds."""
    bits: int
    """The target in its compact form."""
    nonce: int

    @property
    def target(self) -> int:
        """The number that the block's hash must not exceed; 0 if ``bits`` encodes none between 0 and 2**256."""
        exponent, mantissa = self.bits >> 24, self.bits & 0x00FF_FFFF
        if mantissa & 0x0080_0000:
            return 0
        value = mantissa << 8 * (exponent - 3) if exponent > 3 else mantissa >> 8 * (3 - exponent)
        return value if value < 1 << 256 else 0

    @property
    def work(self) -> int:
        """The expected number of hashes to find such a block; 0 if no hash can be low enough."""
        return (1 << 256) // (self.target + 1) if self.target else 0

    @property
    def hash(self) -> bytes:
        """The block's hash, 32 bytes, in the order in which headers contain it."""
        return double_sha256(self.encode())

    @property
    def id(self) -> str:
        """The hash as nodes and explorers display it: 64 hex digits."""
        return self.hash[::-1].hex()

    @property
    def has_work(self) -> bool:
        """Whether the hash is at or below the header's own target, which can be an easy one."""
        return int.from_bytes(self.hash, "little") <= self.target

    def encode(self) -> bytes:
        """80 bytes."""
        return (
            (self.version.to_bytes(4, "little") + self.parent + self.merkle_root)
            + (self.time.to_bytes(4, "little") + self.bits.to_bytes(4, "little"))
            + self.nonce.to_bytes(4, "little")
        )


@dataclass(frozen=True, slots=True)
class BitcoinBlock:
    """A block."""

    header: BitcoinHeader
    transactions: tuple[Transaction, ...]

    def encode(self) -> bytes:
        """The bytes for a node, with witnesses."""
        transactions = b"".join(each.encode() for each in self.transactions)
        return self.header.encode() + compact_size(len(self.transactions)) + transactions


def decode_header(data: bytes) -> BitcoinHeader:
    """Read a header.

    Raises:
        FormatError: not 80 bytes.
    """
    reader = ByteReader(data, "the block header")
    header = _header(reader)
    reader.end()
    return header


def decode_block(data: bytes) -> BitcoinBlock:
    """Read a block.

    Raises:
        FormatError: not a block, or its transactions and witnesses are not those to which the header commits.
    """
    reader = ByteReader(data, "the block")
    header = _header(reader)
    transactions, witness_hashes = [], []
    for _ in range(reader.count(60)):
        start = reader.position
        transactions.append(read_transaction(reader))
        witness_hashes.append(double_sha256(data[start : reader.position]))
    reader.end()
    hashes = [each.hash for each in transactions]
    # A list that repeats its last hashes has the same root (CVE-2012-2459).
    if not hashes or len(set(hashes)) != len(hashes) or merkle_root(hashes) != header.merkle_root:
        raise FormatError("the block's transactions are not those of its header")
    if not _has_its_witnesses(transactions, witness_hashes):
        raise FormatError("the block's witnesses are not those of its header")
    return BitcoinBlock(header, tuple(transactions))


def median_time(headers: Sequence[BitcoinHeader]) -> int:
    """The median time past of the last of these headers, in unix seconds (BIP 113).

    Args:
        headers: consecutive ones; those before the last eleven do not count.
    """
    times = sorted(each.time for each in headers[-MEDIAN_OF:])
    return times[len(times) // 2]


def merkle_root(hashes: Sequence[bytes]) -> bytes:
    """The root over at least one hash of 32 bytes."""
    level = list(hashes)
    while len(level) > 1:
        level = _parents(level)
    return level[0]


def merkle_path(hashes: Sequence[bytes], index: int) -> tuple[bytes, ...]:
    """The sibling at each level from the leaf ``index`` to the root."""
    level, path = list(hashes), []
    while len(level) > 1:
        path.append(level[min(index ^ 1, len(level) - 1)])
        level, index = _parents(level), index >> 1
    return tuple(path)


def root_of_path(leaf: bytes, index: int, path: Sequence[bytes]) -> bytes:
    """The root to which a path leads.

    Args:
        leaf: 32 bytes.
        index: of the leaf in its block.
        path: the result of ``merkle_path``.

    Raises:
        FormatError: the path is too long, or too short for the index.

    The caller must know the tree's depth: the 64 bytes of a transaction can be read as two hashes below it, and the 64
    bytes of an inner node as a transaction (CVE-2017-12842).
    """
    if len(path) > _MAX_DEPTH or index >> len(path) or any(len(sibling) != 32 for sibling in path):
        raise FormatError("the Merkle path does not fit its index, or contains something else than hashes")
    for sibling in path:
        # A block that repeats its last hash has the same root with and without the repetition (CVE-2012-2459).
        if index & 1 and sibling == leaf:
            raise FormatError("the Merkle path repeats a hash")
        leaf = double_sha256(sibling + leaf if index & 1 else leaf + sibling)
        index >>= 1
    return leaf


def witness_commitment(coinbase: Transaction) -> tuple[bytes, bytes] | None:
    """The commitment to the block's witnesses and the reserved value of a coinbase, 32 bytes each, or None.

    The commitment is ``double_sha256(root over the witness hashes + reserved value)``; the coinbase's own witness hash
    counts as zero. Source: BIP 141.
    """
    marked = [
        each.script[6:_COMMITMENT_SIZE]
        for each in coinbase.outputs
        if each.script[:6] == _COMMITMENT_MARK and len(each.script) >= _COMMITMENT_SIZE
    ]
    witness = coinbase.inputs[0].witness
    if not marked or len(witness) != 1 or len(witness[0]) != 32:
        return None
    return marked[-1], witness[0]


def _has_its_witnesses(transactions: Sequence[Transaction], witness_hashes: Sequence[bytes]) -> bool:
    """Whether the coinbase commits to the witnesses, or there are none."""
    committed = witness_commitment(transactions[0])
    if committed is None:
        return not any(spent.witness for each in transactions for spent in each.inputs)
    root = merkle_root([bytes(32), *witness_hashes[1:]])
    return double_sha256(root + committed[1]) == committed[0]


def _header(reader: ByteReader) -> BitcoinHeader:
    return BitcoinHeader(
        version=reader.integer(4),
        parent=reader.take(32),
        merkle_root=reader.take(32),
        time=reader.integer(4),
        bits=reader.integer(4),
        nonce=reader.integer(4),
    )


def _parents(level: list[bytes]) -> list[bytes]:
    if len(level) % 2:
        level = [*level, level[-1]]
    return [double_sha256(level[at] + level[at + 1]) for at in range(0, len(level), 2)]
