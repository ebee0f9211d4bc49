"""Test invoices with a valid signature and any content, also content that ``encode`` refuses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from typing import Any

import bolt11 as oracle
from coincurve import PrivateKey
from hypothesis import strategies as st

from layer2.formats import bech32, bolt11
from layer2.formats.bolt11 import Bolt11Invoice, InvoiceFields, RouteHop
from layer2.formats.bolt11_fields import KNOWN_REQUIRED_FEATURE_BITS, MAX_CLTV_EXPIRY_DELTA, MAX_EXPIRY

__all__ = [
    "DESCRIPTION",
    "EXAMPLE_PAYEE",
    "FIELDS",
    "HASH",
    "KEY",
    "MINIMUM",
    "ORDER",
    "SECRET",
    "Sign",
    "agree",
    "changed",
    "crafted",
    "invoice_fields",
    "sign",
    "tag",
    "tag_of",
    "with_high_s",
]

EXAMPLE_PAYEE = bytes.fromhex("03e7156ae33b0a208d0744199163177e909e80176e55d97a2f221ede0f934dd9ad")
"""The payee of BOLT 11's examples, and of ``sign``."""
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141

KEY = PrivateKey(bytes.fromhex("e126f68f7eafcc8b74f54d269fe206be715000f94dac067d1c04a8ca3b2db734"))
FIELDS = InvoiceFields(
    prefix="bcrt",
    amount_msat=2_500_000,
    timestamp=1_700_000_000,
    payment_hash=b"\x11" * 32,
    payment_secret=b"\x22" * 32,
    description="a swap",
)

Sign = Callable[[bytes], bytes]


def sign(digest: bytes) -> bytes:
    return KEY.sign_recoverable(digest, hasher=None)


def with_high_s(digest: bytes) -> bytes:
    """The other form of a signature: s negated, and the parity of R with it."""
    signature = sign(digest)
    negated = ORDER - int.from_bytes(signature[32:64], "big")
    return signature[:32] + negated.to_bytes(32, "big") + bytes([signature[64] ^ 1])


def changed(**values: Any) -> InvoiceFields:
    return replace(FIELDS, **values)


def tag(letter: str, groups: bytes) -> bytes:
    return bytes([bech32.ALPHABET.index(letter), len(groups) >> 5, len(groups) & 31]) + groups


def tag_of(letter: str, data: bytes) -> bytes:
    return tag(letter, bech32.groups_from_bytes(data))


HASH = tag_of("p", b"\x11" * 32)
SECRET = tag_of("s", b"\x22" * 32)
DESCRIPTION = tag_of("d", b"a swap")
MINIMUM = HASH + SECRET + DESCRIPTION


def crafted(tags: bytes = MINIMUM, *, human: str = "lnbcrt25u", signer: Sign = sign) -> str:
    """An invoice with a valid signature and any content, also content that ``encode`` refuses."""
    signed = bech32.groups_from_int(1_700_000_000).rjust(7, b"\0") + tags
    bits = "".join(f"{group:05b}" for group in signed)
    bits += "0" * (-len(bits) % 8)
    digest = sha256(human.encode() + int(bits, 2).to_bytes(len(bits) // 8, "big")).digest()
    return bech32.encode(human, signed + bech32.groups_from_bytes(signer(digest)))


SECOND_SECRET = bytes([16, 1, 20]) + bytes(52)
"""A field with a payment secret, for ``extended``."""


def extended(text: str, field: bytes, signer: PrivateKey) -> str:
    """The invoice with an additional field, as five-bit groups, after its own fields; signed again."""
    human, groups = bech32.decode(text)
    signed = groups[:-104] + field
    signature = signer.sign_recoverable(bolt11._digest(human, signed), hasher=None)
    return bech32.encode(human, signed + bech32.groups_from_bytes(signature))


def agree(text: str) -> Bolt11Invoice:
    """Decode with both, compare all common fields, and return our result."""
    ours, theirs = bolt11.decode(text), oracle.decode(text)
    assert theirs.currency == ours.prefix
    assert theirs.amount_msat == ours.amount_msat
    assert theirs.date == ours.timestamp
    assert theirs.payment_hash == ours.payment_hash.hex()
    assert theirs.payment_secret == (ours.payment_secret or b"").hex()
    assert theirs.description == ours.description
    assert theirs.description_hash == (ours.description_hash.hex() if ours.description_hash else None)
    assert theirs.metadata == (None if ours.metadata is None else ours.metadata.hex())
    assert theirs.payee == ours.payee.hex()
    assert theirs.expiry_time == ours.expires_at
    assert theirs.min_final_cltv_expiry == ours.min_final_cltv_expiry_delta
    assert theirs.signature is not None
    assert theirs.signature.signature_data == ours.signature
    assert [[_read_hop(hop) for hop in hint.routes] for hint in theirs.route_hints or []] == [
        list(hint) for hint in ours.route_hints
    ]
    assert (theirs.fallback is None) == (not ours.fallback_addresses)
    vector = theirs.features.data.bin if theirs.features else ""
    assert {at for at, bit in enumerate(reversed(vector)) if bit == "1"} == ours.feature_bits
    return ours


KEYS = [PrivateKey(bytes([number]) * 32) for number in range(1, 6)]
HOPS = st.builds(
    RouteHop,
    st.sampled_from([key.public_key.format() for key in KEYS]),
    st.integers(0, 2**64 - 1),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**16 - 1),
)
ADDRESSES = st.one_of(
    st.tuples(st.just(0), st.binary(min_size=20, max_size=20) | st.binary(min_size=32, max_size=32)),
    st.tuples(st.just(1), st.binary(min_size=32, max_size=32)),
    st.tuples(st.integers(2, 16), st.binary(min_size=2, max_size=40)),
    st.tuples(st.sampled_from([17, 18]), st.binary(min_size=20, max_size=20)),
)
OPTIONAL_FEATURES = st.sampled_from(sorted(KNOWN_REQUIRED_FEATURE_BITS)) | st.integers(0, 2556).map(
    lambda half: 2 * half + 1
)


@st.composite
def invoice_fields(draw: st.DrawFn, prefixes: tuple[str, ...] = ("bc", "tb", "tbs", "bcrt")) -> InvoiceFields:
    """Any valid invoice; ``sign`` signs for its payee."""
    described = draw(st.text(max_size=150) | st.just("\N{EURO SIGN}" * 213) | st.none())
    return InvoiceFields(
        prefix=draw(st.sampled_from(prefixes)),
        amount_msat=draw(st.none() | st.integers(1, bolt11.MAX_AMOUNT_MSAT) | st.integers(1, 21_000_000).map(_whole)),
        timestamp=draw(st.integers(0, 2**35 - 1)),
        payment_hash=draw(st.binary(min_size=32, max_size=32)),
        payment_secret=draw(st.binary(min_size=32, max_size=32)),
        description=described,
        description_hash=draw(st.binary(min_size=32, max_size=32)) if described is None else None,
        payee=draw(st.sampled_from([None, EXAMPLE_PAYEE])),
        expiry=draw(st.integers(1, MAX_EXPIRY)),
        min_final_cltv_expiry_delta=draw(st.integers(1, MAX_CLTV_EXPIRY_DELTA)),
        feature_bits=frozenset({8, 14}) | draw(st.frozensets(OPTIONAL_FEATURES, max_size=4)),
        metadata=draw(st.none() | st.binary(max_size=639)),
        route_hints=tuple(draw(st.lists(st.lists(HOPS, min_size=1, max_size=3).map(tuple), max_size=3))),
        fallback_addresses=tuple(draw(st.lists(ADDRESSES, max_size=3))),
    )


def _read_hop(theirs: Any) -> RouteHop:
    """The oracle wrongly decodes signed numbers; ``RouteHop`` has the original ones."""
    block, index, output = (int(part) for part in theirs.short_channel_id.split("x"))
    return RouteHop(
        bytes.fromhex(theirs.public_key),
        (block << 40 | index << 16 | output) % 2**64,
        theirs.base_fee % 2**32,
        theirs.ppm_fee % 2**32,
        theirs.cltv_expiry_delta % 2**16,
    )


def _whole(bitcoin: int) -> int:
    return bitcoin * 100_000_000_000
