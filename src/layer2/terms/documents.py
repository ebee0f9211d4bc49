"""A provider's quote and terms: the data that both parties of a swap and every verifier share.

``terms.signing`` has their canonical form, hashes and signatures.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Final, TypeAlias

from layer2.errors.base import FormatError
from layer2.formats import json_object
from layer2.formats.json_record import Amount, Bytes32, Form, Text16, hexadecimal
from layer2.legs.kinds import read_leg, read_offer, write_leg, write_offer
from layer2.legs.leg import Leg, LegOffer
from layer2.model.layers import Layer2ProtocolType
from layer2.model.transactions import SwapId

__all__ = ["QuoteTerms", "Scheme", "Signature", "SignedQuote", "SignedTerms", "Terms"]


class Scheme(Enum):
    """The scheme of a signature over a digest of 32 bytes, which determines the form of the key."""

    BIP340 = "bip340"
    """Schnorr: a key of 32 bytes (x-only), a signature of 64 bytes."""
    ECDSA = "ecdsa"
    """A compressed key of 33 bytes, a signature of 64 bytes (r and s, low s)."""


TERMS_VERSION: Final = 1
KEY_LENGTHS: Final = {Scheme.BIP340: 32, Scheme.ECDSA: 33}


_16_BYTES: Final = json_object.hexadecimal(16)
_ANY_KEY: Final = json_object.hexadecimal(max_length=33)


def _key(value: object) -> bytes:
    key = _ANY_KEY(value)
    if len(key) not in KEY_LENGTHS.values():
        raise FormatError("an identity key has 32 bytes (BIP 340) or 33 (ECDSA)")
    return key


_ID: Final = Form(lambda value: _16_BYTES(value).hex())
_Offer: TypeAlias = Annotated[LegOffer, Form(read_offer, write_offer, is_object=True)]
_Leg: TypeAlias = Annotated[Leg, Form(read_leg, write_leg, is_object=True)]
_Key: TypeAlias = Annotated[bytes, Form(_key, bytes.hex)]


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature, with its scheme."""

    scheme: Scheme
    data: Annotated[bytes, hexadecimal(64).named("signature")]


@dataclass(frozen=True, slots=True)
class QuoteTerms:
    """A provider's offer: its legs, its price and its validity."""

    quote_id: Annotated[str, _ID]
    """32 lower-case hex digits."""
    network: Text16
    """``mainnet``, ``testnet`` or ``regtest``."""
    asset: Text16
    """``BTC``."""
    amount: Amount
    """The amount that arrives at the destination, in satoshi."""
    provider_fee: Amount
    network_fee: Amount
    """The provider's network costs that the taker pays, in satoshi."""
    source: _Offer
    """The leg on which the taker pays the provider, with the provider's account."""
    destination: _Offer
    """The leg on which the provider pays."""
    issued_at: int
    valid_until: int
    """Unix seconds by which the taker must request terms."""
    provider: _Key
    """The identity key that signs quotes and terms: 32 bytes (BIP 340) or 33 (ECDSA)."""

    @property
    def height_from(self) -> Layer2ProtocolType | None:
        """The layer at which each party reads the height of Bitcoin's chain at issue; None if no leg states it."""
        return next((each.protocol for each in (self.source, self.destination) if each.states_height), None)

    @property
    def source_amount(self) -> int:
        """The amount that leaves the source, in satoshi."""
        return self.amount + self.provider_fee + self.network_fee

    @property
    def pair(self) -> tuple[Layer2ProtocolType, Layer2ProtocolType]:
        """Source and destination."""
        return self.source.protocol, self.destination.protocol

    @property
    def by_height(self) -> bool:
        """Whether the deadlines of both legs are compared in Bitcoin's blocks."""
        return self.source.counts_blocks and self.destination.counts_blocks


@dataclass(frozen=True, slots=True)
class SignedQuote:
    """A quote and the provider's signature over it."""

    quote: QuoteTerms
    signature: Signature


@dataclass(frozen=True, slots=True)
class Terms:
    """All parameters of one swap, fixed before any payment."""

    swap_id: Annotated[SwapId, _ID]
    """The swap's public id."""
    quote_id: Annotated[str, _ID]
    network: Text16
    """``mainnet``, ``testnet`` or ``regtest``."""
    asset: Text16
    payment_hash: Bytes32
    """sha256 of the preimage."""
    amount: Amount
    """The amount that arrives at the destination, in satoshi."""
    provider_fee: Amount
    network_fee: Amount
    source: _Leg
    """The taker pays the provider."""
    destination: _Leg
    """The provider pays the taker, or the payee that the taker names."""
    issued_at: int
    fund_by: int
    """Unix seconds by which the taker's funding must begin; otherwise the swap no longer reserves its hash."""
    counter_fund_by: int
    """Unix seconds by which the provider's funding must begin; it never begins later."""
    collect_by: int
    """Unix seconds by which the taker reveals the preimage; later it takes its money back."""
    provider: _Key
    """The identity key that signs these terms: 32 bytes (BIP 340) or 33 (ECDSA)."""

    @property
    def source_amount(self) -> int:
        """The amount that leaves the source, in satoshi."""
        return self.amount + self.provider_fee + self.network_fee


@dataclass(frozen=True, slots=True)
class SignedTerms:
    """Terms and the provider's signature over their hash."""

    terms: Terms
    signature: Signature
