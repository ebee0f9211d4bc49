"""Lightning invoices (BOLT 11): read what a payee signed, write what a signer will sign.

``decode`` checks that the text is well formed and signed by ``payee``. It does not check that the payee can be
reached, that the invoice is unpaid or has not expired (the caller compares ``expires_at`` with a clock), that every
reader interprets it alike (``is_ambiguous``), or that the description is safe to show: it is the payee's text,
unfiltered.

Where BOLT 11, or its implementations, leave a choice:

- An invoice with a ``p``, ``s``, ``h`` or ``n`` field of the wrong length is refused, as BOLT 11 has required of a
  payer since June 2025. Its example of fields to ignore is older, and has such fields (bolts issue 1358). lnd skips
  them. No node writes them.
- If a field that may appear once is repeated, the first counts, as in lnd and Core Lightning. The others are kept in
  ``unknown_tags``, and the invoice ``is_ambiguous``: other readers use the last, so no money may depend on it.
- An invoice without ``s`` is refused, unless it has blinded paths (bLIP 39), which carry the secret instead.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

from coincurve import PublicKey
from coincurve.utils import GROUP_ORDER_INT

from layer2.errors.base import FormatError
from layer2.formats import bech32
from layer2.formats.bolt11_fields import (
    AMP_FEATURE_BITS,
    InvoiceFields,
    RouteHop,
    Tag,
    TaggedFields,
    check_descriptions,
    readable_tag,
    write,
)

__all__ = ["Bolt11Invoice", "InvoiceFields", "RouteHop", "decode", "encode"]

MAX_LENGTH: Final = 7089
"""Characters: the capacity of one QR code, and lnd's maximum."""
MAX_AMOUNT_MSAT: Final = 21_000_000 * 100_000_000_000
_TIMESTAMP_GROUPS: Final = 7
_SIGNATURE_GROUPS: Final = 104

_HUMAN = re.compile(r"ln(?P<prefix>bcrt|tbs|tb|bc)(?:(?P<number>[1-9][0-9]{0,19})(?P<multiplier>[munp]?))?")
_MSAT_PER_UNIT: Final = {"": 100_000_000_000, "m": 100_000_000, "u": 100_000, "n": 100}


@dataclass(frozen=True, slots=True)
class Bolt11Invoice:
    """A decoded invoice with a valid signature. Only ``decode`` creates it."""

    text: str = field(repr=False)
    """The whole invoice in lower case."""
    prefix: str
    """The network: ``bc`` mainnet, ``tb`` testnet, ``tbs`` signet, ``bcrt`` regtest."""
    amount_msat: int | None
    """None if the payer chooses the amount."""
    timestamp: int
    """Unix seconds by the payee's clock."""
    payment_hash: bytes
    """32 bytes."""
    payment_secret: bytes | None = field(repr=False)
    """32 bytes; None only if ``has_blinded_paths``."""
    description: str | None
    """Exactly one of ``description`` and ``description_hash`` is given."""
    description_hash: bytes | None
    """32 bytes: SHA-256 of a description that the caller obtains elsewhere and has to compare."""
    payee: bytes
    """33 bytes: the node's public key."""
    payee_given: bool
    """Whether the invoice names the payee (``n``). Otherwise the payee is recovered from the signature, and a changed
    text gives another payee instead of an error: compare ``payee`` with the expected one."""
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
    """Blinded paths (bLIP 39, field ``b``) are detected and not decoded: they are in ``unknown_tags``."""
    unknown_tags: tuple[tuple[int, bytes], ...]
    """(type, five-bit groups) of every field that was not decoded, in order."""
    signature: bytes = field(repr=False)
    """65 bytes: r, s and the recovery id, as given."""

    @property
    def expires_at(self) -> int:
        """Unix seconds from which the payee may refuse a payment."""
        return self.timestamp + self.expiry

    @property
    def is_amp(self) -> bool:
        """Whether it asks for or offers lnd's atomic multi-path payments: the payer chooses the preimage."""
        return bool(self.feature_bits & AMP_FEATURE_BITS)

    @property
    def is_ambiguous(self) -> bool:
        """Whether a field that may appear once is repeated: another reader may use the other one."""
        return any(readable_tag(number, groups) is not None for number, groups in self.unknown_tags)


def decode(text: str) -> Bolt11Invoice:
    """Read an invoice and check its signature.

    Args:
        text: the invoice alone, in one case, at most ``MAX_LENGTH`` characters; no ``lightning:`` before it.

    Returns:
        The invoice; the module's docstring lists what is not checked.

    Raises:
        FormatError: the text is not a valid invoice, it requires an unknown feature, or the signature is not the
            payee's.

    Source: BOLT 11; bLIP 39 for blinded paths.
    """
    _check_length(len(text))
    human, groups = bech32.decode(text)
    prefix, amount_msat = _read_human(human)
    if len(groups) < _TIMESTAMP_GROUPS + _SIGNATURE_GROUPS:
        raise FormatError("an invoice is too short for a timestamp and a signature")
    signed = groups[:-_SIGNATURE_GROUPS]
    signature = bech32.groups_to_bytes(groups[-_SIGNATURE_GROUPS:], name="an invoice's signature")
    tagged = TaggedFields.split(signed[_TIMESTAMP_GROUPS:])
    payment_hash, payment_secret = tagged.data(Tag.PAYMENT_HASH), tagged.data(Tag.PAYMENT_SECRET)
    description, description_hash = tagged.description(), tagged.data(Tag.DESCRIPTION_HASH)
    route_hints, given_payee = tagged.route_hints(), tagged.data(Tag.PAYEE)
    if payment_hash is None:
        raise FormatError("an invoice has no payment hash")
    if payment_secret is None and not tagged.has_blinded_paths:
        raise FormatError("an invoice has no payment secret")
    check_descriptions(description, description_hash)
    if route_hints and tagged.has_blinded_paths:
        raise FormatError("an invoice has both route hints and blinded paths")
    return Bolt11Invoice(
        text=text.lower(),
        prefix=prefix,
        amount_msat=amount_msat,
        timestamp=bech32.groups_to_int(signed[:_TIMESTAMP_GROUPS]),
        payment_hash=payment_hash,
        payment_secret=payment_secret,
        description=description,
        description_hash=description_hash,
        payee=_signer(_digest(human, signed), signature, given_payee),
        payee_given=given_payee is not None,
        expiry=tagged.expiry(),
        min_final_cltv_expiry_delta=tagged.min_final_cltv_expiry_delta(),
        feature_bits=tagged.feature_bits(),
        metadata=tagged.data(Tag.METADATA),
        route_hints=route_hints,
        fallback_addresses=tagged.fallback_addresses(),
        has_blinded_paths=tagged.has_blinded_paths,
        unknown_tags=tagged.unknown,
        signature=signature,
    )


def encode(fields: InvoiceFields, sign: Callable[[bytes], bytes]) -> str:
    """Write an invoice and have it signed.

    Args:
        fields: the content.
        sign: receives the 32-byte digest, returns 65 bytes: r, s (low) and the recovery id of 0 to 3. It is called
            only if ``decode`` would accept everything else.

    Returns:
        The invoice in lower case; ``decode`` accepts it.

    Raises:
        FormatError: a field is out of range or does not fit, ``decode`` would refuse the result, or ``sign`` returned
            no signature of ``fields.payee``.

    Source: BOLT 11. Does not check that the amount, the hash or the expiry make sense.
    """
    human = f"ln{fields.prefix}{_written_amount(fields.amount_msat)}"
    # Read back before signing: a prefix of "bc1" would become part of the amount.
    if _read_human(human) != (fields.prefix, fields.amount_msat):
        raise FormatError("an invoice's prefix is not that of a known network")
    if not 0 <= fields.timestamp < 1 << 5 * _TIMESTAMP_GROUPS:
        raise FormatError("an invoice's timestamp must fit 35 bits")
    signed = bech32.groups_from_int(fields.timestamp).rjust(_TIMESTAMP_GROUPS, b"\0") + write(fields)
    _check_length(len(human) + 1 + len(signed) + _SIGNATURE_GROUPS + bech32.CHECKSUM_LENGTH)
    digest = _digest(human, signed)
    signature = sign(digest)
    if len(signature) != 65:
        raise FormatError("an invoice's signature must be r, s and the recovery id: 65 bytes")
    # For its checks only: without a given payee, any signer is the payee.
    _signer(digest, signature, fields.payee)
    return bech32.encode(human, signed + bech32.groups_from_bytes(signature))


def _check_length(length: int) -> None:
    if length > MAX_LENGTH:
        raise FormatError(f"an invoice is longer than {MAX_LENGTH} characters")


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
    """The payee's key: the given one if it made the signature, or the recovered one if none is given."""
    compact, recovery_id = signature[:64], signature[64]
    if recovery_id > 3:
        raise FormatError("an invoice's recovery id is not 0, 1, 2 or 3")
    if given is None:
        # BOLT 11 accepts both high and low s here, so the text is malleable: never identify an invoice by it.
        recovered = _recovered(digest, signature)
        if recovered is None:
            raise FormatError("no public key can be recovered from an invoice's signature")
        return recovered
    if int.from_bytes(compact[32:], "big") > GROUP_ORDER_INT // 2:
        raise FormatError("an invoice that names its payee has a signature with a high s")
    # A signature is valid for exactly those keys that can be recovered from it, with any recovery id.
    candidates = (recovery_id, *range(4))
    if given not in (_recovered(digest, compact + bytes([candidate])) for candidate in candidates):
        raise FormatError("an invoice's signature is not that of the payee it names")
    return given
