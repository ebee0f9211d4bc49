"""The prices and limits of a provider, and the finality that a funding needs. Pure."""

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
    """The amount that arrives at the destination."""
    provider_fee: int
    network_fee: int


@dataclass(frozen=True, slots=True)
class Price:
    """The price and the limits of one pair, in satoshi. The limits apply to the amount that arrives."""

    fee_ppm: int
    """Millionths of the amount."""
    base_fee: int
    network_fee: int
    """Charged to the taker; the provider spends at most this much on network costs of the destination."""
    min_amount: int
    max_amount: int

    def provider_fee(self, amount: int) -> int:
        """The fee, rounded up to a whole satoshi."""
        return self.base_fee - (-amount * self.fee_ppm // _MILLION)

    def arriving(self, amount: int) -> Amounts:
        """The figures of a swap in which ``amount`` arrives.

        Raises:
            InvalidAmount: code ``outside_limits``.
        """
        if not self.min_amount <= amount <= self.max_amount:
            raise InvalidAmount(
                f"the amount is {amount} sat; this provider accepts {self.min_amount} to {self.max_amount} sat",
                code="outside_limits",
            )
        return Amounts(amount, self.provider_fee(amount), self.network_fee)

    def leaving(self, send_amount: int) -> Amounts:
        """The figures of a swap in which ``send_amount`` leaves the source.

        The maximum possible amount arrives; the fee includes the remainder of rounding.

        Raises:
            InvalidAmount: code ``outside_limits``.
        """
        after_fixed = send_amount - self.base_fee - self.network_fee
        amount = self.arriving(max(0, after_fixed) * _MILLION // (_MILLION + self.fee_ppm)).amount
        return Amounts(amount, send_amount - amount - self.network_fee, self.network_fee)


@dataclass(frozen=True, slots=True)
class Exposure:
    """Satoshi that depend on fundings on one layer which a reorganisation can still remove."""

    latest: int = 0
    """On fundings accepted at the latest block."""
    safe: int = 0
    """On fundings accepted when they are safe."""

    def plus(self, finality: Finality, amount: int) -> Exposure:
        """This exposure with one more swap."""
        return Exposure(
            self.latest + amount * (finality is Finality.LATEST), self.safe + amount * (finality is Finality.SAFE)
        )


@dataclass(frozen=True, slots=True)
class PriceList:
    """A provider's prices, and the amounts that may depend on fundings that are not final."""

    default: Price
    safe_from: int
    """Satoshi: the limit for all swaps that rely on the latest block of one layer."""
    finalized_from: int
    """Satoshi: the limit for all swaps that rely on less than the strongest finality of one layer."""
    special: Mapping[Pair, Price] = field(default_factory=dict)
    """The prices of individual pairs."""

    def price(self, pair: Pair) -> Price:
        """The price of a pair."""
        return self.special.get(pair, self.default)

    def finality(self, amount: int, exposure: Exposure = Exposure()) -> Finality:
        """The finality that the payee of a funding waits for, for another swap of this amount.

        Args:
            exposure: that of the funding's layer. The sum counts, because one reorganisation can remove the fundings of
                many swaps.
        """
        if amount + exposure.latest + exposure.safe >= self.finalized_from:
            return Finality.FINALIZED
        return Finality.SAFE if amount + exposure.latest >= self.safe_from else Finality.LATEST
