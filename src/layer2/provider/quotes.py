"""Quotes that a provider has signed and still stands by."""

from __future__ import annotations

from dataclasses import dataclass

from layer2.errors import InvalidRequest, QuoteExpired, QuoteRefused, UnknownAsset
from layer2.formats.signed_terms import quote_digest
from layer2.interfaces import Clock, Entropy, IdentitySigner
from layer2.layers import Layer2ProtocolType
from layer2.money import BTC, checked_amount
from layer2.provider.pricing import Pricing
from layer2.swap_rules.quotes import PAIRS
from layer2.swap_rules.timelocks import TimelockSettings
from layer2.terms import QuoteTerms, SignedQuote

__all__ = ["ProviderFacts", "QuoteBook"]


@dataclass(frozen=True, slots=True)
class ProviderFacts:
    """Where a provider trades, as its own nodes and keys say."""

    chain_id: int
    contract: bytes
    """20 bytes."""
    token: bytes
    """20 bytes."""
    token_decimals: int
    evm_address: bytes
    """20 bytes: its account."""
    lightning_network: str
    """BOLT 11 prefix."""
    node_key: bytes
    """33 bytes: its Lightning node."""


class QuoteBook:
    """Issues quotes and remembers each until it ends. A restart forgets all: takers then ask for new ones.

    Args:
        most_open: quotes remembered at once; more are refused, so that asking costs a stranger nothing of ours.
    """

    def __init__(
        self,
        facts: ProviderFacts,
        pricing: Pricing,
        settings: TimelockSettings,
        signer: IdentitySigner,
        clock: Clock,
        entropy: Entropy,
        most_open: int,
    ) -> None:
        self._facts = facts
        self._pricing = pricing
        self._settings = settings
        self._signer = signer
        self._clock = clock
        self._entropy = entropy
        self._most_open = most_open
        # In the order of their ends, since all live equally long.
        self._open: dict[str, QuoteTerms] = {}

    async def issue(
        self, asset: str, amount: int, source: Layer2ProtocolType, destination: Layer2ProtocolType
    ) -> SignedQuote:
        """Make, remember and sign a quote.

        Raises:
            UnknownAsset, InvalidRequest: not an asset or a pair of this provider's.
            InvalidAmount: outside the limits.
            QuoteRefused: code ``too_many_quotes``.
            SignerError: the identity key cannot be used.
        """
        if asset != BTC.code:
            raise UnknownAsset(f"this provider swaps {BTC}, not {asset!r}")
        if (source, destination) not in PAIRS:
            raise InvalidRequest(f"there are no swaps from {source.value} to {destination.value}", code="pair")
        self._pricing.check_amount(checked_amount(amount))
        now = int(self._clock.now())
        self._forget_until(now)
        if len(self._open) >= self._most_open:
            raise QuoteRefused("too many quotes are open; ask again in a minute", code="too_many_quotes")
        facts = self._facts
        quote = QuoteTerms(
            quote_id=self._entropy.token(16).hex(),
            network=self._settings.network,
            asset=BTC.code,
            source=source,
            destination=destination,
            amount=amount,
            provider_fee=self._pricing.provider_fee(amount),
            network_fee=self._pricing.network_fee,
            chain_id=facts.chain_id,
            contract=facts.contract,
            token=facts.token,
            token_decimals=facts.token_decimals,
            evm_address=facts.evm_address,
            lightning_network=facts.lightning_network,
            node_key=facts.node_key,
            finality=self._pricing.finality(amount),
            issued_at=now,
            valid_until=now + self._settings.quote_validity,
            provider=self._signer.public_key,
        )
        self._open[quote.quote_id] = quote
        return SignedQuote(quote, await self._signer.sign_schnorr(quote_digest(quote)))

    def find(self, quote_id: str) -> QuoteTerms:
        """The open quote of that id.

        Raises:
            QuoteExpired: it has ended, or there never was one.
        """
        self._forget_until(int(self._clock.now()))
        quote = self._open.get(quote_id)
        if quote is None:
            raise QuoteExpired("there is no open quote of that id", remedy="ask for a new quote")
        return quote

    def _forget_until(self, now: int) -> None:
        for quote_id, quote in list(self._open.items()):
            if quote.valid_until >= now:
                break
            del self._open[quote_id]
