"""The node's records of the legs that are under way, followed from their first use until the swap is over."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final

from layer2.aio.time_limit import time_limit
from layer2.errors import Layer2Error
from layer2.legs.views import Side
from layer2.ports.legs import LegListener
from layer2.protocols.lightning.invoices.hold_streams import HoldStreams
from layer2.protocols.lightning.invoices.invoices import Invoices
from layer2.protocols.lightning.invoices.records import InvoiceRecord
from layer2.protocols.lightning.payments.feed import PaymentFeed
from layer2.protocols.lightning.payments.payments import Payments
from layer2.protocols.lightning.payments.records import PaymentRecord
from layer2.protocols.lightning.statuses import HashStatus
from layer2.protocols.lightning.tracked import TrackedHash
from layer2.protocols.lightning.tracker import HashTracker

__all__ = ["LegRecords"]

_GRACE: Final = 60.0
"""Seconds without use after which a leg is followed no longer, if it was not freed."""
_FIRST_SECONDS: Final = 1.0
"""Seconds to wait for the first status of a followed hash before its record is looked up."""
_NOTHING: Final = HashStatus(None, None)


@dataclass(slots=True)
class _Followed:
    tracked: TrackedHash
    used_at: float


class LegRecords:
    """Reads the payments and invoices of legs. What the tracker knows as well as the node is not looked up.

    Each leg stays followed across the turns of its swap, so that a turn usually takes no request.

    Args:
        tracker: follows the hashes.
        invoices: looks invoices up.
        payments: looks payments up.
        holds: shows which invoices are reported.
        payment_feed: shows which payments have an open stream.
        interval: seconds between look-ups of what no stream reports.
    """

    def __init__(
        self,
        tracker: HashTracker,
        invoices: Invoices,
        payments: Payments,
        holds: HoldStreams,
        payment_feed: PaymentFeed,
        interval: float,
    ) -> None:
        self._tracker = tracker
        self._invoices = invoices
        self._payments = payments
        self._holds = holds
        self._payment_feed = payment_feed
        self._interval = interval
        self._followed: dict[bytes, _Followed] = {}
        self._sweeping: asyncio.TimerHandle | None = None

    def follow(self, payment_hash: bytes, side: Side, read: tuple[HashStatus, float] | None = None) -> TrackedHash:
        """Follow this side of a leg until ``free``, or until it is not used for a while.

        Args:
            payment_hash: 32 bytes.
            side: of this party.
            read: as for ``HashTracker.join``.
        """
        loop = asyncio.get_running_loop()
        known = self._followed.get(payment_hash)
        if known is not None and known.tracked.error is None and known.tracked.side in (None, side):
            known.used_at = loop.time()
            return known.tracked
        tracked = self._tracker.join(payment_hash, side, read)
        self.free(payment_hash)
        self._keep(payment_hash, tracked)
        return tracked

    def _keep(self, payment_hash: bytes, tracked: TrackedHash) -> None:
        """Keep a ``join`` until it is not used for a while."""
        loop = asyncio.get_running_loop()
        self._followed[payment_hash] = _Followed(tracked, loop.time())
        if self._sweeping is None:
            self._sweeping = loop.call_later(_GRACE, self._sweep)

    @contextmanager
    def following(self, payment_hash: bytes, side: Side) -> Iterator[TrackedHash]:
        """Follow this side of a leg as ``follow`` does, and within the context in any case."""
        self.follow(payment_hash, side)
        tracked = self._tracker.join(payment_hash, side)
        try:
            yield tracked
        finally:
            self._tracker.leave(tracked)

    def listen(self, payment_hash: bytes, side: Side, listener: LegListener) -> TrackedHash:
        """Follow this side of a leg until ``unlisten``, and report every newer status."""
        tracked = self._tracker.join(payment_hash, side)
        tracked.listeners += (listener,)
        return tracked

    def unlisten(self, payment_hash: bytes, listener: LegListener) -> None:
        """End ``listen``. Has no effect for a listener that does not listen to this hash.

        The leg is usually observed next, so it stays followed for a while.
        """
        tracked = self._tracker.tracked(payment_hash)
        if tracked is None or not any(each is listener for each in tracked.listeners):
            return
        tracked.listeners = tuple([each for each in tracked.listeners if each is not listener])
        if payment_hash in self._followed:
            self._tracker.leave(tracked)
        else:
            self._keep(payment_hash, tracked)

    async def payment(self, payment_hash: bytes, *, newest: bool = False) -> PaymentRecord | None:
        """Return the node's payment with that hash, or None if it has none.

        While it has none, the leg is followed: that takes no requests, because only this client sends the payment.

        Args:
            payment_hash: 32 bytes.
            newest: look it up in any case.

        Raises:
            NodeError: the node did not answer, or refused.
        """
        tracked = None if newest else await self._used(payment_hash)
        now = asyncio.get_running_loop().time()
        has_stream = self._payment_feed.is_followed(payment_hash)
        if tracked is not None and tracked.knows_payment(now, self._interval, has_stream=has_stream):
            return tracked.status.payment
        found = await self._payments.find(payment_hash)
        if found is None:
            if payment_hash not in self._followed:
                self.follow(payment_hash, Side.PAYER, (_NOTHING, now))
            return None
        if payment_hash not in self._followed and not found.state.is_final:
            # It is waited for next, and then its first status is not news.
            self.follow(payment_hash, Side.PAYER, (HashStatus(found, None), now))
        self._tracker.learn_payment(found, now)
        tracked = self._tracker.tracked(payment_hash)
        # A stream may have reported a newer state meanwhile.
        return found if tracked is None else tracked.status.payment or found

    async def sent_payment(self, payment_hash: bytes) -> PaymentRecord | None:
        """``payment``, of a hash that this party may have paid: without a record, the node is asked each time."""
        self._tracker.expect_payment(payment_hash)
        return await self.payment(payment_hash)

    async def invoice(self, payment_hash: bytes, *, newest: bool = False) -> InvoiceRecord | None:
        """Return the node's invoice with that hash, or None if it has none. Arguments and errors as ``payment``."""
        tracked = None if newest else await self._used(payment_hash)
        now = asyncio.get_running_loop().time()
        has_stream = self._holds.is_reported(payment_hash)
        if tracked is not None and tracked.knows_invoice(now, self._interval, has_stream=has_stream):
            return tracked.status.invoice
        found = await self._invoices.find(payment_hash)
        if found is None:
            # lnd can delete a cancelled invoice, and no stream reports that.
            self._tracker.forget_invoice(payment_hash)
            return None
        if payment_hash not in self._followed and not found.state.is_final:
            self.follow(payment_hash, Side.PAYEE, (HashStatus(None, found), now))
        self._tracker.learn_invoice(found, now)
        tracked = self._tracker.tracked(payment_hash)
        return found if tracked is None else tracked.status.invoice or found

    def changed_at(self, payment_hash: bytes) -> float:
        """Time of the newest status by the clock of the event loop; now if the hash is not followed."""
        tracked = self._tracker.tracked(payment_hash)
        return asyncio.get_running_loop().time() if tracked is None or not tracked.updates else tracked.changed_at

    def free(self, payment_hash: bytes) -> None:
        """Follow the leg no longer. Has no effect if it is not followed."""
        if (known := self._followed.pop(payment_hash, None)) is not None:
            self._tracker.leave(known.tracked)

    def close(self) -> None:
        """Follow no leg any longer."""
        for payment_hash in list(self._followed):
            self.free(payment_hash)
        if self._sweeping is not None:
            self._sweeping.cancel()
            self._sweeping = None

    async def _used(self, payment_hash: bytes) -> TrackedHash | None:
        """Return the hash if it is followed, after the first answer about it if that is due soon."""
        if (known := self._followed.get(payment_hash)) is not None:
            known.used_at = asyncio.get_running_loop().time()
        tracked = self._tracker.tracked(payment_hash)
        if tracked is not None and not tracked.updates:
            async with time_limit(asyncio.timeout(_FIRST_SECONDS)):
                # After an error the record is looked up, which shows whether the error lasts.
                with suppress(Layer2Error):
                    await tracked.next(0)
        return tracked

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        oldest = loop.time() - _GRACE
        for payment_hash, known in list(self._followed.items()):
            if known.used_at < oldest:
                self.free(payment_hash)
        self._sweeping = loop.call_later(_GRACE, self._sweep) if self._followed else None
