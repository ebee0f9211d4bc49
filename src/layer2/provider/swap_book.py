"""The open and pending swaps of a provider in memory, with the sums of what they reserve.

No quote and no acceptance reads the journal for them: they are loaded once, and the engine announces every change.
Every method that checks or reserves is synchronous, so that what it checks and what it adds are one step.
"""

from __future__ import annotations

import heapq
import math
import time
from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Self

import structlog

from layer2.errors import IdempotencyConflict, JournalError, QuoteRefused
from layer2.legs.timelock_settings import TimelockSettings
from layer2.model.layers import Layer2ProtocolType
from layer2.model.transactions import Finality, SwapId
from layer2.ports.journal import Role, SeenSwaps, SwapJournal, SwapRecord
from layer2.provider.bounds import Limits
from layer2.provider.open_swaps import OpenSwap, as_accepted
from layer2.provider.pricing import Exposure

__all__ = ["Promised", "SwapBook"]

_PLACE_SECONDS = 5.0
"""The pause that a taker is asked for when no place is free. Places become free when swaps end, one by one."""


@dataclass(slots=True)
class Promised:
    """What swaps may still take from one layer."""

    pays: int = 0
    """Satoshi."""
    receives: int = 0
    """Satoshi of inbound capacity."""
    swaps: int = 0
    """Swaps that may need gas."""

    def add(self, other: Promised, sign: int = 1) -> None:
        """Add another sum, or subtract it."""
        self.pays += sign * other.pays
        self.receives += sign * other.receives
        self.swaps += sign * other.swaps


class _Layer:
    """The sums of one layer."""

    def __init__(self) -> None:
        self.promised = Promised()
        self.exposed: Counter[Finality] = Counter()
        self.left: deque[tuple[float, Promised]] = deque()
        """What is no longer reserved, and when that was seen. A balance that was read before still contains it."""
        self.left_sum = Promised()


@dataclass(slots=True, eq=False)
class SwapBook:
    """All swaps of a provider that have not ended, and those that are being accepted."""

    rules: TimelockSettings
    seen: SeenSwaps = field(default_factory=SeenSwaps)
    """Which swaps of the journal are in this book, or have ended."""
    _current_at: float = math.inf
    """Unix seconds at which this book had the versions of the journal: infinite if this process alone writes them. No
    place ends later, because another process may have seen the funding."""
    _swaps: dict[SwapId, OpenSwap] = field(default_factory=dict)
    _under_hash: dict[bytes, tuple[SwapId, ...]] = field(default_factory=dict)
    _takers: Counter[str] = field(default_factory=Counter)
    _places: int = 0
    _layers: defaultdict[Layer2ProtocolType, _Layer] = field(default_factory=lambda: defaultdict(_Layer))
    _expiries: list[tuple[float, SwapId]] = field(default_factory=list)
    """A heap of the times at which unfunded swaps release their places. An entry can be out of date."""
    _unreadable: set[SwapId] = field(default_factory=set)

    @classmethod
    async def load(cls, journal: SwapJournal, rules: TimelockSettings, *, shared: bool = False) -> Self:
        """Read the open swaps in pages, so that their terms are not in memory together and the event loop can run.

        Call it before any of them is driven, so that no change is missed.

        Args:
            shared: whether other processes write versions, too. Then ``note_read`` is to be called.

        Raises:
            JournalError: the journal cannot be read.
        """
        seen = SeenSwaps(await journal.last_number(Role.PROVIDER))
        book, after = cls(rules, seen, -math.inf if shared else math.inf), 0
        while page := await journal.open_swaps(Role.PROVIDER, after):
            after = page[-1][0]
            for _, record in page:
                book.update(record)
        return book

    async def read_others(self, journal: SwapJournal) -> None:
        """Take into account what other processes have accepted since the last call.

        Raises:
            JournalError: the journal cannot be read.
        """
        while page := await journal.swaps_after(Role.PROVIDER, self.seen.last):
            for _, record in page:
                self.adopt(record)
            self.seen.reads += 1
            self.seen.last = max(self.seen.last, page[-1][0])

    def note_read(self, at: float) -> None:
        """Note that this book has all versions that the journal had at that time, in unix seconds."""
        self._current_at = at

    def is_pending(self, swap_id: SwapId) -> bool:
        """Whether the swap is being accepted here, and was not accepted yet by any process."""
        known = self._swaps.get(swap_id)
        return known is not None and known.version == 0

    def __contains__(self, swap_id: SwapId) -> bool:
        return swap_id in self._swaps

    def update(self, record: SwapRecord) -> None:
        """Note a version that was written to the journal. A known or older version changes nothing."""
        known = self._swaps.get(record.swap_id)
        if record.role is not Role.PROVIDER or (known is not None and known.version >= record.version):
            return
        self._unreadable.discard(record.swap_id)
        if record.is_final:
            self._put(record.swap_id, None)
            return
        try:
            self._put(record.swap_id, OpenSwap.read(record, self.rules))
        except JournalError as error:
            # What it reserves is unknown, so no other swap can be accepted.
            self._unreadable.add(record.swap_id)
            structlog.get_logger("layer2.provider").error(
                "swap_unreadable", swap_id=record.swap_id, error=error.message
            )

    def adopt(self, record: SwapRecord) -> None:
        """Note a swap that another process has accepted.

        It may have been paid by now. A balance that was read before still contains the money, so all that the swap
        reserved when it was accepted counts until a later reading.
        """
        # ``update`` reports one that cannot be read.
        with suppress(JournalError):
            accepted, known = OpenSwap.read(as_accepted(record), self.rules), self._swaps.get(record.swap_id)
            if known is None:
                self._put(record.swap_id, accepted)
            else:
                self._keep_until_read(accepted, known)
        self.update(record)

    def add(self, swap_id: SwapId, pending: OpenSwap) -> None:
        """Reserve what a swap needs that is being accepted. Check everything first, in the same step."""
        assert swap_id not in self._swaps
        self._put(swap_id, pending)

    def withdraw(self, swap_id: SwapId) -> None:
        """Release what a pending swap reserved that was not agreed. Nothing has left an account for it."""
        if self.is_pending(swap_id):
            self._put(swap_id, None, left_account=False)

    # Checks

    def check_places(self, limits: Limits, wanted: OpenSwap, now: float) -> None:
        """Check that the hash of another swap is free, and that there is a place for it.

        Raises:
            IdempotencyConflict: code ``payment_hash_used``.
            QuoteRefused: code ``too_many_swaps``.
            JournalError: this version cannot read an open swap.
        """
        self._check_readable()
        self._expire(now)
        if any(swap.binds_hash for swap in self.under(wanted.payment_hash)):
            raise IdempotencyConflict("another open swap has this payment hash", code="payment_hash_used")
        if self._places >= limits.max_open_swaps or len(self._swaps) >= limits.max_unfinished_swaps:
            raise _no_place("too many swaps are open")
        if self._takers[wanted.taker] >= limits.max_open_swaps_per_taker:
            raise _no_place("this account has too many open swaps here")

    def under(self, payment_hash: bytes) -> Sequence[OpenSwap]:
        """The open and pending swaps with this hash."""
        return [self._swaps[swap_id] for swap_id in self._under_hash.get(payment_hash, ())]

    def exposure_on(self, layer: Layer2ProtocolType) -> Exposure:
        """The amounts that depend on fundings on the layer which a reorganisation can still remove.

        Raises:
            JournalError: this version cannot read an open swap.
        """
        self._check_readable()
        exposed = self._layers[layer].exposed
        return Exposure(exposed[Finality.LATEST], exposed[Finality.SAFE])

    def promised_on(self, layer: Layer2ProtocolType, now: float, read_at: float) -> Promised:
        """What must stay available of a balance for these swaps.

        Args:
            now: unix seconds.
            read_at: when the reading of the balance began, by ``time.monotonic``. What left the account later, or
                released its reserve later, is still in the balance and counts as promised.
        """
        self._expire(now)
        sums = self._layers[layer]
        while sums.left and sums.left[0][0] < read_at:
            sums.left_sum.add(sums.left.popleft()[1], -1)
        promised = Promised()
        promised.add(sums.promised)
        promised.add(sums.left_sum)
        return promised

    def must_be_back_by(self) -> int | None:
        """Unix seconds by which this provider must run again, or None."""
        times = [swap.must_be_back_by for swap in self._swaps.values()]
        return min((each for each in times if each is not None), default=None)

    # Sums

    def _check_readable(self) -> None:
        if self._unreadable:
            raise JournalError("this version cannot read an open swap in the journal")

    def _expire(self, now: float) -> None:
        while self._expiries and self._expiries[0][0] < min(now, self._current_at):
            until, swap_id = heapq.heappop(self._expiries)
            swap = self._swaps.get(swap_id)
            if swap is not None and swap.place_until == until:
                # Unfunded: nothing has left an account.
                self._put(swap_id, swap.without_place(), left_account=False)

    def _put(self, swap_id: SwapId, new: OpenSwap | None, *, left_account: bool = True) -> None:
        old = self._swaps.pop(swap_id, None)
        if old is not None:
            self._count(swap_id, old, -1)
        if new is not None:
            self._swaps[swap_id] = new
            self._count(swap_id, new, 1)
            if 0 < new.place_until < math.inf:
                heapq.heappush(self._expiries, (new.place_until, swap_id))
        if old is not None and left_account:
            self._keep_until_read(old, new)

    def _count(self, swap_id: SwapId, swap: OpenSwap, sign: int) -> None:
        # Tuples, because nearly every hash has one swap.
        others = tuple(each for each in self._under_hash.pop(swap.payment_hash, ()) if each != swap_id)
        if under := others + (swap_id,) * (sign > 0):
            self._under_hash[swap.payment_hash] = under
        if swap.has_place:
            self._places += sign
            self._takers[swap.taker] += sign
            if not self._takers[swap.taker]:
                del self._takers[swap.taker]
        for layer, promised in _promises(swap):
            self._layers[layer].promised.add(promised, sign)
        self._layers[swap.source].exposed[swap.finality] += sign * swap.at_stake

    def _keep_until_read(self, old: OpenSwap, new: OpenSwap | None) -> None:
        """Keep what a change has released as promised until a balance is read that no longer contains it."""
        at, remaining = time.monotonic(), dict(_promises(new)) if new is not None else {}
        for layer, before in _promises(old):
            after = remaining.get(layer, Promised())
            less = Promised(
                max(0, before.pays - after.pays),
                max(0, before.receives - after.receives),
                max(0, before.swaps - after.swaps),
            )
            if less != Promised():
                sums = self._layers[layer]
                sums.left.append((at, less))
                sums.left_sum.add(less)


def _promises(swap: OpenSwap) -> Iterator[tuple[Layer2ProtocolType, Promised]]:
    gas = int(swap.has_place)
    yield swap.source, Promised(0, swap.receives, gas)
    yield swap.destination, Promised(swap.pays, 0, gas)


def _no_place(problem: str) -> QuoteRefused:
    refused = QuoteRefused(problem, code="too_many_swaps", retryable=True)
    refused.retry_after = _PLACE_SECONDS
    return refused
