"""A provider's quote and terms: the data that both parties of a swap and every verifier share.

``terms.signing`` has their canonical form, hashes and signatures.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from layer2.legs.leg import Leg, LegOffer
from layer2.model.layers import Layer2ProtocolType
from layer2.model.transactions import SwapId

__all__ = ["QuoteTerms", "Scheme", "Signature", "SignedQuote", "SignedTerms", "Terms"]

TERMS_VERSION: Final = 1


class Scheme(Enum):
    """The scheme of a signature over a digest of 32 bytes, which determines the form of the key."""

    BIP340 = "bip340"
    """Schnorr: a key of 32 bytes (x-only), a signature of 64 bytes."""
    ECDSA = "ecdsa"
    """A compressed key of 33 bytes, a signature of 64 bytes (r and s, low s)."""


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature, with its scheme."""

    scheme: Scheme
    data: bytes
    """64 bytes."""


@dataclass(frozen=True, slots=True)
class QuoteTerms:
    """A provider's offer: its legs, its price and its validity."""

    quote_id: str
    """32 lower-case hex digits."""
    network: str
    """``mainnet``, ``testnet`` or ``regtest``."""
    asset: str
    """``BTC``."""
    amount: int
    """The amount that arrives at the destination, in satoshi."""
    provider_fee: int
    network_fee: int
    """The provider's network costs that the taker pays, in satoshi."""
    source: LegOffer
    """The leg on which the taker pays the provider, with the provider's account."""
    destination: LegOffer
    """The leg on which the provider pays."""
    issued_at: int
    valid_until: int
    """Unix seconds by which the taker must request terms."""
    provider: bytes
    """The identity key that signs quotes and terms: 32 bytes (BIP 340) or 33 (ECDSA)."""

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
        return self.source.counts_blocks_with(self.destination)


@dataclass(frozen=True, slots=True)
class SignedQuote:
    """A quote and the provider's signature over it."""

    quote: QuoteTerms
    signature: Signature


@dataclass(frozen=True, slots=True)
class Terms:
    """All parameters of one swap, fixed before any payment."""

    swap_id: SwapId
    """The swap's public id."""
    quote_id: str
    network: str
    """``mainnet``, ``testnet`` or ``regtest``."""
    asset: str
    payment_hash: bytes
    """32 bytes, sha256 of the preimage."""
    amount: int
    """The amount that arrives at the destination, in satoshi."""
    provider_fee: int
    network_fee: int
    source: Leg
    """The taker pays the provider."""
    destination: Leg
    """The provider pays the taker, or the payee that the taker names."""
    issued_at: int
    fund_by: int
    """Unix seconds by which the taker's funding must begin; otherwise the swap no longer reserves its hash."""
    counter_fund_by: int
    """Unix seconds by which the provider's funding must begin; it never begins later."""
    collect_by: int
    """Unix seconds by which the taker reveals the preimage; later it takes its money back."""
    provider: bytes
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
