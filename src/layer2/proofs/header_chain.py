"""The headers between a proof's block and a later block that a verifier trusts.

A header contains its parent's hash and so commits to all earlier blocks. It does not commit to later blocks, so the
trusted header has to be the later one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from layer2.errors.base import FormatError, ProofRefused
from layer2.formats.evm_header import decode_header
from layer2.formats.evm_hex import format_data, parse_data

__all__ = ["MAX_HEADERS", "check_ancestor", "read_headers", "write_headers"]

MAX_HEADERS = 1 << 18
"""Headers in one chain: six days of BOB's blocks."""
_LONGEST_LINE = 2_002
"""Maximum characters of a header in a file; those of BOB have about 1,250."""


class _Header(Protocol):
    @property
    def number(self) -> int: ...

    @property
    def hash(self) -> bytes: ...

    @property
    def timestamp(self) -> int: ...


def check_ancestor(header: _Header, headers: Sequence[bytes], trusted_hash: bytes) -> None:
    """Check that a header is the trusted one, or its ancestor through the headers between them.

    Args:
        header: the proof's header.
        headers: RLP of every header after it, oldest first, up to and including the trusted one; empty if ``header``
            itself is the trusted one.
        trusted_hash: the hash of the block that the verifier trusts, 32 bytes.

    Raises:
        ProofRefused: ``header_chain``: a header is malformed, has another parent than the header before it, is not one
            block higher, or is not later; or the last header is not the trusted one.

    Does not show that the trusted header is final or on a chain: the verifier trusts that it is.
    """
    if len(headers) > MAX_HEADERS:
        raise _refused(f"{len(headers)} headers, the maximum is {MAX_HEADERS}")
    newest: _Header = header
    newest_hash = header.hash
    for encoded in headers:
        if newest_hash == trusted_hash:
            raise _refused("there are headers after the trusted one")
        try:
            child = decode_header(encoded)
        except FormatError as error:
            raise _refused(error.message) from error
        if child.parent_hash != newest_hash:
            raise _refused(f"the header after block {newest.number} has another parent")
        if child.number != newest.number + 1 or child.timestamp <= newest.timestamp:
            raise _refused(f"the header after block {newest.number} has a wrong height or time")
        newest, newest_hash = child, child.hash
    if newest_hash != trusted_hash:
        raise _refused(f"the headers lead to block {newest.number} {format_data(newest_hash)}, not to the trusted one")


def write_headers(headers: Sequence[bytes]) -> str:
    """The text of a file of headers: one per line, as from ``debug_getRawHeader``."""
    return "".join([format_data(header) + "\n" for header in headers])


def read_headers(text: str) -> tuple[bytes, ...]:
    """The reverse of ``write_headers``. Does not decode the headers.

    Raises:
        FormatError: a line is not ``0x`` and hexadecimal digits or is too long, or there are too many lines.
    """
    lines = text.splitlines()
    if len(lines) > MAX_HEADERS:
        raise FormatError(f"headers: more than {MAX_HEADERS} lines")
    if any(len(line) > _LONGEST_LINE for line in lines):
        raise FormatError(f"headers: a line of more than {_LONGEST_LINE} characters")
    return tuple([parse_data(line, "a header") for line in lines])


def _refused(reason: str) -> ProofRefused:
    return ProofRefused("header_chain", reason)
