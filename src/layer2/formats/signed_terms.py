"""Quotes and terms as canonical JSON, their tagged hashes, and the provider's signature over them.

Amounts are decimal strings, bytes lower-case hex, times unix seconds. Source: this project's transfer protocol,
with RFC 8785 (canonical JSON) and BIP 340 (tagged hashes, signatures).
"""

from __future__ import annotations

from typing import Any

from layer2.errors import FormatError, TermsRefused
from layer2.formats.json_object import JsonObject
from layer2.formats.tagged_signature import json_digest, verify
from layer2.layers import Layer2ProtocolType
from layer2.terms import (
    TERMS_VERSION,
    EvmLeg,
    Leg,
    LightningLeg,
    QuoteTerms,
    SignedQuote,
    SignedTerms,
    Terms,
)
from layer2.transactions import Finality, SwapId

__all__ = [
    "check_quote_signature",
    "check_terms_signature",
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


def write_terms(terms: Terms) -> dict[str, Any]:
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
        "source": _write_leg(terms.source),
        "destination": _write_leg(terms.destination),
        "issued_at": terms.issued_at,
        "fund_by": terms.fund_by,
        "counter_fund_by": terms.counter_fund_by,
        "collect_by": terms.collect_by,
        "provider": terms.provider.hex(),
    }


def read_terms(value: object) -> Terms:
    """The reverse of ``write_terms``.

    Raises:
        FormatError: a field is missing, unknown or of another shape, or the version is not ours.
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
        source=_read_leg(fields.nested("source")),
        destination=_read_leg(fields.nested("destination")),
        issued_at=fields.integer("issued_at"),
        fund_by=fields.integer("fund_by"),
        counter_fund_by=fields.integer("counter_fund_by"),
        collect_by=fields.integer("collect_by"),
        provider=fields.hex("provider", length=32),
    )
    fields.end()
    return terms


def terms_hash(terms: Terms) -> bytes:
    """The tagged hash of the canonical unsigned terms, 32 bytes: what is signed, and what an EVM lock commits to."""
    return json_digest(TERMS_TAG, write_terms(terms))


def write_signed_terms(signed: SignedTerms) -> dict[str, Any]:
    return {"terms": write_terms(signed.terms), "signature": signed.signature.hex()}


def read_signed_terms(value: object) -> SignedTerms:
    """The reverse of ``write_signed_terms``; the signature is not checked here."""
    fields = JsonObject(value, "signed terms")
    signed = SignedTerms(read_terms(fields.take("terms")), fields.hex("signature", length=64))
    fields.end()
    return signed


def check_terms_signature(signed: SignedTerms) -> None:
    """Check that the key that the terms name signed them.

    Raises:
        TermsRefused: it did not. Whether that key is a provider that one knows is the caller's question.
    """
    if not verify(signed.terms.provider, terms_hash(signed.terms), signed.signature):
        raise TermsRefused("the provider did not sign these terms", code="terms_signature")


def write_signed_quote(signed: SignedQuote) -> dict[str, Any]:
    return {"quote": _write_quote(signed.quote), "signature": signed.signature.hex()}


def read_signed_quote(value: object) -> SignedQuote:
    """The reverse of ``write_signed_quote``; the signature is not checked here.

    Raises:
        FormatError: a field is missing, unknown or of another shape, or the version is not ours.
    """
    outer = JsonObject(value, "signed quote")
    fields = outer.nested("quote")
    _check_version(fields, "quote")
    quote = QuoteTerms(
        quote_id=fields.hex("quote_id", length=16).hex(),
        network=fields.text("network", max_length=16),
        asset=fields.text("asset", max_length=16),
        source=_read_protocol(fields, "source"),
        destination=_read_protocol(fields, "destination"),
        amount=fields.amount("amount"),
        provider_fee=fields.amount("provider_fee"),
        network_fee=fields.amount("network_fee"),
        chain_id=fields.integer("chain_id"),
        contract=fields.hex("contract", length=20),
        token=fields.hex("token", length=20),
        token_decimals=fields.integer("token_decimals", maximum=36),
        evm_address=fields.hex("evm_address", length=20),
        lightning_network=fields.text("lightning_network", max_length=8),
        node_key=fields.hex("node_key", length=33),
        finality=_read_finality(fields),
        issued_at=fields.integer("issued_at"),
        valid_until=fields.integer("valid_until"),
        provider=fields.hex("provider", length=32),
    )
    fields.end()
    signed = SignedQuote(quote, outer.hex("signature", length=64))
    outer.end()
    return signed


def quote_digest(quote: QuoteTerms) -> bytes:
    """The tagged hash of the canonical quote, 32 bytes: what the provider signs."""
    return json_digest(QUOTE_TAG, _write_quote(quote))


def check_quote_signature(signed: SignedQuote) -> None:
    """Check that the key that the quote names signed it.

    Raises:
        TermsRefused: it did not. Whether that key is a provider that one knows is the caller's question.
    """
    if not verify(signed.quote.provider, quote_digest(signed.quote), signed.signature):
        raise TermsRefused("the provider did not sign this quote", code="quote_signature")


def _write_quote(quote: QuoteTerms) -> dict[str, Any]:
    return {
        "version": TERMS_VERSION,
        "quote_id": quote.quote_id,
        "network": quote.network,
        "asset": quote.asset,
        "source": quote.source.value,
        "destination": quote.destination.value,
        "amount": str(quote.amount),
        "provider_fee": str(quote.provider_fee),
        "network_fee": str(quote.network_fee),
        "chain_id": quote.chain_id,
        "contract": quote.contract.hex(),
        "token": quote.token.hex(),
        "token_decimals": quote.token_decimals,
        "evm_address": quote.evm_address.hex(),
        "lightning_network": quote.lightning_network,
        "node_key": quote.node_key.hex(),
        "finality": quote.finality.value,
        "issued_at": quote.issued_at,
        "valid_until": quote.valid_until,
        "provider": quote.provider.hex(),
    }


def _write_leg(leg: Leg) -> dict[str, Any]:
    match leg:
        case EvmLeg():
            return {
                "type": "evm",
                "protocol": leg.protocol.value,
                "chain_id": leg.chain_id,
                "contract": leg.contract.hex(),
                "token": leg.token.hex(),
                "token_decimals": leg.token_decimals,
                "amount": str(leg.amount),
                "payer": leg.payer.hex(),
                "payee": leg.payee.hex(),
                "deadline": leg.deadline,
                "finality": leg.finality.value,
            }
        case LightningLeg():
            return {
                "type": "lightning",
                "network": leg.network,
                "invoice": leg.invoice,
                "payee": leg.payee.hex(),
                "amount_msat": str(leg.amount_msat),
                "cltv_limit": leg.cltv_limit,
                "min_blocks_left": leg.min_blocks_left,
                "fee_limit_msat": str(leg.fee_limit_msat),
            }


def _read_leg(fields: JsonObject) -> Leg:
    kind = fields.text("type", max_length=16)
    leg: Leg
    if kind == "evm":
        leg = EvmLeg(
            protocol=_read_protocol(fields, "protocol"),
            chain_id=fields.integer("chain_id"),
            contract=fields.hex("contract", length=20),
            token=fields.hex("token", length=20),
            token_decimals=fields.integer("token_decimals", maximum=36),
            amount=fields.amount("amount"),
            payer=fields.hex("payer", length=20),
            payee=fields.hex("payee", length=20),
            deadline=fields.integer("deadline"),
            finality=_read_finality(fields),
        )
    elif kind == "lightning":
        leg = LightningLeg(
            network=fields.text("network", max_length=8),
            invoice=fields.text("invoice", max_length=8_000),
            payee=fields.hex("payee", length=33),
            amount_msat=fields.amount("amount_msat"),
            cltv_limit=fields.integer("cltv_limit"),
            min_blocks_left=fields.integer("min_blocks_left"),
            fee_limit_msat=fields.amount("fee_limit_msat"),
        )
    else:
        raise FormatError(f"terms: a leg of type {kind!r} is not known")
    fields.end()
    return leg


def _check_version(fields: JsonObject, what: str) -> None:
    version = fields.integer("version")
    if version != TERMS_VERSION:
        raise FormatError(f"{what} have version {version}; this program knows {TERMS_VERSION}")


def _read_protocol(fields: JsonObject, name: str) -> Layer2ProtocolType:
    text = fields.text(name, max_length=32)
    try:
        return Layer2ProtocolType(text)
    except ValueError as error:
        raise FormatError(f"{text!r} is not the name of a layer") from error


def _read_finality(fields: JsonObject) -> Finality:
    text = fields.text("finality", max_length=16)
    try:
        return Finality(text)
    except ValueError as error:
        raise FormatError(f"{text!r} is not a finality") from error
