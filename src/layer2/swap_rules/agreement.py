"""What two parties agree on before anyone pays: how a provider builds terms, and how a taker checks them.

The taker believes two things of what the provider says: when the terms were issued, within narrow bounds, and the
hold invoice, which it reads. From these, the quote and its own request it builds the terms once more, and every
field must be the same. Source: docs/design/transfer-protocol.md.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from layer2.errors import FormatError, FundsRulesError, InvalidRequest, TermsRefused
from layer2.formats.signed_terms import check_terms_signature
from layer2.layers import Layer2ProtocolType
from layer2.money import BTC, rescaled
from layer2.swap_rules.offers import (
    CLOCK_TOLERANCE,
    MSAT_PER_SAT,
    NO_ADDRESS,
    check_own_account,
    check_payable_invoice,
    read_invoice,
)
from layer2.swap_rules.timelocks import (
    TimelockSettings,
    check_margins,
    cltv_limit_for,
    destination_evm_deadline,
    hold_invoice_cltv_delta,
    last_payment_time,
    last_reveal_time,
    min_blocks_left_for,
    source_evm_deadline,
)
from layer2.terms import EvmLeg, Leg, LightningLeg, QuoteTerms, SignedTerms, Terms
from layer2.transactions import SwapId

__all__ = [
    "HoldInvoiceNeeds",
    "SwapRequest",
    "build_terms",
    "check_terms",
    "hold_invoice_needs",
    "routing_fee_limit",
]

ROUTING_FEE_DIVISOR = 400
"""A taker spends at most a 400th (0.25 %) of a payment on its route, or what follows if that is more."""
SMALLEST_ROUTING_FEE = 10


@dataclass(frozen=True, slots=True)
class SwapRequest:
    """What a taker asks a provider for, under a quote.

    Raises:
        FormatError: a field of another size or form.
    """

    swap_id: SwapId
    quote_id: str
    payment_hash: bytes
    """32 bytes."""
    offer: str
    """Destination Lightning: the invoice to be paid, lower case. Destination BOB: the claim address."""
    taker_address: bytes
    """20 bytes: the taker's account, which pays a source lock and claims a destination lock."""

    def __post_init__(self) -> None:
        for name in ("swap_id", "quote_id"):
            value: str = getattr(self, name)
            if len(value) != 32 or not set(value) <= set("0123456789abcdef"):
                raise FormatError(f"{name} is not 32 lower-case hex digits")
        if len(self.payment_hash) != 32:
            raise FormatError(f"a payment hash has 32 bytes, not {len(self.payment_hash)}")
        if len(self.taker_address) != 20 or self.taker_address == NO_ADDRESS:
            raise FormatError("the taker's address is not an account's 20 bytes")


@dataclass(frozen=True, slots=True)
class HoldInvoiceNeeds:
    """What the provider's hold invoice must say for a Lightning source."""

    amount: int
    """Satoshi."""
    expiry_seconds: int
    final_cltv_delta: int


def hold_invoice_needs(quote: QuoteTerms, issued_at: int, settings: TimelockSettings) -> HoldInvoiceNeeds:
    """What to ask the provider's node for before the terms of a Lightning source are built."""
    times = _lightning_to_evm_times(quote, issued_at, settings)
    return HoldInvoiceNeeds(
        amount=quote.source_amount,
        # The node's clock, from which the expiry counts, may be behind ours.
        expiry_seconds=times.fund_by - issued_at + settings.payment_timeout + CLOCK_TOLERANCE,
        final_cltv_delta=hold_invoice_cltv_delta(times.min_blocks_left, settings),
    )


def routing_fee_limit(amount: int) -> int:
    """Most that a taker spends on the route of a source payment of that amount; both in satoshi."""
    return max(SMALLEST_ROUTING_FEE, amount // ROUTING_FEE_DIVISOR)


def build_terms(
    quote: QuoteTerms,
    request: SwapRequest,
    issued_at: int,
    settings: TimelockSettings,
    *,
    hold_invoice: str | None = None,
) -> Terms:
    """The one set of terms that follows from a quote, a request and the moment of issue.

    Args:
        issued_at: unix seconds.
        settings: of the quote's network.
        hold_invoice: Lightning source: the provider's invoice, made as ``hold_invoice_needs`` says.

    Raises:
        InvalidRequest: the offer, or the hold invoice, is not what the quote and the hash ask for; its ``code``
            says in what.
        InvalidAmount: the token cannot express the amount.
        FundsRulesError: a margin does not hold; nothing may be signed or funded.
    """
    if request.quote_id != quote.quote_id:
        raise InvalidRequest("the request is for another quote", code="quote_id")
    match quote.source, quote.destination:
        case Layer2ProtocolType.BOB, Layer2ProtocolType.LIGHTNING:
            terms = _evm_to_lightning(quote, request, issued_at, settings)
        case Layer2ProtocolType.LIGHTNING, Layer2ProtocolType.BOB:
            if hold_invoice is None:
                raise InvalidRequest("a Lightning source needs the provider's hold invoice", code="hold_invoice")
            terms = _lightning_to_evm(quote, request, hold_invoice, issued_at, settings)
        case _:
            raise InvalidRequest(
                f"there are no swaps from {quote.source.value} to {quote.destination.value}", code="pair"
            )
    check_margins(terms, issued_at, settings)
    return terms


def check_terms(
    signed: SignedTerms, quote: QuoteTerms, request: SwapRequest, now: int, settings: TimelockSettings
) -> None:
    """Check a provider's terms before anything is funded.

    Args:
        quote: what ``swap_rules.quotes.check_quote`` has accepted.
        request: what was asked for, with the taker's own offer.
        now: unix seconds by the taker's clock.
        settings: of the network that the taker's configuration names.

    Raises:
        TermsRefused: with the code ``terms_signature``; ``terms_FIELD``, ``terms_source_FIELD`` or
            ``terms_destination_FIELD`` for the first field that is not as it must be; ``terms_margins`` for time
            that is too short by now; or a code of ``swap_rules.offers`` for an invoice.
    """
    terms = signed.terms
    if terms.provider != quote.provider:
        raise TermsRefused("the terms name another provider than the quote", code="terms_provider")
    check_terms_signature(signed)
    if quote.network != settings.network:
        raise TermsRefused(
            f"the quote is for {quote.network}, the configuration says {settings.network}", code="terms_network"
        )
    if not quote.issued_at <= terms.issued_at <= min(quote.valid_until, now + CLOCK_TOLERANCE):
        raise TermsRefused("the terms were not issued while the quote was valid", code="terms_issued_at")
    hold_invoice = terms.source.invoice if isinstance(terms.source, LightningLeg) else None
    try:
        expected = build_terms(quote, request, terms.issued_at, settings, hold_invoice=hold_invoice)
    except (InvalidRequest, FundsRulesError) as error:
        raise TermsRefused(
            f"no terms can be built from this: {error.message}",
            code="terms_margins" if isinstance(error, FundsRulesError) else error.code,
        ) from error
    _compare(terms, expected)
    try:
        check_margins(terms, now, settings)
    except FundsRulesError as error:
        raise TermsRefused(error.message, code="terms_margins") from error


def _compare(terms: Terms, expected: Terms) -> None:
    for field in fields(Terms):
        if field.name in ("source", "destination"):
            _compare_legs(field.name, getattr(terms, field.name), getattr(expected, field.name))
        elif getattr(terms, field.name) != getattr(expected, field.name):
            raise TermsRefused(f"{field.name} is not what follows from the quote", code=f"terms_{field.name}")


def _compare_legs(side: str, leg: Leg, expected: Leg) -> None:
    if type(leg) is not type(expected):
        raise TermsRefused(f"the {side} leg is on another kind of layer", code=f"terms_{side}")
    for field in fields(leg):
        if getattr(leg, field.name) != getattr(expected, field.name):
            raise TermsRefused(
                f"{field.name} of the {side} leg is not what follows from the quote and the request",
                code=f"terms_{side}_{field.name}",
            )


def _evm_to_lightning(quote: QuoteTerms, request: SwapRequest, issued_at: int, settings: TimelockSettings) -> Terms:
    invoice = check_payable_invoice(
        request.offer,
        payment_hash=request.payment_hash,
        amount=quote.amount,
        network=quote.lightning_network,
        provider_node=quote.node_key,
        now=issued_at,
        settings=settings,
    )
    cltv_limit = cltv_limit_for(invoice.min_final_cltv_expiry_delta, settings)
    deadline = source_evm_deadline(invoice.expires_at, settings.payment_timeout, cltv_limit, settings)
    return _terms(
        quote,
        request,
        source=_evm_leg(quote, quote.source, quote.source_amount, request.taker_address, quote.evm_address, deadline),
        destination=LightningLeg(
            network=quote.lightning_network,
            invoice=invoice.text,
            payee=invoice.payee,
            amount_msat=quote.amount * MSAT_PER_SAT,
            cltv_limit=cltv_limit,
            min_blocks_left=0,
            fee_limit_msat=quote.network_fee * MSAT_PER_SAT,
        ),
        times=_Times(
            issued_at=issued_at,
            fund_by=issued_at + settings.funding_window,
            counter_fund_by=last_payment_time(invoice.expires_at, settings),
            collect_by=invoice.expires_at,
        ),
    )


def _lightning_to_evm(
    quote: QuoteTerms, request: SwapRequest, hold_invoice: str, issued_at: int, settings: TimelockSettings
) -> Terms:
    payee = check_own_account(request.offer, request.taker_address)
    invoice = read_invoice(
        hold_invoice,
        payment_hash=request.payment_hash,
        amount=quote.source_amount,
        network=quote.lightning_network,
    )
    times = _lightning_to_evm_times(quote, issued_at, settings)
    if invoice.payee != quote.node_key:
        raise InvalidRequest("the hold invoice is not the provider's node's", code="invoice_payee")
    if invoice.timestamp > issued_at + CLOCK_TOLERANCE:
        raise InvalidRequest("the hold invoice is dated in the future", code="invoice_timestamp")
    if invoice.min_final_cltv_expiry_delta != hold_invoice_cltv_delta(times.min_blocks_left, settings):
        # More would lock the taker's payment longer than the swap can need.
        raise InvalidRequest("the hold invoice's final CLTV delta is not the agreed one", code="invoice_cltv_delta")
    return _terms(
        quote,
        request,
        source=LightningLeg(
            network=quote.lightning_network,
            invoice=invoice.text,
            payee=quote.node_key,
            amount_msat=quote.source_amount * MSAT_PER_SAT,
            cltv_limit=cltv_limit_for(invoice.min_final_cltv_expiry_delta, settings),
            min_blocks_left=times.min_blocks_left,
            fee_limit_msat=routing_fee_limit(quote.source_amount) * MSAT_PER_SAT,
        ),
        destination=_evm_leg(
            quote, quote.destination, quote.amount, quote.evm_address, payee, times.destination_deadline
        ),
        times=times,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Times:
    issued_at: int
    fund_by: int
    counter_fund_by: int
    collect_by: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _LightningToEvmTimes(_Times):
    destination_deadline: int
    min_blocks_left: int


def _lightning_to_evm_times(quote: QuoteTerms, issued_at: int, settings: TimelockSettings) -> _LightningToEvmTimes:
    fund_by = issued_at + settings.funding_window
    counter_fund_by = fund_by + settings.counter_funding_window
    deadline = destination_evm_deadline(counter_fund_by, quote.finality, settings)
    return _LightningToEvmTimes(
        issued_at=issued_at,
        fund_by=fund_by,
        counter_fund_by=counter_fund_by,
        collect_by=last_reveal_time(deadline, settings),
        destination_deadline=deadline,
        # A taker may pay at once: counted from then, the payment has to be held the longest.
        min_blocks_left=min_blocks_left_for(deadline, issued_at, settings),
    )


def _evm_leg(
    quote: QuoteTerms, protocol: Layer2ProtocolType, amount: int, payer: bytes, payee: bytes, deadline: int
) -> EvmLeg:
    return EvmLeg(
        protocol=protocol,
        chain_id=quote.chain_id,
        contract=quote.contract,
        token=quote.token,
        token_decimals=quote.token_decimals,
        amount=rescaled(amount, BTC.decimals, quote.token_decimals),
        payer=payer,
        payee=payee,
        deadline=deadline,
        finality=quote.finality,
    )


def _terms(quote: QuoteTerms, request: SwapRequest, *, source: Leg, destination: Leg, times: _Times) -> Terms:
    return Terms(
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
        issued_at=times.issued_at,
        fund_by=times.fund_by,
        counter_fund_by=times.counter_fund_by,
        collect_by=times.collect_by,
        provider=quote.provider,
    )
