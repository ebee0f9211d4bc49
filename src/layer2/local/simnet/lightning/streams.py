"""The streams of the simulated Lightning nodes, fed from the ledger's history.

A stream sends the current state first and then every later event; no event between the two is lost or sent twice.
Each event costs work only for the streams that want it, so that ten thousand streams can be open.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import TypeAlias

from layer2.local.simnet.lightning.books import Books
from layer2.local.simnet.lightning.channel import Side
from layer2.local.simnet.lightning.ledger import Ledger
from layer2.local.simnet.lightning.records import Invoice, InvoiceState, Payment, Record

__all__ = ["Listener", "StateFeed", "Subscription", "all_invoices", "all_payments", "one_invoice", "one_payment"]

_Topic: TypeAlias = tuple[type[Invoice] | type[Payment], Side, bytes | None]


def _everything(_: Record) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Subscription:
    """Selects the records that one stream sends."""

    topic: _Topic
    """Invoices or payments, their node, and their hash; None matches any."""
    first: tuple[Record, ...] = ()
    """Sent at once."""
    wanted: Callable[[Record], bool] = _everything
    """Selects the later records of the topic that are sent."""
    ends: bool = False
    """Whether the stream ends with a final record."""


def one_invoice(books: Books, payment_hash: bytes) -> Subscription:
    """The invoice's current state, if it exists, and all later states."""
    present = books.invoices.get(payment_hash)
    return Subscription((Invoice, books.owner, payment_hash), () if present is None else (present,), ends=True)


def one_payment(books: Books, payment_hash: bytes, *, from_start: bool = False, in_flight: bool) -> Subscription:
    """All states of a payment.

    Args:
        books: of the payment's sender.
        payment_hash: identifies the payment.
        from_start: start with the records that the caller has just made, instead of the current one.
        in_flight: whether to send states that are not final.
    """
    first = () if from_start else (books.payment(payment_hash),)
    topic = Payment, books.owner, payment_hash
    if in_flight:
        return Subscription(topic, first, ends=True)
    return Subscription(topic, tuple(filter(_is_final, first)), _is_final, ends=True)


def all_payments(books: Books, *, in_flight: bool) -> Subscription:
    """The payments in flight, and all later states of every payment. The stream does not end."""
    topic = Payment, books.owner, None
    if in_flight:
        return Subscription(topic, tuple(books.payments_in_flight()))
    return Subscription(topic, (), _is_final)


def all_invoices(books: Books, add_index: int, settle_index: int) -> Subscription:
    """Invoices as they are added and settled. The stream does not end.

    As in lnd, an index of zero requests no past invoices. An invoice added after the index is sent in its current
    state, but not while it is held or cancelled. If it has also been settled, it is sent twice if both indexes
    request it. Invoices up to the indexes are not sent later either.
    """
    shown = InvoiceState.OPEN, InvoiceState.SETTLED
    added = [invoice for invoice in books.added_since(add_index) if invoice.state in shown] if add_index else []
    settled = list(books.settled_since(settle_index)) if settle_index else []

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

    return Subscription((Invoice, books.owner, None), (*added, *settled), is_wanted)


def _is_final(record: Record) -> bool:
    return record.state.is_final


class Listener:
    """One open stream. It buffers every record of its subscription from the moment it is opened.

    Args:
        subscription: what it sends.
    """

    def __init__(self, subscription: Subscription) -> None:
        self.subscription = subscription
        self._waiting: asyncio.Queue[Record] = asyncio.Queue()
        for record in subscription.first:
            self._waiting.put_nowait(record)

    def put(self, record: Record) -> None:
        """Buffer a record of its topic, if the subscription wants it."""
        if self.subscription.wanted(record):
            self._waiting.put_nowait(record)

    async def records(self) -> AsyncIterator[Record]:
        """Yield the records in order, until the stream's end, if it has one."""
        while True:
            record = await self._waiting.get()
            yield record
            if self.subscription.ends and record.state.is_final:
                return


class StateFeed:
    """Distributes the states of invoices and payments to the open streams.

    Args:
        ledger: its history is read.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._distributed = 0
        self._listeners: defaultdict[_Topic, dict[Listener, None]] = defaultdict(dict)

    def wake(self) -> None:
        """Send the streams the records added to the history since the last call."""
        while self._distributed < len(self._ledger.history):
            record = self._ledger.history[self._distributed]
            self._distributed += 1
            for payment_hash in (record.payment_hash, None):
                for listener in self._listeners.get((type(record), record.owner, payment_hash), ()):
                    listener.put(record)

    def open(self, subscription: Subscription) -> Listener:
        """Open a stream, which ``close`` ends. It also receives the records that are not sent yet."""
        listener = Listener(subscription)
        self._listeners[subscription.topic][listener] = None
        return listener

    def close(self, listener: Listener) -> None:
        """Remove a stream."""
        topic = listener.subscription.topic
        del self._listeners[topic][listener]
        if not self._listeners[topic]:
            del self._listeners[topic]
