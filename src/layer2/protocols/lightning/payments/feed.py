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
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from layer2.aio.time_limit import time_limit
from layer2.errors import Layer2Error
from layer2.protocols.bounded_dict import BoundedDict
from layer2.protocols.lightning.lnd.answers import LndObject
from layer2.protocols.lightning.lnd.failures import closed_error
from layer2.protocols.lightning.lnd.reconnecting import ReconnectingStream
from layer2.protocols.lightning.lnd.rest import LndRest
from layer2.protocols.lightning.lnd.stream import LndStream
from layer2.protocols.lightning.lnd.update_queue import UpdateQueue
from layer2.protocols.lightning.payments.records import PaymentRecord, PaymentState, read_payment

__all__ = ["PaymentCursor", "PaymentFeed", "PaymentListener", "PaymentUpdate"]

LOG: Final = logging.getLogger("layer2.lightning")

_LIFE: Final = 600.0
"""Seconds after which the shared stream is opened again, in case its connection died unnoticed."""
_LINGER: Final = 2.0
"""Seconds for which the shared stream stays open after its last user left."""
_PAGE: Final = 100
_LONGEST_PAUSE: Final = 30.0
"""Seconds between reads of the list while the shared stream has not shown that it is open."""
_MAX_EARLY: Final = 10_000
"""Records kept that arrived before the list was read. The list shows them too."""
_REMEMBERED: Final = 1024
"""Newest records of sent payments that are kept."""
_REMEMBERED_DECIDED: Final = 4096
"""Decided payments that a subscriber remembers, the newest ones."""
_LATE: Final = 32
"""Indices below a new payment's that may still appear: lnd assigns an index before it stores the payment."""


@dataclass(frozen=True, slots=True)
class PaymentCursor:
    """A position in the updates of payments. Store it with the effects of the update, and subscribe with it later.

    ``PaymentCursor(0)`` is the position before the first payment.
    """

    index: int
    """Index of the newest payment."""
    open: tuple[int, ...] = ()
    """Indices up to ``index`` of payments that were undecided or not seen yet; ascending."""

    def __post_init__(self) -> None:
        # A cursor is often stored as JSON, which has no tuples.
        object.__setattr__(self, "open", tuple(self.open))


@dataclass(frozen=True, slots=True)
class PaymentUpdate:
    """A payment is under way, or is decided."""

    payment: PaymentRecord
    cursor: PaymentCursor
    """The subscriber's position after this update."""


@dataclass(eq=False, slots=True)
class _Subscriber:
    """One subscriber: passes each update on once, from the subscriber's starting point."""

    start: int
    """Payments up to this index are skipped if the list of payments shows them."""
    started_now: bool
    """Whether it subscribed without a cursor. If so, news of an unknown payment up to ``start`` are passed on."""
    newest: int
    """Index of the newest payment that was passed on."""
    queue: UpdateQueue[PaymentUpdate]
    undecided: dict[int, bool] = field(default_factory=dict)
    """Index of each undecided payment; true if it was passed on as under way."""
    decided: dict[int, None] = field(default_factory=dict)
    """Indices of payments that were passed on as decided, the newest last."""

    def offer(self, payment: PaymentRecord, *, is_news: bool) -> None:
        """Pass a record on, unless the subscriber has received it or starts after it.

        Args:
            payment: as the node shows it.
            is_news: whether a stream reported it. False: it was read from the list of payments.
        """
        index = payment.index
        is_known = index in self.undecided
        if index in self.decided or (index <= self.start and not is_known and not (is_news and self.started_now)):
            return
        if payment.state.is_final:
            self.undecided.pop(index, None)
            self.decided[index] = None
            if len(self.decided) > _REMEMBERED_DECIDED:
                forgotten = next(iter(self.decided))
                del self.decided[forgotten]
                # Every payment up to this one is decided, or is among the undecided.
                self.start = max(self.start, forgotten)
        elif self.undecided.get(index):
            return
        else:
            self.undecided[index] = True
        if index > self.newest:
            for missing in range(max(self.newest + 1, index - _LATE), index):
                self.undecided.setdefault(missing, False)
            self.newest = index
        self.queue.put(PaymentUpdate(payment, PaymentCursor(self.newest, tuple(sorted(self.undecided)))))


@dataclass(frozen=True, slots=True)
class PaymentListener:
    """Callbacks for what the streams report, independent of subscribers."""

    received: Callable[[PaymentRecord], None] = lambda _: None
    """Called with every record of a payment, repeated ones included."""
    missed: Callable[[], None] = lambda: None
    """Called when the shared stream may have left something out."""
    send_ended: Callable[[bytes], None] = lambda _: None
    """Called with the hash of a payment whose own stream has ended, even if its outcome was not reported."""
    sending: Callable[[bytes], None] = lambda _: None
    """Called with the hash of a payment before it is sent."""


class PaymentFeed:
    """Reports the node's payments to subscribers and to one listener.

    The shared stream is open while it has a subscriber or another user, and for a moment after that. If the
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
        self.listener = PaymentListener()
        """Gets every record that arrives."""
        self._subscribers: set[_Subscriber] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._shared = ReconnectingStream("the stream of payments", self._read_stream, self._tasks, min(pause, _LINGER))
        self._listing = ReconnectingStream("the list of payments", self._read_list_in_turn, self._tasks)
        self._look_now = asyncio.Event()
        self._is_live = False
        self._is_listed = False
        """Whether the list was read after the stream was live, so that nothing before the next news is missing."""
        self._early: dict[int, PaymentRecord] = {}
        self._sends: dict[bytes, asyncio.Task[None]] = {}
        self._newest: BoundedDict[bytes, PaymentRecord] = BoundedDict(_REMEMBERED)

    # The streams of payments that this client sends.

    def sending(self, payment_hash: bytes) -> None:
        """Note that this payment is about to be sent."""
        self.listener.sending(payment_hash)

    @property
    def open_sends(self) -> int:
        """Number of sent payments whose own stream is open."""
        return len(self._sends)

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
        self._tasks.add(reader)
        reader.add_done_callback(partial(self._send_ended, first.payment_hash, rest))
        # A hash that was sent again is the newest; the stream of the earlier send may never end.
        if (earlier := self._sends.pop(first.payment_hash, None)) is not None:
            earlier.cancel()
        self._sends[first.payment_hash] = reader
        if len(self._sends) > self._max_sends:
            self._sends.pop(next(iter(self._sends))).cancel()
        self._report_sent(first)

    def is_followed(self, payment_hash: bytes) -> bool:
        """Whether the stream on which this payment was sent is still read."""
        return payment_hash in self._sends

    def newest_sent(self, payment_hash: bytes) -> PaymentRecord | None:
        """The newest record of a payment that is followed, or that was followed and succeeded recently.

        It is what the node last reported, unless the connection has died unnoticed.
        """
        return self._newest.get(payment_hash)

    def _report_sent(self, payment: PaymentRecord) -> None:
        self._newest.pop(payment.payment_hash, None)
        self._newest[payment.payment_hash] = payment
        self.report(payment)

    def _send_ended(self, payment_hash: bytes, rest: LndStream, reader: asyncio.Task[None]) -> None:
        self._tasks.discard(reader)
        # Not closed in the task, which may have been cancelled before it started.
        rest.close()
        if not reader.cancelled() and (error := reader.exception()) is not None:
            LOG.info("the stream of a sent payment broke; its outcome is looked up instead: %s", error)
        if self._sends.get(payment_hash) is reader:
            del self._sends[payment_hash]
        newest = self._newest.get(payment_hash)
        if payment_hash not in self._sends and newest is not None and newest.state is not PaymentState.SUCCEEDED:
            del self._newest[payment_hash]
        self.listener.send_ended(payment_hash)

    # The shared stream.

    def keep_open(self, user: Callable[[Layer2Error], None], is_needed: bool) -> None:
        """Open the shared stream for this user, or close it soon if no other user needs it.

        Args:
            user: called when the stream cannot be opened again.
            is_needed: whether to open it.
        """
        if is_needed:
            self._shared.join(user)
        else:
            self._shared.leave(user)

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
            subscriber = _Subscriber(newest, True, newest, queue)
        else:
            subscriber = _Subscriber(after.index, False, after.index, queue, dict.fromkeys(after.open, True))
        self._subscribers.add(subscriber)
        self._is_listed = False
        self._shared.join(queue.fail)
        self._listing.stop()
        self._listing.join(queue.fail)
        try:
            while True:
                yield await queue.next()
        finally:
            self._subscribers.discard(subscriber)
            if not self._subscribers:
                self._early.clear()
            self._listing.leave(queue.fail)
            self._shared.leave(queue.fail)

    def report(self, payment: PaymentRecord) -> None:
        """Report a record that the node has just sent. Subscribers get it after everything that comes before it."""
        self.listener.received(payment)
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
        """Close all streams; all its users get the error that the client was closed."""
        self._shared.fail(closed_error())
        self._listing.fail(closed_error())
        for reader in self._sends.values():
            reader.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _read_stream(self) -> None:
        self._is_live = False
        self._may_have_missed()
        try:
            async with (
                time_limit(asyncio.timeout(_LIFE)) as limit,
                self._rest.stream("/v2/router/payments") as messages,
            ):
                async for message in messages:
                    self._shared.received()
                    if not self._is_live:
                        self._is_live = True
                        self._may_have_missed()
                    self.report(read_payment(message))
            if limit.expired():
                self._shared.received()
        finally:
            self._is_live = False

    def _may_have_missed(self) -> None:
        self._is_listed = False
        self._look_now.set()
        self.listener.missed()

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
            async with time_limit(asyncio.timeout(None if self._is_live else pause)) as limit:
                await self._look_now.wait()
            if limit.expired():
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
                    continue
                # There is no such payment: the hash was sent again under another index, or was never stored.
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
        self.listener.received(payment)
        self._offer(payment, is_news=False)

    def _offer(self, payment: PaymentRecord, *, is_news: bool) -> None:
        for subscriber in list(self._subscribers):
            subscriber.offer(payment, is_news=is_news)
