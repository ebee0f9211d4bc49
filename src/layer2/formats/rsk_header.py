"""Rootstock's block headers: their hash, and the work of merged mining under them.

A node writes a header in two forms: the *short* one ends with Bitcoin's header (``rsk_getRawBlockHeaderByHash``), and
the *full* one, of blocks between nodes, has the Merkle path and the end of the coinbase too. The hash covers neither of
these two. Since version 1, the hash also covers a digest of the bloom filter and of newer fields instead of them.

Only headers since the Orchid upgrade are read (RSKIP-92 and RSKIP-98: from block 729,000 on mainnet), and that of the
first block: the others have another hash, and need no work.

Sources: RSKIP-92 (hash, Merkle path), RSKIP-110 (the last 12 bytes of the tag), RSKIP-119 and RSKIP-180 (limits),
RSKIP-351 (versions), RSKIP-535 (version 2); rskj 9 (``BlockHeader``, ``BlockFactory``, ``ProofOfWorkRule``) for the
order of fields, for signed integers, and for the order in the digest of version 2, which differs from RSKIP-535.
"""

from __future__ import annotations

import hashlib
from collections.abc import Container
from dataclasses import dataclass, field
from typing import Final

from layer2.errors.base import FormatError
from layer2.formats import bitcoin_block, rlp
from layer2.formats.bitcoin_block import BitcoinHeader, root_of_path
from layer2.formats.keccak import keccak256
from layer2.formats.rlp import RlpItem
from layer2.formats.sha256_midstate import STATE_SIZE, resume_sha256

__all__ = ["MergedMining", "RskHeader", "check_work", "decode_full_header", "decode_header", "encode_full_header"]

_HASH_SIZE: Final = 32
_BLOOM_SIZE: Final = 256
_COUNT_SIZE: Final = 8
_TAG: Final = b"RSKBLOCK:"
_PREFIX_SIZE: Final = 20
"""Of the hash for merged mining; the rest of the tag describes earlier blocks (RSKIP-110)."""
_UMM_ROOT_SIZE: Final = 20
_LARGEST_TAG_PLACE: Final = 63
_MOST_AFTER_TAG: Final = 128
_LONGEST_MERKLE_PATH: Final = 30
_SHORTEST_COINBASE: Final = 65
_LEAST_DIFFICULTY: Final = 3

_SIZES: Final[tuple[tuple[str, Container[int]], ...]] = (
    ("parent hash", (32,)),
    ("hash of uncles", (32,)),
    ("miner", (0, 20)),
    ("state root", (32,)),
    ("transactions root", (32,)),
    ("receipts root", (32,)),
    ("bloom filter", (_BLOOM_SIZE,)),
    ("difficulty", range(34)),
    ("number", range(9)),
    ("gas limit", range(33)),
    ("gas used", range(9)),
    ("timestamp", range(9)),
    ("extra data", range(33)),
    ("paid fees", range(33)),
    ("minimum gas price", range(34)),
    ("number of uncles", range(5)),
)
"""The fields of every header, and their sizes in bytes."""
_BLOOM_PLACE: Final = 6
_NUMBER_PLACE: Final = 8
_LONGEST_EDGES: Final = 8
_LONGEST_BASE_EVENT: Final = 128


@dataclass(frozen=True, slots=True)
class RskHeader:
    """A block header; ``decode_header`` and ``decode_full_header`` create it.

    A header's hash does not show that its block is part of any chain, and its work does not either.
    """

    parent_hash: bytes
    """32 bytes."""
    receipts_root: bytes
    """32 bytes, of a trie that ``rsk_trie`` verifies."""
    logs_bloom: bytes = field(repr=False)
    """256 bytes."""
    difficulty: int
    """The expected number of Bitcoin's hashes to find such a block."""
    number: int
    timestamp: int
    """Unix seconds, later than the parent's."""
    minimum_gas_price: int
    """Wei: the block contains no transaction that pays less for gas."""
    version: int
    """0, 1 or 2."""
    bitcoin: BitcoinHeader | None
    """The header of the Bitcoin block that was mined with this one. Bitcoin's chain need not contain it. None for the
    chain's first block, which was not mined."""
    hash: bytes
    """32 bytes."""
    hash_for_merged_mining: bytes = field(repr=False)
    """20 bytes that the coinbase of the Bitcoin block contains."""
    encoded: bytes = field(repr=False)
    """The header in its short form."""

    @property
    def target(self) -> int:
        """The number that the hash of the Bitcoin header must not exceed."""
        return (1 << 256) // max(self.difficulty, _LEAST_DIFFICULTY)

    @property
    def base_fee_per_gas(self) -> None:
        """Rootstock has no base fee."""
        return None

    def encode(self) -> bytes:
        """The header in its short form, as from ``rsk_getRawBlockHeaderByHash``."""
        return self.encoded


@dataclass(frozen=True, slots=True)
class MergedMining:
    """The path from a header of Bitcoin to a tag in its coinbase; both parts as Rootstock's nodes write them."""

    merkle_path: bytes
    """Siblings of the coinbase from the bottom up, 32 bytes each, in the order in which hashes are displayed."""
    coinbase: bytes
    """8 bytes for the number of bytes hashed, 32 for the state of SHA-256 after them, and the rest of the coinbase."""


def decode_header(data: bytes) -> RskHeader:
    """Read a header in its short form.

    Args:
        data: as from ``rsk_getRawBlockHeaderByHash``.

    Raises:
        FormatError: not the canonical encoding of a header, without merged mining above the first block, or of an
            unknown version.
    """
    header, rest = _read(data)
    if rest:
        raise FormatError("Rootstock header: fields after the header of Bitcoin")
    return header


def decode_full_header(data: bytes) -> tuple[RskHeader, MergedMining]:
    """Read a header in its full form, as blocks contain it.

    Raises:
        FormatError: as ``decode_header``.
    """
    header, rest = _read(data)
    match rest:
        case [bytes(merkle_path), bytes(coinbase)]:
            return header, MergedMining(merkle_path, coinbase)
        case _:
            raise FormatError("Rootstock header: no Merkle path and coinbase after the header of Bitcoin")


def encode_full_header(header: RskHeader, mining: MergedMining) -> bytes:
    """The reverse of ``decode_full_header``."""
    items = rlp.decode(header.encoded)
    assert isinstance(items, list)
    return rlp.encode([*items, mining.merkle_path, mining.coinbase])


def check_work(header: RskHeader, mining: MergedMining) -> None:
    """Check that miners of Bitcoin spent the header's work on this header.

    Raises:
        FormatError: the Bitcoin header's hash exceeds the target, the coinbase is not under that header, or it does not
            contain exactly this header's tag last.

    It shows neither that the difficulty is right for its place in the chain, nor that the block is valid. The Bitcoin
    header need not meet Bitcoin's own target.
    """
    if header.bitcoin is None or int.from_bytes(header.bitcoin.hash, "little") > header.target:
        raise FormatError("Rootstock header: no header of Bitcoin, or one whose hash exceeds the target")
    count, state = mining.coinbase[:_COUNT_SIZE], mining.coinbase[_COUNT_SIZE : _COUNT_SIZE + STATE_SIZE]
    tail = mining.coinbase[_COUNT_SIZE + STATE_SIZE :]
    done = int.from_bytes(count, "big")
    place = tail.rfind(_TAG)
    start = place + len(_TAG)
    tag = tail[start : start + _HASH_SIZE]
    if place < 0 or len(tag) != _HASH_SIZE or tag[:_PREFIX_SIZE] != header.hash_for_merged_mining:
        raise FormatError("Rootstock header: the last tag in the coinbase is not this header's")
    # Otherwise, blocks of SHA-256 could move from the tail into the state, and one proof would have several forms.
    if place > _LARGEST_TAG_PLACE:
        raise FormatError("Rootstock header: the tag is not in the first 64 bytes of the coinbase's end")
    if len(tail) - start - _HASH_SIZE > _MOST_AFTER_TAG:
        raise FormatError("Rootstock header: more than 128 bytes after the tag")
    # A transaction of 64 bytes could be two inner nodes of a Merkle tree (CVE-2017-12842).
    if done + len(tail) < _SHORTEST_COINBASE:
        raise FormatError("Rootstock header: a coinbase of at most 64 bytes")
    coinbase_hash = hashlib.sha256(resume_sha256(state, done, tail)).digest()
    if len(mining.merkle_path) % _HASH_SIZE or len(mining.merkle_path) > _LONGEST_MERKLE_PATH * _HASH_SIZE:
        raise FormatError("Rootstock header: a Merkle path that is not of at most 30 hashes")
    path = [mining.merkle_path[at : at + _HASH_SIZE][::-1] for at in range(0, len(mining.merkle_path), _HASH_SIZE)]
    if root_of_path(coinbase_hash, 0, path) != header.bitcoin.merkle_root:
        raise FormatError("Rootstock header: the coinbase is not under the Bitcoin header")


def _read(data: bytes) -> tuple[RskHeader, list[RlpItem]]:
    """The header, and the fields after the header of Bitcoin."""
    items = rlp.decode(data)
    if not isinstance(items, list) or len(items) < len(_SIZES):
        raise FormatError("Rootstock header: not a list with the fields of a header")
    if items[_NUMBER_PLACE] == b"":
        return _first(data, items), []
    common = [_sized(item, name, sizes) for item, (name, sizes) in zip(items, _SIZES, strict=False)]
    rest = items[len(_SIZES) :]
    hashed: list[RlpItem] = [*common]
    umm_root = b""
    if rest and len(rest[0]) in {0, _UMM_ROOT_SIZE}:
        # Absent before the Papyrus upgrade: Bitcoin's header is next, 80 bytes.
        umm_root = _sized(rest.pop(0), "umm root", (0, _UMM_ROOT_SIZE))
        hashed.append(umm_root)
    version = 0
    if rest and len(rest[0]) == 1:
        version = rlp.decode_int(rest.pop(0), max_bytes=1)
        hashed[_BLOOM_PLACE] = _extension(version, common[_BLOOM_PLACE], rest)
    for_mining = keccak256(rlp.encode(hashed))[:_PREFIX_SIZE]
    if umm_root:
        for_mining = keccak256(for_mining + umm_root)[:_PREFIX_SIZE]
    if not rest:
        raise FormatError("Rootstock header: no header of Bitcoin")
    bitcoin = _sized(rest.pop(0), "header of Bitcoin", (bitcoin_block.HEADER_SIZE,))
    header = RskHeader(
        parent_hash=common[0],
        receipts_root=common[5],
        logs_bloom=common[_BLOOM_PLACE],
        difficulty=_signed(common[7], "difficulty"),
        number=rlp.decode_int(common[_NUMBER_PLACE], max_bytes=8),
        timestamp=rlp.decode_int(common[11], max_bytes=8),
        minimum_gas_price=_signed(common[14], "minimum gas price"),
        version=version,
        bitcoin=bitcoin_block.decode_header(bitcoin),
        hash=keccak256(rlp.encode([*hashed, bitcoin])),
        hash_for_merged_mining=for_mining,
        encoded=rlp.encode(items[: len(items) - len(rest)]),
    )
    return header, rest


def _first(data: bytes, items: list[RlpItem]) -> RskHeader:
    """The header of the chain's first block: its fields need not have their usual sizes, and there is no work."""
    fields = [item for item in items if isinstance(item, bytes)]
    if len(fields) != len(items) or {len(fields[0]), len(fields[5])} != {_HASH_SIZE}:
        raise FormatError("Rootstock header: the first block is malformed")
    return RskHeader(
        parent_hash=fields[0],
        receipts_root=fields[5],
        logs_bloom=_sized(fields[_BLOOM_PLACE], "bloom filter", (_BLOOM_SIZE,)),
        difficulty=int.from_bytes(fields[7], "big"),
        number=0,
        timestamp=rlp.decode_int(fields[11], max_bytes=8),
        minimum_gas_price=int.from_bytes(fields[14], "big"),
        version=0,
        bitcoin=None,
        hash=keccak256(data),
        hash_for_merged_mining=b"",
        encoded=data,
    )


def _extension(version: int, bloom: bytes, rest: list[RlpItem]) -> bytes:
    """What the hash covers instead of the bloom filter; removes the fields that it contains from ``rest``."""
    if version not in {1, 2}:
        raise FormatError(f"Rootstock header: version {version} is not supported")
    if len(rest) <= version:
        raise FormatError(f"Rootstock header: version {version} has more fields")
    edges = _sized(rest.pop(0), "edges of execution", range(0, _LONGEST_EDGES + 1, 2))
    content: list[RlpItem] = [keccak256(bloom), edges]
    if version == 2:
        content.insert(1, _sized(rest.pop(0), "base event", range(_LONGEST_BASE_EVENT + 1)))
    return rlp.encode([bytes((version,)), keccak256(rlp.encode(content))])


def _signed(value: bytes, what: str) -> int:
    """A non-negative integer as rskj writes some of them: in two's complement, zero as a byte or as nothing."""
    number = int.from_bytes(value, "big", signed=True)
    if number < 0 or (len(value) > 1 and value[0] == 0 and value[1] < 0x80):
        raise FormatError(f"Rootstock header: {what} is not a non-negative number in its shortest form")
    return number


def _sized(item: RlpItem, what: str, sizes: Container[int]) -> bytes:
    if not isinstance(item, bytes):
        raise FormatError(f"Rootstock header: {what} is a list")
    if len(item) not in sizes:
        raise FormatError(f"Rootstock header: {what} has {len(item)} bytes")
    return item
