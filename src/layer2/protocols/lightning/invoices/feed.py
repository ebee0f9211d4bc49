"""The shared stream of the node's invoices. ``holds`` has those of single invoices.

lnd numbers the invoices that it makes (``add_index``) and those that it settles (``settle_index``), and starts the
shared stream after two such numbers. What it then sends of the past has gaps, which the list of invoices fills: lnd
leaves out an invoice that is held or cancelled by then, and reads the number 0 as "from now", not "from the start".
Only an invoice's own stream reports that it is held.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from layer2.aio.time_limit import time_limit
from layer2.errors import Layer2Error
from layer2.protocols.lightning.invoices.hold_streams import HoldStreams
from layer2.protocols.lightning.invoices.records import InvoiceRecord, InvoiceState, read_invoice
from layer2.protocols.lightning.lnd.answers import Answer
from layer2.protocols.lightning.lnd.failures import closed_error
from layer2.protocols.lightning.lnd.reconnecting import ReconnectingStream
from layer2.protocols.lightning.lnd.rest import LndRest
from layer2.protocols.lightning.lnd.update_queue import UpdateQueue

__all__ = ["InvoiceCursor", "InvoiceEvent", "InvoiceFeed", "InvoiceUpdate"]

_LIFE: Final = 600.0
"""Seconds after which the shared stream is opened again, in case its connection died unnoticed."""
_LINGER: Final = 2.0
"""Seconds for which the shared stream stays open after its last user left."""
_PAGE: Final = 100
_SHARE: Final = 20
"""While lnd cannot resume the stream, reading the list takes at most one part in this many of the time."""


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
class _Subscriber:
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


class InvoiceFeed:
    """Reports the node's invoices to subscribers and to one listener.

    The shared stream is open while it has a subscriber or another user, and for a moment after that.

    Args:
        rest: the node's REST interface.
        pause: seconds between reads of the list for what no stream reports.
        max_holds: number of invoices that have a stream of their own; further ones wait until one of these ends.
    """

    def __init__(self, rest: LndRest, pause: float, max_holds: int) -> None:
        self._rest = rest
        self._pause = pause
        self.listener: Callable[[InvoiceRecord], None] = lambda _: None
        """Called with every record of an invoice, repeated ones included, independent of subscribers."""
        self._position: InvoiceCursor | None = None
        self._known_step: int | None = None
        self._subscribers: set[_Subscriber] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._shared = ReconnectingStream("the stream of invoices", self._read, self._tasks, min(pause, _LINGER))
        self.holds = HoldStreams(rest, pause, max_holds, self._listed)

    def keep_open(self, user: Callable[[Layer2Error], None], is_needed: bool) -> None:
        """Open the shared stream for this user, or close it soon if no other user needs it.

        Args:
            user: called when the stream cannot be opened again.
            is_needed: whether to open it.
        """
        if not is_needed:
            self._shared.leave(user)
            return
        if not self._shared.is_running:
            self._position = None
        self._shared.join(user)

    async def updates(self, after: InvoiceCursor | None) -> AsyncGenerator[InvoiceUpdate, None]:
        """Yield each invoice when it is made and when it is settled, once each.

        Args:
            after: the position to start after; None starts now (for settling, at the present second).

        Raises:
            NodeError: an error that a retry cannot cure, or the client was closed. An unreachable node is waited for.
            AsyncRuntimeError: too many updates were waiting.
        """
        since = 0
        if after is None:
            after, since = await self._now()
        subscriber = _Subscriber(after, since, UpdateQueue())
        self._subscribers.add(subscriber)
        self._read_from(after)
        self._shared.join(subscriber.queue.fail)
        try:
            while True:
                yield await subscriber.queue.next()
        finally:
            self._subscribers.discard(subscriber)
            self._shared.leave(subscriber.queue.fail)

    async def aclose(self) -> None:
        """Close all streams; all its users get the error that the client was closed."""
        self._shared.fail(closed_error())
        await self.holds.aclose()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _read_from(self, after: InvoiceCursor) -> None:
        """Read from there on. Subscribers that are further skip what they have received."""
        position = self._position if self._shared.is_running else None
        self._position = after
        if position is not None:
            self._position = InvoiceCursor(
                min(position.add_index, after.add_index), min(position.settle_index, after.settle_index)
            )
        if self._position != position:
            self._shared.stop()

    async def _read(self) -> None:
        if self._position is None:
            self._position, _ = await self._now()
        loop = asyncio.get_running_loop()
        while True:
            started = loop.time()
            await self._read_list()
            if self._position.settle_index == 0:
                await self._find_first_settled()
            position = self._position
            life = _LIFE
            if not position.add_index or not position.settle_index:
                life = max(self._pause, _SHARE * (loop.time() - started))
            async with time_limit(asyncio.timeout(life)):
                await self._read_stream(position)
                return

    async def _read_stream(self, position: InvoiceCursor) -> None:
        """Read until the stream ends, or until a gap shows that the list must be read first."""
        path = f"/v1/invoices/subscribe?add_index={position.add_index}&settle_index={position.settle_index}"
        is_first = True
        async with self._rest.stream(path) as messages:
            async for message in messages:
                self._shared.received()
                if is_first:
                    # From here on the stream reports everything. It has left out an invoice that was made while the
                    # stream was being opened and is held already.
                    await self._read_list()
                    is_first = False
                if not self._take(read_invoice(message), position):
                    return

    def _take(self, invoice: InvoiceRecord, opened: InvoiceCursor) -> bool:
        """Report what a message shows; return False if something before it is missing.

        Args:
            invoice: as the message shows it.
            opened: the position that the stream was opened with: an invoice up to there is in it only because it was
                settled.
        """
        assert self._position is not None
        if invoice.add_index > self._position.add_index:
            # Such a message reports that the invoice was made, even if it was settled since.
            if invoice.add_index != self._position.add_index + 1 or invoice.state is not InvoiceState.OPEN:
                return False
            self._report(InvoiceEvent.MADE, invoice)
        elif invoice.state is InvoiceState.SETTLED and invoice.settle_index > self._position.settle_index:
            before = self._position.settle_index
            if invoice.settle_index != before + 1:
                if invoice.add_index > opened.add_index:
                    return False
                if self._known_step != before:
                    # Opened again after the number before, the stream sends what was left out, unless that number
                    # belongs to an atomic multi-path payment, which settles no invoice.
                    self._known_step = before
                    return False
            self._report(InvoiceEvent.SETTLED, invoice)
        return True

    def _report(self, event: InvoiceEvent, invoice: InvoiceRecord) -> None:
        assert self._position is not None
        match event:
            case InvoiceEvent.MADE:
                self._position = replace(self._position, add_index=invoice.add_index)
            case InvoiceEvent.SETTLED:
                self._position = replace(self._position, settle_index=invoice.settle_index)
        self.listener(invoice)
        for subscriber in list(self._subscribers):
            subscriber.offer(event, invoice)

    async def _read_list(self) -> None:
        """Report what was made since the position."""
        assert self._position is not None
        async for invoice in self._listed(self._position.add_index):
            self._report(InvoiceEvent.MADE, invoice)

    async def _find_first_settled(self) -> None:
        """Report the first invoice that was settled, if there is one: lnd can start its stream after it."""
        first: InvoiceRecord | None = None
        async for invoice in self._listed(0):
            if invoice.state is InvoiceState.SETTLED and (first is None or invoice.settle_index < first.settle_index):
                first = invoice
            if first is not None and first.settle_index == 1:
                break
        if first is not None:
            self._report(InvoiceEvent.SETTLED, first)

    async def _listed(self, after: int, filters: str = "") -> AsyncIterator[InvoiceRecord]:
        """Yield the invoices that were made after that index, oldest first, as they are now."""
        while True:
            path = f"/v1/invoices?index_offset={after}&num_max_invoices={_PAGE}{filters}"
            page = _invoices(await self._rest.get(path))
            for invoice in page:
                yield invoice
            if len(page) < _PAGE:
                return
            after = page[-1].add_index

    async def _now(self) -> tuple[InvoiceCursor, int]:
        """Return a position close to the present, and the node's time in unix seconds.

        The position has the index of the last invoice and the highest settle index on the newest page that has one.
        Only invoices show settle indices; the time separates those settled after that index but before now.
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
