"""What a caller asks the Bitcoin client to send."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TypeAlias

from layer2.errors import InvalidAmount, InvalidRequest
from layer2.formats.bitcoin_transaction import MAX_MONEY
from layer2.model.money import checked_amount

__all__ = ["BitcoinOutput", "BitcoinPayment", "BitcoinTransaction", "request_digest"]


@dataclass(frozen=True, slots=True)
class BitcoinOutput:
    """An amount for one address."""

    address: str
    amount: int
    """Satoshi."""

    def __post_init__(self) -> None:
        if checked_amount(self.amount) > MAX_MONEY:
            raise InvalidAmount(f"amount is {self.amount} sat; there are never more than {MAX_MONEY}")


@dataclass(frozen=True, slots=True)
class BitcoinPayment:
    """A transaction that the wallet completes and signs.

    Args:
        outputs: what it pays; the wallet chooses coins and adds change.
        fee_rate: satoshi per 1,000 virtual bytes; None is the estimate for inclusion within six blocks.
    """

    outputs: tuple[BitcoinOutput, ...]
    fee_rate: int | None = None

    def __post_init__(self) -> None:
        if not self.outputs:
            raise InvalidRequest("a payment needs at least one output")
        if self.fee_rate is not None:
            checked_amount(self.fee_rate, what="fee_rate")


BitcoinTransaction: TypeAlias = BitcoinPayment | bytes
"""A payment, or a signed transaction as bytes."""


def request_digest(transaction: BitcoinTransaction) -> str:
    """A digest of the request, by which a repeated one is recognised.

    Raises:
        InvalidRequest: it is neither a payment nor bytes.
    """
    if isinstance(transaction, bytes):
        return hashlib.sha256(b"raw:" + transaction).hexdigest()
    if not isinstance(transaction, BitcoinPayment):
        raise InvalidRequest(f"a transaction on Bitcoin is a BitcoinPayment or bytes, not {type(transaction).__name__}")
    outputs = ",".join(f"{each.address}={each.amount}" for each in transaction.outputs)
    return hashlib.sha256(f"pay:{outputs};{transaction.fee_rate}".encode()).hexdigest()
