"""When a pending transaction is replaced at a higher price, and at which price. Pure.

The rule of op-geth's pool (``--txpool.pricebump``, 10): a replacement has the same nonce, and both its prices are at
least a tenth higher.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from layer2.errors import FundsRulesError, InvalidRequest, TransactionError
from layer2.protocols.evm.fees.quotes import FeeQuote

__all__ = ["Offer", "Price", "bumped", "is_bump", "is_left_behind", "next_price", "replacement_price"]

_BUMP_PERCENT: Final = 10
_CALM_SECONDS: Final = 7_200
"""If the deadline is further away than this, it does not raise the tip of an urgent transaction."""
_MOST_HALVINGS: Final = 8


class Price(NamedTuple):
    """Both prices of a transaction (EIP-1559), in wei for each gas."""

    max_fee_per_gas: int
    max_priority_fee_per_gas: int


def bumped(price: Price) -> Price:
    """The lowest price at which nodes accept a replacement."""
    return Price(*[wei + max(1, -(-wei * _BUMP_PERCENT // 100)) for wei in price])


def is_bump(new: Price, old: Price) -> bool:
    """Whether nodes accept the new price as a replacement of the old one."""
    return all(more >= least for more, least in zip(new, bumped(old), strict=True))


def is_left_behind(price: Price, base_fee: int) -> bool:
    """Whether the base fee is above the offered price, or may be in the next block."""
    # With Ethereum's parameters a full block raises the base fee by at most an eighth.
    return price.max_fee_per_gas < base_fee + base_fee // 8 + 1


def next_price(previous: Price, market: FeeQuote, seconds_left: int) -> Price | None:
    """The price at which to replace a pending claim or refund; None if it can stay as it is.

    Args:
        previous: its price now.
        market: prices of an urgent transaction that is signed now.
        seconds_left: seconds until it has to be in a block; may be negative.

    It is replaced if the base fee is above its price, or may be in the next block. During the last two hours before its
    deadline the tip doubles each time that half of the remaining time is over. The result ignores
    ``max_fee_per_gas_wei`` and the account's balance, which the caller checks. It depends only on the arguments, so a
    restart changes nothing.
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
    """The price that the caller wants to pay, in wei for each gas; None leaves it to the client."""

    max_fee_per_gas: int | None = None
    max_priority_fee_per_gas: int | None = None

    def __post_init__(self) -> None:
        for wei in (self.max_fee_per_gas, self.max_priority_fee_per_gas):
            if wei is not None and (isinstance(wei, bool) or not isinstance(wei, int) or wei < 0):
                raise InvalidRequest("a fee per gas must be a non-negative whole number of wei")


def replacement_price(old: Price, market: FeeQuote, offer: Offer, cap: int) -> Price:
    """The price of a replacement: the caller's offer, or else the higher of the market's price and an eighth more.

    Args:
        old: the price of the replaced transaction.
        market: prices of a transaction that is signed now.
        offer: the caller's offer.
        cap: the highest price, in wei for each gas.

    Raises:
        FundsRulesError: the lowest price that nodes accept is above the cap (``fee_cap``).
        TransactionError: nodes would not accept so small an increase (``bump_too_small``).
    """
    eighth = Price(*[max(wei + -(-wei // 8), least) for wei, least in zip(old, bumped(old), strict=True)])
    tip, fee = offer.max_priority_fee_per_gas, offer.max_fee_per_gas
    if tip is None:
        tip = max(eighth.max_priority_fee_per_gas, market.max_priority_fee_per_gas)
        # Nodes accept less than an eighth. That is offered if the limit allows no more.
        tip = max(min(tip, cap if fee is None else fee), bumped(old).max_priority_fee_per_gas)
    if fee is None:
        market_fee = market.max_fee_per_gas - market.max_priority_fee_per_gas + tip
        fee = max(eighth.max_fee_per_gas, market.max_fee_per_gas, market_fee)
        fee = max(min(fee, cap), bumped(old).max_fee_per_gas, tip)
    price = Price(fee, tip)
    if fee > cap:
        raise FundsRulesError(
            f"a replacement costs {fee} wei for each gas, more than max_fee_per_gas_wei, which is {cap}",
            code="fee_cap",
            remedy="wait, or raise max_fee_per_gas_wei",
        )
    if tip > fee or not is_bump(price, old):
        least = bumped(old)
        raise TransactionError(
            f"nodes accept a replacement at {least.max_fee_per_gas} wei for each gas with a tip of "
            f"{least.max_priority_fee_per_gas} or more, not at {fee} with a tip of {tip}",
            code="bump_too_small",
        )
    return price
