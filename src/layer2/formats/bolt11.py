"""Lightning invoices (BOLT 11): read what a payee signed, write what a signer will sign.

``decode`` refuses whatever two readers might understand differently, because the payment hash it returns is
what money is locked to. It promises that the text is well formed and signed by ``payee``. It does not promise
that the payee can be reached, that the invoice is unpaid, that it has not expired (``expires_at`` is for the
caller to compare with a clock), or that the description is harmless to show: it is the payee's, unfiltered.

Where the text of BOLT 11 leaves a choice, or readers do:

- A ``p``, ``s``, ``h`` or ``n`` field of the wrong length is skipped, as lnd and the text's own example of
  fields to be ignored have it, and kept in ``unknown_tags``. One of the right length is still required.
- A second field of a type that may come only once is refused: readers differ in which of them they take.
- An invoice without ``s`` is refused, unless it has blinded paths (bLIP 39), which carry the secret instead.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from hashlib import sha256
from typing import Final

from coincurve import PublicKey

from layer2.errors import FormatError
from layer2.formats import bech32

__all__ = ["Bolt11Invoice", "InvoiceFields", "RouteHop", "decode", "encode"]

MAX_LENGTH: Final = 7089
"""Characters: what one QR code holds, and the most that lnd reads."""
MAX_AMOUNT_MSAT: Final = 21_000_000 * 100_000_000_000
DEFAULT_EXPIRY: Final = 3600
DEFAULT_MIN_FINAL_CLTV_EXPIRY_DELTA: Final = 18
MAX_EXPIRY: Final = 9_223_372_036
"""Seconds. Nodes that keep durations as 64-bit nanoseconds would take a longer one for another."""
MAX_CLTV_EXPIRY_DELTA: Final = 0xFFFF_FFFF

AMP_FEATURE_BITS: Final = frozenset({30, 31})
KNOWN_REQUIRED_FEATURE_BITS: Final = frozenset({0, 8, 12, 14, 16, 24, 30, 44, 48, 262})
"""Even bits that need not be refused: those that BOLT 9 assumes of every node (0, 8, 12, 14, 44), those
that it allows in invoices and lnd pays (16 multi-part, 24 route blinding, 48 metadata), and lnd's own for AMP
(30) and for blinded paths in invoices (262), which callers see as ``is_amp`` and ``has_blinded_paths``."""

_SECP256K1_ORDER: Final = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141
_TIMESTAMP_GROUPS: Final = 7
_SIGNATURE_GROUPS: Final = 104
_MAX_FIELD_GROUPS: Final = 1023
_ROUTE_HOP_LENGTH: Final = 51
_MAX_WITNESS_VERSION: Final = 16
_PUBLIC_KEY_HASH_VERSION: Final = 17
_SCRIPT_HASH_VERSION: Final = 18

_HUMAN = re.compile(r"ln(?P<prefix>bcrt|tbs|tb|bc)(?:(?P<number>[1-9][0-9]{0,19})(?P<multiplier>[munp]?))?")
_MSAT_PER_UNIT: Final = {"": 100_000_000_000, "m": 100_000_000, "u": 100_000, "n": 100}


class _Tag(IntEnum):
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
    _Tag.PAYMENT_HASH: 52,
    _Tag.PAYMENT_SECRET: 52,
    _Tag.DESCRIPTION_HASH: 52,
    _Tag.PAYEE: 53,
}
_REPEATABLE: Final = frozenset({_Tag.ROUTE_HINT, _Tag.FALLBACK_ADDRESS, _Tag.BLINDED_PATH})


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


@dataclass(frozen=True, slots=True)
class Bolt11Invoice:
    """An invoice that was read and whose signature was checked. Made by ``decode`` only."""

    text: str = field(repr=False)
    """The whole invoice in lower case."""
    prefix: str
    """The network: ``bc`` mainnet, ``tb`` testnet, ``tbs`` signet, ``bcrt`` regtest."""
    amount_msat: int | None
    """None where the payer chooses."""
    timestamp: int
    """Unix seconds by the payee's clock."""
    payment_hash: bytes
    """32 bytes."""
    payment_secret: bytes | None = field(repr=False)
    """32 bytes; None only where ``has_blinded_paths``."""
    description: str | None
    """Exactly one of ``description`` and ``description_hash`` is given."""
    description_hash: bytes | None
    """32 bytes: SHA-256 of a description that is told elsewhere, which the caller has to compare."""
    payee: bytes
    """33 bytes: the node's public key."""
    payee_given: bool
    """Whether the invoice named the payee (``n``); otherwise it was recovered from the signature, and then a
    text that was changed names another payee instead of being refused: compare ``payee`` with the expected."""
    expiry: int
    """Seconds after ``timestamp``."""
    min_final_cltv_expiry_delta: int
    """Blocks."""
    feature_bits: frozenset[int]
    metadata: bytes | None
    route_hints: tuple[tuple[RouteHop, ...], ...]
    fallback_addresses: tuple[tuple[int, bytes], ...]
    """(version, program): witness versions 0 to 16, 17 a public key hash, 18 a script hash."""
    has_blinded_paths: bool
    """Blinded paths (bLIP 39, field ``b``) are seen and not read: they are in ``unknown_tags``."""
    unknown_tags: tuple[tuple[int, bytes], ...]
    """(type, five-bit groups) of every field that was not read."""
    signature: bytes = field(repr=False)
    """65 bytes: r, s and the recovery id, as given."""

    @property
    def expires_at(self) -> int:
        """Unix seconds from which the payee need not accept a payment any more."""
        return self.timestamp + self.expiry

    @property
    def is_amp(self) -> bool:
        """Whether it asks for or offers lnd's atomic multi-path payments: the payer chooses the preimage."""
        return bool(self.feature_bits & AMP_FEATURE_BITS)


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceFields:
    """What an invoice shall say; the fields mean what they mean in ``Bolt11Invoice``."""

    prefix: str
    amount_msat: int | None
    timestamp: int
    payment_hash: bytes
    payment_secret: bytes = field(repr=False)
    description: str | None = None
    description_hash: bytes | None = None
    payee: bytes | None = None
    """Written as ``n`` where given; otherwise readers recover it from the signature."""
    expiry: int = DEFAULT_EXPIRY
    min_final_cltv_expiry_delta: int = DEFAULT_MIN_FINAL_CLTV_EXPIRY_DELTA
    feature_bits: frozenset[int] = frozenset({8, 14})
    """By default what every invoice with a payment secret needs: variable-length onion and payment secret."""
    metadata: bytes | None = None
    route_hints: tuple[tuple[RouteHop, ...], ...] = ()
    fallback_addresses: tuple[tuple[int, bytes], ...] = ()


def decode(text: str) -> Bolt11Invoice:
    """Read an invoice and check its signature.

    Args:
        text: the invoice alone, in one case, at most ``MAX_LENGTH`` characters; no ``lightning:`` before it.

    Returns:
        The invoice; see the module for what this does not promise.

    Raises:
        FormatError: the text is not a valid invoice, requires a feature that is unknown here, or the
            signature is not the payee's.

    Source: BOLT 11; bLIP 39 for blinded paths.
    """
    if len(text) > MAX_LENGTH:
        raise FormatError(f"an invoice is longer than {MAX_LENGTH} characters")
    human, groups = bech32.decode(text)
    prefix, amount_msat = _read_human(human)
    if len(groups) < _TIMESTAMP_GROUPS + _SIGNATURE_GROUPS:
        raise FormatError("an invoice is too short for a timestamp and a signature")
    signed, signature = (
        groups[:-_SIGNATURE_GROUPS],
        bech32.groups_to_bytes(groups[-_SIGNATURE_GROUPS:], name="the signature"),
    )
    values, unknown_tags = _sorted_tags(signed[_TIMESTAMP_GROUPS:])
    has_blinded_paths = any(tag == _Tag.BLINDED_PATH for tag, _ in unknown_tags)

    payment_hash = _read_bytes(values, _Tag.PAYMENT_HASH)
    if payment_hash is None:
        raise FormatError("an invoice has no payment hash")
    payment_secret = _read_bytes(values, _Tag.PAYMENT_SECRET)
    if payment_secret is None and not has_blinded_paths:
        raise FormatError("an invoice has no payment secret")
    description_bytes = _read_bytes(values, _Tag.DESCRIPTION)
    description_hash = _read_bytes(values, _Tag.DESCRIPTION_HASH)
    if (description_bytes is None) == (description_hash is None):
        raise FormatError("an invoice must have either a description or a description hash")
    given = _read_bytes(values, _Tag.PAYEE)
    route_hints = tuple(_read_route_hint(value) for value in values.get(_Tag.ROUTE_HINT, ()))
    if route_hints and has_blinded_paths:
        raise FormatError("an invoice has both route hints and blinded paths")

    return Bolt11Invoice(
        text=text.lower(),
        prefix=prefix,
        amount_msat=amount_msat,
        timestamp=bech32.groups_to_int(signed[:_TIMESTAMP_GROUPS]),
        payment_hash=payment_hash,
        payment_secret=payment_secret,
        description=None if description_bytes is None else _read_text(description_bytes),
        description_hash=description_hash,
        payee=_signer(_digest(human, signed), signature, given),
        payee_given=given is not None,
        expiry=_read_number(values, _Tag.EXPIRY, DEFAULT_EXPIRY, MAX_EXPIRY),
        min_final_cltv_expiry_delta=_read_number(
            values,
            _Tag.MIN_FINAL_CLTV_EXPIRY_DELTA,
            DEFAULT_MIN_FINAL_CLTV_EXPIRY_DELTA,
            MAX_CLTV_EXPIRY_DELTA,
        ),
        feature_bits=_read_feature_bits(values),
        metadata=_read_bytes(values, _Tag.METADATA),
        route_hints=route_hints,
        fallback_addresses=tuple(
            _read_fallback_address(value) for value in values.get(_Tag.FALLBACK_ADDRESS, ())
        ),
        has_blinded_paths=has_blinded_paths,
        unknown_tags=unknown_tags,
        signature=signature,
    )


def encode(fields: InvoiceFields, sign: Callable[[bytes], bytes]) -> str:
    """Write an invoice and have it signed.

    Args:
        fields: what it shall say.
        sign: takes the 32-byte digest, returns 65 bytes: r, s (low) and the recovery id of 0 to 3.

    Returns:
        The invoice in lower case; ``decode`` has accepted it.

    Raises:
        FormatError: a field is out of range or does not fit, ``decode`` would refuse the result, or ``sign``
            did not sign for ``fields.payee``.

    Source: BOLT 11. Does not promise that the amount, the hash or the expiry are sensible.
    """
    human = f"ln{fields.prefix}{_written_amount(fields.amount_msat)}"
    if not 0 <= fields.timestamp < 1 << 5 * _TIMESTAMP_GROUPS:
        raise FormatError("an invoice's timestamp must fit 35 bits")
    signed = bech32.groups_from_int(fields.timestamp).rjust(_TIMESTAMP_GROUPS, b"\0") + b"".join(
        _written_tags(fields)
    )
    signature = sign(_digest(human, signed))
    if len(signature) != 65:
        raise FormatError("an invoice's signature must be r, s and the recovery id: 65 bytes")
    text = bech32.encode(human, signed + bech32.groups_from_bytes(signature))
    decode(text)
    return text


def _read_human(human: str) -> tuple[str, int | None]:
    match = _HUMAN.fullmatch(human)
    if match is None:
        raise FormatError(
            f"not an invoice of a known network, or not an amount with a known multiplier: {human[:40]!r}"
        )
    prefix, number, multiplier = match["prefix"], match["number"], match["multiplier"]
    if number is None:
        return prefix, None
    if multiplier == "p":
        amount_msat, fraction = divmod(int(number), 10)
        if fraction:
            raise FormatError("an invoice's amount has a fraction of a millisatoshi")
    else:
        amount_msat = int(number) * _MSAT_PER_UNIT[multiplier]
    if amount_msat > MAX_AMOUNT_MSAT:
        raise FormatError("an invoice's amount is more than all bitcoin")
    return prefix, amount_msat


def _written_amount(amount_msat: int | None) -> str:
    if amount_msat is None:
        return ""
    if not 0 < amount_msat <= MAX_AMOUNT_MSAT:
        raise FormatError("an invoice's amount must be positive and no more than all bitcoin")
    for multiplier, unit in _MSAT_PER_UNIT.items():
        if amount_msat % unit == 0:
            return f"{amount_msat // unit}{multiplier}"
    return f"{amount_msat * 10}p"


def _digest(human: str, signed: bytes) -> bytes:
    # The signed data is padded to whole bytes with zero bits, unlike the fields, which are padded to groups.
    bits = len(signed) * 5
    padded = bech32.groups_to_int(signed) << -bits % 8
    return sha256(human.encode("ascii") + padded.to_bytes((bits + 7) // 8, "big")).digest()


def _recovered(digest: bytes, signature: bytes) -> bytes | None:
    try:
        return PublicKey.from_signature_and_message(signature, digest, hasher=None).format()
    except ValueError:
        return None


def _signer(digest: bytes, signature: bytes, given: bytes | None) -> bytes:
    """The payee's key: the given one where the signature is its own, or else the recovered one."""
    compact, recovery_id = signature[:64], signature[64]
    if recovery_id > 3:
        raise FormatError("an invoice's recovery id is not 0, 1, 2 or 3")
    if given is None:
        # BOLT 11 has both high and low s accepted here, so the text is malleable: never identify by it.
        recovered = _recovered(digest, signature)
        if recovered is None:
            raise FormatError("no public key can be recovered from an invoice's signature")
        return recovered
    if int.from_bytes(compact[32:], "big") > _SECP256K1_ORDER // 2:
        raise FormatError("an invoice that names its payee has a signature with a high s")
    # A signature is valid for just those keys that can be recovered from it; the id plays no part in that.
    if given not in (_recovered(digest, compact + bytes([candidate])) for candidate in range(4)):
        raise FormatError("an invoice's signature is not that of the payee it names")
    return given


def _sorted_tags(groups: bytes) -> tuple[dict[_Tag, list[bytes]], tuple[tuple[int, bytes], ...]]:
    """The tagged fields that can be read, by type, and the others in their order."""
    values: dict[_Tag, list[bytes]] = {}
    unknown: list[tuple[int, bytes]] = []
    while groups:
        if len(groups) < 3:
            raise FormatError("an invoice's last field is cut off")
        number, end = groups[0], 3 + bech32.groups_to_int(groups[1:3])
        if len(groups) < end:
            raise FormatError("an invoice's last field is longer than what is left")
        value, groups = groups[3:end], groups[end:]
        tag = _readable_tag(number, value)
        if tag is None:
            unknown.append((number, value))
        elif tag in values and tag not in _REPEATABLE:
            raise FormatError(f"an invoice has two fields of type {bech32.ALPHABET[number]!r}")
        else:
            values.setdefault(tag, []).append(value)
    return values, tuple(unknown)


def _readable_tag(number: int, value: bytes) -> _Tag | None:
    try:
        tag = _Tag(number)
    except ValueError:
        return None
    if tag is _Tag.BLINDED_PATH or len(value) != _FIXED_GROUPS.get(tag, len(value)):
        return None
    if tag is _Tag.FALLBACK_ADDRESS and value and value[0] > _SCRIPT_HASH_VERSION:
        return None
    return tag


def _read_bytes(values: dict[_Tag, list[bytes]], tag: _Tag) -> bytes | None:
    if tag not in values:
        return None
    return bech32.groups_to_bytes(values[tag][0], name=f"an invoice's {tag.name.lower()}")


def _read_text(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise FormatError("an invoice's description is not UTF-8") from None


def _minimal(groups: bytes, tag: _Tag) -> int:
    if groups[:1] == b"\0":
        raise FormatError(f"an invoice's {tag.name.lower()} begins with a zero")
    return bech32.groups_to_int(groups)


def _read_number(values: dict[_Tag, list[bytes]], tag: _Tag, default: int, maximum: int) -> int:
    if tag not in values:
        return default
    number = _minimal(values[tag][0], tag)
    if number > maximum:
        raise FormatError(f"an invoice's {tag.name.lower()} is above {maximum}")
    return number


def _read_feature_bits(values: dict[_Tag, list[bytes]]) -> frozenset[int]:
    if _Tag.FEATURES not in values:
        return frozenset()
    vector = _minimal(values[_Tag.FEATURES][0], _Tag.FEATURES)
    bits = frozenset(bit for bit in range(vector.bit_length()) if vector >> bit & 1)
    unknown = sorted(bit for bit in bits if bit % 2 == 0 and bit not in KNOWN_REQUIRED_FEATURE_BITS)
    if unknown:
        raise FormatError(f"an invoice requires features that are unknown here: bits {unknown}")
    # BOLT 9: multi-part payments, and lnd's AMP like them, rest on the payment secret.
    if bits & (AMP_FEATURE_BITS | {16, 17}) and not bits & {14, 15}:
        raise FormatError("an invoice offers multi-part payments without the payment secret feature")
    return bits


def _read_public_key(data: bytes) -> bytes:
    try:
        PublicKey(data)
    except ValueError:
        raise FormatError("an invoice's route hint has a public key that is not on the curve") from None
    return data


def _read_route_hint(groups: bytes) -> tuple[RouteHop, ...]:
    data = bech32.groups_to_bytes(groups, name="an invoice's route hint")
    if not data or len(data) % _ROUTE_HOP_LENGTH:
        raise FormatError(f"an invoice's route hint is not one or more hops of {_ROUTE_HOP_LENGTH} bytes")
    hops = (data[start : start + _ROUTE_HOP_LENGTH] for start in range(0, len(data), _ROUTE_HOP_LENGTH))
    return tuple(
        RouteHop(
            public_key=_read_public_key(hop[:33]),
            short_channel_id=int.from_bytes(hop[33:41], "big"),
            fee_base_msat=int.from_bytes(hop[41:45], "big"),
            fee_proportional_millionths=int.from_bytes(hop[45:49], "big"),
            cltv_expiry_delta=int.from_bytes(hop[49:51], "big"),
        )
        for hop in hops
    )


def _read_fallback_address(groups: bytes) -> tuple[int, bytes]:
    if not groups:
        raise FormatError("an invoice's fallback address is empty")
    version, program = groups[0], bech32.groups_to_bytes(groups[1:], name="an invoice's fallback address")
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
    return version, program


def _written_tags(fields: InvoiceFields) -> list[bytes]:
    """Every field with its type and length, in the order lnd writes them."""
    tags = [_written_tag(_Tag.PAYMENT_HASH, _fixed(fields.payment_hash, 32, "payment hash"))]
    if fields.description is not None:
        try:
            tags.append(_written_tag(_Tag.DESCRIPTION, fields.description.encode("utf-8")))
        except UnicodeEncodeError:
            raise FormatError("an invoice's description cannot be written as UTF-8") from None
    if fields.description_hash is not None:
        tags.append(
            _written_tag(_Tag.DESCRIPTION_HASH, _fixed(fields.description_hash, 32, "description hash"))
        )
    if fields.metadata is not None:
        tags.append(_written_tag(_Tag.METADATA, fields.metadata))
    # Zero would have to be written as no group at all, which not every reader takes, and nobody can use.
    if fields.min_final_cltv_expiry_delta < 1 or fields.expiry < 1:
        raise FormatError("an invoice's expiry and its min_final_cltv_expiry_delta must be positive")
    tags.append(
        _written_groups(
            _Tag.MIN_FINAL_CLTV_EXPIRY_DELTA, bech32.groups_from_int(fields.min_final_cltv_expiry_delta)
        )
    )
    tags.append(_written_groups(_Tag.EXPIRY, bech32.groups_from_int(fields.expiry)))
    for version, program in fields.fallback_addresses:
        if not 0 <= version <= _SCRIPT_HASH_VERSION:
            raise FormatError(f"an invoice's fallback address has the unknown version {version}")
        tags.append(
            _written_groups(_Tag.FALLBACK_ADDRESS, bytes([version]) + bech32.groups_from_bytes(program))
        )
    tags.extend(
        _written_tag(_Tag.ROUTE_HINT, b"".join(_written_hop(hop) for hop in hint))
        for hint in fields.route_hints
    )
    if fields.payee is not None:
        tags.append(_written_tag(_Tag.PAYEE, _fixed(fields.payee, 33, "payee")))
    tags.append(_written_tag(_Tag.PAYMENT_SECRET, _fixed(fields.payment_secret, 32, "payment secret")))
    if fields.feature_bits:
        if not 0 <= min(fields.feature_bits) <= max(fields.feature_bits) < 5 * _MAX_FIELD_GROUPS:
            raise FormatError("an invoice's feature bits do not fit their field")
        vector = sum(1 << bit for bit in fields.feature_bits)
        tags.append(_written_groups(_Tag.FEATURES, bech32.groups_from_int(vector)))
    return tags


def _written_tag(tag: _Tag, data: bytes) -> bytes:
    return _written_groups(tag, bech32.groups_from_bytes(data))


def _written_groups(tag: _Tag, groups: bytes) -> bytes:
    if len(groups) > _MAX_FIELD_GROUPS:
        raise FormatError(f"an invoice's {tag.name.lower()} is longer than a field can be")
    return bytes([tag, len(groups) >> 5, len(groups) & 31]) + groups


def _written_hop(hop: RouteHop) -> bytes:
    try:
        return (
            _fixed(hop.public_key, 33, "route hint's public key")
            + hop.short_channel_id.to_bytes(8, "big")
            + hop.fee_base_msat.to_bytes(4, "big")
            + hop.fee_proportional_millionths.to_bytes(4, "big")
            + hop.cltv_expiry_delta.to_bytes(2, "big")
        )
    except OverflowError:
        raise FormatError("an invoice's route hint has a number that does not fit its field") from None


def _fixed(data: bytes, length: int, name: str) -> bytes:
    if len(data) != length:
        raise FormatError(f"an invoice's {name} must be {length} bytes")
    return data
