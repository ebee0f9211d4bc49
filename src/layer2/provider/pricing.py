"""What a provider asks for a swap, what it takes, and how settled a funding must be for it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from layer2.errors import InvalidAmount
from layer2.model.layers import Layer2ProtocolType
from layer2.model.transactions import Finality

__all__ = ["Amounts", "Exposure", "Pair", "Price", "PriceList"]

_MILLION = 1_000_000
Pair: TypeAlias = tuple[Layer2ProtocolType, Layer2ProtocolType]
"""Source and destination."""


@dataclass(frozen=True, slots=True)
class Amounts:
    """The figures of one quote, satoshi."""

    amount: int
    """What arrives at the destination."""
    provider_fee: int
    network_fee: int


@dataclass(frozen=True, slots=True)
class Price:
    """The price and the limits of one pair. All amounts are satoshi; the limits hold for what arrives."""

    fee_ppm: int
    """Millionths of the amount."""
    base_fee: int
    network_fee: int
    """Passed on to the taker; the provider spends no more on its way to the destination."""
    min_amount: int
    max_amount: int

    def provider_fee(self, amount: int) -> int:
        """The fee, rounded up to a whole satoshi: never a millionth less than the list asks."""
        return self.base_fee - (-amount * self.fee_ppm // _MILLION)

    def arriving(self, amount: int) -> Amounts:
        """The figures where so much arrives.

        Raises:
            InvalidAmount: code ``outside_limits``.
        """
        if not self.min_amount <= amount <= self.max_amount:
            raise InvalidAmount(
                f"the amount is {amount} sat; this provider takes {self.min_amount} to {self.max_amount} sat",
                code="outside_limits",
            )
        return Amounts(amount, self.provider_fee(amount), self.network_fee)

    def leaving(self, send_amount: int) -> Amounts:
        """The figures where so much leaves the source: the most that can arrive, and the fee takes what rounding
        leaves over.

        Raises:
            InvalidAmount: code ``outside_limits``.
        """
        after_fixed = send_amount - self.base_fee - self.network_fee
        amount = self.arriving(max(0, after_fixed) * _MILLION // (_MILLION + self.fee_ppm)).amount
        return Amounts(amount, send_amount - amount - self.network_fee, self.network_fee)


@dataclass(frozen=True, slots=True)
class Exposure:
    """Satoshi that already depend on fundings of one layer which can still be reorganised away."""

    latest: int = 0
    """On fundings that are accepted at the latest block."""
    safe: int = 0
    """On fundings that are accepted when they are safe."""

    def plus(self, finality: Finality, amount: int) -> Exposure:
        """This exposure with one more swap."""
        return Exposure(
            self.latest + amount * (finality is Finality.LATEST), self.safe + amount * (finality is Finality.SAFE)
        )


@dataclass(frozen=True, slots=True)
class PriceList:
    """A provider's prices, and how much of its money may depend on what is not final."""

    default: Price
    safe_from: int
    """Satoshi: together, swaps that rely on the latest block of one layer stay below this."""
    finalized_from: int
    """Satoshi: together, swaps that rely on anything below the strongest finality of one layer stay below this."""
    special: Mapping[Pair, Price] = field(default_factory=dict)
    """Pairs with a price of their own."""

    def price(self, pair: Pair) -> Price:
        """The price of a pair."""
        return self.special.get(pair, self.default)

    def finality(self, amount: int, exposure: Exposure = Exposure()) -> Finality:
        """What the payee of a funding waits for before it acts on one more swap of that amount.

        Args:
            exposure: of the layer on which the funding is. One reorganisation can undo the fundings of many swaps, so
                the sum counts.
        """
        if amount + exposure.latest + exposure.safe >= self.finalized_from:
            return Finality.FINALIZED
        return Finality.SAFE if amount + exposure.latest >= self.safe_from else Finality.LATEST
