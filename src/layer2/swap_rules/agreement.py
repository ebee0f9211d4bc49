"""The agreement before any payment: how a provider builds terms, and how a taker checks them.

The taker accepts two values from the provider's terms: the time of issue, within narrow bounds, and what the provider
names for this swap alone (a hold invoice), which it checks. From these values, the quote and its own request, it builds
the terms again, and every field must be equal. Source: docs/design/transfer-protocol.md.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

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
    times = _times(quote, issued_at, rules)
    destination = quote.destination.build(_destination_plan(quote, request, issued_at, height, rules), rules)
    last = destination.last_funding(rules)
    known = destination.known(issued_at, destination.clock_at_issue(issued_at), rules)
    source = quote.source.build(_source_plan(quote, request, issued_at, height, known, provider_named, rules), rules)
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
        fund_by=times.fund_by,
        counter_fund_by=times.counter_fund_by if last is None else min(times.counter_fund_by, last),
        collect_by=times.collect_by,
        provider=quote.provider,
    )
    check_margins(terms, issued_at, rules)
    return terms


def taker_requests(
    quote: QuoteTerms, swap_id: SwapId, payment_hash: bytes, now: int, rules: TimelockSettings
) -> tuple[OfferRequest, OfferRequest]:
    """A taker's requests to its own layers of source and destination, whose results it names in its request."""
    request = SwapRequest(swap_id, quote.quote_id, payment_hash, "", "", bytes(32))
    source = _source_plan(quote, request, now, 0, Span(), "", rules)
    destination = _destination_plan(quote, request, now, 0, rules)
    return (
        quote.source.request(source, Side.PAYER, swap_id, rules),
        quote.destination.request(destination, Side.PAYEE, swap_id, rules),
    )


def provider_request(
    quote: QuoteTerms, request: SwapRequest, issued_at: int, height: int, rules: TimelockSettings
) -> OfferRequest:
    """A provider's request to its own layer of the source, as the payee.

    Raises:
        InvalidRequest, FundsRulesError: what the taker names for the destination cannot be used.
    """
    destination = quote.destination.build(_destination_plan(quote, request, issued_at, height, rules), rules)
    known = destination.known(issued_at, destination.clock_at_issue(issued_at), rules)
    plan = _source_plan(quote, request, issued_at, height, known, "", rules)
    return quote.source.request(plan, Side.PAYEE, request.swap_id, rules)


def check_request_named(quote: QuoteTerms, request: SwapRequest, now: int, rules: TimelockSettings) -> None:
    """Check what a taker names, before a node acts on a stranger's request.

    Raises:
        InvalidRequest: ``code`` states what is wrong.
    """
    quote.source.check_named(_source_plan(quote, request, now, 0, Span(), "", rules), rules)
    quote.destination.check_named(_destination_plan(quote, request, now, 0, rules), rules)


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


def _compare_legs(end: str, leg: Leg, expected: Leg) -> None:
    if type(leg) is not type(expected):
        raise TermsRefused(f"the {end} leg is of another kind", code=f"terms_{end}")
    for field in fields(leg):  # type: ignore[arg-type]  # every leg is a dataclass
        if getattr(leg, field.name) != getattr(expected, field.name):
            raise TermsRefused(
                f"{field.name} of the {end} leg does not follow from the quote and the request",
                code=f"terms_{end}_{field.name}",
            )


@dataclass(frozen=True, slots=True)
class _Times:
    fund_by: int
    counter_fund_by: int
    collect_by: int


def _times(quote: QuoteTerms, issued_at: int, rules: TimelockSettings) -> _Times:
    fund_by = issued_at + rules.funding_window
    counter_fund_by = fund_by + quote.source.settling(rules) + rules.counter_funding_window
    collect_by = counter_fund_by + quote.destination.settling(rules) + rules.collect_window
    return _Times(fund_by, counter_fund_by, collect_by)


def _destination_plan(
    quote: QuoteTerms, request: SwapRequest, issued_at: int, height: int, rules: TimelockSettings
) -> LegPlan:
    times = _times(quote, issued_at, rules)
    return LegPlan(
        taker_side=Side.PAYEE,
        taker=request.destination,
        provider="",
        payment_hash=request.payment_hash,
        amount=quote.amount,
        fee_limit=quote.network_fee,
        issued_at=issued_at,
        fund_by=times.counter_fund_by,
        needed=Span(times.collect_by - issued_at),
        height=height,
        by_height=quote.by_height,
    )


def _source_plan(
    quote: QuoteTerms,
    request: SwapRequest,
    issued_at: int,
    height: int,
    known: Span,
    provider_named: str,
    rules: TimelockSettings,
) -> LegPlan:
    return LegPlan(
        taker_side=Side.PAYER,
        taker=request.source,
        provider=provider_named,
        payment_hash=request.payment_hash,
        amount=quote.source_amount,
        fee_limit=quote.source.payer_cost(quote.source_amount),
        issued_at=issued_at,
        fund_by=issued_at + rules.funding_window,
        needed=known + Span(rules.settle_margin),
        height=height,
        by_height=quote.by_height,
    )
