"""Quotes and terms as canonical JSON, their tagged hashes, and the provider's signature over them.

Amounts are decimal strings, bytes are lower-case hex, and times are unix seconds. Source: this project's transfer
protocol, with RFC 8785 (canonical JSON) and BIP 340 (tagged hashes).
"""

from __future__ import annotations

from typing import TypeVar

from layer2.errors.base import FormatError, TermsRefused
from layer2.formats.canonical_json import JsonValue
from layer2.formats.json_object import JsonObject
from layer2.formats.json_record import read_record, write_record
from layer2.formats.tagged_signature import json_digest, verify, verify_ecdsa
from layer2.terms.documents import (
    KEY_LENGTHS,
    TERMS_VERSION,
    QuoteTerms,
    Scheme,
    Signature,
    SignedQuote,
    SignedTerms,
    Terms,
)

__all__ = [
    "check_quote_signature",
    "check_terms_signature",
    "is_signed",
    "quote_digest",
    "read_signed_quote",
    "read_signed_terms",
    "read_terms",
    "terms_hash",
    "write_signed_quote",
    "write_signed_terms",
    "write_terms",
]

QUOTE_TAG = "layer2/quote/v1"
TERMS_TAG = "layer2/terms/v1"
T = TypeVar("T")


def write_terms(terms: Terms) -> dict[str, JsonValue]:
    """The unsigned terms as a JSON object."""
    return {"version": TERMS_VERSION, **write_record(terms)}


def read_terms(value: object) -> Terms:
    """The reverse of ``write_terms``.

    Raises:
        FormatError: a field is missing, unknown or of the wrong type, or the version is unknown.
    """
    return _read(Terms, JsonObject(value, "terms"), "terms")


def terms_hash(terms: Terms) -> bytes:
    """The tagged hash of the canonical unsigned terms, 32 bytes: the provider signs it, EVM locks commit to it."""
    return json_digest(TERMS_TAG, write_terms(terms))


def is_signed(digest: bytes, signature: Signature, key: bytes) -> bool:
    """Whether the key signed the digest. Ignoring the result accepts forgeries.

    Args:
        digest: 32 bytes, a tagged hash.
        key: 32 bytes for BIP 340, 33 for ECDSA. A key of the other scheme gives False.
    """
    if len(key) != KEY_LENGTHS[signature.scheme]:
        return False
    if signature.scheme is Scheme.BIP340:
        return verify(key, digest, signature.data)
    return verify_ecdsa(key, digest, signature.data)


def write_signed_terms(signed: SignedTerms) -> dict[str, JsonValue]:
    """Terms and signature as a JSON object."""
    return {"terms": write_terms(signed.terms), "signature": write_record(signed.signature)}


def read_signed_terms(value: object) -> SignedTerms:
    """The reverse of ``write_signed_terms``. Does not check the signature.

    Raises:
        FormatError: as ``read_terms``.
    """
    fields = JsonObject(value, "signed terms")
    terms = read_terms(fields.take("terms"))
    return SignedTerms(terms, _read_signature(fields))


def check_terms_signature(signed: SignedTerms) -> None:
    """Check that the key in the terms signed them.

    Raises:
        TermsRefused: it did not.

    Does not check that the key belongs to a known provider.
    """
    if not is_signed(terms_hash(signed.terms), signed.signature, signed.terms.provider):
        raise TermsRefused("the provider did not sign these terms", code="terms_signature")


def write_signed_quote(signed: SignedQuote) -> dict[str, JsonValue]:
    """Quote and signature as a JSON object."""
    return {"quote": _write_quote(signed.quote), "signature": write_record(signed.signature)}


def read_signed_quote(value: object) -> SignedQuote:
    """The reverse of ``write_signed_quote``. Does not check the signature.

    Raises:
        FormatError: a field is missing, unknown or of the wrong type, or the version is unknown.
    """
    fields = JsonObject(value, "signed quote")
    quote = _read(QuoteTerms, fields.nested("quote"), "quote")
    return SignedQuote(quote, _read_signature(fields))


def quote_digest(quote: QuoteTerms) -> bytes:
    """The tagged hash of the canonical quote, 32 bytes, which the provider signs."""
    return json_digest(QUOTE_TAG, _write_quote(quote))


def check_quote_signature(signed: SignedQuote) -> None:
    """Check that the key in the quote signed it.

    Raises:
        TermsRefused: it did not.

    Does not check that the key belongs to a known provider.
    """
    if not is_signed(quote_digest(signed.quote), signed.signature, signed.quote.provider):
        raise TermsRefused("the provider did not sign this quote", code="quote_signature")


def _write_quote(quote: QuoteTerms) -> dict[str, JsonValue]:
    return {"version": TERMS_VERSION, **write_record(quote)}


def _read(kind: type[T], fields: JsonObject, what: str) -> T:
    version = fields.integer("version")
    if version != TERMS_VERSION:
        raise FormatError(f"{what} version {version} is unknown; this program supports version {TERMS_VERSION}")
    record = read_record(kind, fields)
    fields.end()
    return record


def _read_signature(fields: JsonObject) -> Signature:
    """The field ``signature``, which is the last one."""
    given = fields.nested("signature")
    signature = read_record(Signature, given)
    given.end()
    fields.end()
    return signature
