"""All streams of the node's payments: the shared one, and one for each payment that this client sends.

The shared stream starts with the payments that are under way and leaves out those that ended before. The client cannot
tell when it has started, because lnd sends the HTTP headers with the first message only. The list of payments shows
what the stream may have missed; it is read at the start, with the first message, and now and then until that message.
Records that arrive earlier wait for that read, so that no subscriber's cursor skips a payment.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from layer2.errors import Layer2Error
from layer2.protocols.bounded_dict import BoundedDict
from layer2.protocols.lightning.lnd.answers import LndObject
from layer2.protocols.lightning.lnd.failures import closed_error
from layer2.protocols.lightning.lnd.reconnecting import ReconnectingStream
from layer2.protocols.lightning.lnd.rest import LndRest
from layer2.protocols.lightning.lnd.stream import LndStream
from layer2.protocols.lightning.lnd.update_queue import UpdateQueue
from layer2.protocols.lightning.payments.records import PaymentRecord, PaymentState, read_payment
from layer2.protocols.lightning.payments.updates import PaymentCursor, PaymentSubscriber, PaymentUpdate

__all__ = ["PaymentFeed", "PaymentListener"]

LOG: Final = logging.getLogger("layer2.lightning")

_LIFE: Final = 600.0
"""Seconds after which the shared stream is opened again, in case its connection died unnoticed."""
_LINGER: Final = 2.0
"""Seconds for which the shared stream stays open after its last subscriber left."""
_PAGE: Final = 100
_LONGEST_PAUSE: Final = 30.0
"""Seconds between reads of the list while the shared stream has not shown that it is open."""
_MAX_EARLY: Final = 10_000
"""Records kept that arrived before the list was read. The list shows them too."""
_REMEMBERED: Final = 1024
"""Newest records of sent payments that are kept."""


@dataclass(frozen=True, slots=True)
class PaymentListener:
    """Callbacks for every record of a payment, repeated ones included."""

    received: Callable[[PaymentRecord], None]
    missed: Callable[[], None]
    """Called when the shared stream may have left something out."""
    send_ended: Callable[[bytes], None]
    """Called with the hash of a payment whose own stream has ended, even if its outcome was not reported."""
    failed: Callable[[Layer2Error], None]
    """Called when the shared stream cannot be opened again; it is no longer kept open."""


class PaymentFeed:
    """Reports the node's payments to subscribers and to one listener.

    The shared stream is open while it has a subscriber or the listener needs it, and for a moment after that. If the
    stream of a sent payment breaks, the shared stream and look-ups report the outcome later.

    Args:
        rest: the node's REST interface.
        pause: seconds between the first reads of the list.
        max_sends: number of sent payments whose own stream is read; with one more, the oldest stream is closed.
    """

    def __init__(self, rest: LndRest, pause: float, max_sends: int) -> None:
        self._rest = rest
        self._pause = pause
        self._max_sends = max_sends
        self._listener: PaymentListener | None = None
        self._is_kept_open = False
        self._subscribers: set[PaymentSubscriber] = set()
        self._shared = ReconnectingStream("the stream of payments", self._read_stream, self._fail)
        self._listing = ReconnectingStream("the list of payments", self._read_list_in_turn, self._fail)
        self._look_now = asyncio.Event()
        self._is_live = False
        self._is_listed = False
        """Whether the list was read after the stream was live, so that nothing before the next news is missing."""
        self._early: dict[int, PaymentRecord] = {}
        self._sends: dict[asyncio.Task[None], bytes] = {}
        self._newest: BoundedDict[bytes, PaymentRecord] = BoundedDict(_REMEMBERED)

    # The streams of payments that this client sends.

    @property
    def open_sends(self) -> int:
        """Number of sent payments whose own stream is open."""
        return len(self._reading_sends())

    def follow(self, first: PaymentRecord, rest: LndStream, read: Callable[[LndObject], PaymentRecord]) -> None:
        """Take over the stream on which a payment was sent, and read it in the background.

        Args:
            first: the record in the stream's first message.
            rest: the stream after that message; it is closed here.
            read: reads a message.
        """

        async def read_on() -> None:
            async for message in rest:
                self._report_sent(read(message))

        reader = asyncio.get_running_loop().create_task(read_on())
        self._sends[reader] = first.payment_hash
        reader.add_done_callback(partial(self._send_ended, rest))
        reading = self._reading_sends()
        if len(reading) > self._max_sends:
            reading[0].cancel()
        self._report_sent(first)

    def is_followed(self, payment_hash: bytes) -> bool:
        """Whether the stream on which this payment was sent is still read."""
        return any(sent == payment_hash and not reader.cancelling() for reader, sent in self._sends.items())

    def newest_sent(self, payment_hash: bytes) -> PaymentRecord | None:
        """The newest record of a payment that is followed, or that was followed and succeeded recently.

        It is what the node last reported, unless the connection has died unnoticed.
        """
        return self._newest.get(payment_hash)

    def _reading_sends(self) -> list[asyncio.Task[None]]:
        """Readers that have not ended or been cancelled, the oldest first."""
        return [reader for reader in self._sends if not reader.done() and not reader.cancelling()]

    def _report_sent(self, payment: PaymentRecord) -> None:
        self._newest.pop(payment.payment_hash, None)
        self._newest[payment.payment_hash] = payment
        self.report(payment)

    def _send_ended(self, rest: LndStream, reader: asyncio.Task[None]) -> None:
        payment_hash = self._sends.pop(reader)
        # Not closed in the task, which may have been cancelled before it started.
        rest.close()
        if not reader.cancelled() and (error := reader.exception()) is not None:
            LOG.info("the stream of a sent payment broke; its outcome is looked up instead: %s", error)
        newest = self._newest.get(payment_hash)
        if newest is not None and newest.state is not PaymentState.SUCCEEDED:
            del self._newest[payment_hash]
        if self._listener is not None:
            self._listener.send_ended(payment_hash)

    # The shared stream.

    def listen(self, listener: PaymentListener) -> None:
        """Set the listener. It gets every record that arrives; ``keep_open`` opens the shared stream for it."""
        self._listener = listener

    def keep_open(self, is_needed: bool) -> None:
        """Open the shared stream for the listener, or close it soon unless it has subscribers."""
        if is_needed == self._is_kept_open:
            return
        self._is_kept_open = is_needed
        if is_needed:
            self._shared.start()
        else:
            self._close_unused()

    async def updates(self, after: PaymentCursor | None) -> AsyncGenerator[PaymentUpdate, None]:
        """Yield each payment when it is under way and when it is decided; once only if it is decided quickly.

        Args:
            after: the position to start after; None starts now.

        Raises:
            NodeError: an error that a retry cannot cure, or the client was closed. An unreachable node is waited for.
            AsyncRuntimeError: too many updates were waiting.
        """
        queue: UpdateQueue[PaymentUpdate] = UpdateQueue()
        if after is None:
            page = await self._page("reversed=true&max_payments=1")
            newest = page[-1].index if page else 0
            subscriber = PaymentSubscriber(newest, True, newest, queue)
        else:
            undecided = dict.fromkeys(after.open, True)
            subscriber = PaymentSubscriber(after.index, False, after.index, queue, undecided)
        self._subscribers.add(subscriber)
        self._is_listed = False
        self._listing.restart()
        self._shared.start()
        self._listing.start()
        try:
            while True:
                yield await queue.next()
        finally:
            self._subscribers.discard(subscriber)
            self._close_unused()

    def report(self, payment: PaymentRecord) -> None:
        """Report a record that the node has just sent. Subscribers get it after everything that comes before it."""
        if self._listener is not None:
            self._listener.received(payment)
        if self._is_live and self._is_listed:
            self._offer(payment, is_news=True)
        elif self._subscribers:
            if len(self._early) == _MAX_EARLY:
                self._early.clear()
                self._look_now.set()
            self._early[payment.index] = payment
            if not self._is_live:
                # While the stream is silent, only this record shows that the list has changed.
                self._look_now.set()

    async def aclose(self) -> None:
        """Close all streams; subscribers and the listener get the error that the client was closed."""
        self._fail(closed_error())
        readers = list(self._sends)
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)
        await self._shared.aclose()
        await self._listing.aclose()

    def _close_unused(self) -> None:
        if not self._subscribers:
            self._listing.stop()
            self._early.clear()
            if not self._is_kept_open:
                # A caller that waits in short turns is back before the stream is closed.
                self._shared.stop_after(min(self._pause, _LINGER))

    def _fail(self, error: Layer2Error) -> None:
        self._shared.stop()
        self._listing.stop()
        for subscriber in self._subscribers:
            subscriber.queue.fail(error)
        if self._is_kept_open and self._listener is not None:
            self._is_kept_open = False
            self._listener.failed(error)

    async def _read_stream(self) -> None:
        self._is_live = False
        self._may_have_missed()
        limit = asyncio.timeout(_LIFE)
        try:
            async with limit, self._rest.stream("/v2/router/payments") as messages:
                async for message in messages:
                    self._shared.received()
                    if not self._is_live:
                        self._is_live = True
                        self._may_have_missed()
                    self.report(read_payment(message))
        except TimeoutError:
            if not limit.expired():
                raise
            self._shared.received()
        finally:
            self._is_live = False

    def _may_have_missed(self) -> None:
        self._is_listed = False
        self._look_now.set()
        if self._is_kept_open and self._listener is not None:
            self._listener.missed()

    async def _read_list_in_turn(self) -> None:
        """Read the list when something may have been missed, and with growing pauses until the stream is live."""
        pause = self._pause
        self._look_now = asyncio.Event()
        while True:
            if self._look_now.is_set():
                pause = self._pause
            self._look_now.clear()
            await self._read_list()
            self._listing.received()
            if not self._look_now.is_set():
                self._offer_early()
            try:
                async with asyncio.timeout(None if self._is_live else pause):
                    await self._look_now.wait()
            except TimeoutError:
                pause = min(pause * 2, _LONGEST_PAUSE)

    async def _read_list(self) -> None:
        undecided = {index for subscriber in self._subscribers for index in subscriber.undecided}
        after = min((subscriber.newest for subscriber in self._subscribers), default=0)
        while True:
            page = await self._page(f"index_offset={after}&max_payments={_PAGE}")
            for payment in page:
                undecided.discard(payment.index)
                self._offer_listed(payment)
            if len(page) < _PAGE:
                break
            after = page[-1].index
        for index in sorted(undecided):
            for payment in await self._page(f"index_offset={index - 1}&max_payments=1"):
                if payment.index == index:
                    self._offer_listed(payment)
                else:
                    self._forget(index)

    def _forget(self, index: int) -> None:
        """Drop an index without a payment: the hash was sent again under another index, or was never stored."""
        for subscriber in self._subscribers:
            subscriber.undecided.pop(index, None)

    async def _page(self, query: str) -> list[PaymentRecord]:
        answer = await self._rest.get(f"/v1/payments?include_incomplete=true&omit_hops=true&{query}")
        return [read_payment(payment) for payment in answer.fields.objects("payments")]

    def _offer_early(self) -> None:
        self._is_listed = True
        early, self._early = self._early, {}
        for _, payment in sorted(early.items()):
            self._offer(payment, is_news=True)

    def _offer_listed(self, payment: PaymentRecord) -> None:
        if self._is_kept_open and self._listener is not None:
            self._listener.received(payment)
        self._offer(payment, is_news=False)

    def _offer(self, payment: PaymentRecord, *, is_news: bool) -> None:
        for subscriber in list(self._subscribers):
            subscriber.offer(payment, is_news=is_news)
