"""How a taker checks a request for a transfer, and a provider's signed quote for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from coincurve import PublicKey

from layer2.errors import InvalidRequest, QuoteExpired, QuoteRefused, TermsRefused, UnknownAsset
from layer2.formats.bolt11 import Bolt11Invoice
from layer2.formats.signed_terms import check_quote_signature
from layer2.layers import Layer2ProtocolType
from layer2.money import BTC, checked_amount
from layer2.swap_rules.agreement import routing_fee_limit
from layer2.swap_rules.offers import CLOCK_TOLERANCE, NO_ADDRESS, check_payable_invoice
from layer2.swap_rules.timelocks import TimelockSettings
from layer2.terms import QuoteTerms, SignedQuote
from layer2.transactions import Finality
from layer2.transfers import TransferRequest

__all__ = ["PAIRS", "TakerNetwork", "check_quote", "check_request"]

PAIRS: Final = frozenset(
    {
        (Layer2ProtocolType.BOB, Layer2ProtocolType.LIGHTNING),
        (Layer2ProtocolType.LIGHTNING, Layer2ProtocolType.BOB),
    }
)
"""(source, destination) of every swap that there is."""
_STRENGTH: Final = {Finality.LATEST: 0, Finality.SAFE: 1, Finality.FINALIZED: 2}


@dataclass(frozen=True, slots=True)
class TakerNetwork:
    """What the taker's own configuration and nodes say, which a quote must agree with."""

    chain_id: int
    contract: bytes
    """20 bytes: the HTLC contract, by own arithmetic and not by what anybody says."""
    token: bytes
    """20 bytes."""
    token_decimals: int
    lightning_network: str
    """BOLT 11 prefix."""
    node_key: bytes
    """33 bytes: the taker's own node."""
    least_finality: Finality = Finality.LATEST
    """EVM destination: a preimage is never shown for a lock that is less settled."""


def check_request(
    request: TransferRequest, network: TakerNetwork, now: int, settings: TimelockSettings
) -> Bolt11Invoice | None:
    """Check a request before any provider is asked; return the recipient's invoice, if one is named.

    With a recipient the payment hash is the invoice's, and its payee alone knows the preimage.

    Raises:
        UnknownAsset, InvalidAmount: as they say.
        InvalidRequest: code ``same_layer``, ``pair``, ``max_fee`` or ``recipient``, or one of ``swap_rules.offers``.
    """
    if request.asset != BTC:
        raise UnknownAsset(f"{request.asset} cannot be swapped between layers; {BTC} can")
    checked_amount(request.amount)
    if request.source is request.destination:
        raise InvalidRequest(f"source and destination are both {request.source.value}", code="same_layer")
    if (request.source, request.destination) not in PAIRS:
        raise InvalidRequest(
            f"there are no swaps from {request.source.value} to {request.destination.value}", code="pair"
        )
    if request.max_fee is not None and (
        isinstance(request.max_fee, bool) or not isinstance(request.max_fee, int) or request.max_fee < 0
    ):
        raise InvalidRequest("max_fee must be an int of satoshi, not negative", code="max_fee")
    if request.recipient is None:
        return None
    if request.destination is not Layer2ProtocolType.LIGHTNING:
        raise InvalidRequest(
            f"a transfer to {request.destination.value} arrives at your own account only: another payee could refund "
            "the lock in front of your claim, whose preimage is public by then; forward the value afterwards",
            code="recipient",
        )
    return check_payable_invoice(
        request.recipient,
        payment_hash=None,
        amount=request.amount,
        network=network.lightning_network,
        provider_node=None,
        now=now,
        settings=settings,
    )


def check_quote(
    signed: SignedQuote,
    request: TransferRequest,
    provider: bytes,
    network: TakerNetwork,
    now: int,
    settings: TimelockSettings,
) -> None:
    """Check a provider's quote before anything is promised on its account.

    Args:
        request: what ``check_request`` has accepted.
        provider: 32 bytes: the identity key that the configuration names.
        now: unix seconds by the taker's clock.

    Raises:
        TermsRefused: not signed by that provider, or not for this request and network; code ``quote_signature`` or
            ``quote_FIELD``.
        QuoteExpired: it is not valid any more.
        QuoteRefused: code ``max_fee``: more than ``request.max_fee`` could leave the source.
        InvalidRequest: code ``invoice_payee``: the recipient's invoice is this provider's own.
    """
    quote = signed.quote
    if quote.provider != provider:
        raise TermsRefused("the quote is not from the configured provider", code="quote_provider")
    check_quote_signature(signed)
    for name, said, wanted in (
        ("network", quote.network, settings.network),
        ("asset", quote.asset, request.asset.code),
        ("source", quote.source, request.source),
        ("destination", quote.destination, request.destination),
        ("amount", quote.amount, request.amount),
        ("chain_id", quote.chain_id, network.chain_id),
        ("contract", quote.contract, network.contract),
        ("token", quote.token, network.token),
        ("token_decimals", quote.token_decimals, network.token_decimals),
        ("lightning_network", quote.lightning_network, network.lightning_network),
    ):
        if said != wanted:
            raise TermsRefused(f"the quote is for another {name.replace('_', ' ')}", code=f"quote_{name}")
    if quote.evm_address == NO_ADDRESS:
        raise TermsRefused("the quote names no account of the provider", code="quote_evm_address")
    if quote.node_key == network.node_key or not _is_public_key(quote.node_key):
        raise TermsRefused("the quote names no Lightning node of the provider's own", code="quote_node_key")
    if (
        request.destination is not Layer2ProtocolType.LIGHTNING
        and _STRENGTH[quote.finality] < _STRENGTH[network.least_finality]
    ):
        raise TermsRefused(
            f"the quote has the lock claimed when it is {quote.finality.value}; "
            f"at least {network.least_finality.value} is asked for",
            code="quote_finality",
        )
    _check_times(quote, now)
    _check_fee(quote, request)
    if request.recipient is not None:
        check_payable_invoice(
            request.recipient,
            payment_hash=None,
            amount=request.amount,
            network=network.lightning_network,
            provider_node=quote.node_key,
            now=now,
            settings=settings,
        )


def _check_times(quote: QuoteTerms, now: int) -> None:
    if quote.issued_at > min(quote.valid_until, now + CLOCK_TOLERANCE):
        raise TermsRefused("the quote is dated in the future, or after its own end", code="quote_issued_at")
    if now > quote.valid_until:
        raise QuoteExpired(f"the quote was valid until {quote.valid_until}", remedy="ask for a new quote")


def _check_fee(quote: QuoteTerms, request: TransferRequest) -> None:
    if request.max_fee is None:
        return
    fee = quote.source_amount - quote.amount
    if fee > request.max_fee:
        raise QuoteRefused(f"the fee is {fee} sat; at most {request.max_fee} were allowed", code="max_fee")
    if request.source is Layer2ProtocolType.LIGHTNING:
        routing = routing_fee_limit(quote.source_amount)
        if fee + routing > request.max_fee:
            raise QuoteRefused(
                f"the fee of {fee} sat and up to {routing} sat for the route are more than the {request.max_fee} sat "
                "that were allowed",
                code="max_fee",
            )


def _is_public_key(data: bytes) -> bool:
    try:
        return PublicKey(data).format() == data
    except ValueError:
        return False
