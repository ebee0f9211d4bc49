"""Quotes that a provider has signed and still stands by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from layer2.errors import InvalidRequest, QuoteExpired, QuoteRefused, UnknownAsset
from layer2.legs.leg import LegOffer
from layer2.legs.timelock_settings import TimelockSettings
from layer2.model.layers import Layer2ProtocolType
from layer2.model.money import BTC, checked_amount
from layer2.model.transactions import Finality
from layer2.ports.clock import Clock, Entropy
from layer2.ports.signing import IdentitySigner
from layer2.provider.pricing import Amounts, Exposure, PriceList
from layer2.swap_rules.timelocks import pairs_of
from layer2.terms.documents import QuoteTerms, Scheme, Signature, SignedQuote
from layer2.terms.signing import quote_digest

__all__ = ["QuoteBook", "QuoteRequest"]


@dataclass(frozen=True, slots=True)
class QuoteRequest:
    """What a quote is asked for. Exactly one of the amounts is given, in satoshi."""

    asset: str
    source: Layer2ProtocolType
    destination: Layer2ProtocolType
    amount: int | None = None
    """What arrives at the destination."""
    send_amount: int | None = None
    """What leaves the source."""


class QuoteBook:
    """Issues quotes and remembers each until it ends. A restart forgets all: takers then ask for new ones.

    Args:
        most_open: quotes remembered at once; more are refused, so that asking costs a stranger nothing of ours.
    """

    def __init__(
        self,
        prices: PriceList,
        rules: TimelockSettings,
        signer: IdentitySigner,
        clock: Clock,
        entropy: Entropy,
        most_open: int,
    ) -> None:
        self._prices = prices
        self._rules = rules
        self._signer = signer
        self._clock = clock
        self._entropy = entropy
        self._most_open = most_open
        # In the order of their ends, since all live equally long.
        self._open: dict[str, QuoteTerms] = {}

    async def issue(
        self, request: QuoteRequest, offers: Mapping[Layer2ProtocolType, LegOffer], exposure: Exposure
    ) -> SignedQuote:
        """Make, remember and sign a quote.

        Args:
            offers: this provider's own, of each layer whose node has given one.
            exposure: of the source's layer.

        Raises:
            UnknownAsset, InvalidRequest: not an asset or a pair of this provider's; not exactly one amount.
            InvalidAmount: outside the limits.
            QuoteRefused: code ``too_many_quotes``.
            SignerError: the identity key cannot be used.
        """
        if request.asset != BTC.code:
            raise UnknownAsset(f"this provider swaps {BTC}, not {request.asset!r}")
        pair = request.source, request.destination
        if pair not in pairs_of(offers, self._rules):
            raise InvalidRequest(f"there are no swaps from {pair[0].value} to {pair[1].value} here", code="pair")
        figures = self._figures(request)
        now = int(self._clock.now())
        self._forget_until(now)
        if len(self._open) >= self._most_open:
            raise QuoteRefused("too many quotes are open; ask again in a minute", code="too_many_quotes")
        finality = self._prices.finality(figures.amount, exposure)
        quote = QuoteTerms(
            quote_id=self._entropy.token(16).hex(),
            network=self._rules.network,
            asset=BTC.code,
            amount=figures.amount,
            provider_fee=figures.provider_fee,
            network_fee=figures.network_fee,
            source=offers[request.source].with_finality(finality),
            # What the taker waits for follows from its own swap: others have no part in that risk.
            destination=offers[request.destination].with_finality(self._prices.finality(figures.amount)),
            issued_at=now,
            valid_until=now + self._rules.quote_validity,
            provider=self._signer.public_key,
        )
        self._open[quote.quote_id] = quote
        signature = await self._signer.sign_schnorr(quote_digest(quote))
        return SignedQuote(quote, Signature(Scheme.BIP340, signature))

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

    def use_up(self, quote_id: str) -> None:
        """Forget a quote under which a swap was agreed: it serves once."""
        self._open.pop(quote_id, None)

    def check_finality(self, quote: QuoteTerms, exposure: Exposure) -> None:
        """Check that the source is still waited for long enough, with what other swaps depend on by now.

        Raises:
            QuoteExpired: a new quote would wait longer.
        """
        if not quote.source.finality.includes(self._needed(quote, exposure)):
            raise QuoteExpired(
                f"swaps that were agreed meanwhile make a longer wait on {quote.source.protocol.value} necessary; "
                "ask for a new quote",
                remedy="ask for a new quote",
            )

    def _needed(self, quote: QuoteTerms, exposure: Exposure) -> Finality:
        # A layer that has one finality only answers with that one.
        return quote.source.with_finality(self._prices.finality(quote.amount, exposure)).finality

    def _figures(self, request: QuoteRequest) -> Amounts:
        price = self._prices.price((request.source, request.destination))
        if request.amount is not None and request.send_amount is None:
            return price.arriving(checked_amount(request.amount))
        if request.send_amount is not None and request.amount is None:
            return price.leaving(checked_amount(request.send_amount, what="send_amount"))
        raise InvalidRequest("give exactly one of amount and send_amount", code="amount")

    def _forget_until(self, now: int) -> None:
        for quote_id, quote in list(self._open.items()):
            if quote.valid_until >= now:
                break
            del self._open[quote_id]
