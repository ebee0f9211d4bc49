"""What a provider quotes and signs: the data that both sides of a swap and every verifier share.

Plain data. How it is written canonically, hashed and signed is in ``signed_terms``.
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
    """How a signature over a digest of 32 bytes is made, and so which keys it goes with."""

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
    """What a provider offers to do, for how much, and until when."""

    quote_id: str
    """32 lower-case hex digits."""
    network: str
    """``mainnet``, ``testnet`` or ``regtest``."""
    asset: str
    """``BTC``."""
    amount: int
    """What arrives at the destination, satoshi."""
    provider_fee: int
    network_fee: int
    """The provider's own network costs that it passes on, satoshi."""
    source: LegOffer
    """Where the taker pays the provider, with the provider's account."""
    destination: LegOffer
    """Where the provider pays."""
    issued_at: int
    valid_until: int
    """Unix seconds; the taker must have asked for terms by then."""
    provider: bytes
    """The identity key that signs quotes and terms: 32 bytes (BIP 340) or 33 (ECDSA)."""

    @property
    def source_amount(self) -> int:
        """What leaves the source, satoshi."""
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
    """Everything about one swap, fixed before anyone pays."""

    swap_id: SwapId
    """The swap's public id."""
    quote_id: str
    network: str
    """``mainnet``, ``testnet`` or ``regtest``."""
    asset: str
    payment_hash: bytes
    """32 bytes, sha256 of the preimage."""
    amount: int
    """What arrives at the destination, satoshi."""
    provider_fee: int
    network_fee: int
    source: Leg
    """Taker pays provider."""
    destination: Leg
    """Provider pays taker, or the payee of the taker's choice."""
    issued_at: int
    fund_by: int
    """Unix seconds: the taker's funding must have begun, or the swap stops binding its hash."""
    counter_fund_by: int
    """Unix seconds: the provider's funding must have begun, or it never will."""
    collect_by: int
    """Unix seconds: the taker shows the preimage by then, or takes its money back."""
    provider: bytes
    """The identity key that signs these terms: 32 bytes (BIP 340) or 33 (ECDSA)."""

    @property
    def source_amount(self) -> int:
        """What leaves the source, satoshi."""
        return self.amount + self.provider_fee + self.network_fee


@dataclass(frozen=True, slots=True)
class SignedTerms:
    """Terms and the provider's signature over their hash."""

    terms: Terms
    signature: Signature
