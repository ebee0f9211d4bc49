"""What a provider quotes and signs: the words that both sides of a swap and every verifier share.

Plain data. How it is written canonically, hashed and signed is ``formats.signed_terms``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from layer2.layers import Layer2ProtocolType
from layer2.transactions import Finality, SwapId

__all__ = ["EvmLeg", "Leg", "LightningLeg", "QuoteTerms", "SignedQuote", "SignedTerms", "Terms"]

TERMS_VERSION = 1


@dataclass(frozen=True, slots=True)
class EvmLeg:
    """One side of a swap as a lock in the HTLC contract of an EVM layer."""

    protocol: Layer2ProtocolType
    chain_id: int
    contract: bytes
    """20 bytes."""
    token: bytes
    """20 bytes; all zero for the native coin."""
    token_decimals: int
    """What one unit of ``amount`` is, so that a verifier can compare it with satoshi."""
    amount: int
    """In the token's smallest unit."""
    payer: bytes
    """20 bytes: who locks, and gets a refund."""
    payee: bytes
    """20 bytes: who is paid by a claim, and alone may refund before the deadline."""
    deadline: int
    """Unix seconds on the chain's clock: from then on anyone may refund."""
    finality: Finality
    """What the payee waits for before it acts on the lock."""


@dataclass(frozen=True, slots=True)
class LightningLeg:
    """One side of a swap as a payment of one exact BOLT 11 invoice."""

    network: str
    """BOLT 11 prefix: ``bc``, ``tb``, ``tbs``, ``bcrt``."""
    invoice: str
    """The exact text that is paid, lower case."""
    payee: bytes
    """33 bytes: the key that signed the invoice."""
    amount_msat: int
    cltv_limit: int
    """Most blocks that the payer lets its payment be locked (lnd's ``cltv_limit``)."""
    min_blocks_left: int
    """Hold invoices: fewest blocks that must be left, over all HTLCs, when the payee accepts; 0 for a plain one."""
    fee_limit_msat: int
    """Most that the payer spends on routing."""

    @property
    def protocol(self) -> Layer2ProtocolType:
        return Layer2ProtocolType.LIGHTNING


Leg: TypeAlias = EvmLeg | LightningLeg


@dataclass(frozen=True, slots=True)
class QuoteTerms:
    """What a provider offers to do, for how much, and until when."""

    quote_id: str
    """32 lower-case hex digits."""
    network: str
    """``mainnet``, ``testnet`` or ``regtest``."""
    asset: str
    """``BTC``."""
    source: Layer2ProtocolType
    destination: Layer2ProtocolType
    amount: int
    """What arrives at the destination, satoshi."""
    provider_fee: int
    network_fee: int
    """The provider's own network costs that it passes on, satoshi."""
    chain_id: int
    contract: bytes
    token: bytes
    token_decimals: int
    evm_address: bytes
    """The provider's account on the EVM side: payee of the source lock, payer of the destination lock."""
    lightning_network: str
    """BOLT 11 prefix."""
    node_key: bytes
    """33 bytes: the provider's Lightning node. An own invoice to be paid is never signed by it."""
    finality: Finality
    """What the provider waits for before it acts on a lock of this amount."""
    issued_at: int
    valid_until: int
    """Unix seconds; the taker must have asked for terms by then."""
    provider: bytes
    """32 bytes: the identity key (BIP 340 x-only) that signs quotes and terms."""

    @property
    def source_amount(self) -> int:
        """What leaves the source, satoshi."""
        return self.amount + self.provider_fee + self.network_fee


@dataclass(frozen=True, slots=True)
class SignedQuote:
    """A quote and the provider's BIP 340 signature (64 bytes) over it."""

    quote: QuoteTerms
    signature: bytes


@dataclass(frozen=True, slots=True)
class Terms:
    """Everything about one swap, fixed before anyone pays."""

    swap_id: SwapId
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
    """Unix seconds: the taker reveals the preimage on a chain by then, or lets the lock return. For a Lightning
    destination: the invoice's expiry."""
    provider: bytes
    """32 bytes: the identity key that signs these terms."""

    @property
    def source_amount(self) -> int:
        """What leaves the source, satoshi."""
        return self.amount + self.provider_fee + self.network_fee


@dataclass(frozen=True, slots=True)
class SignedTerms:
    """Terms and the provider's BIP 340 signature (64 bytes) over their hash."""

    terms: Terms
    signature: bytes
