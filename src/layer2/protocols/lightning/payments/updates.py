"""Updates of payments, and which of them one subscriber still has to receive. Pure, apart from the queue."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from layer2.protocols.lightning.lnd.update_queue import UpdateQueue
from layer2.protocols.lightning.payments.records import PaymentRecord

__all__ = ["PaymentCursor", "PaymentSubscriber", "PaymentUpdate"]

_REMEMBERED: Final = 4096
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
class PaymentSubscriber:
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
            if len(self.decided) > _REMEMBERED:
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
