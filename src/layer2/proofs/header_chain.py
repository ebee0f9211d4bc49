"""The headers between a proof's block and a later one that a verifier trusts.

A header names its parent by its hash and so commits to everything before it. Nothing commits to what comes after, so
the header that is trusted has to be the later one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from layer2.errors import FormatError, ProofRefused
from layer2.formats.evm_header import decode_header
from layer2.formats.evm_hex import format_data, parse_data

__all__ = ["MAX_HEADERS", "check_ancestor", "read_headers", "write_headers"]

MAX_HEADERS = 1 << 18
"""Headers in one chain: six days of BOB's blocks."""
_LONGEST_LINE = 2_002
"""Characters of one header in a file; those of BOB have about 1,250."""


class _Header(Protocol):
    @property
    def number(self) -> int: ...

    @property
    def hash(self) -> bytes: ...

    @property
    def timestamp(self) -> int: ...


def check_ancestor(header: _Header, headers: Sequence[bytes], trusted_hash: bytes) -> None:
    """Check that a header is the trusted one, or an ancestor of it by the headers between.

    Args:
        header: the proof's.
        headers: RLP of every header after it, oldest first, up to the trusted one and with it; empty where
            ``header`` itself is the trusted one.
        trusted_hash: 32 bytes, the block's hash that the verifier trusts.

    Raises:
        ProofRefused: ``header_chain``: a gap, a header that does not name the one before as its parent, that is not
            one higher or not later, or that is none; or the last one is not the trusted one.

    It does not show that the trusted header is final or even on a chain: that is what trusting it means.
    """
    if len(headers) > MAX_HEADERS:
        raise _refused(f"{len(headers)} headers, at most {MAX_HEADERS} are read")
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
            raise _refused(f"the header after block {newest.number} has no height or time that follows")
        newest, newest_hash = child, child.hash
    if newest_hash != trusted_hash:
        raise _refused(f"the headers lead to block {newest.number} {format_data(newest_hash)}, not to the trusted one")


def write_headers(headers: Sequence[bytes]) -> str:
    """The text of a file of headers: each on a line of its own, as ``debug_getRawHeader`` gives it."""
    return "".join([format_data(header) + "\n" for header in headers])


def read_headers(text: str) -> tuple[bytes, ...]:
    """The reverse of ``write_headers``; the headers are not decoded yet.

    Raises:
        FormatError: a line that is not ``0x`` and hexadecimal digits, or more of it than any chain has.
    """
    lines = text.splitlines()
    if len(lines) > MAX_HEADERS:
        raise FormatError(f"headers: more than {MAX_HEADERS} lines")
    if any(len(line) > _LONGEST_LINE for line in lines):
        raise FormatError(f"headers: a line of more than {_LONGEST_LINE} characters")
    return tuple([parse_data(line, "a header") for line in lines])


def _refused(reason: str) -> ProofRefused:
    return ProofRefused("header_chain", reason)
