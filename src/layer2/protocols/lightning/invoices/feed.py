"""Invoices as they are made and settled: one stream of the node for all who listen, without gap or repeat.

lnd numbers the invoices that it makes (``add_index``) and those that it settles (``settle_index``), and begins its
stream after two such numbers. What it tells of the past that way has holes, which the list of invoices fills: an
invoice that is held or cancelled by then is left out, and a number of zero stands for now, not for the beginning.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from layer2.errors import Layer2Error
from layer2.protocols.lightning.invoices.records import InvoiceRecord, InvoiceState, read_invoice
from layer2.protocols.lightning.lnd.answers import Answer
from layer2.protocols.lightning.lnd.failures import closed_error
from layer2.protocols.lightning.lnd.lasting import LastingRead
from layer2.protocols.lightning.lnd.outlet import Outlet
from layer2.protocols.lightning.lnd.rest import LndRest

__all__ = ["InvoiceCursor", "InvoiceEvent", "InvoiceFeed", "InvoiceUpdate"]

_LIFE: Final = 600.0
"""Seconds after which a stream is opened again: a connection that died without a word is noticed by then."""
_LINGER: Final = 2.0
"""Seconds for which the stream may be kept for the next who listens."""
_PAGE: Final = 100
_SHARE: Final = 20
"""While lnd cannot resume its stream, looking takes at most one part in so many of the time."""


@dataclass(frozen=True, slots=True)
class InvoiceCursor:
    """How far someone has read: to be stored with what the update led to, and given to begin after it.

    ``InvoiceCursor(0, 0)`` is the beginning of all.
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
    """As it was read; of one that was made a while ago, what became of it since."""
    cursor: InvoiceCursor
    """Of this subscriber, after this update."""


@dataclass(eq=False, slots=True)
class _Subscriber:
    """Who takes every update, from where it began."""

    cursor: InvoiceCursor
    settled_since: int
    """Unix seconds; what was settled before is not handed out."""
    outlet: Outlet[InvoiceUpdate]

    def offer(self, event: InvoiceEvent, invoice: InvoiceRecord) -> None:
        match event:
            case InvoiceEvent.MADE if invoice.add_index > self.cursor.add_index:
                self.cursor = replace(self.cursor, add_index=invoice.add_index)
            case InvoiceEvent.SETTLED if invoice.settle_index > self.cursor.settle_index:
                self.cursor = replace(self.cursor, settle_index=invoice.settle_index)
                if invoice.settled_at < self.settled_since:
                    return
            case _:
                return
        self.outlet.put(InvoiceUpdate(event, invoice, self.cursor))


class InvoiceFeed:
    """Tells of the node's invoices, by one stream that is open while someone listens, and for a moment after.

    Args:
        rest: the way to the node.
        pause: seconds between looks at what no stream can tell.
    """

    def __init__(self, rest: LndRest, pause: float) -> None:
        self._rest = rest
        self._pause = pause
        self._position: InvoiceCursor | None = None
        self._known_step: int | None = None
        self._subscribers: set[_Subscriber] = set()
        self._listeners: dict[Callable[[InvoiceRecord], None], Callable[[Layer2Error], None]] = {}
        self._reading = LastingRead("the stream of invoices", self._read, self._fail)

    async def updates(self, after: InvoiceCursor | None) -> AsyncGenerator[InvoiceUpdate, None]:
        """Hand out each invoice that is made and each that is settled, once.

        Args:
            after: a cursor, to begin after it; None begins now, to the second where settling is concerned.

        Raises:
            NodeError: the node refuses, or the client was closed. While it is only unreachable, this waits.
            AsyncRuntimeError: more updates were left than are kept.
        """
        since = 0
        if after is None:
            after, since = await self._now()
        subscriber = _Subscriber(after, since, Outlet("begin again after the cursor of the last update"))
        self._subscribers.add(subscriber)
        self._begin(after)
        try:
            while True:
                yield await subscriber.outlet.next()
        finally:
            self._subscribers.discard(subscriber)
            self._end_if_unheard()

    def listen(self, heard: Callable[[InvoiceRecord], None], failed: Callable[[Layer2Error], None]) -> None:
        """Call ``heard`` with each record from now on, repeated ones among them, until ``leave`` or ``failed``."""
        self._listeners[heard] = failed
        if not self._reading.is_under_way:
            self._position = None
        self._reading.start()

    def leave(self, heard: Callable[[InvoiceRecord], None]) -> None:
        """Stop calling it."""
        self._listeners.pop(heard, None)
        self._end_if_unheard()

    async def aclose(self) -> None:
        """End the stream; who listens is told that the client was closed."""
        self._fail(closed_error())
        await self._reading.aclose()

    def _begin(self, after: InvoiceCursor) -> None:
        """Read on from there: the others have been handed what comes twice, and do not get it again."""
        position = self._position if self._reading.is_under_way else None
        self._position = after
        if position is not None:
            self._position = InvoiceCursor(
                min(position.add_index, after.add_index), min(position.settle_index, after.settle_index)
            )
        if self._position != position:
            self._reading.restart()
        self._reading.start()

    def _end_if_unheard(self) -> None:
        if not self._subscribers and not self._listeners:
            # Who waits in pieces comes back at once.
            self._reading.stop_after(min(self._pause, _LINGER))

    def _fail(self, error: Layer2Error) -> None:
        listeners, self._listeners = self._listeners, {}
        for subscriber in self._subscribers:
            subscriber.outlet.fail(error)
        for failed in listeners.values():
            failed(error)

    async def _read(self) -> None:
        if self._position is None:
            self._position, _ = await self._now()
        loop = asyncio.get_running_loop()
        while True:
            begun_at = loop.time()
            await self._read_list()
            if self._position.settle_index == 0:
                await self._find_first_settled()
            position = self._position
            life = _LIFE
            if not position.add_index or not position.settle_index:
                life = max(self._pause, _SHARE * (loop.time() - begun_at))
            limit = asyncio.timeout(life)
            try:
                async with limit:
                    await self._read_stream(position)
            except TimeoutError:
                if not limit.expired():
                    raise
                continue
            return

    async def _read_stream(self, position: InvoiceCursor) -> None:
        """Read until the stream ends, or shows that the list has to be read first."""
        path = f"/v1/invoices/subscribe?add_index={position.add_index}&settle_index={position.settle_index}"
        is_first = True
        async with self._rest.stream("GET", path, watch=True) as messages:
            async for message in messages:
                self._reading.lasts()
                if is_first:
                    # Only now it is certain that the stream tells everything; an invoice that was made while it was
                    # being opened, and is held already, it has left out.
                    await self._read_list()
                    is_first = False
                if not self._take(read_invoice(message), position):
                    return

    def _take(self, invoice: InvoiceRecord, opened: InvoiceCursor) -> bool:
        """Hand out what a message says; False where something that comes before it is missing.

        Args:
            invoice: as the message shows it.
            opened: what the stream was opened after: an invoice up to there comes only because it was settled.
        """
        assert self._position is not None
        if invoice.add_index > self._position.add_index:
            # Such a message tells of the making, even if it shows an invoice that has been settled since.
            if invoice.add_index != self._position.add_index + 1 or invoice.state is not InvoiceState.OPEN:
                return False
            self._hand_out(InvoiceEvent.MADE, invoice)
        elif invoice.state is InvoiceState.SETTLED and invoice.settle_index > self._position.settle_index:
            before = self._position.settle_index
            if invoice.settle_index != before + 1:
                if invoice.add_index > opened.add_index:
                    return False
                if self._known_step != before:
                    # Opened again after the number before, the stream tells what was left out, unless it is of a kind
                    # that has no settled invoice: atomic multi-path payments.
                    self._known_step = before
                    return False
            self._hand_out(InvoiceEvent.SETTLED, invoice)
        return True

    def _hand_out(self, event: InvoiceEvent, invoice: InvoiceRecord) -> None:
        assert self._position is not None
        match event:
            case InvoiceEvent.MADE:
                self._position = replace(self._position, add_index=invoice.add_index)
            case InvoiceEvent.SETTLED:
                self._position = replace(self._position, settle_index=invoice.settle_index)
        for heard in list(self._listeners):
            heard(invoice)
        for subscriber in list(self._subscribers):
            subscriber.offer(event, invoice)

    async def _read_list(self) -> None:
        """Hand out what was made since the position."""
        assert self._position is not None
        async for invoice in self._listed(self._position.add_index):
            self._hand_out(InvoiceEvent.MADE, invoice)

    async def _find_first_settled(self) -> None:
        """Hand out the first invoice that was settled, where there is one: after it lnd can begin its stream."""
        first: InvoiceRecord | None = None
        async for invoice in self._listed(0):
            if invoice.state is InvoiceState.SETTLED and (first is None or invoice.settle_index < first.settle_index):
                first = invoice
            if first is not None and first.settle_index == 1:
                break
        if first is not None:
            self._hand_out(InvoiceEvent.SETTLED, first)

    async def _listed(self, after: int) -> AsyncIterator[InvoiceRecord]:
        """The invoices made after that index, oldest first, as they are now."""
        while True:
            page = _invoices(await self._rest.get(f"/v1/invoices?index_offset={after}&num_max_invoices={_PAGE}"))
            for invoice in page:
                yield invoice
            if len(page) < _PAGE:
                return
            after = page[-1].add_index

    async def _now(self) -> tuple[InvoiceCursor, int]:
        """The last invoice that was made, a settled one that is as new as can be found, and the node's time.

        Only the invoices themselves show how many were settled. Of those settled after the one that is found, the time
        says which came before now.
        """
        newest, before = 0, 0
        since = 0
        while True:
            path = f"/v1/invoices?reversed=true&index_offset={before}&num_max_invoices={_PAGE}"
            answer = await self._rest.get(path)
            page = _invoices(answer)
            if page and not newest:
                newest = page[-1].add_index
            since = since or int(answer.date or 0)
            settled = max((invoice.settle_index for invoice in page), default=0)
            if settled or len(page) < _PAGE:
                return InvoiceCursor(newest, settled), since
            before = page[0].add_index


def _invoices(answer: Answer) -> list[InvoiceRecord]:
    return [read_invoice(invoice) for invoice in answer.fields.objects("invoices")]
