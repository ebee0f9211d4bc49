"""One payment hash that is followed: its newest status, how fresh it is, and when it is looked up next."""

from __future__ import annotations

import asyncio
import copy
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from layer2.errors import Layer2Error
from layer2.legs.views import Side
from layer2.ports.legs import LegListener
from layer2.protocols.lightning.invoices.records import InvoiceRecord, InvoiceState
from layer2.protocols.lightning.payments.records import PaymentRecord
from layer2.protocols.lightning.statuses import HashStatus

__all__ = ["TrackedHash", "is_newer_invoice", "is_newer_payment", "seconds_to_next_look_up"]

_LONGEST_PAUSE: Final = 60.0
"""Seconds between look-ups of one hash. Streams report sooner."""
_EXPIRY_SECONDS: Final = 1
"""Seconds after the expiry of an invoice until its look-up. lnd cancels it at once and reports that on no stream."""
_STREAMED_SECONDS: Final = 5.0
"""Age up to which a stream's record of money in a channel is used. A connection that died unnoticed reports nothing."""
_UNSTREAMED_SECONDS: Final = 1.0
"""Maximum age of a record that no stream renews."""
_NOTHING: Final = HashStatus(None, None)


@dataclass(eq=False, slots=True)
class TrackedHash:
    """One hash, its newest status, and the callers that follow it."""

    payment_hash: bytes
    side: Side | None = None
    """The side of the leg that is followed, whose other records of the hash do not matter; None if all records do."""
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
    changed_at: float = -math.inf
    """Time of the newest status, by the clock of the event loop, as the times below."""
    payment_at: float = -math.inf
    """Time up to which the payment, or its absence, is known."""
    invoice_at: float = -math.inf
    """Time up to which the invoice, or its absence, is known."""
    was_sent: bool = False
    """Whether this client has begun to send the payment: its absence can end at any moment then."""
    listeners: tuple[LegListener, ...] = ()
    """Called with every newer status."""
    _waiters: set[asyncio.Future[bool]] = field(default_factory=set)

    @property
    def asks_payments(self) -> bool:
        """Whether the node's payment matters."""
        return self.side is not Side.PAYEE

    @property
    def asks_invoices(self) -> bool:
        """Whether the node's invoice matters."""
        return self.side is not Side.PAYER

    @property
    def is_still(self) -> bool:
        """Whether only this client can change the status: it is the payer's, and it has not begun to send."""
        return self.side is Side.PAYER and self.status.payment is None and not self.was_sent

    def knows_payment(self, now: float, interval: float, *, has_stream: bool) -> bool:
        """Whether the payment in the status is as new as one that is looked up now, within what streams guarantee.

        Args:
            now: by the clock of the event loop.
            interval: seconds between two looks at what has no stream.
            has_stream: whether the stream on which the payment was sent is open.
        """
        payment, age = self.status.payment, now - self.payment_at
        if payment is None:
            return self.is_still and age <= 2 * _LONGEST_PAUSE
        if payment.preimage is not None:
            return True
        return age <= (_STREAMED_SECONDS if has_stream else min(interval, _UNSTREAMED_SECONDS))

    def knows_invoice(self, now: float, interval: float, *, has_stream: bool) -> bool:
        """As ``knows_payment``, for the invoice and its own stream, or the list that is read in its place."""
        invoice, age = self.status.invoice, now - self.invoice_at
        if invoice is None or invoice.state.is_final:
            return invoice is not None
        if not has_stream:
            return age <= min(interval, _UNSTREAMED_SECONDS)
        return age <= (2 * _LONGEST_PAUSE if invoice.state is InvoiceState.OPEN else _STREAMED_SECONDS)

    @contextmanager
    def waking(self, waiter: asyncio.Future[bool]) -> Iterator[None]:
        """Within the context, set the future to False when there is a newer status, or an error."""
        self._waiters.add(waiter)
        try:
            yield
        finally:
            self._waiters.discard(waiter)

    def update(self, status: HashStatus) -> bool:
        """Set the status and wake all followers; return False if it is not new."""
        if self.updates and status == self.status:
            return False
        self.status = status
        self.updates += 1
        self.changed_at = asyncio.get_running_loop().time()
        self._wake()
        for listener in self.listeners:
            listener.changed()
        return True

    def fail(self, error: Layer2Error) -> None:
        """Have every follower raise this error, after the newest status. Listeners hear of no status from now on."""
        self.error = error
        self._wake()
        for listener in self.listeners:
            listener.missed()

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
            self.check()
            waiter = asyncio.get_running_loop().create_future()
            with self.waking(waiter):
                await waiter
        return self.updates

    def check(self) -> None:
        """Raise a copy of the error given to ``fail``, if there is one."""
        if self.error is not None:
            # Each follower gets a copy, because one error would mix their tracebacks.
            raise copy.copy(self.error) from self.error

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, set()
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(False)


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


def is_newer_payment(new: PaymentRecord, old: PaymentRecord | None) -> bool:
    """Whether a record replaces the known one. A decided payment stays so until its hash is sent again."""
    if old is None or new.index != old.index:
        return old is None or (new.index > old.index and old.preimage is None)
    return not old.state.is_final


def is_newer_invoice(new: InvoiceRecord, old: InvoiceRecord | None) -> bool:
    """Whether a record replaces the known one. An invoice never returns to an earlier state."""
    if old is None:
        return True
    returns = old.state is InvoiceState.ACCEPTED and new.state is InvoiceState.OPEN
    return not (old.state.is_final or returns)
