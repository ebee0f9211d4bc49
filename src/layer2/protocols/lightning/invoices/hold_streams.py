"""One stream for each invoice that may be held, and one list for those that find no room.

Only an invoice's own stream reports that it is held. It begins with the invoice as it is, so that a stream which is
open again after a failure has missed nothing.
"""

from __future__ import annotations

import asyncio
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from layer2.errors import Layer2Error
from layer2.protocols.lightning.invoices.records import InvoiceRecord, read_invoice
from layer2.protocols.lightning.lnd.reconnecting import ReconnectingStream
from layer2.protocols.lightning.lnd.rest import LndRest

__all__ = ["HoldListener", "HoldStreams"]

_SHARE: Final = 20
"""Reading the list takes at most one part in this many of the time."""


@dataclass(frozen=True, slots=True)
class HoldListener:
    """Callbacks for what the streams and the list report."""

    received: Callable[[InvoiceRecord], None] = lambda _: None
    """Called with every record of an invoice, repeated ones included."""
    lost: Callable[[bytes], None] = lambda _: None
    """Called with the hash of an invoice whose stream has ended and is opened again, or that the list leaves out."""
    failed: Callable[[bytes, Layer2Error], None] = lambda *_: None
    """Called with the hash of an invoice whose stream cannot be opened again."""


class HoldStreams:
    """Reports each followed invoice as it is and whenever it changes.

    Args:
        rest: the node's REST interface.
        pause: minimum seconds between reads of the list.
        most: number of invoices that have a stream; further ones are listed until one of these ends.
        listed: lists the invoices after an index, with a filter in the form of a query.
    """

    def __init__(
        self, rest: LndRest, pause: float, most: int, listed: Callable[[int, str], AsyncIterator[InvoiceRecord]]
    ) -> None:
        self._rest = rest
        self._pause = pause
        self._most = most
        self._listed = listed
        self.listener = HoldListener()
        self._streams: dict[bytes, ReconnectingStream] = {}
        self._live: set[bytes] = set()
        self._waiting: dict[bytes, int] = {}
        """Invoices without a stream, with their index; 0 if it is not known, or if the list left the invoice out."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._list = ReconnectingStream("the list of held invoices", self._read_list_in_turn, self._tasks)

    def has_stream(self, payment_hash: bytes) -> bool:
        """Whether this invoice has a stream now, which may be about to open."""
        return payment_hash in self._streams

    def is_reported(self, payment_hash: bytes) -> bool:
        """Whether every change of this invoice is reported: its stream has shown it, or it is in the list."""
        return payment_hash in self._live or self._waiting.get(payment_hash, 0) > 0

    def follow(self, payment_hash: bytes, add_index: int) -> None:
        """Open a stream for this invoice as soon as there is room.

        Args:
            payment_hash: 32 bytes.
            add_index: of the invoice, with which it is listed until there is room; 0 if it is not known yet.
        """
        if payment_hash not in self._streams:
            self._waiting[payment_hash] = add_index
            self._open()

    def leave(self, payment_hash: bytes) -> None:
        """Close the stream of this invoice, and open one for the next that waits."""
        self._live.discard(payment_hash)
        stream = self._streams.pop(payment_hash, None)
        if stream is not None:
            stream.stop()
        if self._waiting.pop(payment_hash, None) is not None or stream is not None:
            self._open()

    async def aclose(self) -> None:
        """Close all streams."""
        self._list.stop()
        for stream in self._streams.values():
            stream.stop()
        self._streams.clear()
        self._live.clear()
        self._waiting.clear()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _open(self) -> None:
        while self._waiting and len(self._streams) < self._most:
            payment_hash = next(iter(self._waiting))
            del self._waiting[payment_hash]
            stream = ReconnectingStream("the stream of a held invoice", partial(self._read, payment_hash), self._tasks)
            self._streams[payment_hash] = stream
            stream.join(partial(self._fail, payment_hash))
        # The list is not read for invoices whose index is not known: their look-up is due.
        if any(self._waiting.values()):
            self._list.join(self._fail_waiting)
        else:
            self._list.leave(self._fail_waiting)

    def _fail(self, payment_hash: bytes, error: Layer2Error) -> None:
        self._streams.pop(payment_hash, None)
        self._live.discard(payment_hash)
        self.listener.failed(payment_hash, error)
        self._open()

    def _fail_waiting(self, error: Layer2Error) -> None:
        waiting, self._waiting = self._waiting, {}
        for payment_hash in waiting:
            self.listener.failed(payment_hash, error)

    async def _read(self, payment_hash: bytes) -> None:
        path = f"/v2/invoices/subscribe/{urlsafe_b64encode(payment_hash).decode()}"
        stream = self._streams.get(payment_hash)
        try:
            async with self._rest.stream(path) as messages:
                async for message in messages:
                    invoice = read_invoice(message, payment_hash)
                    if stream is not None and self._streams.get(payment_hash) is stream:
                        stream.received()
                        self._live.add(payment_hash)
                    self.listener.received(invoice)
                    if invoice.state.is_final:
                        self.leave(payment_hash)
        finally:
            if stream is not None and self._streams.get(payment_hash) is stream:
                self._live.discard(payment_hash)
                self.listener.lost(payment_hash)

    async def _read_list_in_turn(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            started = loop.time()
            wanted = {payment_hash: index for payment_hash, index in self._waiting.items() if index}
            async for invoice in self._listed(min(wanted.values(), default=1) - 1, "&pending_only=true"):
                if wanted.pop(invoice.payment_hash, None) is not None:
                    self.listener.received(invoice)
            for payment_hash in wanted.keys() & self._waiting.keys():
                # It was settled or cancelled: a look-up shows which.
                self._waiting[payment_hash] = 0
                self.listener.lost(payment_hash)
            self._list.received()
            await asyncio.sleep(max(self._pause, _SHARE * (loop.time() - started)))
