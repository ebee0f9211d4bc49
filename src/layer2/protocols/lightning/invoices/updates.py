"""Updates of invoices, and which of them one subscriber still has to receive."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from layer2.protocols.lightning.invoices.records import InvoiceRecord
from layer2.protocols.lightning.lnd.update_queue import UpdateQueue

__all__ = ["InvoiceCursor", "InvoiceEvent", "InvoiceSubscriber", "InvoiceUpdate"]


@dataclass(frozen=True, slots=True)
class InvoiceCursor:
    """A position in the updates of invoices. Store it with the effects of the update, and subscribe with it later.

    ``InvoiceCursor(0, 0)`` is the position before the first invoice.
    """

    add_index: int
    settle_index: int


class InvoiceEvent(Enum):
    """What happened to an invoice."""

    MADE = "made"
    SETTLED = "settled"


@dataclass(frozen=True, slots=True)
class InvoiceUpdate:
    """One invoice was made, or was settled."""

    event: InvoiceEvent
    invoice: InvoiceRecord
    """As it was when it was read. An invoice that was made a while ago may have been paid since."""
    cursor: InvoiceCursor
    """The subscriber's position after this update."""


@dataclass(eq=False, slots=True)
class InvoiceSubscriber:
    """One subscriber: passes each update on once, from the subscriber's starting point."""

    cursor: InvoiceCursor
    settled_since: int
    """Unix seconds. Invoices that were settled before are skipped."""
    queue: UpdateQueue[InvoiceUpdate]

    def offer(self, event: InvoiceEvent, invoice: InvoiceRecord) -> None:
        """Pass an update on, unless it is at or before the cursor."""
        match event:
            case InvoiceEvent.MADE if invoice.add_index > self.cursor.add_index:
                self.cursor = replace(self.cursor, add_index=invoice.add_index)
            case InvoiceEvent.SETTLED if invoice.settle_index > self.cursor.settle_index:
                self.cursor = replace(self.cursor, settle_index=invoice.settle_index)
                if invoice.settled_at < self.settled_since:
                    return
            case _:
                return
        self.queue.put(InvoiceUpdate(event, invoice, self.cursor))
