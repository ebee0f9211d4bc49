"""The status of payment hashes: read once, or followed for many hashes at once with few streams and paced look-ups."""

from __future__ import annotations

import asyncio
import copy
import heapq
import itertools
import math
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from layer2.aio.time_limit import time_limit
from layer2.errors import Layer2Error
from layer2.ports.clock import Clock
from layer2.protocols.lightning.invoices.feed import InvoiceFeed, InvoiceListener
from layer2.protocols.lightning.invoices.invoices import Invoices
from layer2.protocols.lightning.invoices.records import InvoiceRecord, InvoiceState
from layer2.protocols.lightning.lnd.failures import closed_error
from layer2.protocols.lightning.payments.feed import PaymentFeed, PaymentListener
from layer2.protocols.lightning.payments.payments import Payments
from layer2.protocols.lightning.payments.records import PaymentRecord
from layer2.protocols.lightning.statuses import HashStatus

__all__ = ["HashTracker", "TrackedHash", "seconds_to_next_look_up"]

_CONCURRENT: Final = 4
"""Look-ups under way at a time."""
_SPACING: Final = 1 / 50
"""Seconds between repeated look-ups, over all hashes. The first look-up of each hash does not wait for it."""
_LONGEST_PAUSE: Final = 60.0
"""Seconds between look-ups of one hash. Streams report sooner."""
_EXPIRY_SECONDS: Final = 1
"""Seconds after the expiry of an invoice until its look-up. lnd cancels it at once and reports that on no stream."""
_NOW: Final = 0.0
"""The time of a look-up that does not wait for its turn."""
_NOTHING: Final = HashStatus(None, None)


@dataclass(eq=False, slots=True)
class TrackedHash:
    """One hash, its newest status, and the callers that follow it."""

    payment_hash: bytes
    status: HashStatus = _NOTHING
    updates: int = 0
    """Number of statuses so far; 0 until the node has been asked."""
    error: Layer2Error | None = None
    """Raised to every follower that has taken the newest status."""
    looked_up: int = 0
    """Look-ups since the last news, or since news may have been missed."""
    due: float = math.inf
    """Time of the next look-up, by the clock of the event loop, or ``_NOW``."""
    followers: int = 0
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def update(self, status: HashStatus) -> bool:
        """Set the status and wake all followers; return False if it is not new."""
        if self.updates and status == self.status:
            return False
        self.status = status
        self.updates += 1
        self._wake()
        return True

    def fail(self, error: Layer2Error) -> None:
        """Have every follower raise this error, after the newest status."""
        self.error = error
        self._wake()

    async def next(self, seen: int) -> int:
        """Wait for a newer status than the follower has seen.

        Args:
            seen: the number of updates when the follower last took the status; 0 at first.

        Returns:
            The number of updates now.

        Raises:
            Layer2Error: a copy of the error given to ``fail``, if there is no newer status.
        """
        while self.updates == seen:
            if self.error is not None:
                # Each follower gets a copy, because one error would mix their tracebacks.
                raise copy.copy(self.error) from self.error
            await self._changed.wait()
        return self.updates

    def _wake(self) -> None:
        self._changed.set()
        self._changed.clear()


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
        invoice_feed.listener = InvoiceListener(self._on_invoice, self._failed)
        payment_feed.listener = PaymentListener(self._on_payment, self._missed_payments, self._send_ended)

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

    @contextmanager
    def _following(self, payment_hash: bytes) -> Iterator[TrackedHash]:
        tracked = self._tracked.get(payment_hash)
        if tracked is not None and tracked.error is not None:
            # A slow follower has not taken the error yet. A new one asks the node again.
            self._forget(tracked)
            tracked = None
        if tracked is None:
            tracked = self._tracked[payment_hash] = TrackedHash(payment_hash)
            sent = self._payment_feed.newest_sent(payment_hash)
            if sent is None:
                self._enqueue(tracked, _NOW)
            else:
                tracked.update(HashStatus(sent, None))
            self._choose_streams(tracked)
        tracked.followers += 1
        if tracked.updates:
            # A later follower also gets news that no stream reports without a long pause.
            tracked.looked_up = 0
            self._schedule(tracked)
        if self._running is None:
            self._running = asyncio.get_running_loop().create_task(self._run())
        try:
            yield tracked
        finally:
            tracked.followers -= 1
            if not tracked.followers and self._tracked.get(payment_hash) is tracked:
                self._forget(tracked)

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
        is_paid_to = self._is_open(tracked) and tracked.status.payment is None
        self._invoice_feed.keep_open(tracked.fail, is_paid_to)
        self._payment_feed.keep_open(tracked.fail, self._needs_payments(tracked))
        if is_paid_to and tracked.status.invoice is not None and tracked.status.invoice.is_hold:
            self._invoice_feed.follow_hold(tracked.payment_hash)
        else:
            self._invoice_feed.leave_hold(tracked.payment_hash)

    def _is_open(self, tracked: TrackedHash) -> bool:
        """Whether the hash is followed, and its status can change."""
        return self._tracked.get(tracked.payment_hash) is tracked and not tracked.status.is_last

    def _needs_payments(self, tracked: TrackedHash) -> bool:
        """Whether only the shared stream of payments can report on this hash soon."""
        can_be_paid = tracked.status.payment is not None or tracked.status.invoice is None
        return self._is_open(tracked) and can_be_paid and not self._payment_feed.is_followed(tracked.payment_hash)

    def _on_payment(self, payment: PaymentRecord) -> None:
        tracked = self._tracked.get(payment.payment_hash)
        if tracked is None or (tracked.status.invoice is not None and tracked.status.invoice.is_own):
            return
        if _is_newer_payment(payment, tracked.status.payment):
            self._take(tracked, HashStatus(payment, tracked.status.invoice))

    def _on_invoice(self, invoice: InvoiceRecord) -> None:
        tracked = self._tracked.get(invoice.payment_hash)
        if tracked is not None and _is_newer_invoice(invoice, tracked.status.invoice):
            self._take(tracked, HashStatus(None if invoice.is_own else tracked.status.payment, invoice))

    def _take(self, tracked: TrackedHash, status: HashStatus) -> None:
        if tracked.update(status):
            tracked.looked_up = 0
            self._choose_streams(tracked)
            self._schedule(tracked)

    def _missed_payments(self) -> None:
        for tracked in filter(self._needs_payments, self._tracked.values()):
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
        seconds = seconds_to_next_look_up(
            tracked.status,
            tracked.looked_up,
            interval=self._interval,
            now=self._clock.now(),
            has_stream=self._invoice_feed.has_hold_stream(tracked.payment_hash),
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
        payment_hash = tracked.payment_hash
        try:
            payment = invoice = None
            if tracked.status.invoice is None or tracked.status.payment is not None:
                payment = await self._payments.find(payment_hash)
            if tracked.status.payment is None:
                invoice = await self._invoices.find(payment_hash)
        except Layer2Error as error:
            if not error.retryable:
                self._failed(payment_hash, error)
                return
        else:
            if invoice is not None and (payment is None or invoice.is_own):
                self._on_invoice(invoice)
            elif payment is not None:
                self._on_payment(payment)
            elif not tracked.updates:
                tracked.update(_NOTHING)
        tracked.looked_up += 1
        self._schedule(tracked)

    def _looked_up(self, task: asyncio.Task[None]) -> None:
        self._looking.discard(task)
        if not task.cancelled():
            # An exception here is a bug; it must be reported, because the hash gets no further news.
            task.result()


def seconds_to_next_look_up(
    status: HashStatus, looked_up: int, *, interval: float, now: float, has_stream: bool
) -> float:
    """Seconds from one look-up of a hash to the next.

    Args:
        status: the newest status.
        looked_up: look-ups since the last news, or since news may have been missed.
        interval: seconds to the first of them, and between look-ups of holds without a stream.
        now: unix seconds.
        has_stream: whether the invoice has a stream of its own.
    """
    seconds = min(interval * 2.0**looked_up, max(_LONGEST_PAUSE, interval))
    invoice = status.invoice
    if status.payment is not None or invoice is None:
        return seconds
    if invoice.is_hold and not has_stream:
        return interval
    left = invoice.expires_at + _EXPIRY_SECONDS - now
    if invoice.state is InvoiceState.OPEN and left > 0:
        seconds = min(seconds, max(left, interval))
    return seconds


def _is_newer_payment(new: PaymentRecord, old: PaymentRecord | None) -> bool:
    """Whether a record replaces the known one. A decided payment stays so until its hash is sent again."""
    if old is None or new.index != old.index:
        return old is None or (new.index > old.index and old.preimage is None)
    return not old.state.is_final


def _is_newer_invoice(new: InvoiceRecord, old: InvoiceRecord | None) -> bool:
    """Whether a record replaces the known one. An invoice never returns to an earlier state."""
    if old is None:
        return True
    returns = old.state is InvoiceState.ACCEPTED and new.state is InvoiceState.OPEN
    return not (old.state.is_final or returns)
