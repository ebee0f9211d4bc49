"""A taker's checks of its request for a transfer, and of a provider's signed quote for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from layer2.errors import InvalidAmount, InvalidRequest, QuoteExpired, QuoteRefused, TermsRefused, UnknownAsset
from layer2.legs.block_times import Span
from layer2.legs.invoices import CLOCK_TOLERANCE
from layer2.legs.leg import LegOffer, LegPlan
from layer2.legs.timelock_settings import TimelockSettings
from layer2.legs.views import Side
from layer2.model.layers import Layer2ProtocolType
from layer2.model.money import BTC, checked_amount
from layer2.model.transactions import Finality
from layer2.swap_rules.timelocks import is_pair
from layer2.terms.documents import QuoteTerms, SignedQuote
from layer2.terms.signing import check_quote_signature
from layer2.terms.transfers import TransferRequest

__all__ = ["TakerOffers", "check_quote", "check_request", "default_max_fee"]


@dataclass(frozen=True, slots=True)
class TakerOffers:
    """The taker's own offer for each layer, from its configuration and nodes. A quote must match them."""

    layers: Mapping[Layer2ProtocolType, LegOffer]
    least_finality: Finality = Finality.LATEST
    """Destination: the taker reveals the preimage only for a funding with at least this finality."""


def check_request(request: TransferRequest, own: TakerOffers, rules: TimelockSettings) -> None:
    """Check a request before any provider receives it.

    Raises:
        UnknownAsset, InvalidAmount: the asset or the amount is invalid.
        InvalidRequest: code ``amount``, ``same_layer``, ``pair``, ``max_fee``, ``recipient`` or ``funded_by_others``.
    """
    if request.asset != BTC:
        raise UnknownAsset(f"{request.asset!r} cannot be transferred between layers", remedy="pass layer2.BTC")
    if (request.amount is None) == (request.send_amount is None):
        raise InvalidRequest("give exactly one of amount and send_amount", code="amount")
    amount = checked_amount(request.send_amount if request.amount is None else request.amount)
    if request.source is request.destination:
        raise InvalidRequest(f"source and destination are both {request.source.value}", code="same_layer")
    if not is_pair(request.source, request.destination, own.layers, rules):
        raise InvalidRequest(
            f"swaps from {request.source.value} to {request.destination.value} are not possible", code="pair"
        )
    for layer in (request.source, request.destination):
        if amount < (least := own.layers[layer].smallest):
            raise InvalidAmount(
                f"the amount is {amount} sat; a leg on {layer.value} has at least {least} sat", code="below_smallest"
            )
    if request.max_fee is not None and (
        isinstance(request.max_fee, bool) or not isinstance(request.max_fee, int) or request.max_fee < 0
    ):
        raise InvalidRequest("max_fee must be an int of satoshi, not negative", code="max_fee")
    if request.funded_by_others:
        _check_funded_by_others(request, own.layers[request.source])


def _check_funded_by_others(request: TransferRequest, source: LegOffer) -> None:
    if not source.funded_by_others:
        raise InvalidRequest(
            f"a transfer from {request.source.value} is funded by your own client only",
            code="funded_by_others",
            remedy="omit funded_by_others",
        )
    if request.recipient is not None:
        # A late payment could pay the recipient after the caller has paid in another way.
        raise InvalidRequest(
            "a transfer that others fund pays only your own account",
            code="recipient",
            remedy="omit recipient, and pay it when the transfer has arrived; or omit funded_by_others",
        )


def default_max_fee(amount: int, network_cost: int | None) -> int:
    """The maximum fee of a transfer if the caller sets no limit, in satoshi.

    Args:
        amount: satoshi that arrive, or that leave.
        network_cost: the estimate of the taker's clients for both layers, in satoshi; None without an estimate.

    Raises:
        InvalidRequest: code ``max_fee_required``: there is no estimate, so the caller must set the limit.
    """
    if network_cost is None:
        raise InvalidRequest(
            "max_fee is required: a layer of this transfer has no estimate of its network costs in satoshi",
            code="max_fee_required",
            remedy="pass max_fee, in satoshi",
        )
    return amount // 100 + 2 * network_cost


def check_quote(
    signed: SignedQuote,
    request: TransferRequest,
    provider: bytes,
    own: TakerOffers,
    now: int,
    rules: TimelockSettings,
    *,
    max_fee: int,
) -> None:
    """Check a provider's quote before anything is done under it.

    Args:
        request: a request that ``check_request`` has accepted.
        provider: the identity key in the configuration.
        now: unix seconds by the taker's clock.
        max_fee: satoshi; the caller's limit, or ``default_max_fee``.

    Raises:
        TermsRefused: the provider did not sign the quote, or it is for another request or network; code
            ``quote_signature`` or ``quote_FIELD``.
        QuoteExpired: the quote is no longer valid.
        QuoteRefused: code ``max_fee``: more could leave the source.
        InvalidRequest: this provider cannot pay the recipient of the request.
    """
    quote = signed.quote
    if quote.provider != provider:
        raise TermsRefused("the quote is not from the configured provider", code="quote_provider")
    check_quote_signature(signed)
    arrives = quote.amount if request.amount is None else request.amount
    leaves = quote.source_amount if request.send_amount is None else request.send_amount
    for name, given, wanted in (
        ("network", quote.network, rules.network),
        ("asset", quote.asset, request.asset.code),
        ("pair", quote.pair, (request.source, request.destination)),
        ("amount", quote.amount, arrives),
        ("send_amount", quote.source_amount, leaves),
    ):
        if given != wanted:
            raise TermsRefused(f"the quote is for another {name.replace('_', ' ')}", code=f"quote_{name}")
    for end, offer in (("source", quote.source), ("destination", quote.destination)):
        field = offer.differs_from(own.layers[offer.protocol])
        if field is not None:
            raise TermsRefused(
                f"{field} of the quote's {end} does not match the configuration", code=f"quote_{end}_{field}"
            )
    # A layer may not have the configured finality, or may require a stronger one.
    least = quote.destination.with_finality(own.least_finality).finality
    if not quote.destination.finality.includes(least):
        raise TermsRefused(
            f"the quote's destination has the finality {quote.destination.finality.value}; the minimum is "
            f"{least.value}",
            code="quote_finality",
        )
    _check_times(quote, now)
    _check_fee(quote, max_fee)
    if request.recipient is not None:
        check_recipient(request.recipient, quote.destination, quote.amount, now, rules)


def check_recipient(recipient: str, offer: LegOffer, amount: int, now: int, rules: TimelockSettings) -> None:
    """Check that the layer can pay a third party at ``recipient``.

    Args:
        offer: the provider's offer for the destination, or, before a provider is chosen, the taker's own ``of_anyone``,
            which accepts invoices of the taker's node.
        amount: satoshi.

    Raises:
        InvalidRequest: code ``recipient`` if the layer pays only the taker's own account, or the code of the text's
            error.
    """
    if not offer.pays_strangers:
        raise InvalidRequest(
            f"a transfer to {offer.protocol.value} can only pay your own account: another payee could refund the lock "
            "before your claim confirms, which makes the preimage public; send the money on afterwards",
            code="recipient",
        )
    plan = LegPlan(
        taker_side=Side.PAYEE,
        taker=recipient,
        provider="",
        payment_hash=offer.hash_named(recipient),
        amount=amount,
        fee_limit=0,
        issued_at=now,
        fund_by=now,
        needed=Span(),
        height=0,
        by_height=False,
    )
    offer.check_named(plan, rules)


def _check_times(quote: QuoteTerms, now: int) -> None:
    if quote.issued_at > min(quote.valid_until, now + CLOCK_TOLERANCE):
        raise TermsRefused("the quote is dated in the future, or after the end of its validity", code="quote_issued_at")
    if now > quote.valid_until:
        raise QuoteExpired(f"the quote was valid until {quote.valid_until}", remedy="request a new quote")


def _check_fee(quote: QuoteTerms, max_fee: int) -> None:
    fee = quote.source_amount - quote.amount
    if fee > max_fee:
        raise QuoteRefused(f"the fee is {fee} sat; the maximum is {max_fee} sat", code="max_fee")
    routing = quote.source.payer_cost(quote.source_amount)
    if fee + routing > max_fee:
        raise QuoteRefused(
            f"the fee of {fee} sat and up to {routing} sat for the route exceed the maximum of {max_fee} sat",
            code="max_fee",
        )
