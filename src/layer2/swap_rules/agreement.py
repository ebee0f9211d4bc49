"""The agreement before any payment: how a provider builds terms, and how a taker checks them.

The taker accepts two values from the provider's terms: the time of issue, within narrow bounds, and what the provider
names for this swap alone (a hold invoice), which it checks. From these values, the quote and its own request, it builds
the terms again, and every field must be equal. Source: docs/design/transfer-protocol.md.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass

from layer2.errors import FormatError, FundsRulesError, InvalidRequest, TermsRefused
from layer2.legs.block_times import Span
from layer2.legs.invoices import CLOCK_TOLERANCE
from layer2.legs.leg import Leg, LegPlan
from layer2.legs.timelock_settings import TimelockSettings
from layer2.legs.views import OfferRequest, Side
from layer2.model.transactions import SwapId
from layer2.swap_rules.timelocks import check_margins
from layer2.terms.documents import QuoteTerms, SignedTerms, Terms
from layer2.terms.signing import check_terms_signature

__all__ = [
    "SwapRequest",
    "build_terms",
    "check_request_named",
    "check_terms",
    "provider_request",
    "taker_requests",
]


@dataclass(frozen=True, slots=True)
class SwapRequest:
    """A taker's request to a provider, under a quote.

    Raises:
        FormatError: a field has the wrong size or form.
    """

    swap_id: SwapId
    """The swap's public id, made by the taker."""
    quote_id: str
    payment_hash: bytes
    """32 bytes."""
    source: str
    """The account or key from which the taker pays; empty on Lightning."""
    destination: str
    """The account, the key or the invoice that the provider pays."""
    access_hash: bytes
    """sha256 of the token that gives read access to the swap at the provider, 32 bytes."""

    def __post_init__(self) -> None:
        for name in ("swap_id", "quote_id"):
            value: str = getattr(self, name)
            if len(value) != 32 or not set(value) <= set("0123456789abcdef"):
                raise FormatError(f"{name} is not 32 lower-case hex digits")
        for name in ("payment_hash", "access_hash"):
            if len(getattr(self, name)) != 32:
                raise FormatError(f"{name} is not 32 bytes")


def build_terms(
    quote: QuoteTerms,
    request: SwapRequest,
    issued_at: int,
    rules: TimelockSettings,
    *,
    provider_named: str = "",
    height: int = 0,
) -> Terms:
    """The terms that follow from a quote, a request and the moment of issue.

    Args:
        issued_at: unix seconds.
        rules: the settings of the quote's network.
        provider_named: the answer of the provider's layer to ``provider_request``.
        height: the newest block of Bitcoin, if a leg has a deadline on Bitcoin.

    Raises:
        InvalidRequest: what a party names does not match the quote or the hash; ``code`` states what.
        InvalidAmount: a unit cannot express the amount.
        FundsRulesError: a margin does not hold; nothing may be signed or funded.
    """
    if request.quote_id != quote.quote_id:
        raise InvalidRequest("the request is for another quote", code="quote_id")
    plans = _Plans(quote, request, issued_at, rules, height)
    destination = plans.built_destination()
    last = destination.last_funding(rules)
    source = quote.source.build(plans.source(plans.known(destination), provider_named), rules)
    terms = Terms(
        swap_id=request.swap_id,
        quote_id=quote.quote_id,
        network=quote.network,
        asset=quote.asset,
        payment_hash=request.payment_hash,
        amount=quote.amount,
        provider_fee=quote.provider_fee,
        network_fee=quote.network_fee,
        source=source,
        destination=destination,
        issued_at=issued_at,
        fund_by=plans.fund_by,
        counter_fund_by=plans.counter_fund_by if last is None else min(plans.counter_fund_by, last),
        collect_by=plans.collect_by,
        provider=quote.provider,
    )
    check_margins(terms, issued_at, rules)
    return terms


def taker_requests(
    quote: QuoteTerms, swap_id: SwapId, payment_hash: bytes, now: int, rules: TimelockSettings
) -> tuple[OfferRequest, OfferRequest]:
    """A taker's requests to its own layers of source and destination, whose results it names in its request."""
    plans = _Plans(quote, SwapRequest(swap_id, quote.quote_id, payment_hash, "", "", bytes(32)), now, rules)
    return (
        quote.source.request(plans.source(), Side.PAYER, swap_id, rules),
        quote.destination.request(plans.destination(), Side.PAYEE, swap_id, rules),
    )


def provider_request(
    quote: QuoteTerms, request: SwapRequest, issued_at: int, height: int, rules: TimelockSettings
) -> OfferRequest:
    """A provider's request to its own layer of the source, as the payee.

    Raises:
        InvalidRequest, FundsRulesError: what the taker names for the destination cannot be used.
    """
    plans = _Plans(quote, request, issued_at, rules, height)
    plan = plans.source(plans.known(plans.built_destination()))
    return quote.source.request(plan, Side.PAYEE, request.swap_id, rules)


def check_request_named(quote: QuoteTerms, request: SwapRequest, now: int, rules: TimelockSettings) -> None:
    """Check what a taker names, before a node acts on a stranger's request.

    Raises:
        InvalidRequest: ``code`` states what is wrong.
    """
    plans = _Plans(quote, request, now, rules)
    quote.source.check_named(plans.source(), rules)
    quote.destination.check_named(plans.destination(), rules)


def check_terms(
    signed: SignedTerms,
    quote: QuoteTerms,
    request: SwapRequest,
    now: int,
    rules: TimelockSettings,
    *,
    height: int = 0,
) -> None:
    """Check a provider's terms before anything is funded.

    Args:
        quote: a quote that ``swap_rules.quotes.check_quote`` has accepted.
        request: the taker's request.
        now: unix seconds by the taker's clock.
        rules: the settings of the network in the taker's configuration.
        height: Bitcoin's newest block at the taker's node, if a deadline is a height.

    Raises:
        TermsRefused: code ``terms_signature``; ``terms_FIELD``, ``terms_source_FIELD`` or ``terms_destination_FIELD``
            for the first field that differs; ``terms_margins`` if the remaining time is too short; or the code of
            the value that cannot be used.
    """
    terms = signed.terms
    if terms.provider != quote.provider:
        raise TermsRefused("the terms name another provider than the quote", code="terms_provider")
    check_terms_signature(signed)
    if quote.network != rules.network:
        raise TermsRefused(
            f"the quote is for {quote.network}, the configuration names {rules.network}", code="terms_network"
        )
    if not quote.issued_at <= terms.issued_at <= min(quote.valid_until, now + CLOCK_TOLERANCE):
        raise TermsRefused("the terms were not issued while the quote was valid", code="terms_issued_at")
    issued_height = max(leg.clock_at_issue(terms.issued_at).height for leg in (terms.source, terms.destination))
    if issued_height and abs(issued_height - height) > rules.late_tip_blocks:
        raise TermsRefused(
            "the terms were issued at another height than that of this party's node", code="terms_height"
        )
    named = terms.source.named_by_provider
    try:
        expected = build_terms(quote, request, terms.issued_at, rules, provider_named=named, height=issued_height)
    except (InvalidRequest, FundsRulesError) as error:
        raise TermsRefused(
            f"no terms can be built from this: {error.message}",
            code="terms_margins" if isinstance(error, FundsRulesError) else error.code,
        ) from error
    _compare(terms, expected)
    try:
        check_margins(terms, now, rules)
    except FundsRulesError as error:
        raise TermsRefused(error.message, code="terms_margins") from error


def _compare(terms: Terms, expected: Terms) -> None:
    for field in fields(Terms):
        if field.name in ("source", "destination"):
            _compare_legs(field.name, getattr(terms, field.name), getattr(expected, field.name))
        elif getattr(terms, field.name) != getattr(expected, field.name):
            raise TermsRefused(f"{field.name} does not follow from the quote", code=f"terms_{field.name}")


def _compare_legs(end: str, leg: object, expected: object) -> None:
    if type(leg) is not type(expected):
        raise TermsRefused(f"the {end} leg is of another kind", code=f"terms_{end}")
    assert is_dataclass(leg)
    for field in fields(leg):
        if getattr(leg, field.name) != getattr(expected, field.name):
            raise TermsRefused(
                f"{field.name} of the {end} leg does not follow from the quote and the request",
                code=f"terms_{end}_{field.name}",
            )


class _Plans:
    """The plans of both legs, which follow from a quote, a request and the moment of issue."""

    def __init__(
        self, quote: QuoteTerms, request: SwapRequest, issued_at: int, rules: TimelockSettings, height: int = 0
    ) -> None:
        self._quote, self._request, self._issued_at = quote, request, issued_at
        self._rules, self._height = rules, height
        self.fund_by = issued_at + rules.funding_window
        self.counter_fund_by = self.fund_by + quote.source.settling(rules) + rules.counter_funding_window
        self.collect_by = self.counter_fund_by + quote.destination.settling(rules) + rules.collect_window

    def destination(self) -> LegPlan:
        return LegPlan(
            taker_side=Side.PAYEE,
            taker=self._request.destination,
            provider="",
            payment_hash=self._request.payment_hash,
            amount=self._quote.amount,
            fee_limit=self._quote.network_fee,
            issued_at=self._issued_at,
            fund_by=self.counter_fund_by,
            needed=Span(self.collect_by - self._issued_at),
            height=self._height,
            by_height=self._quote.by_height,
        )

    def built_destination(self) -> Leg:
        return self._quote.destination.build(self.destination(), self._rules)

    def known(self, destination: Leg) -> Span:
        """When the payer of the destination surely has the preimage, or its money back."""
        return destination.known(self._issued_at, destination.clock_at_issue(self._issued_at), self._rules)

    def source(self, known: Span | None = None, provider_named: str = "") -> LegPlan:
        amount = self._quote.source_amount
        return LegPlan(
            taker_side=Side.PAYER,
            taker=self._request.source,
            provider=provider_named,
            payment_hash=self._request.payment_hash,
            amount=amount,
            fee_limit=self._quote.source.payer_cost(amount),
            issued_at=self._issued_at,
            fund_by=self.fund_by,
            needed=(known or Span()) + Span(self._rules.settle_margin),
            height=self._height,
            by_height=self._quote.by_height,
        )
