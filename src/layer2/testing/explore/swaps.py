"""The explored swaps: real terms for every pair of kinds, with mainnet's margins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from coincurve import PrivateKey

from layer2.formats import bolt11
from layer2.formats.bolt11 import InvoiceFields
from layer2.formats.evm_address import address_of_public_key, to_checksum
from layer2.legs.bitcoin import BitcoinKeys, BitcoinOffer
from layer2.legs.evm import EvmOffer
from layer2.legs.leg import LegOffer
from layer2.legs.lightning import LightningOffer
from layer2.legs.timelock_settings import MAINNET, TimelockSettings
from layer2.model.layers import Layer2ProtocolType
from layer2.model.transactions import Finality, Preimage, SwapId
from layer2.swap_rules.agreement import SwapRequest, build_terms, provider_request
from layer2.terms.documents import QuoteTerms, Terms

__all__ = ["HEIGHT", "ISSUED_AT", "PAIRS", "PREIMAGE", "Pair", "swap_terms"]

ISSUED_AT: Final = 1_800_000_000
HEIGHT: Final = 950_000
"""Bitcoin's newest block when the terms are issued."""
PREIMAGE: Final = Preimage(b"\x07" * 32)
_AMOUNT: Final = 1_000_000
_FEE: Final = 5_000
_TAKER, _PROVIDER, _STRANGER = (PrivateKey(bytes((number,)) * 32) for number in (3, 2, 4))
_LAYERS: Final = {"evm": (Layer2ProtocolType.BOB, 60808), "evm2": (Layer2ProtocolType.ROOTSTOCK, 30)}


@dataclass(frozen=True, slots=True)
class Pair:
    """The kinds of two legs."""

    source: str
    destination: str
    is_foreign: bool = False
    """Whether the destination is a third party's invoice."""

    @property
    def name(self) -> str:
        """The kinds, such as ``evm-lightning(foreign)``."""
        foreign = "(foreign)" if self.is_foreign else ""
        return f"{self.source}-{self.destination.rstrip('2')}{foreign}"


PAIRS: Final = {
    pair.name: pair
    for pair in (
        Pair("evm", "evm2"),
        Pair("evm", "lightning"),
        Pair("lightning", "evm"),
        Pair("evm", "bitcoin"),
        Pair("bitcoin", "evm"),
        Pair("bitcoin", "lightning"),
        Pair("lightning", "bitcoin"),
        Pair("evm", "lightning", is_foreign=True),
        Pair("bitcoin", "lightning", is_foreign=True),
    )
}


def swap_terms(pair: Pair, finality: Finality, rules: TimelockSettings = MAINNET) -> Terms:
    """The terms of one swap between two kinds, built like a provider's."""
    quote = QuoteTerms(
        quote_id="ee" * 16,
        network=rules.network,
        asset="BTC",
        amount=_AMOUNT,
        provider_fee=_FEE,
        network_fee=_FEE,
        source=_offer(pair.source, finality),
        destination=_offer(pair.destination, finality),
        issued_at=ISSUED_AT - 10,
        valid_until=ISSUED_AT + 50,
        provider=b"\x0e" * 32,
    )
    request = SwapRequest(
        swap_id=SwapId("ab" * 16),
        quote_id=quote.quote_id,
        payment_hash=PREIMAGE.payment_hash,
        source="" if pair.source == "lightning" else _named(pair.source),
        destination=_invoice(
            _STRANGER if pair.is_foreign else _TAKER, _AMOUNT, rules.own_invoice_expiry, rules.own_final_cltv_delta
        )
        if pair.destination == "lightning"
        else _named(pair.destination),
        access_hash=bytes(32),
    )
    named = ""
    if pair.source == "lightning":
        asked = provider_request(quote, request, ISSUED_AT, HEIGHT, rules)
        named = _invoice(_PROVIDER, asked.amount, asked.expiry_seconds, asked.min_blocks)
    return build_terms(quote, request, ISSUED_AT, rules, provider_named=named, height=HEIGHT)


def _offer(kind: str, finality: Finality) -> LegOffer:
    key = _PROVIDER.public_key.format()
    if kind == "lightning":
        return LightningOffer(prefix="bc", node_key=key)
    if kind == "bitcoin":
        keys = _keys(_PROVIDER)
        return BitcoinOffer("bc", keys.key, keys.release_key, fee_floor=1_000, finality=finality)
    layer, chain_id = _LAYERS[kind]
    return EvmOffer(
        protocol=layer,
        chain_id=chain_id,
        contract=b"\x0c" * 20,
        token=b"\x0d" * 20,
        token_decimals=8,
        account=address_of_public_key(key),
        finality=finality,
    )


def _named(kind: str) -> str:
    """What the taker names on a chain: its keys, or its account."""
    if kind == "bitcoin":
        return _keys(_TAKER).write()
    return to_checksum(address_of_public_key(_TAKER.public_key.format()), _LAYERS[kind][1])


def _keys(party: PrivateKey) -> BitcoinKeys:
    return BitcoinKeys(party.public_key.format(), party.public_key.add(b"\x01".rjust(32, b"\0")).format())


def _invoice(signer: PrivateKey, amount: int, expiry: int, final_delta: int) -> str:
    return bolt11.encode(
        InvoiceFields(
            prefix="bc",
            amount_msat=amount * 1000,
            timestamp=ISSUED_AT,
            payment_hash=PREIMAGE.payment_hash,
            payment_secret=b"\x09" * 32,
            description="explored",
            expiry=expiry,
            min_final_cltv_expiry_delta=final_delta,
        ),
        lambda digest: signer.sign_recoverable(digest, hasher=None),
    )
