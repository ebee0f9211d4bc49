"""The quotes of a provider."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from layer2.errors import IdempotencyConflict, InvalidRequest, QuoteExpired, UnknownAsset
from layer2.legs.invoices import CLOCK_TOLERANCE
from layer2.legs.leg import LegOffer
from layer2.legs.timelock_settings import TimelockSettings
from layer2.model.layers import Layer2ProtocolType
from layer2.model.money import BTC, checked_amount
from layer2.model.transactions import SwapId
from layer2.ports.clock import Clock, Entropy
from layer2.ports.signing import IdentitySigner
from layer2.provider.pricing import Amounts, Exposure, PriceList
from layer2.swap_rules.timelocks import is_pair
from layer2.terms.documents import QuoteTerms, Scheme, Signature, SignedQuote
from layer2.terms.signing import is_signed, quote_digest

__all__ = ["QuoteRequest", "Quotes"]


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
class Quotes:
    """Issues quotes, and checks those that return.

    It keeps none: a quote returns with its signature, to any front end of the provider. A quote reserves nothing, and
    the journal has the quotes under which a swap was agreed.
    """

    prices: PriceList
    rules: TimelockSettings
    signer: IdentitySigner
    clock: Clock
    entropy: Entropy
    _bound: dict[str, SwapId] = field(default_factory=dict)
    """The swaps that this process is accepting, by their quotes."""

    async def issue(
        self, request: QuoteRequest, offers: Mapping[Layer2ProtocolType, LegOffer], exposure: Exposure
    ) -> SignedQuote:
        """Create and sign a quote.

        Args:
            offers: this provider's offer for each layer that has joined.
            exposure: that of the source's layer.

        Raises:
            UnknownAsset: the provider does not swap the asset.
            InvalidRequest: it does not serve the pair, or there is not exactly one amount.
            InvalidAmount: the amount is outside the limits.
            SignerError: the identity key cannot be used.
        """
        if request.asset != BTC.code:
            raise UnknownAsset(f"this provider does not swap {request.asset!r}")
        pair = request.source, request.destination
        if not is_pair(*pair, offers, self.rules):
            raise InvalidRequest(f"this provider has no swaps from {pair[0].value} to {pair[1].value}", code="pair")
        figures = self._figures(request)
        now = int(self.clock.now())
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
        signature = await self.signer.sign_schnorr(quote_digest(quote))
        return SignedQuote(quote, Signature(Scheme.BIP340, signature))

    def check_signed(self, signed: SignedQuote) -> None:
        """Check that this provider signed a quote, for this network. Nothing in it can have been changed then.

        Raises:
            InvalidRequest: code ``quote_signature`` or ``quote_network``.
        """
        quote = signed.quote
        if quote.provider != self.signer.public_key or not is_signed(
            quote_digest(quote), signed.signature, quote.provider
        ):
            raise InvalidRequest("this provider did not sign the quote", code="quote_signature")
        if quote.network != self.rules.network:
            raise InvalidRequest(
                f"the quote is for {quote.network}, not for {self.rules.network}", code="quote_network"
            )

    def check_open(self, quote: QuoteTerms, offers: Mapping[Layer2ProtocolType, LegOffer]) -> None:
        """Check that a quote of this provider has not expired, and that its accounts are those of the quote.

        Raises:
            QuoteExpired: otherwise. The clock of the front end that issued it can be ahead by ``CLOCK_TOLERANCE``.
        """
        if not quote.issued_at - CLOCK_TOLERANCE <= self.clock.now() < quote.valid_until + 1:
            raise QuoteExpired("the quote has expired", remedy="request a new quote")
        for given in (quote.source, quote.destination):
            own = offers.get(given.protocol)
            if own is None or own.with_finality(given.finality) != given:
                raise QuoteExpired(
                    f"the provider's side on {given.protocol.value} differs from that of the quote",
                    remedy="request a new quote",
                )

    def bind(self, quote_id: str, swap_id: SwapId) -> None:
        """Bind a quote to the swap that is being accepted under it, so that the nodes work for one swap at a time.

        Raises:
            IdempotencyConflict: code ``swap_conflict``: another swap is.
        """
        if self._bound.setdefault(quote_id, swap_id) != swap_id:
            raise IdempotencyConflict("another swap is being accepted under this quote", code="swap_conflict")

    def unbind(self, quote_id: str, swap_id: SwapId) -> None:
        """End ``bind``: the swap was not accepted, or the journal has it."""
        if self._bound.get(quote_id) == swap_id:
            del self._bound[quote_id]

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
