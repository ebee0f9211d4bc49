"""The headers of chains, and the rule by which one follows another, on every layer with blocks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias, assert_never

from layer2.errors.base import FormatError
from layer2.formats import bitcoin_block, evm_header, rsk_header
from layer2.formats.keccak import keccak256
from layer2.formats.rsk_header import RskHeader
from layer2.legs.evidence import (
    BitcoinSpendEvidence,
    EvmEvidence,
    EvmReceiptEvidence,
    EvmStorageEvidence,
    RootstockReceiptEvidence,
)
from layer2.legs.shown import BlockRef
from layer2.model.layers import LAYERS, Layer2ProtocolType

__all__ = [
    "ChainHeader",
    "HeaderReader",
    "block_after",
    "of_rootstock",
    "read_bitcoin",
    "read_evm",
    "read_rootstock",
    "reader_after",
    "reader_of",
]


@dataclass(frozen=True, slots=True)
class ChainHeader:
    """What a header says of its block and of the one before it. Hashes are in the order in which nodes display them."""

    hash: bytes
    parent: bytes
    number: int | None
    """None on Bitcoin, whose headers do not contain it."""
    timestamp: int
    """Unix seconds."""


HeaderReader: TypeAlias = Callable[[bytes], ChainHeader]
"""Reads a header as nodes write it. Raises ``FormatError`` if it is none."""


def block_after(newest: BlockRef, header: ChainHeader) -> BlockRef:
    """The block of a header, which is that of the block after another one.

    Raises:
        FormatError: it has another parent; or its number is not one higher, or its time is not later. A Bitcoin header
            has no number, and its time may be earlier.
    """
    if header.parent != newest.hash:
        raise FormatError(f"the header after block {newest.number} has another parent")
    if header.number is None:
        return BlockRef(newest.number + 1, header.hash, header.timestamp)
    if header.number != newest.number + 1 or header.timestamp <= newest.timestamp:
        raise FormatError(f"the header after block {newest.number} has a wrong height or time")
    return BlockRef(header.number, header.hash, header.timestamp)


def reader_after(evidence: EvmEvidence | BitcoinSpendEvidence) -> HeaderReader:
    """Reads the headers after the block of evidence, whose type determines their form."""
    match evidence:
        case EvmReceiptEvidence() | EvmStorageEvidence():
            return read_evm
        case RootstockReceiptEvidence():
            return read_rootstock
        case BitcoinSpendEvidence():
            return read_bitcoin
        case _:
            assert_never(evidence)


def reader_of(layer: Layer2ProtocolType) -> HeaderReader:
    """Reads the headers of a layer in every form that one of its networks has.

    Raises:
        FormatError: the layer has no blocks.
    """
    facts = LAYERS.get(layer)
    if facts is not None and facts.kind == "bitcoin":
        return read_bitcoin
    if facts is None or facts.kind != "evm":
        raise FormatError(f"{layer.value} has no blocks")
    # A local network can have another node. Its header, too, is one only if it has the hash that is known.
    return partial(_read_either, read_rootstock, read_evm) if facts.receipts == "rootstock" else read_evm


def read_evm(encoded: bytes) -> ChainHeader:
    """See ``HeaderReader``: RLP, as from ``debug_getRawHeader``."""
    header = evm_header.decode_header(encoded)
    # The decoder accepts one encoding only, so these bytes are what the hash covers.
    return ChainHeader(keccak256(encoded), header.parent_hash, header.number, header.timestamp)


def read_rootstock(encoded: bytes) -> ChainHeader:
    """See ``HeaderReader``: the short form, as from ``rsk_getRawBlockHeaderByHash``."""
    return of_rootstock(rsk_header.decode_header(encoded))


def of_rootstock(header: RskHeader) -> ChainHeader:
    """The same of a header that is read."""
    return ChainHeader(header.hash, header.parent_hash, header.number, header.timestamp)


def read_bitcoin(encoded: bytes) -> ChainHeader:
    """See ``HeaderReader``: 80 bytes."""
    header = bitcoin_block.decode_header(encoded)
    return ChainHeader(header.hash[::-1], header.parent[::-1], None, header.time)


def _read_either(first: HeaderReader, second: HeaderReader, encoded: bytes) -> ChainHeader:
    try:
        return first(encoded)
    except FormatError:
        return second(encoded)
