"""Bytes (DATA) and numbers (QUANTITY) of the Ethereum JSON-RPC.

Source: the hex value encoding of the Ethereum JSON-RPC specification.
"""

from __future__ import annotations

import re

from layer2.errors.base import FormatError

__all__ = ["format_data", "format_quantity", "parse_data", "parse_quantity"]

_QUANTITY = re.compile(r"0x(?:0|[1-9a-fA-F][0-9a-fA-F]{0,63})", re.ASCII)


def format_data(data: bytes) -> str:
    """Write bytes: ``0x`` and two digits for each."""
    return "0x" + data.hex()


def format_quantity(value: int) -> str:
    """Write a non-negative number: ``0x`` and its digits without leading zeros.

    Raises:
        FormatError: the number is negative.
    """
    if value < 0:
        raise FormatError("JSON-RPC: a quantity is not negative")
    return hex(value)


def parse_data(value: object, what: str, *, size: int | None = None) -> bytes:
    """Read bytes.

    Args:
        value: the node's answer.
        what: the name of the field, for the error.
        size: the required number of bytes, or None for any number.

    Raises:
        FormatError: the value is not DATA, or has another size.
    """
    if isinstance(value, str) and value[:2] == "0x":
        try:
            data = bytes.fromhex(value[2:])
        except ValueError:
            pass
        else:
            # fromhex ignores white space, which is not allowed here.
            if 2 * len(data) + 2 == len(value):
                if size is not None and len(data) != size:
                    raise FormatError(f"JSON-RPC: {what} has {len(data)} bytes, expected {size}")
                return data
    raise FormatError(f"JSON-RPC: {what} is not 0x and pairs of hexadecimal digits")


def parse_quantity(value: object, what: str, *, bits: int = 256) -> int:
    """Read a number.

    Args:
        value: the node's answer.
        what: the name of the field, for the error.
        bits: the maximum width of the number, at most 256.

    Raises:
        FormatError: the value is not a QUANTITY, has leading zeros, or is too wide.
    """
    if not isinstance(value, str) or not _QUANTITY.fullmatch(value):
        raise FormatError(f"JSON-RPC: {what} is not 0x and hexadecimal digits without leading zeros")
    number = int(value, 16)
    if number.bit_length() > bits:
        raise FormatError(f"JSON-RPC: {what} is wider than {bits} bits")
    return number
