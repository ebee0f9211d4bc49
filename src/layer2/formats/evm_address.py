"""EVM addresses: 20 bytes, written with the checksum of EIP-55."""

from __future__ import annotations

import re

from coincurve import PublicKey

from layer2.errors.base import FormatError
from layer2.formats.keccak import keccak256

__all__ = ["address_of_public_key", "create2_address", "parse_address", "to_checksum"]

_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}", re.ASCII)


def to_checksum(address: bytes) -> str:
    """Write an address with its checksum, which is the case of its letters.

    Args:
        address: 20 bytes.

    Raises:
        FormatError: not 20 bytes.

    Source: EIP-55.
    """
    digits = _sized(address, 20, "address").hex()
    hashed = keccak256(digits.encode("ascii")).hex()
    return "0x" + "".join(
        digit.upper() if int(nibble, 16) >= 8 else digit for digit, nibble in zip(digits, hashed, strict=False)
    )


def parse_address(text: str) -> bytes:
    """Read an address, with its checksum or in lower case.

    Args:
        text: ``0x`` and 40 hexadecimal digits.

    Returns:
        20 bytes.

    Raises:
        FormatError: another form, or mixed case that does not match the checksum.

    Source: EIP-55. Lower case has no checksum, so a mistyped address in lower case is not detected.
    """
    if not isinstance(text, str) or not _ADDRESS.fullmatch(text):
        raise FormatError("EVM address: expected 0x and 40 hexadecimal digits")
    address = bytes.fromhex(text[2:])
    if text != text.lower() and text != to_checksum(address):
        raise FormatError("EVM address: the EIP-55 checksum does not match, a digit may be mistyped")
    return address


def address_of_public_key(public_key: bytes) -> bytes:
    """Derive the address that a secp256k1 public key controls.

    Args:
        public_key: 33 bytes compressed or 65 bytes uncompressed (SEC 1).

    Returns:
        20 bytes.

    Raises:
        FormatError: another form, or not a point of the curve.
    """
    form = (len(public_key), public_key[:1])
    if form not in {(33, b"\x02"), (33, b"\x03"), (65, b"\x04")}:
        raise FormatError("public key: expected 33 bytes compressed or 65 bytes uncompressed")
    try:
        point = PublicKey(public_key)
    except ValueError as error:
        raise FormatError("public key: not a point of secp256k1") from error
    return keccak256(point.format(compressed=False)[1:])[12:]


def create2_address(factory: bytes, salt: bytes, init_code_hash: bytes) -> bytes:
    """Compute the address at which ``factory`` creates a contract by CREATE2.

    Args:
        factory: 20 bytes, the contract that executes CREATE2.
        salt: 32 bytes.
        init_code_hash: 32 bytes, the keccak256 of the creation code with its constructor's arguments.

    Returns:
        20 bytes.

    Raises:
        FormatError: an argument of another size.

    Source: EIP-1014. Does not show that a contract exists at the address.
    """
    preimage = (
        b"\xff"
        + _sized(factory, 20, "factory")
        + _sized(salt, 32, "salt")
        + _sized(init_code_hash, 32, "init code hash")
    )
    return keccak256(preimage)[12:]


def _sized(value: bytes, size: int, what: str) -> bytes:
    if len(value) != size:
        raise FormatError(f"EVM address: {what} of {len(value)} bytes, expected {size}")
    return value
