"""What every public side of the client works with: its node, invoices and payments, and the time that a call has."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass
from typing import Final

from layer2.errors import AsyncTimeout, FundsRulesError, IdempotencyConflict, Outcome
from layer2.formats.bolt11 import Bolt11Invoice
from layer2.interfaces import Clock
from layer2.proofs.model import LightningPaymentEvidence
from layer2.protocol_client import Layer2ProtocolAsync
from layer2.protocols.lightning.invoices.feed import InvoiceFeed
from layer2.protocols.lightning.invoices.invoices import Invoices, NewInvoice
from layer2.protocols.lightning.lnd.answers import LIGHTNING
from layer2.protocols.lightning.lnd.rest import LndRest
from layer2.protocols.lightning.node.liquidity import Liquidity
from layer2.protocols.lightning.node.recent import RecentNodeState
from layer2.protocols.lightning.node.state import LndNode
from layer2.protocols.lightning.payments.feed import PaymentFeed
from layer2.protocols.lightning.payments.payments import Payments, SendListener
from layer2.protocols.lightning.payments.request import LightningTransaction
from layer2.protocols.lightning.recipients.lnurl import LnurlPay
from layer2.protocols.lightning.settings import LightningSettings
from layer2.protocols.lightning.watches import HashWatches
from layer2.transactions import LightningPaymentId

__all__ = ["LightningParts"]

_REMEMBERED: Final = 10_000
"""Newest hashes that were given to this client to be paid under."""


@dataclass(slots=True)
class CallUnderWay:
    """A public call that has its time."""

    tx_id: LightningPaymentId | None = None
    """To be set before anything is sent: from then on a time-out leaves the outcome UNKNOWN."""


class LightningParts(
    Layer2ProtocolAsync[LightningTransaction, LightningPaymentId, str, LightningPaymentEvidence],
):
    """The parts of one client.

    Args:
        settings: where the node is and what may be paid.
        clock: this machine's.
    """

    def __init__(self, settings: LightningSettings, clock: Clock) -> None:
        self._settings = settings
        self._rest = LndRest(settings)
        self._node = LndNode(self._rest, settings, clock)
        self._recent_node = RecentNodeState(self._node, clock)
        self._liquidity = Liquidity(self._node)
        self._invoices = Invoices(self._rest, self._node, settings.invoice_prefix)
        self._services = LnurlPay(settings.invoice_prefix, this_machine_too=settings.lnurl_on_this_machine)
        self._payment_feed = PaymentFeed(self._rest, settings.poll_interval_seconds)
        self._invoice_feed = InvoiceFeed(self._rest, settings.poll_interval_seconds)
        self._given_hashes: dict[bytes, None] = {}
        self._payments = Payments(self._rest, settings.max_payment_streams)
        self._payments.listen(SendListener(self._payment_feed.told))
        self._watches = HashWatches(
            self._rest, self._invoices, self._payments, self._invoice_feed, self._payment_feed, settings, clock
        )

    async def _make_invoice(self, new: NewInvoice) -> Bolt11Invoice:
        """Have an invoice made. Not under a hash that the node pays: whoever knows the preimage could have it pay a
        satoshi, and that would pass for the invoice's being paid."""
        payment_hash = new.payment_hash
        if payment_hash is None:
            return await self._invoices.add(new)
        async with self._payments.one_at_a_time(payment_hash):
            if await self._payments.find(payment_hash) is not None:
                raise IdempotencyConflict(
                    "the node has a payment with this hash: it takes one once for ever, to pay or to be paid",
                    code="payment_hash_used",
                    protocol=LIGHTNING,
                    outcome=Outcome.REJECTED,
                    tx_id=payment_hash.hex(),
                    remedy="draw another preimage",
                )
            self._given_hashes[payment_hash] = None
            if len(self._given_hashes) > _REMEMBERED:
                del self._given_hashes[next(iter(self._given_hashes))]
            return await self._invoices.add(new)

    def _check_not_paid_under(self, payment_hash: bytes) -> None:
        """The other side of ``_make_invoice``, for who is about to pay. Asking the node each time would cost a tenth
        of all payments; statuses do ask, and believe the invoice.

        Raises:
            FundsRulesError: this client made an invoice with this hash, which was given to it.
        """
        if payment_hash in self._given_hashes:
            raise FundsRulesError(
                "the own node has an invoice with this hash, which somebody else's must not have",
                protocol=LIGHTNING,
                tx_id=payment_hash.hex(),
                remedy="ask the payee for an invoice with another hash",
            )

    @asynccontextmanager
    async def _within(
        self,
        timeout: float | None,
        operation: str,
        tx_id: LightningPaymentId | None = None,
        *,
        limitless: bool = False,
    ) -> AsyncIterator[CallUnderWay]:
        call = CallUnderWay(tx_id)
        seconds = timeout if timeout is not None or limitless else self._settings.default_timeout
        limit = nullcontext() if limitless or self._limit is None else self._limit
        try:
            async with asyncio.timeout(seconds), limit:
                yield call
        except TimeoutError:
            raise AsyncTimeout(
                f"no result of {operation} within {seconds:g} s",
                protocol=LIGHTNING,
                operation=operation,
                outcome=Outcome.NOT_SENT if call.tx_id is None else Outcome.UNKNOWN,
                tx_id=call.tx_id,
                remedy=None if call.tx_id is None else "ask for the payment's status by tx_id",
            ) from None
