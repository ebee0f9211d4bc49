"""Addresses of witness programs: version 0 in Bech32 (BIP 173), later versions in Bech32m (BIP 350)."""

from __future__ import annotations

import hashlib
from typing import Final

from layer2.errors.base import FormatError
from layer2.formats import bech32

__all__ = ["decode_script", "encode_script", "script_hash_program"]

_LONGEST: Final = 90
_OP_1: Final = 0x51


def script_hash_program(witness_script: bytes) -> bytes:
    """The output script that pays to a witness script (P2WSH, BIP 141): 34 bytes."""
    return b"\x00\x20" + hashlib.sha256(witness_script).digest()


def encode_script(prefix: str, script: bytes) -> str:
    """The address of an output script.

    Args:
        prefix: ``bc``, ``tb`` or ``bcrt``.
        script: a witness program.

    Raises:
        FormatError: the script is not a witness program.
    """
    opcode, size, program = script[:1], script[1:2], script[2:]
    version = 0 if opcode in (b"", b"\x00") else opcode[0] - _OP_1 + 1
    if size != bytes([min(len(program), 255)]) or not _is_program(version, program):
        raise FormatError("the script is not a witness program")
    groups = bytes([version]) + bech32.groups_from_bytes(program)
    return bech32.encode(prefix, groups, _checksum(version))


def decode_script(address: str, prefix: str) -> bytes:
    """The output script of an address.

    Args:
        prefix: of the network that the address must belong to.

    Raises:
        FormatError: not an address of a witness program, or of another network.
    """
    if len(address) > _LONGEST:
        raise FormatError("an address is longer than 90 characters")
    version_letter = address.rpartition("1")[2][:1].lower()
    human, groups = bech32.decode(address, _checksum(0 if version_letter == "q" else 1))
    if human != prefix:
        raise FormatError(f"the address begins with {human}1, but this network's addresses begin with {prefix}1")
    version, program = groups[0] if groups else 17, bech32.groups_to_bytes(groups[1:], name="the address")
    if not _is_program(version, program):
        raise FormatError("the address is not one of a witness program")
    return bytes([version and version + _OP_1 - 1, len(program)]) + program


def _is_program(version: int, program: bytes) -> bool:
    return 0 <= version <= 16 and 2 <= len(program) <= 40 and (version > 0 or len(program) in (20, 32))


def _checksum(version: int) -> int:
    return bech32.BECH32 if version == 0 else bech32.BECH32M
