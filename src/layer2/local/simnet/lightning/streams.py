"""What the streams of the simulated Lightning nodes send, and how the ledger's history reaches them.

A stream begins with what is now and goes on with what happens: nothing between the two is lost or comes twice.
Each event costs only the streams that it is for, so that ten thousand of them can be open.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import TypeAlias

from layer2.local.simnet.lightning.channel import Side
from layer2.local.simnet.lightning.ledger import Ledger
from layer2.local.simnet.lightning.records import Invoice, InvoiceState, Payment, Record

__all__ = ["Listener", "StateFeed", "Subscription", "all_invoices", "all_payments", "one_invoice", "one_payment"]

_Topic: TypeAlias = tuple[type[Invoice] | type[Payment], Side, bytes | None]


def _everything(_: Record) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Subscription:
    """What one stream sends."""

    topic: _Topic
    """Invoices or payments, of which node, and with which hash; None is any."""
    first: tuple[Record, ...] = ()
    """Sent at once."""
    wanted: Callable[[Record], bool] = _everything
    """Which of the topic's later records are sent."""
    ends: bool = False
    """Whether a final record is the last."""


def one_invoice(ledger: Ledger, owner: Side, payment_hash: bytes) -> Subscription:
    """The invoice as it is, where it is, and all that it becomes."""
    present = ledger.find_invoice(owner, payment_hash)
    return Subscription((Invoice, owner, payment_hash), () if present is None else (present,), ends=True)


def one_payment(
    ledger: Ledger, sender: Side, payment_hash: bytes, *, from_start: bool = False, in_flight: bool
) -> Subscription:
    """All that a payment becomes.

    Args:
        ledger: that knows the payment.
        sender: whose payment.
        payment_hash: which one.
        from_start: with the records that the caller has just made and nothing before them, not with the present one.
        in_flight: whether states that are not final are sent.
    """
    first = () if from_start else (ledger.payment(sender, payment_hash),)
    topic = Payment, sender, payment_hash
    if in_flight:
        return Subscription(topic, first, ends=True)
    return Subscription(topic, tuple(filter(_is_final, first)), _is_final, ends=True)


def all_payments(ledger: Ledger, sender: Side, *, in_flight: bool) -> Subscription:
    """The payments that are under way, and all that any payment becomes, without an end."""
    topic = Payment, sender, None
    if in_flight:
        return Subscription(topic, tuple(ledger.payments_in_flight(sender)))
    return Subscription(topic, (), _is_final)


def all_invoices(ledger: Ledger, owner: Side, add_index: int, settle_index: int) -> Subscription:
    """Invoices as they are made and as they are settled, without an end.

    As in lnd an index of zero asks for nothing of the past, an invoice that was added since is sent as it is now and
    not at all while it is held or cancelled, one that has been settled too is sent twice where both indexes ask for
    it, and nothing up to the indexes is sent later either.
    """
    shown = InvoiceState.OPEN, InvoiceState.SETTLED
    added = [invoice for invoice in ledger.added_since(owner, add_index) if invoice.state in shown] if add_index else []
    settled = list(ledger.settled_since(owner, settle_index)) if settle_index else []

    def is_wanted(record: Record) -> bool:
        if not isinstance(record, Invoice):
            return False
        match record.state:
            case InvoiceState.OPEN:
                return record.add_index > add_index
            case InvoiceState.SETTLED:
                return record.settle_index > settle_index
            case InvoiceState.ACCEPTED | InvoiceState.CANCELED:
                return False

    return Subscription((Invoice, owner, None), (*added, *settled), is_wanted)


def _is_final(record: Record) -> bool:
    return record.state.is_final


class Listener:
    """One open stream. Everything that its subscription asks for is in it, from the moment that it was opened.

    Args:
        subscription: what it sends.
    """

    def __init__(self, subscription: Subscription) -> None:
        self.subscription = subscription
        self._waiting: asyncio.Queue[Record] = asyncio.Queue()
        for record in subscription.first:
            self._waiting.put_nowait(record)

    def tell(self, record: Record) -> None:
        """Put a record of its topic in, if it is wanted."""
        if self.subscription.wanted(record):
            self._waiting.put_nowait(record)

    async def records(self) -> AsyncIterator[Record]:
        """What it sends, in order, until its end if it has one."""
        while True:
            record = await self._waiting.get()
            yield record
            if self.subscription.ends and record.state.is_final:
                return


class StateFeed:
    """Hands out the states of invoices and payments to those who stream them.

    Args:
        ledger: whose history is read.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._told = 0
        self._listeners: defaultdict[_Topic, dict[Listener, None]] = defaultdict(dict)

    def wake(self) -> None:
        """Tell the streams what the history has got since the last time."""
        while self._told < len(self._ledger.history):
            record = self._ledger.history[self._told]
            self._told += 1
            kind, owner = (Invoice, record.owner) if isinstance(record, Invoice) else (Payment, record.sender)
            for payment_hash in (record.payment_hash, None):
                for listener in self._listeners.get((kind, owner, payment_hash), ()):
                    listener.tell(record)

    def open(self, subscription: Subscription) -> Listener:
        """Begin a stream; ``close`` ends it. What has not been told yet is told to it too."""
        listener = Listener(subscription)
        self._listeners[subscription.topic][listener] = None
        return listener

    def close(self, listener: Listener) -> None:
        """Forget a stream."""
        topic = listener.subscription.topic
        del self._listeners[topic][listener]
        if not self._listeners[topic]:
            del self._listeners[topic]
