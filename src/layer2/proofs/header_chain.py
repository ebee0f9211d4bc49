"""The headers between a proof's block and a later block that a verifier trusts.

A header contains its parent's hash and so commits to all earlier blocks. It does not commit to later blocks, so the
trusted header has to be the later one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from layer2.errors.base import FormatError, ProofRefused
from layer2.formats.evm_hex import format_data, parse_data
from layer2.legs.chain_header import HeaderReader, block_after, reader_of
from layer2.legs.shown import BlockRef
from layer2.model.layers import Layer2ProtocolType

__all__ = ["LONGEST_LINE", "MAX_HEADERS", "ancestors", "check_ancestor", "read_headers", "write_headers"]

MAX_HEADERS = 1 << 18
"""Headers in one chain: six days of BOB's blocks."""
LONGEST_LINE = 2_002
"""Maximum characters of a header in a file; those of BOB have about 1,250."""


def check_ancestor(
    block: BlockRef,
    headers: Iterable[bytes],
    trusted_hash: bytes,
    read: HeaderReader,
) -> None:
    """Check that a block is the trusted one, or its ancestor through the headers between them.

    Args:
        block: the proof's block.
        headers: every header after it, oldest first, up to and including the trusted one; empty if ``block`` itself is
            the trusted one. They are read once, one after the other, and no further than the first wrong one.
        trusted_hash: the hash of the block that the verifier trusts, 32 bytes, in the order in which nodes display it.
        read: reads a header; ``reader_after`` the proof's evidence.

    Raises:
        ProofRefused: ``header_chain``: a header is malformed or is not that of the next block, or the last header is
            not the trusted one.

    Does not show that the trusted header is final or on a chain: the verifier trusts that it is.
    """
    newest = block
    for each, _ in _chain(headers, read, block):
        newest = each
    if newest.hash != trusted_hash:
        raise _refused(f"the headers lead to block {newest.number} {format_data(newest.hash)}, not to the trusted one")


def ancestors(layer: Layer2ProtocolType, headers: Iterable[bytes], trusted_hash: bytes) -> frozenset[bytes]:
    """The hashes of the trusted block and of all blocks below it that the headers show, in time linear in their number.

    For many proofs on one chain: a proof's block is on the chain of the trusted one if its hash is among them.

    Args:
        headers: as for ``check_ancestor``, after the oldest of the blocks.
        trusted_hash: as for ``check_ancestor``.

    Raises:
        ProofRefused: ``header_chain``: a header is malformed or has another parent, or the last is not the trusted one.

    Does not show that the trusted header is final or on a chain: the verifier trusts that it is.
    """
    try:
        read = reader_of(layer)
    except FormatError as error:
        raise _refused(error.message) from error
    known = {trusted_hash}
    newest: BlockRef | None = None
    for newest, parent in _chain(headers, read, None):
        known |= {newest.hash, parent}
    if newest is not None and newest.hash != trusted_hash:
        raise _refused(f"the last header is {format_data(newest.hash)}, and not the trusted one")
    return frozenset(known)


def _chain(headers: Iterable[bytes], read: HeaderReader, before: BlockRef | None) -> Iterator[tuple[BlockRef, bytes]]:
    """The block of each header, and the hash of its parent; each follows the one before it.

    Args:
        before: the block before the first; None if it is not known.

    Raises:
        ProofRefused: ``header_chain``: a header is malformed or is not that of the next block, or there are too many.
    """
    newest = before
    for place, encoded in enumerate(headers, 1):
        if place > MAX_HEADERS:
            raise _refused(f"more than {MAX_HEADERS} headers")
        try:
            header = read(encoded)
            if newest is None:
                # Without a number, only the distance from this block counts.
                newest = BlockRef(header.number or 0, header.hash, header.timestamp)
            else:
                newest = block_after(newest, header)
        except FormatError as error:
            raise _refused(f"header {place}, of which the oldest is the first: {error.message}") from error
        yield newest, header.parent


def write_headers(headers: Sequence[bytes]) -> str:
    """The text of a file of headers: one per line, as from ``debug_getRawHeader``."""
    return "".join([format_data(header) + "\n" for header in headers])


def read_headers(lines: Iterable[str]) -> Iterator[bytes]:
    """The reverse of ``write_headers``, one line after the other. Does not decode the headers.

    Args:
        lines: of the file, each with its line feed. One that is longer than ``LONGEST_LINE`` may be cut.

    Raises:
        FormatError: a line is not ``0x`` and hexadecimal digits or is too long, or there are too many lines.
    """
    for number, line in enumerate(lines, 1):
        if number > MAX_HEADERS:
            raise FormatError(f"headers: more than {MAX_HEADERS} lines")
        if len(line.removesuffix("\n")) > LONGEST_LINE:
            raise FormatError(f"headers: line {number} has more than {LONGEST_LINE} characters")
        yield parse_data(line.removesuffix("\n"), f"line {number} of the headers")


def _refused(reason: str) -> ProofRefused:
    return ProofRefused("header_chain", reason)
