"""Assets and integer amounts. No amount is a float, and no conversion rounds."""

from __future__ import annotations

from dataclasses import dataclass

from layer2.errors.base import InvalidAmount

__all__ = ["BTC", "ETH", "MSAT_DECIMALS", "AssetId", "Balance", "checked_amount", "rescaled"]

MSAT_DECIMALS = 11
"""Lightning counts bitcoin in thousandths of a satoshi (BOLT 2)."""


@dataclass(frozen=True, slots=True)
class AssetId:
    """An asset on any layer: its code and the decimals of its smallest unit.

    ``BTC`` counts satoshi on every layer. Each layer converts to its own representation (a token with 18 decimals,
    millisatoshi), exactly or not at all.
    """

    code: str
    decimals: int

    def __str__(self) -> str:
        return self.code


BTC = AssetId("BTC", 8)
ETH = AssetId("ETH", 18)


@dataclass(frozen=True, slots=True)
class Balance:
    """A party's balance of one asset on one layer, in the asset's smallest unit."""

    spendable: int
    """Can be sent now."""
    reserved: int = 0
    """Owned but not spendable: in flight, locked, or kept as a reserve."""
    receivable: int | None = None
    """The maximum that can be received (Lightning's inbound liquidity), or None without a limit."""


def checked_amount(amount: object, *, what: str = "amount") -> int:
    """Return the amount if it is a positive ``int``.

    Raises:
        InvalidAmount: it is a bool, a float or any other type, zero, or negative.
    """
    if isinstance(amount, bool) or not isinstance(amount, int):
        raise InvalidAmount(f"{what} is a {type(amount).__name__}; it must be an int in the asset's smallest unit")
    if amount <= 0:
        raise InvalidAmount(f"{what} is {amount}; it must be positive")
    return amount


def rescaled(amount: int, from_decimals: int, to_decimals: int) -> int:
    """Express an amount in another number of decimals, exactly.

    Raises:
        InvalidAmount: the amount has a part that the coarser unit cannot express.
    """
    if to_decimals >= from_decimals:
        return int(amount * 10 ** (to_decimals - from_decimals))
    whole, rest = divmod(amount, 10 ** (from_decimals - to_decimals))
    if rest:
        raise InvalidAmount(f"{amount} with {from_decimals} decimals cannot be expressed exactly with {to_decimals}")
    return int(whole)
