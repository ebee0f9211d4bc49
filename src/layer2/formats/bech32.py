"""Bech32 text (BIP 173) without its limit of 90 characters, and values as groups of five bits.

A group is one byte of 0 to 31. Nothing here knows what the text means; ``bolt11`` does.
"""

from __future__ import annotations

from layer2.errors import FormatError

__all__ = ["decode", "encode", "groups_from_bytes", "groups_from_int", "groups_to_bytes", "groups_to_int"]

ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
CHECKSUM_LENGTH = 6

_VALUES = {character: value for value, character in enumerate(ALPHABET)}
_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_VALID_CHECKSUM = 1


def decode(text: str) -> tuple[str, bytes]:
    """Split a Bech32 text into its human-readable part and its data.

    Args:
        text: all lower case or all upper case, of any length; no white space around it.

    Returns:
        The human-readable part in lower case, and the data as five-bit groups without the checksum.

    Raises:
        FormatError: mixed case, a character that is not allowed, no separator, a part that is too short, or
            a wrong checksum.

    Source: BIP 173.
    """
    if not all("!" <= character <= "~" for character in text):
        raise FormatError("a bech32 text has a character outside printable ASCII")
    lowered = text.lower()
    if text not in (lowered, text.upper()):
        raise FormatError("a bech32 text mixes upper and lower case")
    human, separator, symbols = lowered.rpartition("1")
    if not separator or not human:
        raise FormatError("a bech32 text has no human-readable part")
    if len(symbols) < CHECKSUM_LENGTH:
        raise FormatError("a bech32 text is too short for its checksum")
    try:
        groups = bytes(_VALUES[symbol] for symbol in symbols)
    except KeyError as error:
        raise FormatError(f"a bech32 text has a character outside its alphabet: {error.args[0]!r}") from None
    if _polymod(_expanded(human) + groups) != _VALID_CHECKSUM:
        raise FormatError("the bech32 checksum is wrong")
    return human, groups[:-CHECKSUM_LENGTH]


def encode(human: str, groups: bytes) -> str:
    """Write a lower-case Bech32 text with its checksum.

    Args:
        human: the human-readable part: at least one printable ASCII character, none in upper case.
        groups: the data as five-bit groups.

    Raises:
        FormatError: the human-readable part is not allowed, or a group is above 31.

    Source: BIP 173.
    """
    if not human or human != human.lower() or not all("!" <= character <= "~" for character in human):
        raise FormatError("a bech32 human-readable part must be lower-case printable ASCII")
    if any(group > 31 for group in groups):
        raise FormatError("a bech32 group has more than five bits")
    remainder = _polymod(_expanded(human) + groups + bytes(CHECKSUM_LENGTH)) ^ _VALID_CHECKSUM
    checksum = bytes(remainder >> 5 * (CHECKSUM_LENGTH - 1 - index) & 31 for index in range(CHECKSUM_LENGTH))
    return human + "1" + "".join(ALPHABET[group] for group in groups + checksum)


def groups_from_bytes(data: bytes) -> bytes:
    """Five-bit groups of ``data``, most significant bit first, padded at the end with zero bits."""
    padding = -len(data) * 8 % 5
    number = int.from_bytes(data, "big") << padding
    count = (len(data) * 8 + padding) // 5
    return bytes(number >> 5 * index & 31 for index in reversed(range(count)))


def groups_to_bytes(groups: bytes, *, name: str) -> bytes:
    """The bytes that ``groups_from_bytes`` would write as exactly these groups.

    Args:
        groups: five-bit groups.
        name: what is being read, for the error's message.

    Raises:
        FormatError: a whole group is left over, or the padding is not zero.
    """
    padding = len(groups) * 5 % 8
    number = groups_to_int(groups)
    if padding > 4:
        raise FormatError(f"{name} ends with more than four bits of padding")
    if number & ((1 << padding) - 1):
        raise FormatError(f"{name} is padded with bits that are not zero")
    return (number >> padding).to_bytes(len(groups) * 5 // 8, "big")


def groups_from_int(value: int) -> bytes:
    """The fewest five-bit groups that hold ``value``, big-endian; none for zero."""
    count = (value.bit_length() + 4) // 5
    return bytes(value >> 5 * index & 31 for index in reversed(range(count)))


def groups_to_int(groups: bytes) -> int:
    """The big-endian number that the groups spell; zero for none. Leading zero groups are allowed."""
    number = 0
    for group in groups:
        number = number << 5 | group
    return number


def _expanded(human: str) -> bytes:
    octets = human.encode("ascii")
    return bytes(octet >> 5 for octet in octets) + b"\0" + bytes(octet & 31 for octet in octets)


def _polymod(groups: bytes) -> int:
    remainder = 1
    for group in groups:
        top = remainder >> 25
        remainder = (remainder & 0x1FFFFFF) << 5 ^ group
        for index, generator in enumerate(_GENERATOR):
            if top >> index & 1:
                remainder ^= generator
    return remainder
