"""The collaborators of one Lightning client, built from its settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from layer2.ports.clock import Clock
from layer2.protocols.lightning.invoices.feed import InvoiceFeed
from layer2.protocols.lightning.invoices.hold_invoices import HoldInvoices
from layer2.protocols.lightning.invoices.invoices import Invoices
from layer2.protocols.lightning.lnd.rest import LndRest
from layer2.protocols.lightning.node.liquidity import Liquidity
from layer2.protocols.lightning.node.state import LndNode
from layer2.protocols.lightning.payments.feed import PaymentFeed
from layer2.protocols.lightning.payments.payments import Payments
from layer2.protocols.lightning.settings import LightningSettings
from layer2.protocols.lightning.tracker import HashTracker

__all__ = ["LightningParts"]


@dataclass(frozen=True, slots=True)
class LightningParts:
    """What the client, its payer and its legs share."""

    settings: LightningSettings
    rest: LndRest
    node: LndNode
    liquidity: Liquidity
    invoices: Invoices
    hold_invoices: HoldInvoices
    invoice_feed: InvoiceFeed
    payments: Payments
    payment_feed: PaymentFeed
    tracker: HashTracker

    @classmethod
    def build(cls, settings: LightningSettings, clock: Clock) -> Self:
        """Build all parts. Nothing is sent.

        Args:
            settings: the node's address, and the limits.
            clock: this machine's clock.
        """
        rest = LndRest(settings)
        node = LndNode(rest, settings, clock)
        invoices = Invoices(rest, node, settings.invoice_prefix)
        invoice_feed = InvoiceFeed(rest, settings.poll_interval_seconds, settings.max_hold_streams)
        payment_feed = PaymentFeed(rest, settings.poll_interval_seconds, settings.max_payment_streams)
        payments = Payments(rest, payment_feed)
        return cls(
            settings=settings,
            rest=rest,
            node=node,
            liquidity=Liquidity(node),
            invoices=invoices,
            hold_invoices=HoldInvoices(invoices, payments),
            invoice_feed=invoice_feed,
            payments=payments,
            payment_feed=payment_feed,
            tracker=HashTracker(invoices, payments, invoice_feed, payment_feed, settings, clock),
        )

    async def aclose(self) -> None:
        """Close all connections and end all tasks. Payments that are under way continue at the node."""
        await self.tracker.aclose()
        await self.invoice_feed.aclose()
        await self.payment_feed.aclose()
        await self.node.aclose()
        await self.liquidity.aclose()
        await self.rest.aclose()
