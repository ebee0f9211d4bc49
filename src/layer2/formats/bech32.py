"""Bech32 text (BIP 173) without its limit of 90 characters, and values as groups of five bits.

A group is one byte of 0 to 31. ``bolt11`` and ``lnurl`` interpret the text.
"""

from __future__ import annotations

from functools import cache
from typing import Final

from layer2.errors.base import FormatError

__all__ = [
    "BECH32",
    "BECH32M",
    "decode",
    "encode",
    "groups_from_bytes",
    "groups_from_int",
    "groups_to_bytes",
    "groups_to_int",
]

ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
CHECKSUM_LENGTH = 6

_GROUPS: Final = bytes(range(32))
_LETTERS: Final = ALPHABET.encode("ascii")
# Tables for bytes.translate: between letters, groups, and the digits that int() reads in base 32.
_GROUP_OF_LETTER: Final = bytes.maketrans(_LETTERS, _GROUPS)
_LETTER_OF_GROUP: Final = bytes.maketrans(_GROUPS, _LETTERS)
_DIGIT_OF_GROUP: Final = b"0123456789abcdefghijklmnopqrstuv" + b"!" * 224
_GENERATOR: Final = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
BECH32: Final = 1
"""The checksum's remainder of BIP 173."""
BECH32M: Final = 0x2BC830A3
"""The checksum's remainder of BIP 350."""


def decode(text: str, checksum: int = BECH32) -> tuple[str, bytes]:
    """Split a Bech32 text into its human-readable part and its data.

    Args:
        text: all lower case or all upper case, of any length; no white space around it.
        checksum: ``BECH32`` or ``BECH32M``.

    Returns:
        The human-readable part in lower case, and the data as five-bit groups without the checksum.

    Raises:
        FormatError: mixed case, a character that is not allowed, no separator, a part that is too short, or a wrong
            checksum.

    Sources: BIP 173, BIP 350.
    """
    if not _is_printable(text):
        raise FormatError("a bech32 text has a character outside printable ASCII")
    lowered = text.lower()
    if text != lowered and text != text.upper():
        raise FormatError("a bech32 text mixes upper and lower case")
    human, separator, symbols = lowered.rpartition("1")
    if not separator or not human:
        raise FormatError("a bech32 text has no human-readable part")
    if len(symbols) < CHECKSUM_LENGTH:
        raise FormatError("a bech32 text is too short for its checksum")
    letters = symbols.encode("ascii")
    foreign = letters.translate(None, delete=_LETTERS).decode("ascii")
    if foreign:
        raise FormatError(f"a bech32 text has a character outside its alphabet: {foreign[0]!r}")
    groups = letters.translate(_GROUP_OF_LETTER)
    if _polymod(_expanded(human) + groups) != checksum:
        raise FormatError("the bech32 checksum is wrong")
    return human, groups[:-CHECKSUM_LENGTH]


def encode(human: str, groups: bytes, checksum: int = BECH32) -> str:
    """Write a lower-case Bech32 text with its checksum.

    Args:
        human: the human-readable part: at least one printable ASCII character, none in upper case.
        groups: the data as five-bit groups.
        checksum: ``BECH32`` or ``BECH32M``.

    Raises:
        FormatError: the human-readable part is not allowed, or a group is above 31.

    Sources: BIP 173, BIP 350.
    """
    if not human or human != human.lower() or not _is_printable(human):
        raise FormatError("a bech32 human-readable part must be lower-case printable ASCII")
    if groups.translate(None, delete=_GROUPS):
        raise FormatError("a bech32 group has more than five bits")
    remainder = _polymod(_expanded(human) + groups + bytes(CHECKSUM_LENGTH)) ^ checksum
    symbols = groups + _spread(remainder, CHECKSUM_LENGTH)
    return f"{human}1{symbols.translate(_LETTER_OF_GROUP).decode('ascii')}"


def groups_from_bytes(data: bytes) -> bytes:
    """Five-bit groups of ``data``, most significant bit first, padded at the end with zero bits."""
    bits = len(data) * 8
    return _spread(int.from_bytes(data, "big") << -bits % 5, (bits + 4) // 5)


def groups_to_bytes(groups: bytes, *, name: str) -> bytes:
    """The bytes that ``groups_from_bytes`` would write as exactly these groups.

    Args:
        groups: five-bit groups.
        name: the name of the value, for the error's message.

    Raises:
        FormatError: there is an unneeded group, or the padding is not zero.
    """
    padding = len(groups) * 5 % 8
    number = groups_to_int(groups)
    if padding > 4:
        raise FormatError(f"{name} ends with more than four bits of padding")
    if number & ((1 << padding) - 1):
        raise FormatError(f"{name} is padded with bits that are not zero")
    return (number >> padding).to_bytes(len(groups) * 5 // 8, "big")


def groups_from_int(value: int) -> bytes:
    """The minimum number of five-bit groups for ``value``, big-endian; none for zero."""
    return _spread(value, (value.bit_length() + 4) // 5)


def groups_to_int(groups: bytes) -> int:
    """The groups as a big-endian number; zero for none. Leading zero groups are allowed."""
    return int(groups.translate(_DIGIT_OF_GROUP), 32) if groups else 0


def _is_printable(text: str) -> bool:
    return text.isascii() and text.isprintable() and " " not in text


def _spread(number: int, count: int) -> bytes:
    """Move each of a number's ``count`` groups into a separate byte.

    By halves: the upper half of the groups moves to the upper half of the bytes, then the same happens within both
    halves at once, and so on. A thousand groups take ten steps.
    """
    for half, lower in _halvings((count - 1).bit_length()):
        number = number & lower | (number >> 5 * half & lower) << 8 * half
    return number.to_bytes(count, "big")


@cache
def _halvings(doublings: int) -> tuple[tuple[int, int], ...]:
    """For each step of ``_spread``: the groups in half a part, and a mask of the lower half of every part."""
    steps: list[tuple[int, int]] = []
    for doubling in reversed(range(doublings)):
        half = 1 << doubling
        lower = (1 << 5 * half) - 1
        steps.append((half, int.from_bytes(lower.to_bytes(2 * half, "big") * (1 << doublings - 1 - doubling), "big")))
    return tuple(steps)


def _expanded(human: str) -> bytes:
    octets = human.encode("ascii")
    return bytes([octet >> 5 for octet in octets]) + b"\0" + bytes([octet & 31 for octet in octets])


def _polymod(groups: bytes) -> int:
    """The remainder of BIP 173's checksum. Two groups are read at a time."""
    remainder = 1
    if len(groups) % 2:
        remainder, groups = 1 << 5 ^ groups[0], groups[1:]
    overflow = _OVERFLOW
    for upper, lower in zip(groups[::2], groups[1::2], strict=True):
        remainder = (remainder & 0xFFFFF) << 10 ^ upper << 5 ^ lower ^ overflow[remainder >> 20]
    return remainder


def _overflows() -> tuple[int, ...]:
    overflow = [0]
    for generator in _GENERATOR:
        overflow += [added ^ generator for added in overflow]
    # The upper of the two groups overflows when the first of the next two follows, the lower one when the second does.
    once = [(remainder & 0x1FFFFFF) << 5 ^ overflow[remainder >> 25] for remainder in overflow]
    return tuple([upper ^ lower for upper in once for lower in overflow])


_OVERFLOW: Final = _overflows()
"""By the value of a remainder's two highest groups: what they contribute when the next two groups follow."""
