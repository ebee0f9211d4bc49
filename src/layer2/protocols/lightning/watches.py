"""Waiting for what becomes of many hashes at once, for the price of a few streams and paced look-ups."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections import deque
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from aiolimiter import AsyncLimiter

from layer2.errors import Layer2Error
from layer2.ports.clock import Clock
from layer2.protocols.lightning.invoices.feed import InvoiceFeed
from layer2.protocols.lightning.invoices.hold_streams import HoldStreams
from layer2.protocols.lightning.invoices.invoices import Invoices
from layer2.protocols.lightning.invoices.records import InvoiceRecord, InvoiceState
from layer2.protocols.lightning.lnd.failures import closed_error
from layer2.protocols.lightning.lnd.outlet import Cell
from layer2.protocols.lightning.lnd.rest import LndRest
from layer2.protocols.lightning.payments.feed import PaymentFeed
from layer2.protocols.lightning.payments.payments import Payments, SendListener
from layer2.protocols.lightning.payments.records import PaymentRecord
from layer2.protocols.lightning.settings import LightningSettings

__all__ = ["HashWatches", "Word", "seconds_to_next_look"]

_AT_ONCE: Final = 4
"""Look-ups under way at a time."""
_TURNS_PER_SECOND: Final = 50
"""Most look-ups in a second besides the first of each hash."""
_LONGEST_TURN: Final = 60.0
"""Seconds from a look-up to the next one of the same hash; streams tell sooner."""
_EXPIRY_SECONDS: Final = 1
"""How long after its expiry an invoice is looked up: lnd cancels it at once."""
_RANK: Final = {
    InvoiceState.OPEN: 0,
    InvoiceState.ACCEPTED: 1,
    InvoiceState.SETTLED: 2,
    InvoiceState.CANCELED: 2,
}


@dataclass(frozen=True, slots=True)
class Word:
    """What the node knows of a hash."""

    payment: PaymentRecord | None
    """Its own payment with that hash; not looked at where it made an invoice."""
    invoice: InvoiceRecord | None
    """Its own invoice with that hash; not asked for again where there is a payment."""

    @property
    def is_last(self) -> bool:
        """Whether nothing can follow it."""
        if self.payment is not None:
            return self.payment.preimage is not None
        return self.invoice is not None and self.invoice.state.is_final


_NOTHING: Final = Word(None, None)


@dataclass(eq=False, slots=True)
class _Watched:
    """One hash, and all who wait for it."""

    payment_hash: bytes
    word: Word = _NOTHING
    is_read: bool = False
    """Whether the word is the node's, and not only what was there before anyone asked."""
    turn: int = 0
    """Look-ups since something was last told, or may have been missed."""
    due: float = 0.0
    cells: set[Cell[Word]] = field(default_factory=set)

    def tell(self, word: Word) -> bool:
        """Hand the word to everybody; False where it says nothing new."""
        if self.is_read and word == self.word:
            return False
        self.word, self.is_read = word, True
        for cell in self.cells:
            cell.put(word)
        return True


class HashWatches:
    """Tells any number of subscribers what becomes of the hashes that they watch: each the newest word only.

    Words come from the streams of invoices and payments, from a stream of its own for each invoice that may be held as
    long as there is room, and from look-ups: when a hash is first watched, when a stream may have missed something,
    after an invoice has expired, and in turn, at a pace that does not grow with the number of hashes.

    Args:
        rest: the way to the node.
        invoices: looks invoices up.
        payments: looks payments up.
        invoice_feed: tells of invoices.
        payment_feed: tells of payments.
        settings: the limit on streams, and the interval of look-ups.
        clock: this machine's.
    """

    def __init__(
        self,
        rest: LndRest,
        invoices: Invoices,
        payments: Payments,
        invoice_feed: InvoiceFeed,
        payment_feed: PaymentFeed,
        settings: LightningSettings,
        clock: Clock,
    ) -> None:
        self._invoices = invoices
        self._payments = payments
        self._invoice_feed = invoice_feed
        self._payment_feed = payment_feed
        self._interval = settings.poll_interval_seconds
        self._clock = clock
        self._holds = HoldStreams(rest, settings.max_hold_streams, self._heard_invoice, self._failed_one)
        self._watched: dict[bytes, _Watched] = {}
        self._of_invoices: set[bytes] = set()
        self._of_payments: set[bytes] = set()
        self._unread: deque[_Watched] = deque()
        self._turns: list[tuple[float, int, _Watched]] = []
        self._numbers = itertools.count()
        self._pace = AsyncLimiter(1, 1 / _TURNS_PER_SECOND)
        self._change = asyncio.Event()
        self._running: asyncio.Task[None] | None = None
        self._looking: set[asyncio.Task[None]] = set()
        payments.listen(SendListener(self._heard_payment, self._ended_sending))

    async def words(self, payment_hash: bytes) -> AsyncGenerator[Word, None]:
        """Hand out what the node knows now, and then each time the newest of what it says; ends after the last word.

        Raises:
            NodeError: the node refuses, or the client was closed. While it is only unreachable, this waits.
        """
        with self._listening(payment_hash) as cell:
            while True:
                word = await cell.next()
                yield word
                if word.is_last:
                    return

    async def aclose(self) -> None:
        """End it; who waits is told that the client was closed."""
        tasks = [*self._looking] if self._running is None else [*self._looking, self._running]
        self._failed(closed_error())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._running = None
        await self._holds.aclose()

    @contextmanager
    def _listening(self, payment_hash: bytes) -> Iterator[Cell[Word]]:
        watched = self._watched.get(payment_hash)
        if watched is None:
            watched = self._watched[payment_hash] = _Watched(payment_hash)
            heard = self._payments.heard(payment_hash)
            if heard is None:
                self._unread.append(watched)
            else:
                watched.word, watched.is_read = Word(heard, None), True
            self._follow(watched)
        cell: Cell[Word] = Cell()
        watched.cells.add(cell)
        if watched.is_read:
            cell.put(watched.word)
            # What no stream tells is seen soon by who comes later too.
            watched.turn = 0
            self._schedule(watched)
        self._change.set()
        if self._running is None:
            self._running = asyncio.get_running_loop().create_task(self._run())
        try:
            yield cell
        finally:
            watched.cells.discard(cell)
            if not watched.cells and self._watched.get(payment_hash) is watched:
                self._forget(watched)

    def _forget(self, watched: _Watched) -> None:
        del self._watched[watched.payment_hash]
        self._follow(watched)
        if not self._watched and self._running is not None:
            self._running.cancel()
            self._running = None
            for task in self._looking:
                task.cancel()
            self._unread.clear()
            self._turns.clear()

    def _follow(self, watched: _Watched) -> None:
        """Listen to the streams that can tell something of it, and to no others."""
        payment_hash, word = watched.payment_hash, watched.word
        is_wanted = payment_hash in self._watched and not word.is_last
        if is_wanted and word.payment is None:
            if not self._of_invoices:
                self._invoice_feed.listen(self._heard_invoice, self._failed)
            self._of_invoices.add(payment_hash)
        elif payment_hash in self._of_invoices:
            self._of_invoices.discard(payment_hash)
            if not self._of_invoices:
                self._invoice_feed.leave(self._heard_invoice)
        is_told = self._payments.is_followed(payment_hash)
        if is_wanted and (word.payment is not None or word.invoice is None) and not is_told:
            if not self._of_payments:
                self._payment_feed.listen(self._heard_payment, self._missed_payments, self._failed)
            self._of_payments.add(payment_hash)
        elif payment_hash in self._of_payments:
            self._of_payments.discard(payment_hash)
            if not self._of_payments:
                self._payment_feed.leave(self._heard_payment)
        if is_wanted and word.payment is None and word.invoice is not None and word.invoice.is_hold:
            self._holds.want(payment_hash)
        else:
            self._holds.drop(payment_hash)

    def _heard_payment(self, payment: PaymentRecord) -> None:
        watched = self._watched.get(payment.payment_hash)
        if watched is None or (watched.word.invoice is not None and watched.word.invoice.is_own):
            return
        if _is_newer_payment(payment, watched.word.payment):
            self._take(watched, Word(payment, watched.word.invoice))

    def _ended_sending(self, payment_hash: bytes) -> None:
        """From now on the stream of all payments has to tell of it; what came before that is looked up."""
        watched = self._watched.get(payment_hash)
        if watched is not None and not watched.word.is_last:
            self._follow(watched)
            self._unread.append(watched)
            self._change.set()

    def _heard_invoice(self, invoice: InvoiceRecord) -> None:
        watched = self._watched.get(invoice.payment_hash)
        if watched is not None and _is_newer_invoice(invoice, watched.word.invoice):
            self._take(watched, Word(None if invoice.is_own else watched.word.payment, invoice))

    def _take(self, watched: _Watched, word: Word) -> None:
        if watched.tell(word):
            watched.turn = 0
            self._follow(watched)
            self._schedule(watched)

    def _missed_payments(self) -> None:
        for payment_hash in self._of_payments:
            watched = self._watched[payment_hash]
            watched.turn = 0
            self._schedule(watched)

    def _failed(self, error: Layer2Error) -> None:
        """Nothing more will come, for nobody."""
        self._of_invoices.clear()
        self._of_payments.clear()
        self._invoice_feed.leave(self._heard_invoice)
        self._payment_feed.leave(self._heard_payment)
        for payment_hash in list(self._watched):
            self._failed_one(payment_hash, error)

    def _failed_one(self, payment_hash: bytes, error: Layer2Error) -> None:
        watched = self._watched.get(payment_hash)
        if watched is not None:
            self._forget(watched)
            for cell in watched.cells:
                cell.fail(error)

    def _schedule(self, watched: _Watched) -> None:
        """Say when it is to be looked up again."""
        if watched.word.is_last or self._watched.get(watched.payment_hash) is not watched:
            return
        seconds = seconds_to_next_look(
            watched.word,
            watched.turn,
            interval=self._interval,
            now=self._clock.now(),
            has_stream=self._holds.has_stream(watched.payment_hash),
        )
        watched.due = asyncio.get_running_loop().time() + seconds
        heapq.heappush(self._turns, (watched.due, next(self._numbers), watched))
        self._change.set()

    async def _run(self) -> None:
        """Start look-ups: the first of each hash as soon as there is room, the others when they are due."""
        self._change, self._pace = asyncio.Event(), AsyncLimiter(1, 1 / _TURNS_PER_SECOND)
        while True:
            watched = await self._next()
            while len(self._looking) >= _AT_ONCE:
                await asyncio.wait(self._looking, return_when=asyncio.FIRST_COMPLETED)
            task = asyncio.get_running_loop().create_task(self._look_up(watched))
            self._looking.add(task)
            task.add_done_callback(self._looked)

    async def _next(self) -> _Watched:
        loop = asyncio.get_running_loop()
        while True:
            self._change.clear()
            while self._unread:
                watched = self._unread.popleft()
                if self._watched.get(watched.payment_hash) is watched:
                    return watched
            while self._turns and not self._is_due_once(*self._turns[0]):
                heapq.heappop(self._turns)
            due = self._turns[0][0] if self._turns else None
            if due is not None and due <= loop.time() and self._pace.has_capacity():
                await self._pace.acquire()
                return heapq.heappop(self._turns)[2]
            if due is not None:
                due = max(due, loop.time() + 1 / _TURNS_PER_SECOND)
            try:
                async with asyncio.timeout_at(due):
                    await self._change.wait()
            except TimeoutError:
                pass

    def _is_due_once(self, due: float, _: int, watched: _Watched) -> bool:
        return watched.due == due and self._watched.get(watched.payment_hash) is watched

    async def _look_up(self, watched: _Watched) -> None:
        payment_hash = watched.payment_hash
        try:
            payment = invoice = None
            if watched.word.invoice is None or watched.word.payment is not None:
                payment = await self._payments.find(payment_hash)
            if watched.word.payment is None:
                invoice = await self._invoices.find(payment_hash)
        except Layer2Error as error:
            if not error.retryable:
                self._failed_one(payment_hash, error)
                return
        else:
            if invoice is not None and (payment is None or invoice.is_own):
                self._heard_invoice(invoice)
            elif payment is not None:
                self._heard_payment(payment)
            elif not watched.is_read:
                watched.tell(_NOTHING)
        watched.turn += 1
        self._schedule(watched)

    def _looked(self, task: asyncio.Task[None]) -> None:
        self._looking.discard(task)
        if not task.cancelled():
            # What is wrong in here must not stay unseen: nobody would be told anything more.
            task.result()


def seconds_to_next_look(word: Word, turn: int, *, interval: float, now: float, has_stream: bool) -> float:
    """How long after a look-up the same hash is looked up again.

    Args:
        word: what is known of it.
        turn: look-ups since something was last told, or may have been missed.
        interval: seconds to the first of them, and between those of what only look-ups tell.
        now: unix seconds.
        has_stream: whether a stream of its own tells of it.
    """
    seconds = min(interval * 2.0**turn, max(_LONGEST_TURN, interval))
    invoice = word.invoice
    if word.payment is not None or invoice is None:
        return seconds
    if invoice.is_hold and not has_stream:
        return interval
    left = invoice.expires_at + _EXPIRY_SECONDS - now
    if invoice.state is InvoiceState.OPEN and left > 0:
        seconds = min(seconds, max(left, interval))
    return seconds


def _is_newer_payment(new: PaymentRecord, old: PaymentRecord | None) -> bool:
    """Whether it may take the place of what was known: what is decided stays so, until the hash is sent again."""
    if old is None or new.index != old.index:
        return old is None or (new.index > old.index and old.preimage is None)
    return not old.state.is_final


def _is_newer_invoice(new: InvoiceRecord, old: InvoiceRecord | None) -> bool:
    """Whether it may take the place of what was known: no state is left for one before it."""
    return old is None or (not old.state.is_final and _RANK[new.state] >= _RANK[old.state])
