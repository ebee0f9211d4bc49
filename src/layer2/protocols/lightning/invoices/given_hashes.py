"""Hold invoices under hashes that someone gives to the client: a hash is paid in one direction only."""

from __future__ import annotations

from typing import Final

from layer2.errors import FundsRulesError, IdempotencyConflict, Outcome
from layer2.formats.bolt11 import Bolt11Invoice
from layer2.protocols.lightning.invoices.invoices import Invoices, NewInvoice
from layer2.protocols.lightning.lnd.answers import LIGHTNING
from layer2.protocols.lightning.payments.payments import Payments

__all__ = ["GivenHashes"]

_REMEMBERED: Final = 10_000
"""Newest hashes that are kept."""


class GivenHashes:
    """Makes hold invoices, and keeps their hashes from being paid by the same client.

    Args:
        invoices: the node's invoices.
        payments: the node's payments.
    """

    def __init__(self, invoices: Invoices, payments: Payments) -> None:
        self._invoices = invoices
        self._payments = payments
        self._hashes: dict[bytes, None] = {}

    async def make(self, new: NewInvoice, payment_hash: bytes) -> Bolt11Invoice:
        """Have a hold invoice made. Not under a hash that the node pays: whoever knows the preimage could have it pay a
        satoshi, and that would pass for the invoice's being paid.

        Args:
            new: its contents, with that hash.
            payment_hash: 32 bytes.

        Raises:
            IdempotencyConflict: ``payment_hash_used``: the node has a payment or another invoice with the hash.
            NodeError: nobody has seen an invoice.
        """
        async with self._payments.one_at_a_time(payment_hash):
            if await self._payments.find(payment_hash) is not None:
                raise IdempotencyConflict(
                    "the node has a payment with this hash: it takes a hash once, to pay or to be paid",
                    code="payment_hash_used",
                    protocol=LIGHTNING,
                    outcome=Outcome.REJECTED,
                    tx_id=payment_hash.hex(),
                    remedy="draw another preimage",
                )
            self._hashes[payment_hash] = None
            if len(self._hashes) > _REMEMBERED:
                del self._hashes[next(iter(self._hashes))]
            return await self._invoices.add(new)

    def check_not_paid_under(self, payment_hash: bytes) -> None:
        """The other side of ``make``, for a call that is about to pay. Asking the node each time would cost a tenth
        of all payments; statuses do ask, and believe the invoice.

        Raises:
            FundsRulesError: this client made an invoice with this hash.
        """
        if payment_hash in self._hashes:
            raise FundsRulesError(
                "your own node has an invoice with this hash, which no other payee's may have",
                protocol=LIGHTNING,
                tx_id=payment_hash.hex(),
                remedy="ask the payee for an invoice with another hash",
            )
