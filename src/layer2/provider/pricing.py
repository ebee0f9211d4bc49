"""What a provider asks for a swap, what it takes, and how settled a lock must be for it. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from layer2.errors import InvalidAmount
from layer2.transactions import Finality

__all__ = ["Pricing"]

_MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Pricing:
    """A provider's price list and limits. All amounts are satoshi that arrive at the destination."""

    fee_ppm: int
    """Millionths of the amount."""
    base_fee: int
    network_fee: int
    """Passed on to the taker; a Lightning payment of the provider's spends no more on its route."""
    min_amount: int
    max_amount: int
    safe_from: int
    """From this amount on a lock counts when its batch is posted to Ethereum."""
    finalized_from: int
    """From this amount on a lock counts when that Ethereum block is finalized."""

    def provider_fee(self, amount: int) -> int:
        """The fee, rounded up to a whole satoshi: never a millionth less than the list says."""
        return self.base_fee - (-amount * self.fee_ppm // _MILLION)

    def finality(self, amount: int) -> Finality:
        """What both sides wait for before they act on a lock of that amount."""
        if amount >= self.finalized_from:
            return Finality.FINALIZED
        return Finality.SAFE if amount >= self.safe_from else Finality.LATEST

    def check_amount(self, amount: int) -> None:
        """Refuse what is outside the limits.

        Raises:
            InvalidAmount: code ``outside_limits``.
        """
        if not self.min_amount <= amount <= self.max_amount:
            raise InvalidAmount(
                f"the amount is {amount} sat; this provider takes {self.min_amount} to {self.max_amount} sat",
                code="outside_limits",
            )
