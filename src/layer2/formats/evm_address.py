"""EVM addresses: 20 bytes, written with the checksum of EIP-55, or on Rootstock with that of EIP-1191."""

from __future__ import annotations

import re

from coincurve import PublicKey

from layer2.errors.base import FormatError
from layer2.formats.keccak import keccak256

__all__ = [
    "address_of_public_key",
    "create2_address",
    "parse_address",
    "read_address",
    "to_checksum",
    "uses_chain_checksum",
]

_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}", re.ASCII)
_CHAIN_CHECKSUMS = frozenset({30, 31, 33})
"""Rootstock's chain ids. EIP-1191 lists 30 and 31; 33 is the regtest of the same nodes."""


def uses_chain_checksum(chain_id: int) -> bool:
    """Whether addresses on that chain have the checksum of EIP-1191, which contains the chain id."""
    return chain_id in _CHAIN_CHECKSUMS


def to_checksum(address: bytes, chain_id: int | None = None) -> str:
    """Write an address with its checksum, which is the case of its letters.

    Args:
        address: 20 bytes.
        chain_id: of the chain on which the address is used. Only some chains have it in the checksum
            (``uses_chain_checksum``); on the others, and with None, the checksum is that of EIP-55.

    Raises:
        FormatError: not 20 bytes.

    Sources: EIP-55, EIP-1191.
    """
    digits = _sized(address, 20, "address").hex()
    prefix = f"{chain_id}0x" if chain_id is not None and uses_chain_checksum(chain_id) else ""
    hashed = keccak256((prefix + digits).encode("ascii")).hex()
    return "0x" + "".join(
        digit.upper() if int(nibble, 16) >= 8 else digit for digit, nibble in zip(digits, hashed, strict=False)
    )


def parse_address(text: str, chain_id: int | None = None) -> bytes:
    """Read an address, with its checksum or in lower case.

    Args:
        text: ``0x`` and 40 hexadecimal digits.
        chain_id: as for ``to_checksum``. An address with the checksum of another chain is refused.

    Returns:
        20 bytes.

    Raises:
        FormatError: another form, or mixed case that does not match the checksum; with the code ``other_network`` if it
            is the checksum of another network.

    Sources: EIP-55, EIP-1191. Lower case has no checksum, so a mistyped address in lower case is not detected.
    """
    if not isinstance(text, str) or not _ADDRESS.fullmatch(text):
        raise FormatError("EVM address: expected 0x and 40 hexadecimal digits")
    address = bytes.fromhex(text[2:])
    if text != text.lower() and text != to_checksum(address, chain_id):
        for other in (None, *sorted(_CHAIN_CHECKSUMS)):
            if text == to_checksum(address, other):
                raise FormatError(
                    f"EVM address: it has the {_standard(other)}, not the {_standard(chain_id)}",
                    code="other_network",
                    remedy="ask the recipient for an address on this network",
                )
        raise FormatError(f"EVM address: the {_standard(chain_id)} does not match, a digit may be mistyped")
    return address


def read_address(text: str) -> bytes:
    """Read an address, in lower case or with the checksum of any network; see ``parse_address``.

    Raises:
        FormatError: another form, or mixed case that matches no checksum.
    """
    try:
        return parse_address(text)
    except FormatError as error:
        if error.code != "other_network":
            raise
        return bytes.fromhex(text[2:])


def _standard(chain_id: int | None) -> str:
    return f"EIP-1191 checksum for chain {chain_id}" if uses_chain_checksum(chain_id or 0) else "EIP-55 checksum"


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
