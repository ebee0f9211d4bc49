"""Payments as they begin and end: one stream of the node for all who listen, without gap or repeat.

lnd's stream begins with the payments that are under way, and says nothing of those that ended before; nor can be seen
when it has begun, because its HTTP headers come with its first message only. So what it may have missed is read from
the list of payments: at the beginning, with that first message, and from time to time until then. What is told
meanwhile waits for that: no subscriber's cursor may pass over what it was not told.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from typing import Final

from layer2.errors import Layer2Error
from layer2.protocols.lightning.lnd.failures import closed_error
from layer2.protocols.lightning.lnd.lasting import LastingRead
from layer2.protocols.lightning.lnd.outlet import Outlet
from layer2.protocols.lightning.lnd.rest import LndRest
from layer2.protocols.lightning.payments.records import PaymentRecord, read_payment

__all__ = ["PaymentCursor", "PaymentFeed", "PaymentUpdate"]

_LIFE: Final = 600.0
"""Seconds after which the stream is opened again: a connection that died without a word is noticed by then."""
_LINGER: Final = 2.0
"""Seconds for which the stream may be kept for the next who listens."""
_PAGE: Final = 100
_LONGEST_PAUSE: Final = 30.0
"""Seconds between looks at the list while it is not certain that the stream is open."""
_REMEMBERED: Final = 4096
"""Newest payments that a subscriber is known to have been told the end of."""
_LATE: Final = 32
"""Numbers below a new payment's that may still come: lnd gives them out before it writes them down."""
_MOST_EARLY: Final = 10_000
"""Payments kept that were told of before the list was read; the list has them too."""


@dataclass(frozen=True, slots=True)
class PaymentCursor:
    """How far someone has read: to be stored with what the update led to, and given to begin after it.

    ``PaymentCursor(0)`` is the beginning of all.
    """

    index: int
    """The newest payment's."""
    open: tuple[int, ...] = ()
    """Those up to it that were not decided, or not seen yet; ascending."""

    def __post_init__(self) -> None:
        # JSON, in which cursors are likely to be kept, has no tuples.
        object.__setattr__(self, "open", tuple(self.open))


@dataclass(frozen=True, slots=True)
class PaymentUpdate:
    """A payment has begun, or is decided."""

    payment: PaymentRecord
    cursor: PaymentCursor
    """Of this subscriber, after this update."""


@dataclass(eq=False, slots=True)
class _Subscriber:
    """Who takes every update, from where it began."""

    begun: int
    """Up to this index the list tells it nothing."""
    takes_older: bool
    """Whether it is told what becomes of a payment up to there that it does not know: it began now."""
    newest: int
    outlet: Outlet[PaymentUpdate]
    undecided: dict[int, bool] = field(default_factory=dict)
    """Index, and whether it was handed out as under way."""
    decided: dict[int, None] = field(default_factory=dict)
    """The newest indices of which the end was handed out, in that order."""

    def offer(self, payment: PaymentRecord, *, is_news: bool) -> None:
        index = payment.index
        is_known = index in self.undecided
        if index in self.decided or (index <= self.begun and not is_known and not (is_news and self.takes_older)):
            return
        if payment.state.is_final:
            self.undecided.pop(index, None)
            self.decided[index] = None
            if len(self.decided) > _REMEMBERED:
                forgotten = next(iter(self.decided))
                del self.decided[forgotten]
                # All up to there are decided, or known not to be.
                self.begun = max(self.begun, forgotten)
        elif self.undecided.get(index):
            return
        else:
            self.undecided[index] = True
        if index > self.newest:
            for missing in range(max(self.newest + 1, index - _LATE), index):
                self.undecided.setdefault(missing, False)
            self.newest = index
        self.outlet.put(PaymentUpdate(payment, PaymentCursor(self.newest, tuple(sorted(self.undecided)))))


class PaymentFeed:
    """Tells of the node's payments, by one stream that is open while someone listens, and for a moment after.

    Args:
        rest: the way to the node.
        pause: seconds between the first looks at the list.
    """

    def __init__(self, rest: LndRest, pause: float) -> None:
        self._rest = rest
        self._pause = pause
        self._subscribers: set[_Subscriber] = set()
        self._listeners: dict[Callable[[PaymentRecord], None], _Listener] = {}
        self._streaming = LastingRead("the stream of payments", self._read_stream, self._fail)
        self._listing = LastingRead("the list of payments", self._read_list_in_turn, self._fail)
        self._look_now = asyncio.Event()
        self._is_live = False
        self._is_listed = False
        """Whether the list was read after the stream was live: then nothing before the next news is missing."""
        self._early: dict[int, PaymentRecord] = {}

    def told(self, payment: PaymentRecord) -> None:
        """Hand out what was said elsewhere, by the node, of one of its payments."""
        self._hear(payment)

    async def updates(self, after: PaymentCursor | None) -> AsyncGenerator[PaymentUpdate, None]:
        """Hand out each payment twice: when it is under way, and when it is decided; or once, where it was quick.

        Args:
            after: a cursor, to begin after it; None begins now.

        Raises:
            NodeError: the node refuses, or the client was closed. While it is only unreachable, this waits.
            AsyncRuntimeError: more updates were left than are kept.
        """
        outlet: Outlet[PaymentUpdate] = Outlet("begin again after the cursor of the last update")
        if after is None:
            page = await self._page("reversed=true&max_payments=1")
            newest = page[-1].index if page else 0
            subscriber = _Subscriber(newest, True, newest, outlet)
        else:
            undecided = dict.fromkeys(after.open, True)
            subscriber = _Subscriber(after.index, False, after.index, outlet, undecided)
        self._subscribers.add(subscriber)
        self._is_listed = False
        self._listing.restart()
        self._start()
        try:
            while True:
                yield await outlet.next()
        finally:
            self._subscribers.discard(subscriber)
            self._end_if_unheard()

    def listen(
        self,
        heard: Callable[[PaymentRecord], None],
        missed: Callable[[], None],
        failed: Callable[[Layer2Error], None],
    ) -> None:
        """Call ``heard`` with each record from now on, repeated ones among them, until ``leave`` or ``failed``.

        Args:
            heard: hears the records.
            missed: called whenever something may have ended before it could be heard of.
            failed: hears why nothing more will come.
        """
        self._listeners[heard] = _Listener(missed, failed)
        self._start()

    def leave(self, heard: Callable[[PaymentRecord], None]) -> None:
        """Stop calling it."""
        self._listeners.pop(heard, None)
        self._end_if_unheard()

    async def aclose(self) -> None:
        """End the stream; who listens is told that the client was closed."""
        self._fail(closed_error())
        await self._streaming.aclose()
        await self._listing.aclose()

    def _start(self) -> None:
        self._streaming.start()
        if self._subscribers:
            self._listing.start()

    def _end_if_unheard(self) -> None:
        if not self._subscribers:
            self._listing.stop()
            self._early.clear()
            if not self._listeners:
                # Who waits in pieces comes back at once.
                self._streaming.stop_after(min(self._pause, _LINGER))

    def _fail(self, error: Layer2Error) -> None:
        self._streaming.stop()
        self._listing.stop()
        listeners, self._listeners = self._listeners, {}
        for subscriber in self._subscribers:
            subscriber.outlet.fail(error)
        for listener in listeners.values():
            listener.failed(error)

    async def _read_stream(self) -> None:
        self._is_live = False
        self._may_have_missed()
        limit = asyncio.timeout(_LIFE)
        try:
            async with (
                limit,
                self._rest.stream("GET", "/v2/router/payments", watch=True) as messages,
            ):
                async for message in messages:
                    self._streaming.lasts()
                    if not self._is_live:
                        self._is_live = True
                        self._may_have_missed()
                    self._hear(read_payment(message))
        except TimeoutError:
            if not limit.expired():
                raise
            self._streaming.lasts()
        finally:
            self._is_live = False

    def _may_have_missed(self) -> None:
        self._is_listed = False
        self._look_now.set()
        for listener in list(self._listeners.values()):
            listener.missed()

    async def _read_list_in_turn(self) -> None:
        """Read the list whenever something may have been missed, and more and more rarely while that is uncertain."""
        pause = self._pause
        self._look_now = asyncio.Event()
        while True:
            if self._look_now.is_set():
                pause = self._pause
            self._look_now.clear()
            await self._read_list()
            self._listing.lasts()
            if not self._look_now.is_set():
                self._hand_out_early()
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
                self._hand_out(payment, is_news=False)
            if len(page) < _PAGE:
                break
            after = page[-1].index
        for index in sorted(undecided):
            for payment in await self._page(f"index_offset={index - 1}&max_payments=1"):
                if payment.index == index:
                    self._hand_out(payment, is_news=False)
                else:
                    self._forget(index)

    def _forget(self, index: int) -> None:
        """There is no payment with that number: it was sent again under another one, or never got any further."""
        for subscriber in self._subscribers:
            subscriber.undecided.pop(index, None)

    async def _page(self, query: str) -> list[PaymentRecord]:
        answer = await self._rest.get(f"/v1/payments?include_incomplete=true&omit_hops=true&{query}")
        return [read_payment(payment) for payment in answer.fields.objects("payments")]

    def _hear(self, payment: PaymentRecord) -> None:
        """Hand out news, to subscribers as soon as all that comes before it was handed out."""
        if self._is_live and self._is_listed:
            self._hand_out(payment, is_news=True)
            return
        for heard in list(self._listeners):
            heard(payment)
        if self._subscribers:
            if len(self._early) == _MOST_EARLY:
                self._early.clear()
                self._look_now.set()
            self._early[payment.index] = payment
            if not self._is_live:
                # Nothing says that the list is to be read now, but this.
                self._look_now.set()

    def _hand_out_early(self) -> None:
        self._is_listed = True
        early, self._early = self._early, {}
        for _, payment in sorted(early.items()):
            for subscriber in list(self._subscribers):
                subscriber.offer(payment, is_news=True)

    def _hand_out(self, payment: PaymentRecord, *, is_news: bool) -> None:
        for heard in list(self._listeners):
            heard(payment)
        for subscriber in list(self._subscribers):
            subscriber.offer(payment, is_news=is_news)


@dataclass(frozen=True, slots=True)
class _Listener:
    missed: Callable[[], None]
    failed: Callable[[Layer2Error], None]
