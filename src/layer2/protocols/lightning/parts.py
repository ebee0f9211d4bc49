"""The collaborators of one Lightning client, built from its settings."""

from __future__ import annotations

from layer2.ports.clock import Clock
from layer2.protocols.lightning.invoices.feed import InvoiceFeed
from layer2.protocols.lightning.invoices.holds import Holds
from layer2.protocols.lightning.invoices.invoices import Invoices
from layer2.protocols.lightning.leg_records import LegRecords
from layer2.protocols.lightning.lnd.rest import LndRest
from layer2.protocols.lightning.node.liquidity import Liquidity
from layer2.protocols.lightning.node.state import LndNode
from layer2.protocols.lightning.node.watch import NodeWatch
from layer2.protocols.lightning.payments.feed import PaymentFeed
from layer2.protocols.lightning.payments.payments import Payments
from layer2.protocols.lightning.recipients.lnurl import LnurlPay
from layer2.protocols.lightning.settings import LightningSettings
from layer2.protocols.lightning.tracker import HashTracker

__all__ = ["LightningParts"]


class LightningParts:
    """What the client, its payer and its legs share. Building it sends nothing.

    Args:
        settings: the node's address, and the limits.
        clock: this machine's clock.
    """

    def __init__(self, settings: LightningSettings, clock: Clock) -> None:
        seconds = settings.poll_interval_ms / 1000
        self.settings = settings
        self.rest = LndRest(settings)
        self.node = LndNode(self.rest, settings, clock)
        self.liquidity = Liquidity(self.node.channels)
        self.invoices = Invoices(self.rest, self.node, settings.invoice_prefix)
        self.invoice_feed = InvoiceFeed(self.rest, seconds, settings.max_hold_streams)
        self.payment_feed = PaymentFeed(self.rest, seconds, settings.max_payment_streams)
        self.payments = Payments(self.rest, self.payment_feed)
        self.holds = Holds(self.node, self.invoices, self.payments)
        self.services = LnurlPay(settings.invoice_prefix, this_machine_too=settings.lnurl_on_this_machine)
        self.tracker = HashTracker(self.invoices, self.payments, self.invoice_feed, self.payment_feed, seconds, clock)
        self.leg_records = LegRecords(
            self.tracker, self.invoices, self.payments, self.invoice_feed.holds, self.payment_feed, seconds
        )
        self.watch = NodeWatch(self.node, seconds)

    async def aclose(self) -> None:
        """Close all connections and end all tasks. Payments that are under way continue at the node."""
        await self.tracker.aclose()
        self.leg_records.close()
        await self.watch.aclose()
        await self.invoice_feed.aclose()
        await self.payment_feed.aclose()
        await self.node.aclose()
        await self.liquidity.aclose()
        await self.rest.aclose()
        await self.services.aclose()
