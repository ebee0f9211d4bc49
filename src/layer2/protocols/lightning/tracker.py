"""The status of payment hashes: read once, or followed for many hashes at once with few streams and paced look-ups."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from typing import Final

from layer2.aio.time_limit import time_limit
from layer2.errors import Layer2Error
from layer2.legs.views import Side
from layer2.ports.clock import Clock
from layer2.protocols.lightning.invoices.feed import InvoiceFeed
from layer2.protocols.lightning.invoices.hold_streams import HoldListener
from layer2.protocols.lightning.invoices.invoices import Invoices
from layer2.protocols.lightning.invoices.records import InvoiceRecord
from layer2.protocols.lightning.lnd.failures import closed_error
from layer2.protocols.lightning.payments.feed import PaymentFeed, PaymentListener
from layer2.protocols.lightning.payments.payments import Payments
from layer2.protocols.lightning.payments.records import PaymentRecord
from layer2.protocols.lightning.statuses import HashStatus
from layer2.protocols.lightning.tracked import (
    TrackedHash,
    is_newer_invoice,
    is_newer_payment,
    seconds_to_next_look_up,
)

__all__ = ["HashTracker"]

_CONCURRENT: Final = 4
"""Look-ups under way at a time."""
_SPACING: Final = 1 / 50
"""Seconds between repeated look-ups, over all hashes. The first look-up of each hash does not wait for it."""
_FIRST_SECONDS: Final = 1.0
"""Seconds to wait for the first message of an invoice's own stream before the invoice is looked up instead."""
_STEADY: Final = 30
"""Look-ups after which the pause between them is the longest one."""
_NOW: Final = 0.0
"""The time of a look-up that does not wait for its turn."""
_NOTHING: Final = HashStatus(None, None)


class HashTracker:
    """Determines the status of payment hashes for any number of followers.

    News come from the streams of payments and invoices, and from look-ups: when a hash is first followed, when a stream
    may have missed something, after an invoice has expired, and in turn, at a rate that does not grow with the number
    of hashes.

    Args:
        invoices: looks invoices up.
        payments: looks payments up.
        invoice_feed: the streams of invoices.
        payment_feed: the streams of payments.
        interval: seconds between look-ups of what no stream reports.
        clock: this machine's clock.
    """

    def __init__(
        self,
        invoices: Invoices,
        payments: Payments,
        invoice_feed: InvoiceFeed,
        payment_feed: PaymentFeed,
        interval: float,
        clock: Clock,
    ) -> None:
        self._invoices = invoices
        self._payments = payments
        self._invoice_feed = invoice_feed
        self._holds = invoice_feed.holds
        self._payment_feed = payment_feed
        self._interval = interval
        self._clock = clock
        self._tracked: dict[bytes, TrackedHash] = {}
        self._queue: list[tuple[float, int, TrackedHash]] = []
        self._numbers = itertools.count()
        self._not_before = 0.0
        self._change = asyncio.Event()
        self._running: asyncio.Task[None] | None = None
        self._looking: set[asyncio.Task[None]] = set()
        invoice_feed.listener = self.learn_invoice
        invoice_feed.holds.listener = HoldListener(self.learn_invoice, self._hold_lost, self._failed)
        payment_feed.listener = PaymentListener(
            self.learn_payment, self._missed_payments, self._send_ended, self.expect_payment
        )

    async def read(self, payment_hash: bytes) -> HashStatus:
        """Ask the node for the status now.

        Raises:
            NodeError: the node did not answer, or refused.
        """
        invoice = await self._invoices.find(payment_hash)
        is_paid = invoice is not None and invoice.is_own
        return HashStatus(None if is_paid else await self._payments.find(payment_hash), invoice)

    async def follow(self, payment_hash: bytes) -> AsyncGenerator[HashStatus, None]:
        """Yield the status now, and each time the newest one after a change; end after the last possible one.

        Raises:
            NodeError: an error that a retry cannot cure, or the client was closed. An unreachable node is waited for.
        """
        with self._following(payment_hash) as tracked:
            seen = 0
            while True:
                seen = await tracked.next(seen)
                status = tracked.status
                yield status
                if status.is_last:
                    return

    async def aclose(self) -> None:
        """Stop. Followers get the error that the client was closed."""
        tasks = [*self._looking] if self._running is None else [*self._looking, self._running]
        for payment_hash in list(self._tracked):
            self._failed(payment_hash, closed_error())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._running = None

    def tracked(self, payment_hash: bytes) -> TrackedHash | None:
        """The hash with its newest status, if it is followed."""
        return self._tracked.get(payment_hash)

    @contextmanager
    def _following(self, payment_hash: bytes) -> Iterator[TrackedHash]:
        tracked = self.join(payment_hash, None)
        try:
            yield tracked
        finally:
            self.leave(tracked)

    def join(self, payment_hash: bytes, side: Side | None, read: tuple[HashStatus, float] | None = None) -> TrackedHash:
        """Follow a hash until ``leave``.

        Args:
            payment_hash: 32 bytes.
            side: of the leg whose record is followed; None for all records of the hash.
            read: what the node has just answered about this side, and when it was asked, by the clock of the event
                loop; None if it was not asked.
        """
        tracked = self._tracked.get(payment_hash)
        if tracked is not None and tracked.error is not None:
            # A slow follower has not taken the error yet. A new one asks the node again.
            self._forget(tracked)
            tracked = None
        if tracked is None:
            tracked = self._tracked[payment_hash] = TrackedHash(payment_hash, side)
            self._begin(tracked, read)
        elif tracked.side not in (None, side):
            tracked.side = None
            self._enqueue(tracked, _NOW)
            self._choose_streams(tracked)
        tracked.followers += 1
        if tracked.updates and side is None:
            # A later follower also gets news that no stream reports without a long pause.
            tracked.looked_up = 0
            self._schedule(tracked)
        if self._running is None:
            self._running = asyncio.get_running_loop().create_task(self._run())
        return tracked

    def leave(self, tracked: TrackedHash) -> None:
        """End one ``join``."""
        tracked.followers -= 1
        if not tracked.followers and self._tracked.get(tracked.payment_hash) is tracked:
            self._forget(tracked)

    def _begin(self, tracked: TrackedHash, read: tuple[HashStatus, float] | None) -> None:
        sent = self._payment_feed.newest_sent(tracked.payment_hash) if tracked.asks_payments else None
        if sent is not None:
            tracked.update(HashStatus(sent, None))
        elif read is not None:
            status, tracked.payment_at = read
            tracked.invoice_at = tracked.payment_at
            tracked.update(status)
        self._choose_streams(tracked)
        if tracked.updates:
            if self._holds.has_stream(tracked.payment_hash):
                # It begins with the invoice as it is then, so nothing between the answer and the stream is missed.
                tracked.looked_up = _STEADY
            self._schedule(tracked)
        elif self._holds.has_stream(tracked.payment_hash):
            # The first message of this stream is the invoice.
            self._enqueue(tracked, asyncio.get_running_loop().time() + _FIRST_SECONDS)
        else:
            self._enqueue(tracked, _NOW)

    def _forget(self, tracked: TrackedHash) -> None:
        del self._tracked[tracked.payment_hash]
        self._choose_streams(tracked)
        if not self._tracked and self._running is not None:
            self._running.cancel()
            self._running = None
            for task in self._looking:
                task.cancel()
            self._queue.clear()

    def _choose_streams(self, tracked: TrackedHash) -> None:
        """Keep the streams open that can report on this hash, and no others."""
        payment_hash, invoice = tracked.payment_hash, tracked.status.invoice
        is_paid_to = self._is_open(tracked) and tracked.asks_invoices and tracked.status.payment is None
        # The invoice of a leg is always one that is held.
        is_hold = tracked.side is Side.PAYEE if invoice is None else invoice.is_hold
        if is_paid_to and is_hold:
            self._holds.follow(payment_hash, 0 if invoice is None else invoice.add_index)
        else:
            self._holds.leave(payment_hash)
        # A leg's invoice has a stream or is in the list of those that wait for one, which report more.
        self._invoice_feed.keep_open(tracked.fail, is_paid_to and tracked.side is not Side.PAYEE)
        self._payment_feed.keep_open(tracked.fail, self._needs_payments(tracked))

    def _is_open(self, tracked: TrackedHash) -> bool:
        """Whether the hash is followed, and its status can change."""
        return self._tracked.get(tracked.payment_hash) is tracked and not tracked.status.is_last

    def _needs_payments(self, tracked: TrackedHash) -> bool:
        """Whether only the shared stream of payments can report on this hash soon."""
        can_be_paid = tracked.status.payment is not None or tracked.status.invoice is None
        is_asked = self._is_open(tracked) and tracked.asks_payments and not tracked.is_still
        return is_asked and can_be_paid and not self._payment_feed.is_followed(tracked.payment_hash)

    def learn_payment(self, payment: PaymentRecord, moment: float | None = None) -> None:
        """Take what a stream, a look-up or an act has shown.

        Args:
            payment: as the node shows it.
            moment: when the node was asked, by the clock of the event loop; None if it reports it now.
        """
        tracked = self._tracked.get(payment.payment_hash)
        if tracked is not None and tracked.asks_payments:
            self._learned(tracked, payment, None, asyncio.get_running_loop().time() if moment is None else moment)

    def learn_invoice(self, invoice: InvoiceRecord, moment: float | None = None) -> None:
        """As ``learn_payment``, for an invoice."""
        tracked = self._tracked.get(invoice.payment_hash)
        if tracked is not None and tracked.asks_invoices:
            self._learned(tracked, None, invoice, asyncio.get_running_loop().time() if moment is None else moment)

    def forget_invoice(self, payment_hash: bytes) -> None:
        """Note that the node has no invoice with that hash any longer."""
        tracked = self._tracked.get(payment_hash)
        if tracked is not None and tracked.status.invoice is not None:
            self._take(tracked, HashStatus(tracked.status.payment, None))

    def _learned(
        self, tracked: TrackedHash, payment: PaymentRecord | None, invoice: InvoiceRecord | None, moment: float
    ) -> None:
        known = tracked.status
        if invoice is not None:
            tracked.invoice_at = max(tracked.invoice_at, moment)
            if is_newer_invoice(invoice, known.invoice):
                self._take(tracked, HashStatus(None if invoice.is_own else known.payment, invoice))
        elif payment is not None and (known.invoice is None or not known.invoice.is_own):
            tracked.payment_at = max(tracked.payment_at, moment)
            if is_newer_payment(payment, known.payment):
                self._take(tracked, HashStatus(payment, known.invoice))

    def _take(self, tracked: TrackedHash, status: HashStatus) -> None:
        if tracked.update(status):
            tracked.looked_up = 0
            self._choose_streams(tracked)
            self._schedule(tracked)

    def _missed_payments(self) -> None:
        for tracked in filter(self._needs_payments, self._tracked.values()):
            tracked.looked_up = 0
            self._schedule(tracked)

    def expect_payment(self, payment_hash: bytes) -> None:
        """Note that the payment may have been sent: as long as the node shows none, it is asked each time."""
        tracked = self._tracked.get(payment_hash)
        if tracked is not None and not tracked.was_sent:
            tracked.was_sent = True
            tracked.looked_up = 0
            # The shared stream is opened with the first look-up, which most sends do not need.
            self._schedule(tracked)

    def _hold_lost(self, payment_hash: bytes) -> None:
        """Look the invoice up until its stream is open again and has shown it."""
        tracked = self._tracked.get(payment_hash)
        if tracked is not None:
            tracked.looked_up = 0
            self._schedule(tracked)

    def _send_ended(self, payment_hash: bytes) -> None:
        """Look the payment up, and follow it on the shared stream from now on."""
        tracked = self._tracked.get(payment_hash)
        if tracked is not None and not tracked.status.is_last:
            self._choose_streams(tracked)
            self._enqueue(tracked, _NOW)

    def _failed(self, payment_hash: bytes, error: Layer2Error) -> None:
        """Raise this error to all followers of a hash."""
        tracked = self._tracked.get(payment_hash)
        if tracked is not None:
            self._forget(tracked)
            tracked.fail(error)

    def _schedule(self, tracked: TrackedHash) -> None:
        """Set the time of the next look-up."""
        if not self._is_open(tracked) or tracked.due == _NOW:
            return
        payment_hash = tracked.payment_hash
        is_reported = self._holds.is_reported(payment_hash)
        is_steady = is_reported or tracked.is_still or self._payment_feed.is_followed(payment_hash)
        seconds = seconds_to_next_look_up(
            tracked.status,
            _STEADY if is_steady else tracked.looked_up,
            interval=self._interval,
            now=self._clock.now(),
            has_stream=is_reported or self._holds.has_stream(payment_hash),
        )
        self._enqueue(tracked, asyncio.get_running_loop().time() + seconds)

    def _enqueue(self, tracked: TrackedHash, due: float) -> None:
        tracked.due = due
        heapq.heappush(self._queue, (due, next(self._numbers), tracked))
        self._change.set()

    async def _run(self) -> None:
        """Start look-ups: the first of each hash as soon as there is room, the others when they are due."""
        self._change, self._not_before = asyncio.Event(), 0.0
        while True:
            tracked = await self._next()
            while len(self._looking) >= _CONCURRENT:
                await asyncio.wait(self._looking, return_when=asyncio.FIRST_COMPLETED)
            task = asyncio.get_running_loop().create_task(self._look_up(tracked))
            self._looking.add(task)
            task.add_done_callback(self._looked_up)

    async def _next(self) -> TrackedHash:
        """Wait for the next hash to look up."""
        loop = asyncio.get_running_loop()
        while True:
            self._change.clear()
            while self._queue and not self._is_valid(*self._queue[0]):
                heapq.heappop(self._queue)
            due = None
            if self._queue:
                due, _, tracked = self._queue[0]
                is_paced = due != _NOW
                due = max(due, self._not_before) if is_paced else due
                if due <= loop.time():
                    heapq.heappop(self._queue)
                    tracked.due = math.inf
                    self._not_before = loop.time() + _SPACING if is_paced else self._not_before
                    return tracked
            async with time_limit(asyncio.timeout_at(due)):
                await self._change.wait()

    def _is_valid(self, due: float, _: int, tracked: TrackedHash) -> bool:
        """Whether an entry of the queue was not replaced by a later one."""
        return tracked.due == due and self._tracked.get(tracked.payment_hash) is tracked

    async def _look_up(self, tracked: TrackedHash) -> None:
        payment_hash, known = tracked.payment_hash, tracked.status
        asked_at = asyncio.get_running_loop().time()
        try:
            payment = invoice = None
            if tracked.asks_payments and (known.invoice is None or known.payment is not None):
                payment = await self._payments.find(payment_hash)
            if tracked.asks_invoices and tracked.status.payment is None:
                invoice = await self._invoices.find(payment_hash)
        except Layer2Error as error:
            if not error.retryable:
                self._failed(payment_hash, error)
                return
        else:
            if invoice is not None and (payment is None or invoice.is_own):
                self._learned(tracked, None, invoice, asked_at)
            elif payment is not None:
                self._learned(tracked, payment, None, asked_at)
            else:
                tracked.payment_at = max(tracked.payment_at, asked_at)
                if not tracked.updates:
                    tracked.update(_NOTHING)
                self._choose_streams(tracked)
        tracked.looked_up += 1
        self._schedule(tracked)

    def _looked_up(self, task: asyncio.Task[None]) -> None:
        self._looking.discard(task)
        if not task.cancelled():
            # An exception here is a bug; it must be reported, because the hash gets no further news.
            task.result()
