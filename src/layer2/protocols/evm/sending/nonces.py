"""Which nonce the account's next transaction takes. Pure: no call of it waits for anything."""

from __future__ import annotations

__all__ = ["NonceAllocator"]


class NonceAllocator:
    """Gives each nonce to one transaction, and finds the holes that refused transactions leave.

    Nothing is awaited between reading and counting on, so concurrent callers never get the same nonce.

    A hole is a nonce that was taken here and given back: no transaction has it. A gap is a nonce below one that an
    earlier run used: another transaction of that run may have it, so it is given to nobody before the node has shown
    that its pool has none there.
    """

    def __init__(self) -> None:
        self._next: int | None = None
        self._used = 0
        self._holes: set[int] = set()
        self._gaps: set[int] = set()

    @property
    def is_started(self) -> bool:
        """Whether it knows where to begin."""
        return self._next is not None

    def reach(self, count: int) -> None:
        """Learn that the nonces below ``count`` are used: by the node's word, or by a transaction that exists."""
        self._next = count if self._next is None else max(self._next, count)
        self._used = max(self._used, count)
        self._holes = {nonce for nonce in self._holes if nonce >= count}
        self._gaps = {nonce for nonce in self._gaps if nonce >= count}

    @property
    def has_gaps(self) -> bool:
        """Whether something that exists may wait behind a nonce that no transaction has."""
        return bool(self._gaps)

    def has_hole(self, below: int) -> bool:
        """Whether a nonce below that one was given back."""
        return any(nonce < below for nonce in self._holes)

    def take(self) -> int:
        """The lowest nonce that no transaction has.

        Raises:
            RuntimeError: ``reach`` was never called.
        """
        if self._next is None:
            raise RuntimeError("the first nonce is not known yet")
        if self._holes:
            nonce = min(self._holes)
            self._holes.discard(nonce)
            return nonce
        self._next += 1
        return self._next - 1

    def is_free(self, nonce: int) -> bool:
        """Whether no transaction has this nonce, as far as is known here."""
        return nonce >= self._used and (
            self._next is None or nonce >= self._next or nonce in self._holes or nonce in self._gaps
        )

    def occupy(self, nonce: int) -> bool:
        """Learn that a transaction has this nonce and is being sent, though it may not have been taken here.

        Returns:
            Whether the nonce was free until now. If not, who else has it is not known here: do not give it back.
        """
        was_free = self.is_free(nonce)
        if self._next is None or nonce >= self._next:
            first = nonce if self._next is None else self._next
            self._gaps.update(range(max(first, self._used), nonce))
            self._next = nonce + 1
        self._holes.discard(nonce)
        self._gaps.discard(nonce)
        return was_free

    def give_back(self, nonce: int) -> None:
        """Say that the transaction with this nonce was never sent, or that the node refused it.

        To be called once by whom it was given to. One that the node has counted since then stays used.
        """
        if nonce < self._used:
            return
        self._holes.add(nonce)
        while self._next is not None and self._next - 1 in self._holes:
            self._next -= 1
            self._holes.discard(self._next)

    def take_hole(self, below: int | None = None) -> int | None:
        """The lowest hole, if it lies below that nonce: what has it waits until the hole is filled."""
        nonce = min(self._holes, default=None)
        if nonce is None or (below is not None and nonce >= below):
            return None
        self._holes.discard(nonce)
        return nonce

    def take_gap(self, pending: int) -> bool:
        """Take the nonce that the node's pool is known to lack, if it is a gap. Those below stay gaps until mined.

        Args:
            pending: the node's count with what waits in its pool without a gap: no transaction there has this nonce.
        """
        if pending not in self._gaps:
            return False
        self._gaps.discard(pending)
        return True
