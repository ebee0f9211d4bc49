"""What the wallet makes and shows. Importing it does not load BDK."""

from __future__ import annotations

from dataclasses import dataclass

from layer2.formats.bitcoin_transaction import OutPoint, Transaction

__all__ = ["Built", "TakeBack", "WalletBalance"]


@dataclass(frozen=True, slots=True)
class Built:
    """A signed transaction of the wallet."""

    transaction: Transaction
    fee: int
    """Satoshi."""

    @property
    def rate(self) -> int:
        """Satoshi per 1,000 virtual bytes, rounded down."""
        return self.fee * 1_000 // self.transaction.virtual_size

    @property
    def coins(self) -> tuple[OutPoint, ...]:
        """The outputs that it spends."""
        return tuple([each.prevout for each in self.transaction.inputs])


@dataclass(frozen=True, slots=True)
class TakeBack:
    """A coin that returns to the wallet, and the script for it."""

    coin: OutPoint
    script: bytes


@dataclass(frozen=True, slots=True)
class WalletBalance:
    """Satoshi."""

    confirmed: int
    pending_change: int
    """Unconfirmed, from own transactions."""
    pending: int
    """Unconfirmed, from others."""
