"""Hold invoices for given hashes, and the payments that are held for them."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Final

from layer2.errors import FundsRulesError, IdempotencyConflict, Outcome
from layer2.formats.bolt11 import Bolt11Invoice
from layer2.protocols.bounded_dict import BoundedDict
from layer2.protocols.lightning.invoices.invoices import Invoices, NewInvoice
from layer2.protocols.lightning.invoices.records import HtlcState, InvoiceRecord
from layer2.protocols.lightning.lnd.answers import LIGHTNING
from layer2.protocols.lightning.node.state import LndNode
from layer2.protocols.lightning.payments.payments import Payments

__all__ = ["Hold", "HoldPart", "Holds", "hold_of"]

LOG: Final = logging.getLogger("layer2.lightning")

_REMEMBERED: Final = 10_000
"""Number of hashes of hold invoices that are remembered, the newest ones."""


@dataclass(frozen=True, slots=True)
class HoldPart:
    """One HTLC that is held."""

    amount_msat: int
    expiry_height: int
    """The Bitcoin height from which its sender can take it back on the chain."""


@dataclass(frozen=True, slots=True)
class Hold:
    """A payment that is held for an invoice until the invoice is settled or cancelled.

    The expiry of the invoice itself has no effect on a hold: it only ends new payments.
    """

    payment_hash: bytes
    """32 bytes."""
    invoice: str
    """BOLT 11."""
    amount_msat: int
    """Sum of all parts."""
    parts: tuple[HoldPart, ...]
    expiry_height: int
    """The lowest expiry height of the parts."""
    given_up_height: int
    """The Bitcoin height at which the node returns the payment. From then on it cannot be settled."""
    blocks_left: int
    """Blocks until ``given_up_height``; 0 or less if it is reached."""
    is_near_expiry: bool
    """Whether at most as many blocks are left as the node keeps as its margin (``invoices.holdexpirydelta``)."""


class Holds:
    """Makes hold invoices and refuses payments under their hashes: the node either pays a hash or is paid under it.

    It also lists held payments, and logs each one once when it is near its expiry.

    Args:
        node: supplies the height, and the blocks before an expiry at which the node returns a payment.
        invoices: the node's invoices.
        payments: the node's payments.
    """

    def __init__(self, node: LndNode, invoices: Invoices, payments: Payments) -> None:
        self._node = node
        self._invoices = invoices
        self._payments = payments
        self._hashes: BoundedDict[bytes, None] = BoundedDict(_REMEMBERED)
        self._logged: frozenset[bytes] = frozenset()

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

    async def list(self) -> tuple[Hold, ...]:
        """Return all holds, those that must be settled first at the beginning.

        Raises:
            BadAnswer: the node is not synced, so the blocks that are left are unknown.
            NodeError: the node did not answer, or refused.
        """
        # The height is read last, so that no more blocks are left than the result shows.
        delta = await self._node.hold_expiry_delta()
        invoices = await self._invoices.held()
        height = (await self._node.current_state()).height
        holds = sorted((hold_of(each, height, delta) for each in invoices), key=lambda hold: hold.given_up_height)
        near = {hold.payment_hash: hold for hold in holds if hold.is_near_expiry}
        for payment_hash in near.keys() - self._logged:
            LOG.warning(
                "%s: %d msat held under %s return to the payer in %d blocks, at height %d: settle or cancel",
                LIGHTNING,
                near[payment_hash].amount_msat,
                payment_hash.hex(),
                near[payment_hash].blocks_left,
                near[payment_hash].given_up_height,
            )
        self._logged = frozenset(near)
        return tuple(holds)


def hold_of(invoice: InvoiceRecord, height: int, expiry_delta: int) -> Hold:
    """Describe the hold of an ACCEPTED invoice.

    Args:
        invoice: with at least one HTLC that is held.
        height: the Bitcoin height at the node.
        expiry_delta: blocks before the first expiry at which the node returns the payment.
    """
    parts = tuple(HoldPart(htlc.amount_msat, htlc.expiry_height) for htlc in invoice.htlcs_in(HtlcState.ACCEPTED))
    expiry_height = min(part.expiry_height for part in parts)
    given_up_height = expiry_height - expiry_delta
    blocks_left = given_up_height - height
    return Hold(
        payment_hash=invoice.payment_hash,
        invoice=invoice.text,
        amount_msat=sum(part.amount_msat for part in parts),
        parts=parts,
        expiry_height=expiry_height,
        given_up_height=given_up_height,
        blocks_left=blocks_left,
        is_near_expiry=blocks_left <= expiry_delta,
    )
