"""Quotes, requests and terms of one swap between any two layers, with real keys and invoices and valid margins."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any

from coincurve import PrivateKey, PublicKeyXOnly

from layer2.formats import bolt11
from layer2.formats.evm_address import address_of_public_key, to_checksum
from layer2.formats.tagged_signature import sign
from layer2.legs.bitcoin import BitcoinKeys, BitcoinOffer
from layer2.legs.evm import EvmOffer
from layer2.legs.leg import LegOffer
from layer2.legs.lightning import LightningOffer
from layer2.legs.timelock_settings import REGTEST, TimelockSettings
from layer2.legs.views import OfferRequest
from layer2.model.layers import LAYERS, Layer2ProtocolType
from layer2.model.transactions import Finality, Preimage, SwapId
from layer2.swap_rules.agreement import SwapRequest, build_terms, provider_request, taker_requests
from layer2.terms.documents import QuoteTerms, Scheme, Signature, SignedQuote, SignedTerms, Terms
from layer2.terms.signing import quote_digest, terms_hash

NOW = 1_800_000_000
HEIGHT = 900_000
PREIMAGE = Preimage(hashlib.sha256(b"an example").digest())
PAYMENT_HASH = PREIMAGE.payment_hash
SWAP_ID = SwapId("5a" * 16)
AMOUNT = 100_000
FEE = 420
IDENTITY = PrivateKey(b"\x01" * 32)
IDENTITY_KEY = PublicKeyXOnly.from_secret(IDENTITY.secret).format()
TAKER_NODE, PROVIDER_NODE, STRANGERS_NODE = (PrivateKey(bytes((n,)) * 32) for n in (0x11, 0x22, 0x33))
TAKER_KEY, PROVIDER_KEY = PrivateKey(b"\x05" * 32), PrivateKey(b"\x06" * 32)
TAKER_EVM, PROVIDER_EVM = (address_of_public_key(key.public_key.format()) for key in (TAKER_KEY, PROVIDER_KEY))
PREFIXES = {"mainnet": "bc", "testnet": "tb", "regtest": "bcrt"}
LAYER_OF = {layer.value.lower(): layer for layer in Layer2ProtocolType}


def bitcoin_keys(*, taker: bool) -> BitcoinKeys:
    """A party's keys on Bitcoin: the taker's, or the provider's."""
    key = TAKER_KEY if taker else PROVIDER_KEY
    return BitcoinKeys(key.public_key.format(), key.add(b"\x01".rjust(32, b"\0")).public_key.format())


def offer_of(
    layer: Layer2ProtocolType,
    rules: TimelockSettings = REGTEST,
    finality: Finality = Finality.SAFE,
    *,
    taker: bool = False,
) -> LegOffer:
    """A party's offer on a layer: the provider's, or the taker's."""
    match LAYERS[layer].kind:
        case "evm":
            account = TAKER_EVM if taker else PROVIDER_EVM
            chain_id = int(min(LAYERS[layer].network_ids[rules.network]))
            return EvmOffer(layer, chain_id, b"\x0c" * 20, b"\x0d" * 20, 8, account, finality)
        case "lightning":
            node = TAKER_NODE if taker else PROVIDER_NODE
            return LightningOffer(PREFIXES[rules.network], node.public_key.format())
        case _:
            keys = bitcoin_keys(taker=taker)
            return BitcoinOffer(PREFIXES[rules.network], keys.key, keys.release_key, 1000, finality)


def quote_of(
    source: str = "bob",
    destination: str = "lightning",
    rules: TimelockSettings = REGTEST,
    finality: Finality = Finality.SAFE,
    **changes: Any,
) -> QuoteTerms:
    """An honest provider's quote."""
    made = QuoteTerms(
        quote_id="0b" * 16,
        network=rules.network,
        asset="BTC",
        amount=AMOUNT,
        provider_fee=FEE - 100,
        network_fee=100,
        source=offer_of(LAYER_OF[source], rules, finality),
        destination=offer_of(LAYER_OF[destination], rules, finality),
        issued_at=NOW - 1,
        valid_until=NOW + 59,
        provider=IDENTITY_KEY,
    )
    return replace(made, **changes)


def invoice_for(wanted: OfferRequest, signer: PrivateKey, rules: TimelockSettings = REGTEST, **changes: Any) -> str:
    """The invoice that a node makes for a request, with optional changes."""
    fields = bolt11.InvoiceFields(
        prefix=PREFIXES[rules.network],
        amount_msat=wanted.amount * 1000,
        timestamp=NOW,
        payment_hash=wanted.payment_hash,
        payment_secret=b"\x07" * 32,
        description=wanted.memo,
        expiry=wanted.expiry_seconds,
        min_final_cltv_expiry_delta=wanted.min_blocks,
    )
    return bolt11.encode(replace(fields, **changes), lambda digest: signer.sign_recoverable(digest, hasher=None))


def named(offer: LegOffer, wanted: OfferRequest, rules: TimelockSettings, *, taker: bool) -> str:
    """The result of a party's layer for an offer request."""
    match offer.kind:
        case "evm":
            return to_checksum(TAKER_EVM if taker else PROVIDER_EVM, int(offer.network_id))
        case "bitcoin":
            return bitcoin_keys(taker=taker).write()
        case _:
            if wanted.side.value == "payer":
                return ""
            return invoice_for(wanted, TAKER_NODE if taker else PROVIDER_NODE, rules)


@dataclass(frozen=True)
class Agreement:
    """A quote, a request under it, and the terms that an honest provider builds from them."""

    quote: QuoteTerms
    request: SwapRequest
    terms: Terms
    rules: TimelockSettings


def agreement_of(
    source: str = "bob",
    destination: str = "lightning",
    rules: TimelockSettings = REGTEST,
    finality: Finality = Finality.SAFE,
    *,
    named_destination: str | None = None,
    named_source: str | None = None,
    provider_named: str | None = None,
    payment_hash: bytes = PAYMENT_HASH,
    source_changes: dict[str, Any] | None = None,
    **changes: Any,
) -> Agreement:
    """Terms issued one second after the quote; the parties name honest values by default."""
    quote = quote_of(source, destination, rules, finality, **changes)
    if source_changes is not None:
        quote = replace(quote, source=replace(quote.source, **source_changes))  # type: ignore[type-var]  # a dataclass
    from_source, from_destination = taker_requests(quote, SWAP_ID, payment_hash, NOW, rules)
    if named_source is None:
        named_source = named(quote.source, from_source, rules, taker=True)
    if named_destination is None:
        named_destination = named(quote.destination, from_destination, rules, taker=True)
    request = SwapRequest(SWAP_ID, quote.quote_id, payment_hash, named_source, named_destination, b"\xac" * 32)
    if provider_named is None:
        wanted = provider_request(quote, request, NOW, HEIGHT, rules)
        provider_named = "" if quote.source.kind != "lightning" else named(quote.source, wanted, rules, taker=False)
    terms = build_terms(quote, request, NOW, rules, provider_named=provider_named, height=_height(quote))
    return Agreement(quote, request, terms, rules)


def terms_of(
    source: str = "bob",
    destination: str = "lightning",
    rules: TimelockSettings = REGTEST,
    finality: Finality = Finality.SAFE,
    *,
    foreign: bool = False,
) -> Terms:
    """The terms of one swap; ``foreign``: the destination is a third party's invoice."""
    if not foreign:
        return agreement_of(source, destination, rules, finality).terms
    quote = quote_of(source, destination, rules, finality)
    wanted = taker_requests(quote, SWAP_ID, PAYMENT_HASH, NOW, rules)[1]
    invoice = invoice_for(wanted, STRANGERS_NODE, rules)
    return agreement_of(source, destination, rules, finality, named_destination=invoice).terms


def signed_quote(made: QuoteTerms, key: PrivateKey = IDENTITY) -> SignedQuote:
    return SignedQuote(made, Signature(Scheme.BIP340, sign(key.secret, quote_digest(made), bytes(32))))


def signed_terms(made: Terms, key: PrivateKey = IDENTITY) -> SignedTerms:
    return SignedTerms(made, Signature(Scheme.BIP340, sign(key.secret, terms_hash(made), bytes(32))))


def _height(quote: QuoteTerms) -> int:
    return HEIGHT if "bitcoin" in (quote.source.kind, quote.destination.kind) else 0
