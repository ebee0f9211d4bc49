"""What others pay to the addresses of a mock manager's transfers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from layer2.terms.documents import Terms

__all__ = ["LATE", "PAID_AGAIN", "UNPAID", "WORTH_A_REFUND", "Payment"]

WORTH_A_REFUND: Final = 1_000
"""Satoshi; the real client does not take back a smaller payment alone."""
UNPAID: Final = "the time to begin funding is over, and nothing arrived"
LATE: Final = "the payment arrived after the time to fund"
PAID_AGAIN: Final = "more than one payment arrived, and the provider could take all of them"
_WRONG_AMOUNT: Final = "the output's amount differs from the terms'"


@dataclass(frozen=True, slots=True)
class Payment:
    """One output to the address of a transfer."""

    tx_id: str
    amount: int
    """Satoshi."""
    made_at: int
    """Unix seconds."""

    def is_exact(self, terms: Terms) -> bool:
        """Whether it has the amount of the terms, so that it counts as the funding."""
        return self.amount == terms.source_amount

    def problem(self, terms: Terms) -> str | None:
        """Why it is refunded; None if it funds the transfer."""
        if self.made_at > terms.fund_by:
            return LATE
        return None if self.is_exact(terms) else _WRONG_AMOUNT
