"""The open quotes of a provider."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import takewhile

from layer2.errors import IdempotencyConflict, InvalidRequest, QuoteExpired, QuoteRefused, UnknownAsset
from layer2.legs.leg import LegOffer
from layer2.legs.timelock_settings import TimelockSettings
from layer2.model.layers import Layer2ProtocolType
from layer2.model.money import BTC, checked_amount
from layer2.model.transactions import SwapId
from layer2.ports.clock import Clock, Entropy
from layer2.ports.signing import IdentitySigner
from layer2.provider.pricing import Amounts, Exposure, PriceList
from layer2.swap_rules.timelocks import pairs_of
from layer2.terms.documents import QuoteTerms, Scheme, Signature, SignedQuote
from layer2.terms.signing import quote_digest

__all__ = ["QuoteBook", "QuoteRequest"]


@dataclass(frozen=True, slots=True)
class QuoteRequest:
    """A request for a quote, with exactly one of the amounts, in satoshi."""

    asset: str
    source: Layer2ProtocolType
    destination: Layer2ProtocolType
    amount: int | None = None
    """The amount to arrive at the destination."""
    send_amount: int | None = None
    """The amount to leave the source."""


@dataclass(slots=True, kw_only=True, eq=False)
class QuoteBook:
    """Issues quotes and keeps each until it expires. A restart discards all, and takers request new ones."""

    prices: PriceList
    rules: TimelockSettings
    signer: IdentitySigner
    clock: Clock
    entropy: Entropy
    most_open: int
    """The maximum number of open quotes, so that strangers cannot exhaust the memory."""
    _open: dict[str, QuoteTerms] = field(default_factory=dict)
    """In the order of expiry, because all have the same lifetime."""
    _bound: dict[str, SwapId] = field(default_factory=dict)
    """The swaps that are being accepted, by their quotes."""

    async def issue(
        self, request: QuoteRequest, offers: Mapping[Layer2ProtocolType, LegOffer], exposure: Exposure
    ) -> SignedQuote:
        """Create, store and sign a quote.

        Args:
            offers: this provider's offer for each layer that has joined.
            exposure: that of the source's layer.

        Raises:
            UnknownAsset: the provider does not swap the asset.
            InvalidRequest: it does not serve the pair, or there is not exactly one amount.
            InvalidAmount: the amount is outside the limits.
            QuoteRefused: code ``too_many_quotes``.
            SignerError: the identity key cannot be used.
        """
        if request.asset != BTC.code:
            raise UnknownAsset(f"this provider swaps {BTC}, not {request.asset!r}")
        pair = request.source, request.destination
        if pair not in pairs_of(offers, self.rules):
            raise InvalidRequest(f"this provider has no swaps from {pair[0].value} to {pair[1].value}", code="pair")
        figures = self._figures(request)
        now = int(self.clock.now())
        self._forget_until(now)
        if len(self._open) >= self.most_open:
            refused = QuoteRefused("too many quotes are open; try again in a minute", code="too_many_quotes")
            wait = next(iter(self._open.values())).valid_until + 1 - now
            refused.retry_after = min(wait, self.rules.quote_validity + 1)
            raise refused
        finality = self.prices.finality(figures.amount, exposure)
        quote = QuoteTerms(
            quote_id=self.entropy.token(16).hex(),
            network=self.rules.network,
            asset=BTC.code,
            amount=figures.amount,
            provider_fee=figures.provider_fee,
            network_fee=figures.network_fee,
            source=offers[request.source].with_finality(finality),
            # The taker's risk depends on its own swap alone, so the exposure does not count.
            destination=offers[request.destination].with_finality(self.prices.finality(figures.amount)),
            issued_at=now,
            valid_until=now + self.rules.quote_validity,
            provider=self.signer.public_key,
        )
        self._open[quote.quote_id] = quote
        signature = await self.signer.sign_schnorr(quote_digest(quote))
        return SignedQuote(quote, Signature(Scheme.BIP340, signature))

    def find(self, quote_id: str) -> QuoteTerms:
        """The open quote with this id.

        Raises:
            QuoteExpired: it has expired, or never existed.
        """
        now = int(self.clock.now())
        self._forget_until(now)
        quote = self._open.get(quote_id)
        if quote is None or not self._is_valid(quote, now):
            raise QuoteExpired("there is no open quote with this id", remedy="request a new quote")
        return quote

    def bind(self, quote_id: str, swap_id: SwapId) -> None:
        """Bind a quote to the swap that is being accepted under it.

        Raises:
            IdempotencyConflict: code ``swap_conflict``: another swap is.
        """
        if self._bound.setdefault(quote_id, swap_id) != swap_id:
            raise IdempotencyConflict("another swap is being accepted under this quote", code="swap_conflict")

    def unbind(self, quote_id: str, swap_id: SwapId) -> None:
        """Let another swap be accepted under the quote, unless one is already."""
        if self._bound.get(quote_id) == swap_id:
            del self._bound[quote_id]

    def use_up(self, quote_id: str) -> None:
        """Discard a quote under which a swap was agreed: it can be used once."""
        self._open.pop(quote_id, None)
        self._bound.pop(quote_id, None)

    def check_finality(self, quote: QuoteTerms, exposure: Exposure) -> None:
        """Check that the finality of the source is still sufficient for the current exposure.

        Raises:
            QuoteExpired: a new quote would require a longer wait.
        """
        # A layer with only one finality returns that one.
        needed = quote.source.with_finality(self.prices.finality(quote.amount, exposure)).finality
        if not quote.source.finality.includes(needed):
            raise QuoteExpired(
                f"swaps agreed since the quote require a longer wait on {quote.source.protocol.value}",
                remedy="request a new quote",
            )

    def _figures(self, request: QuoteRequest) -> Amounts:
        price = self.prices.price((request.source, request.destination))
        if request.amount is not None and request.send_amount is None:
            return price.arriving(checked_amount(request.amount))
        if request.send_amount is not None and request.amount is None:
            return price.leaving(checked_amount(request.send_amount, what="send_amount"))
        raise InvalidRequest("give exactly one of amount and send_amount", code="amount")

    def _forget_until(self, now: int) -> None:
        # Without a copy of all open quotes.
        for quote_id in [*takewhile(lambda each: not self._is_valid(self._open[each], now), self._open)]:
            del self._open[quote_id]

    def _is_valid(self, quote: QuoteTerms, now: int) -> bool:
        # A clock that was set back makes a quote of the future, which would block the ones behind it.
        return quote.issued_at <= now <= quote.valid_until
