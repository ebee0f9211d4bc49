"""The tagged fields of a Lightning invoice (BOLT 11): the content and layout of each type.

Callers use ``bolt11``, which combines them with the amount, the time and the signature.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from coincurve import PublicKey

from layer2.errors.base import FormatError
from layer2.formats import bech32

__all__ = ["InvoiceFields", "RouteHop", "Tag", "TaggedFields", "check_descriptions", "readable_tag", "write"]

DEFAULT_EXPIRY: Final = 3600
DEFAULT_MIN_FINAL_CLTV_EXPIRY_DELTA: Final = 18
MAX_EXPIRY: Final = 9_223_372_036
"""Seconds. A longer expiry overflows in nodes that store durations as 64-bit nanoseconds."""
MAX_CLTV_EXPIRY_DELTA: Final = 0xFFFF_FFFF

PAYMENT_SECRET_FEATURE_BITS: Final = frozenset({14, 15})
MULTI_PART_FEATURE_BITS: Final = frozenset({16, 17})
AMP_FEATURE_BITS: Final = frozenset({30, 31})
_FEATURE_BITS_WITH_SECRET: Final = MULTI_PART_FEATURE_BITS | AMP_FEATURE_BITS
KNOWN_REQUIRED_FEATURE_BITS: Final = frozenset({0, 8, 12, 14, 16, 24, 30, 44, 48, 262})
"""Even bits that are accepted: those that BOLT 9 assumes of every node (0, 8, 12, 14, 44), those that BOLT 9 allows in
invoices and lnd pays (16 multi-part, 24 route blinding, 48 metadata), and lnd's own for AMP (30) and for blinded paths
in invoices (262), which callers see as ``is_amp`` and ``has_blinded_paths``."""

_FIELD_HEADER_GROUPS: Final = 3
"""One group for the type, and two for the number of groups in the field."""
_MAX_FIELD_GROUPS: Final = 1023
_MAX_FEATURE_VECTOR: Final = (1 << 5 * _MAX_FIELD_GROUPS) - 1
_ROUTE_HOP: Final = struct.Struct(">33sQIIH")
"""The fields of ``RouteHop`` in order."""
_MAX_WITNESS_VERSION: Final = 16
_SCRIPT_HASH_VERSION: Final = 18


class Tag(IntEnum):
    """The types of fields: each value is the position of its letter in the Bech32 alphabet."""

    PAYMENT_HASH = 1
    ROUTE_HINT = 3
    FEATURES = 5
    EXPIRY = 6
    FALLBACK_ADDRESS = 9
    DESCRIPTION = 13
    PAYMENT_SECRET = 16
    PAYEE = 19
    BLINDED_PATH = 20
    DESCRIPTION_HASH = 23
    MIN_FINAL_CLTV_EXPIRY_DELTA = 24
    METADATA = 27


_FIXED_GROUPS: Final = {
    Tag.PAYMENT_HASH: 52,
    Tag.PAYMENT_SECRET: 52,
    Tag.DESCRIPTION_HASH: 52,
    Tag.PAYEE: 53,
}
_NAMES: Final = {tag: f"an invoice's {tag.name.lower()}" for tag in Tag}
_READABLE: Final = {int(tag): tag for tag in Tag if tag is not Tag.BLINDED_PATH}
_REPEATABLE: Final = frozenset({Tag.ROUTE_HINT, Tag.FALLBACK_ADDRESS})


@dataclass(frozen=True, slots=True)
class RouteHop:
    """One channel on the way from a public node to the payee (BOLT 11, field ``r``)."""

    public_key: bytes
    """33 bytes: the node at the start of the channel."""
    short_channel_id: int
    """64 bits: block height, transaction index and output index in one number."""
    fee_base_msat: int
    fee_proportional_millionths: int
    cltv_expiry_delta: int
    """Blocks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceFields:
    """The content of a new invoice. The fields have the same meaning as in ``Bolt11Invoice``."""

    prefix: str
    amount_msat: int | None
    timestamp: int
    payment_hash: bytes
    payment_secret: bytes = field(repr=False)
    description: str | None = None
    description_hash: bytes | None = None
    payee: bytes | None = None
    """Written as ``n`` if given; otherwise readers recover it from the signature."""
    expiry: int = DEFAULT_EXPIRY
    min_final_cltv_expiry_delta: int = DEFAULT_MIN_FINAL_CLTV_EXPIRY_DELTA
    feature_bits: frozenset[int] = frozenset({8, 14})
    """The default is what every invoice with a payment secret needs: variable-length onion and payment secret."""
    metadata: bytes | None = None
    route_hints: tuple[tuple[RouteHop, ...], ...] = ()
    fallback_addresses: tuple[tuple[int, bytes], ...] = ()


@dataclass(frozen=True, slots=True)
class TaggedFields:
    """The fields of one invoice, separated and not yet decoded. Each method decodes one type and checks its layout.

    Every method raises ``FormatError`` if the field is present and its layout violates BOLT 11.
    """

    values: Mapping[Tag, tuple[bytes, ...]]
    """Five-bit groups of the fields that can be decoded, by type."""
    unknown: tuple[tuple[int, bytes], ...]
    """(type, five-bit groups) of the others, in order: those that cannot be decoded, and repeated ones."""

    @classmethod
    def split(cls, groups: bytes) -> TaggedFields:
        """Separate the fields. If a field that may appear once is repeated, the first counts.

        Args:
            groups: the five-bit groups between an invoice's timestamp and its signature.

        Raises:
            FormatError: a field is cut off, or a ``p``, ``s``, ``h`` or ``n`` field has the wrong length.
        """
        values: dict[Tag, tuple[bytes, ...]] = {}
        unknown: list[tuple[int, bytes]] = []
        at = 0
        while at < len(groups):
            start = at + _FIELD_HEADER_GROUPS
            if start > len(groups):
                raise FormatError("an invoice's last field is cut off")
            number, upper, lower = groups[at:start]
            at = start + (upper << 5 | lower)
            if at > len(groups):
                raise FormatError("an invoice's last field is longer than the rest of the text")
            value = groups[start:at]
            tag = readable_tag(number, value)
            if tag is not None and len(value) != _FIXED_GROUPS.get(tag, len(value)):
                raise FormatError(f"{_NAMES[tag]} has a wrong length")
            if tag is None or (tag in values and tag not in _REPEATABLE):
                unknown.append((number, value))
            else:
                values[tag] = (*values.get(tag, ()), value)
        return cls(values, tuple(unknown))

    @property
    def has_blinded_paths(self) -> bool:
        """Whether there is a field of blinded paths (bLIP 39)."""
        return any(number == Tag.BLINDED_PATH for number, _ in self.unknown)

    def data(self, tag: Tag) -> bytes | None:
        """The bytes of a field that may appear once, or None without that field."""
        values = self.values.get(tag)
        return None if values is None else bech32.groups_to_bytes(values[0], name=_NAMES[tag])

    def description(self) -> str | None:
        """The description, or None."""
        data = self.data(Tag.DESCRIPTION)
        try:
            return None if data is None else data.decode("utf-8")
        except UnicodeDecodeError:
            raise FormatError("an invoice's description is not UTF-8") from None

    def expiry(self) -> int:
        """Seconds."""
        number = self._number(Tag.EXPIRY, MAX_EXPIRY)
        return DEFAULT_EXPIRY if number is None else number

    def min_final_cltv_expiry_delta(self) -> int:
        """Blocks."""
        number = self._number(Tag.MIN_FINAL_CLTV_EXPIRY_DELTA, MAX_CLTV_EXPIRY_DELTA)
        return DEFAULT_MIN_FINAL_CLTV_EXPIRY_DELTA if number is None else number

    def feature_bits(self) -> frozenset[int]:
        """The bits that are set. Every required one is known, and the features that it depends on are set too."""
        vector = self._number(Tag.FEATURES, _MAX_FEATURE_VECTOR) or 0
        bits = frozenset([bit for bit in range(vector.bit_length()) if vector >> bit & 1])
        _check_feature_bits(bits)
        return bits

    def route_hints(self) -> tuple[tuple[RouteHop, ...], ...]:
        """The hops of each route hint."""
        return tuple(_read_route_hint(groups) for groups in self.values.get(Tag.ROUTE_HINT, ()))

    def fallback_addresses(self) -> tuple[tuple[int, bytes], ...]:
        """Version and program of each fallback address."""
        return tuple(_read_fallback_address(groups) for groups in self.values.get(Tag.FALLBACK_ADDRESS, ()))

    def _number(self, tag: Tag, maximum: int) -> int | None:
        values = self.values.get(tag)
        if values is None:
            return None
        groups = values[0]
        if groups[:1] == b"\0":
            raise FormatError(f"{_NAMES[tag]} begins with a zero")
        number = bech32.groups_to_int(groups)
        if number > maximum:
            raise FormatError(f"{_NAMES[tag]} is above {maximum}")
        return number


def readable_tag(number: int, groups: bytes) -> Tag | None:
    """The type of a field that can be decoded; None if its type or version is unknown."""
    tag = _READABLE.get(number)
    if tag is Tag.FALLBACK_ADDRESS and groups and groups[0] > _SCRIPT_HASH_VERSION:
        return None
    return tag


def check_descriptions(description: str | None, description_hash: bytes | None) -> None:
    """Check that an invoice has exactly one of both.

    Raises:
        FormatError: it does not.
    """
    if (description is None) == (description_hash is None):
        raise FormatError("an invoice must have either a description or a description hash")


def _check_feature_bits(bits: frozenset[int]) -> None:
    unknown = sorted([bit for bit in bits if bit % 2 == 0 and bit not in KNOWN_REQUIRED_FEATURE_BITS])
    if unknown:
        raise FormatError(f"an invoice requires unknown features: bits {unknown}")
    # BOLT 9: multi-part payments, and lnd's AMP, depend on the payment secret.
    if not bits.isdisjoint(_FEATURE_BITS_WITH_SECRET) and bits.isdisjoint(PAYMENT_SECRET_FEATURE_BITS):
        raise FormatError("an invoice offers multi-part payments without the payment secret feature")


def _check_public_key(data: bytes) -> None:
    try:
        PublicKey(data)
    except ValueError:
        raise FormatError("an invoice's route hint has a public key that is not on the curve") from None


def _check_program(version: int, program: bytes) -> None:
    match version:
        case 0:
            fits = len(program) in (20, 32)
        case 1:
            fits = len(program) == 32
        case _ if version <= _MAX_WITNESS_VERSION:
            fits = 2 <= len(program) <= 40
        case _:
            fits = len(program) == 20
    if not fits:
        raise FormatError(f"an invoice's fallback address of version {version} has a wrong length")


def _read_route_hint(groups: bytes) -> tuple[RouteHop, ...]:
    data = bech32.groups_to_bytes(groups, name="an invoice's route hint")
    if not data or len(data) % _ROUTE_HOP.size:
        raise FormatError(f"an invoice's route hint is not one or more hops of {_ROUTE_HOP.size} bytes")
    hops = [RouteHop(*fields) for fields in _ROUTE_HOP.iter_unpack(data)]
    for hop in hops:
        _check_public_key(hop.public_key)
    return tuple(hops)


def _read_fallback_address(groups: bytes) -> tuple[int, bytes]:
    if not groups:
        raise FormatError("an invoice's fallback address is empty")
    version, program = groups[0], bech32.groups_to_bytes(groups[1:], name="an invoice's fallback address")
    _check_program(version, program)
    return version, program


def write(fields: InvoiceFields) -> bytes:
    """The tagged fields as five-bit groups, in lnd's order.

    Raises:
        FormatError: ``TaggedFields`` would not decode the result to the same value.
    """
    check_descriptions(fields.description, fields.description_hash)
    tags = [_written_tag(Tag.PAYMENT_HASH, _fixed(fields.payment_hash, 32, "payment hash"))]
    if fields.description is not None:
        tags.append(_written_tag(Tag.DESCRIPTION, _written_text(fields.description)))
    if fields.description_hash is not None:
        tags.append(_written_tag(Tag.DESCRIPTION_HASH, _fixed(fields.description_hash, 32, "description hash")))
    if fields.metadata is not None:
        tags.append(_written_tag(Tag.METADATA, fields.metadata))
    delta, expiry = fields.min_final_cltv_expiry_delta, fields.expiry
    tags.append(_written_number(Tag.MIN_FINAL_CLTV_EXPIRY_DELTA, delta, MAX_CLTV_EXPIRY_DELTA))
    tags.append(_written_number(Tag.EXPIRY, expiry, MAX_EXPIRY))
    tags.extend([_written_address(version, program) for version, program in fields.fallback_addresses])
    tags.extend([_written_hint(hint) for hint in fields.route_hints])
    if fields.payee is not None:
        tags.append(_written_tag(Tag.PAYEE, _fixed(fields.payee, 33, "payee")))
    tags.append(_written_tag(Tag.PAYMENT_SECRET, _fixed(fields.payment_secret, 32, "payment secret")))
    if fields.feature_bits:
        tags.append(_written_feature_bits(fields.feature_bits))
    return b"".join(tags)


def _written_tag(tag: Tag, data: bytes) -> bytes:
    return _written_groups(tag, bech32.groups_from_bytes(data))


def _written_groups(tag: Tag, groups: bytes) -> bytes:
    if len(groups) > _MAX_FIELD_GROUPS:
        raise FormatError(f"{_NAMES[tag]} is longer than a field can be")
    return bytes([tag, len(groups) >> 5, len(groups) & 31]) + groups


def _written_text(text: str) -> bytes:
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        raise FormatError("an invoice's description cannot be written as UTF-8") from None


def _written_number(tag: Tag, number: int, maximum: int) -> bytes:
    # Zero would be written without any group, which some readers refuse; a zero delta or expiry has no use.
    if not 0 < number <= maximum:
        raise FormatError(f"{_NAMES[tag]} must be positive and no more than {maximum}")
    return _written_groups(tag, bech32.groups_from_int(number))


def _written_address(version: int, program: bytes) -> bytes:
    if not 0 <= version <= _SCRIPT_HASH_VERSION:
        raise FormatError(f"an invoice's fallback address has the unknown version {version}")
    _check_program(version, program)
    return _written_groups(Tag.FALLBACK_ADDRESS, bytes([version]) + bech32.groups_from_bytes(program))


def _written_hint(hint: tuple[RouteHop, ...]) -> bytes:
    if not hint:
        raise FormatError("an invoice's route hint has no hop")
    return _written_tag(Tag.ROUTE_HINT, b"".join([_written_hop(hop) for hop in hint]))


def _written_hop(hop: RouteHop) -> bytes:
    _check_public_key(_fixed(hop.public_key, 33, "route hint's public key"))
    try:
        return _ROUTE_HOP.pack(
            hop.public_key,
            hop.short_channel_id,
            hop.fee_base_msat,
            hop.fee_proportional_millionths,
            hop.cltv_expiry_delta,
        )
    except struct.error:
        raise FormatError("an invoice's route hint has a number that does not fit its field") from None


def _written_feature_bits(bits: frozenset[int]) -> bytes:
    if not 0 <= min(bits) <= max(bits) < 5 * _MAX_FIELD_GROUPS:
        raise FormatError("an invoice's feature bits do not fit their field")
    _check_feature_bits(bits)
    return _written_groups(Tag.FEATURES, bech32.groups_from_int(sum([1 << bit for bit in bits])))


def _fixed(data: bytes, length: int, name: str) -> bytes:
    if len(data) != length:
        raise FormatError(f"an invoice's {name} must be {length} bytes")
    return data
