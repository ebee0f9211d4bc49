"""Quotes and terms as canonical JSON, their tagged hashes, and the provider's signature over them.

Amounts are decimal strings, bytes are lower-case hex, and times are unix seconds. Source: this project's transfer
protocol, with RFC 8785 (canonical JSON) and BIP 340 (tagged hashes).
"""

from __future__ import annotations

from layer2.errors.base import FormatError, TermsRefused
from layer2.formats.canonical_json import JsonValue
from layer2.formats.json_object import JsonObject
from layer2.formats.tagged_signature import json_digest, verify, verify_ecdsa
from layer2.legs.kinds import read_leg, read_offer, write_leg, write_offer
from layer2.model.transactions import SwapId
from layer2.terms.documents import TERMS_VERSION, QuoteTerms, Scheme, Signature, SignedQuote, SignedTerms, Terms

__all__ = [
    "check_quote_signature",
    "check_terms_signature",
    "is_signed",
    "quote_digest",
    "read_signature",
    "read_signed_quote",
    "read_signed_terms",
    "read_terms",
    "terms_hash",
    "write_signature",
    "write_signed_quote",
    "write_signed_terms",
    "write_terms",
]

QUOTE_TAG = "layer2/quote/v1"
TERMS_TAG = "layer2/terms/v1"
_KEY_LENGTHS = {Scheme.BIP340: 32, Scheme.ECDSA: 33}


def write_terms(terms: Terms) -> dict[str, JsonValue]:
    """The unsigned terms as a JSON object."""
    return {
        "version": TERMS_VERSION,
        "swap_id": terms.swap_id,
        "quote_id": terms.quote_id,
        "network": terms.network,
        "asset": terms.asset,
        "payment_hash": terms.payment_hash.hex(),
        "amount": str(terms.amount),
        "provider_fee": str(terms.provider_fee),
        "network_fee": str(terms.network_fee),
        "source": write_leg(terms.source),
        "destination": write_leg(terms.destination),
        "issued_at": terms.issued_at,
        "fund_by": terms.fund_by,
        "counter_fund_by": terms.counter_fund_by,
        "collect_by": terms.collect_by,
        "provider": terms.provider.hex(),
    }


def read_terms(value: object) -> Terms:
    """The reverse of ``write_terms``.

    Raises:
        FormatError: a field is missing, unknown or of the wrong type, or the version is unknown.
    """
    fields = JsonObject(value, "terms")
    _check_version(fields, "terms")
    terms = Terms(
        swap_id=SwapId(fields.hex("swap_id", length=16).hex()),
        quote_id=fields.hex("quote_id", length=16).hex(),
        network=fields.text("network", max_length=16),
        asset=fields.text("asset", max_length=16),
        payment_hash=fields.hex("payment_hash", length=32),
        amount=fields.amount("amount"),
        provider_fee=fields.amount("provider_fee"),
        network_fee=fields.amount("network_fee"),
        source=read_leg(fields.nested("source")),
        destination=read_leg(fields.nested("destination")),
        issued_at=fields.integer("issued_at"),
        fund_by=fields.integer("fund_by"),
        counter_fund_by=fields.integer("counter_fund_by"),
        collect_by=fields.integer("collect_by"),
        provider=_read_key(fields),
    )
    fields.end()
    return terms


def terms_hash(terms: Terms) -> bytes:
    """The tagged hash of the canonical unsigned terms, 32 bytes: the provider signs it, EVM locks commit to it."""
    return json_digest(TERMS_TAG, write_terms(terms))


def write_signature(signature: Signature) -> dict[str, JsonValue]:
    """A signature as a JSON object."""
    return {"scheme": signature.scheme.value, "signature": signature.data.hex()}


def read_signature(fields: JsonObject) -> Signature:
    """The reverse of ``write_signature``.

    Raises:
        FormatError: a field is missing or of the wrong type, or the scheme is unknown.
    """
    name = fields.text("scheme", max_length=16)
    try:
        scheme = Scheme(name)
    except ValueError as error:
        raise FormatError(f"the signature scheme {name!r} is unknown") from error
    return Signature(scheme, fields.hex("signature", length=64))


def is_signed(digest: bytes, signature: Signature, key: bytes) -> bool:
    """Whether the key signed the digest. Ignoring the result accepts forgeries.

    Args:
        digest: 32 bytes, a tagged hash.
        key: 32 bytes for BIP 340, 33 for ECDSA. A key of the other scheme gives False.
    """
    if len(key) != _KEY_LENGTHS[signature.scheme]:
        return False
    if signature.scheme is Scheme.BIP340:
        return verify(key, digest, signature.data)
    return verify_ecdsa(key, digest, signature.data)


def write_signed_terms(signed: SignedTerms) -> dict[str, JsonValue]:
    """Terms and signature as a JSON object."""
    return {"terms": write_terms(signed.terms), "signature": write_signature(signed.signature)}


def read_signed_terms(value: object) -> SignedTerms:
    """The reverse of ``write_signed_terms``. Does not check the signature.

    Raises:
        FormatError: as ``read_terms``.
    """
    fields = JsonObject(value, "signed terms")
    terms = read_terms(fields.take("terms"))
    signature = fields.nested("signature")
    signed = SignedTerms(terms, read_signature(signature))
    signature.end()
    fields.end()
    return signed


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
    return {"quote": _write_quote(signed.quote), "signature": write_signature(signed.signature)}


def read_signed_quote(value: object) -> SignedQuote:
    """The reverse of ``write_signed_quote``. Does not check the signature.

    Raises:
        FormatError: a field is missing, unknown or of the wrong type, or the version is unknown.
    """
    outer = JsonObject(value, "signed quote")
    fields = outer.nested("quote")
    _check_version(fields, "quote")
    quote = QuoteTerms(
        quote_id=fields.hex("quote_id", length=16).hex(),
        network=fields.text("network", max_length=16),
        asset=fields.text("asset", max_length=16),
        amount=fields.amount("amount"),
        provider_fee=fields.amount("provider_fee"),
        network_fee=fields.amount("network_fee"),
        source=read_offer(fields.nested("source")),
        destination=read_offer(fields.nested("destination")),
        issued_at=fields.integer("issued_at"),
        valid_until=fields.integer("valid_until"),
        provider=_read_key(fields),
    )
    fields.end()
    signature = outer.nested("signature")
    signed = SignedQuote(quote, read_signature(signature))
    signature.end()
    outer.end()
    return signed


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
    return {
        "version": TERMS_VERSION,
        "quote_id": quote.quote_id,
        "network": quote.network,
        "asset": quote.asset,
        "amount": str(quote.amount),
        "provider_fee": str(quote.provider_fee),
        "network_fee": str(quote.network_fee),
        "source": write_offer(quote.source),
        "destination": write_offer(quote.destination),
        "issued_at": quote.issued_at,
        "valid_until": quote.valid_until,
        "provider": quote.provider.hex(),
    }


def _read_key(fields: JsonObject) -> bytes:
    key = fields.hex("provider", max_length=33)
    if len(key) not in _KEY_LENGTHS.values():
        raise FormatError("an identity key has 32 bytes (BIP 340) or 33 (ECDSA)")
    return key


def _check_version(fields: JsonObject, what: str) -> None:
    version = fields.integer("version")
    if version != TERMS_VERSION:
        raise FormatError(f"{what} version {version} is unknown; this program supports version {TERMS_VERSION}")
