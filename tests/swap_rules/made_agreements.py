"""Honest quotes, requests and terms of both directions, and what is needed to sign changed ones."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from coincurve import PrivateKey, PublicKeyXOnly

from layer2.formats import bolt11
from layer2.formats.bolt11 import InvoiceFields
from layer2.formats.evm_address import address_of_public_key, to_checksum
from layer2.formats.signed_terms import quote_digest, terms_hash
from layer2.formats.tagged_signature import sign
from layer2.layers import Layer2ProtocolType
from layer2.money import BTC
from layer2.swap_rules.agreement import SwapRequest, build_terms, hold_invoice_needs
from layer2.swap_rules.quotes import TakerNetwork
from layer2.swap_rules.timelocks import REGTEST, TimelockSettings
from layer2.terms import QuoteTerms, SignedQuote, SignedTerms, Terms
from layer2.transactions import Finality, Preimage, SwapId
from layer2.transfers import TransferRequest

NOW = 1_790_000_000
AMOUNT = 100_000
BOB, LIGHTNING = Layer2ProtocolType.BOB, Layer2ProtocolType.LIGHTNING
IDENTITY = PrivateKey(b"\x01" * 32)
IDENTITY_KEY = PublicKeyXOnly.from_secret(IDENTITY.secret).format()
PROVIDER_NODE = PrivateKey(b"\x02" * 32)
TAKER_NODE = PrivateKey(b"\x03" * 32)
STRANGERS_NODE = PrivateKey(b"\x04" * 32)
TAKER = address_of_public_key(PrivateKey(b"\x05" * 32).public_key.format())
PROVIDER = address_of_public_key(PrivateKey(b"\x06" * 32).public_key.format())
PREIMAGE = Preimage(b"\x07" * 32)
PREFIXES = {"mainnet": "bc", "testnet": "tb", "regtest": "bcrt"}

TAKER_NETWORK = TakerNetwork(
    chain_id=60808,
    contract=b"\x11" * 20,
    token=b"\x12" * 20,
    token_decimals=8,
    lightning_network="bcrt",
    node_key=TAKER_NODE.public_key.format(),
)


def quote(source: Layer2ProtocolType = BOB, **changes: Any) -> QuoteTerms:
    made = QuoteTerms(
        quote_id="ee" * 16,
        network="regtest",
        asset="BTC",
        source=source,
        destination=LIGHTNING if source is BOB else BOB,
        amount=AMOUNT,
        provider_fee=420,
        network_fee=50,
        chain_id=TAKER_NETWORK.chain_id,
        contract=TAKER_NETWORK.contract,
        token=TAKER_NETWORK.token,
        token_decimals=TAKER_NETWORK.token_decimals,
        evm_address=PROVIDER,
        lightning_network="bcrt",
        node_key=PROVIDER_NODE.public_key.format(),
        finality=Finality.LATEST,
        issued_at=NOW,
        valid_until=NOW + 60,
        provider=IDENTITY_KEY,
    )
    return replace(made, **changes)


def transfer(source: Layer2ProtocolType = BOB, **changes: Any) -> TransferRequest:
    made = TransferRequest(asset=BTC, amount=AMOUNT, source=source, destination=LIGHTNING if source is BOB else BOB)
    return replace(made, **changes)


def signed_quote(made: QuoteTerms, key: PrivateKey = IDENTITY) -> SignedQuote:
    return SignedQuote(made, sign(key.secret, quote_digest(made), bytes(32)))


def signed_terms(made: Terms, key: PrivateKey = IDENTITY) -> SignedTerms:
    return SignedTerms(made, sign(key.secret, terms_hash(made), bytes(32)))


def invoice(signer: PrivateKey = TAKER_NODE, settings: TimelockSettings = REGTEST, **changes: Any) -> str:
    """An invoice as the taker's node makes it, unless changed."""
    fields = InvoiceFields(
        prefix=PREFIXES[settings.network],
        amount_msat=AMOUNT * 1000,
        timestamp=NOW,
        payment_hash=PREIMAGE.payment_hash,
        payment_secret=bytes(32),
        description="",
        expiry=settings.own_invoice_expiry,
        min_final_cltv_expiry_delta=settings.own_final_cltv_delta,
    )
    return bolt11.encode(replace(fields, **changes), lambda digest: signer.sign_recoverable(digest, hasher=None))


def hold_invoice(made: QuoteTerms, settings: TimelockSettings = REGTEST, **changes: Any) -> str:
    """An invoice as the provider's node makes it, unless changed."""
    needs = hold_invoice_needs(made, NOW + 1, settings)
    honest = {
        "signer": PROVIDER_NODE,
        "amount_msat": needs.amount * 1000,
        "expiry": needs.expiry_seconds,
        "min_final_cltv_expiry_delta": needs.final_cltv_delta,
    }
    return invoice(settings=settings, **{**honest, **changes})


@dataclass(frozen=True)
class Agreement:
    """A quote, the request under it, and the terms that an honest provider makes of them."""

    quote: QuoteTerms
    request: SwapRequest
    terms: Terms
    settings: TimelockSettings


def agreement(
    source: Layer2ProtocolType = BOB,
    settings: TimelockSettings = REGTEST,
    *,
    hold: str | None = None,
    offer: str | None = None,
    payment_hash: bytes = PREIMAGE.payment_hash,
    **changes: Any,
) -> Agreement:
    """Issued one second after the quote."""
    made = quote(source, **{"network": settings.network, "lightning_network": PREFIXES[settings.network], **changes})
    if offer is None:
        offer = invoice(settings=settings) if source is BOB else to_checksum(TAKER)
    request = SwapRequest(SwapId("ab" * 16), made.quote_id, payment_hash, offer, TAKER)
    if source is LIGHTNING and hold is None:
        hold = hold_invoice(made, settings)
    terms = build_terms(made, request, NOW + 1, settings, hold_invoice=hold)
    return Agreement(made, request, terms, settings)
