"""Prices of a transaction, as values. On a chain with one price for gas, both prices of a pair are that price. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from layer2.contracts.l1_block import L1Parameters
from layer2.errors import InvalidRequest

__all__ = ["NO_L1_FEES", "FeeQuote", "Market", "Offer", "Price"]

NO_L1_FEES: Final = L1Parameters(0, 0, 0, 0, 0, 0)
_L1_RESERVE_FACTOR: Final = 3
"""The L1 fee may rise before a reserve is used, so reserves count a multiple of today's fee."""


class Price(NamedTuple):
    """Both prices of a transaction (EIP-1559), in wei for each gas. A legacy transaction's price counts as both."""

    max_fee_per_gas: int
    max_priority_fee_per_gas: int


@dataclass(frozen=True, slots=True)
class Market:
    """What a node states about prices. All prices are in wei for each gas."""

    base_fee: int
    """The newest block's base fee, or its minimum gas price: no transaction below it is in the next block."""
    gas_price: int = 0
    """The node's proposal (``eth_gasPrice``), if the fee model uses it."""
    l1: L1Parameters = NO_L1_FEES


@dataclass(frozen=True, slots=True)
class FeeQuote:
    """Prices for a transaction that is signed now."""

    max_fee_per_gas: int
    max_priority_fee_per_gas: int
    l1: L1Parameters
    base_fee: int
    """The newest block's base fee; on a chain with one price the market's price. In wei for each gas."""
    highest: int | None = None
    """The highest price that nodes accept; None if there is no such limit."""
    reserve_factor: int = 1
    """How many times of the price a reserve counts, because the price may rise before the reserve is used."""

    @property
    def price(self) -> Price:
        """Both prices as a pair."""
        return Price(self.max_fee_per_gas, self.max_priority_fee_per_gas)

    def most(self, gas_limit: int, size: int) -> int:
        """The maximum fee, in wei, of a transaction with this gas limit and signed size."""
        return gas_limit * self.max_fee_per_gas + self.l1.data_fee_bound(size) + self.l1.operator_fee(gas_limit)

    def reserve(self, gas_limit: int, size: int) -> int:
        """The wei to keep for a transaction that may become necessary later."""
        l1_reserve = (_L1_RESERVE_FACTOR - 1) * self.l1.data_fee_bound(size)
        return self.most(gas_limit, size) + l1_reserve + (self.reserve_factor - 1) * gas_limit * self.max_fee_per_gas


@dataclass(frozen=True, slots=True)
class Offer:
    """The price that the caller wants to pay, in wei for each gas; None leaves it to the client."""

    max_fee_per_gas: int | None = None
    max_priority_fee_per_gas: int | None = None

    def __post_init__(self) -> None:
        for wei in (self.max_fee_per_gas, self.max_priority_fee_per_gas):
            if wei is not None and (isinstance(wei, bool) or not isinstance(wei, int) or wei < 0):
                raise InvalidRequest("a fee per gas must be a non-negative whole number of wei")
