"""What every public side of the client works with: its node, invoices and payments, and the time that a call has."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass

from layer2.errors import AsyncTimeout, Outcome
from layer2.legs.evidence import LightningPaymentEvidence
from layer2.model.transactions import LightningPaymentId
from layer2.ports.client import Layer2ProtocolAsync
from layer2.ports.clock import Clock
from layer2.protocols.lightning.invoices.feed import InvoiceFeed
from layer2.protocols.lightning.invoices.given_hashes import GivenHashes
from layer2.protocols.lightning.invoices.invoices import Invoices
from layer2.protocols.lightning.legs import LightningLegs
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

__all__ = ["LightningParts"]


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
        self._payments = Payments(self._rest, settings.max_payment_streams)
        self._payments.listen(SendListener(self._payment_feed.told))
        self._given_hashes = GivenHashes(self._invoices, self._payments)
        self._watches = HashWatches(
            self._rest, self._invoices, self._payments, self._invoice_feed, self._payment_feed, settings, clock
        )
        self.legs = LightningLegs(
            self._node,
            self._invoices,
            self._given_hashes,
            self._payments,
            self._liquidity,
            self._watches,
            settings,
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
