"""Hold invoices for given hashes. The node either pays a hash or is paid under it, not both."""

from __future__ import annotations

from typing import Final

from layer2.errors import FundsRulesError, IdempotencyConflict, Outcome
from layer2.formats.bolt11 import Bolt11Invoice
from layer2.protocols.bounded_dict import BoundedDict
from layer2.protocols.lightning.invoices.invoices import Invoices, NewInvoice
from layer2.protocols.lightning.lnd.answers import LIGHTNING
from layer2.protocols.lightning.payments.payments import Payments

__all__ = ["HoldInvoices"]

_REMEMBERED: Final = 10_000
"""Number of hashes that are remembered, the newest ones."""


class HoldInvoices:
    """Makes hold invoices, and refuses payments under their hashes.

    Args:
        invoices: the node's invoices.
        payments: the node's payments.
    """

    def __init__(self, invoices: Invoices, payments: Payments) -> None:
        self._invoices = invoices
        self._payments = payments
        self._hashes: BoundedDict[bytes, None] = BoundedDict(_REMEMBERED)

    async def make(self, new: NewInvoice, payment_hash: bytes) -> Bolt11Invoice:
        """Make a hold invoice, unless the node has a payment with the hash.

        A payer that knows the preimage could otherwise have this node pay one satoshi under the hash, and that payment
        would make the invoice look paid.

        Args:
            new: the contents, with that hash.
            payment_hash: 32 bytes.

        Raises:
            IdempotencyConflict: ``payment_hash_used``: the node has a payment or another invoice with the hash.
            NodeError: as ``Invoices.add``; no invoice was given to anyone.
        """
        async with self._payments.one_at_a_time(payment_hash):
            if await self._payments.find(payment_hash) is not None:
                raise IdempotencyConflict(
                    "the node has a payment with this hash: it uses a hash once, to pay or to be paid",
                    code="payment_hash_used",
                    protocol=LIGHTNING,
                    outcome=Outcome.REJECTED,
                    tx_id=payment_hash.hex(),
                    remedy="draw another preimage",
                )
            self._hashes[payment_hash] = None
            return await self._invoices.add(new)

    def check_not_paid_under(self, payment_hash: bytes) -> None:
        """Refuse to pay under the hash of an invoice that this client made.

        The node is not asked, because that would slow down payments by a tenth. A status does ask the node, and the
        invoice decides it.

        Raises:
            FundsRulesError: this client made an invoice with this hash.
        """
        if payment_hash in self._hashes:
            raise FundsRulesError(
                "your node has an invoice with this hash, so an invoice of another payee must not have it",
                protocol=LIGHTNING,
                tx_id=payment_hash.hex(),
                remedy="ask the payee for an invoice with another hash",
            )
