"""When a transaction that waits is offered again at another price, and at which. Pure.

Rule of op-geth's pool (``--txpool.pricebump``, 10): a replacement has the same nonce, and both its prices are at least
a tenth above those of the one that it replaces.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from layer2.errors import FundsRulesError, InvalidRequest, TransactionError
from layer2.protocols.evm.fees.quotes import FeeQuote

__all__ = ["Offer", "Price", "bumped", "is_bump", "is_left_behind", "next_price", "replacement_price"]

_BUMP_PERCENT: Final = 10
_CALM_SECONDS: Final = 7_200
"""With more time than this before its deadline an act is offered at the ordinary price of an urgent one."""
_MOST_HALVINGS: Final = 8


class Price(NamedTuple):
    """Both prices of a transaction (EIP-1559), in wei for each gas."""

    max_fee_per_gas: int
    max_priority_fee_per_gas: int


def bumped(price: Price) -> Price:
    """The lowest price at which nodes take a replacement."""
    return Price(*[wei + max(1, -(-wei * _BUMP_PERCENT // 100)) for wei in price])


def is_bump(new: Price, old: Price) -> bool:
    """Whether nodes take a replacement at the new price for a transaction at the old one."""
    return all(more >= least for more, least in zip(new, bumped(old), strict=True))


def is_left_behind(price: Price, base_fee: int) -> bool:
    """Whether the base fee is above what is offered, or may be in the next block."""
    # A full block raises the base fee by an eighth at most where the chain's parameters are Ethereum's.
    return price.max_fee_per_gas < base_fee + base_fee // 8 + 1


def next_price(previous: Price, market: FeeQuote, seconds_left: int) -> Price | None:
    """The price at which a claim or a refund that waits is offered anew; None where it may go on waiting.

    Args:
        previous: at which it is offered now.
        market: prices of an urgent transaction that is made now.
        seconds_left: until it has to be in a block; may be negative.

    It is offered anew when the base fee has left it behind, or is about to within one block; and with a tip that
    doubles each time that half of the last two hours before its deadline is over. No cap holds it back; the account's
    balance is for the caller to look at. The same answer follows from the same market and time, so a restart changes
    nothing, and while neither moves there is no second bump.
    """
    halvings = 0
    while halvings < _MOST_HALVINGS and seconds_left < _CALM_SECONDS >> halvings:
        halvings += 1
    tip = market.max_priority_fee_per_gas << halvings
    lowest = bumped(previous)
    if not is_left_behind(previous, market.base_fee) and tip < lowest.max_priority_fee_per_gas:
        return None
    tip = max(tip, lowest.max_priority_fee_per_gas)
    return Price(max(market.max_fee_per_gas - market.max_priority_fee_per_gas + tip, lowest.max_fee_per_gas), tip)


@dataclass(frozen=True, slots=True)
class Offer:
    """What the caller wants to pay, in wei for each gas; None leaves it to the client."""

    max_fee_per_gas: int | None = None
    max_priority_fee_per_gas: int | None = None

    def __post_init__(self) -> None:
        for wei in (self.max_fee_per_gas, self.max_priority_fee_per_gas):
            if wei is not None and (isinstance(wei, bool) or not isinstance(wei, int) or wei < 0):
                raise InvalidRequest("a fee per gas must be a whole number of wei, not negative")


def replacement_price(old: Price, market: FeeQuote, offer: Offer, cap: int) -> Price:
    """At which a replacement is offered: what was asked for, else an eighth more or the market's price.

    Args:
        old: the price of what is replaced.
        market: prices of a transaction that is made now.
        offer: what the caller asked for.
        cap: the most wei for each gas, whoever asks.

    Raises:
        FundsRulesError: what nodes would take is above the cap (``fee_cap``).
        TransactionError: nodes would not take so small a bump (``bump_too_small``).
    """
    eighth = Price(*[max(wei + -(-wei // 8), least) for wei, least in zip(old, bumped(old), strict=True)])
    tip, fee = offer.max_priority_fee_per_gas, offer.max_fee_per_gas
    if tip is None:
        tip = max(eighth.max_priority_fee_per_gas, market.max_priority_fee_per_gas)
        # Less is enough for nodes; it is offered where more is not to be had.
        tip = max(min(tip, cap if fee is None else fee), bumped(old).max_priority_fee_per_gas)
    if fee is None:
        market_fee = market.max_fee_per_gas - market.max_priority_fee_per_gas + tip
        fee = max(eighth.max_fee_per_gas, market.max_fee_per_gas, market_fee)
        fee = max(min(fee, cap), bumped(old).max_fee_per_gas, tip)
    price = Price(fee, tip)
    if fee > cap:
        raise FundsRulesError(
            f"a replacement would be offered {fee} wei for each gas, the limit max_fee_per_gas is {cap}",
            code="fee_cap",
            remedy="wait, or raise max_fee_per_gas",
        )
    if tip > fee or not is_bump(price, old):
        least = bumped(old)
        raise TransactionError(
            f"nodes take a replacement from {least.max_fee_per_gas} wei for each gas and a tip of "
            f"{least.max_priority_fee_per_gas} on, not at {fee} with a tip of {tip}",
            code="bump_too_small",
        )
    return price
