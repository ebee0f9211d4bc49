"""Choosing the nonce of an account's next transaction. Pure."""

from __future__ import annotations

__all__ = ["NonceAllocator"]


class NonceAllocator:
    """Gives each nonce to one transaction, and finds the nonces that refused transactions leave free.

    No method awaits, so concurrent callers never get the same nonce.

    A hole is a nonce that was taken and returned: no transaction has it. A gap is a nonce below one that an earlier run
    used. Another transaction of that run may have it, so it is not taken before the node has shown that its pool has no
    such transaction.
    """

    def __init__(self) -> None:
        self._next: int | None = None
        self._used = 0
        self._holes: set[int] = set()
        self._gaps: set[int] = set()

    @property
    def is_started(self) -> bool:
        """Whether the first nonce is known."""
        return self._next is not None

    def reach(self, count: int) -> None:
        """Record that the nonces below ``count`` are used."""
        self._next = count if self._next is None else max(self._next, count)
        self._used = max(self._used, count)
        self._holes = {nonce for nonce in self._holes if nonce >= count}
        self._gaps = {nonce for nonce in self._gaps if nonce >= count}

    @property
    def has_gaps(self) -> bool:
        """Whether a transaction may wait behind a nonce that no transaction has."""
        return bool(self._gaps)

    def lack(self, nonce: int) -> None:
        """Record that the node's pool lost the transaction of an earlier run with this nonce."""
        self._gaps.add(nonce)

    def has_hole(self, below: int) -> bool:
        """Whether a nonce below that one was returned and is free."""
        return any(nonce < below for nonce in self._holes)

    def take(self) -> int:
        """Take the lowest free nonce.

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
        """Whether no known transaction has this nonce."""
        return nonce >= self._used and (
            self._next is None or nonce >= self._next or nonce in self._holes or nonce in self._gaps
        )

    @property
    def used(self) -> int:
        """The node's count: lower nonces are used."""
        return self._used

    def vacate(self, nonce: int) -> None:
        """Record that the transaction of another worker, which had this nonce, will not be sent."""
        self._gaps.discard(nonce)
        self.give_back(nonce)

    def occupy(self, nonce: int) -> bool:
        """Record that a transaction with this nonce is being sent, even if the nonce was not taken here.

        Returns:
            Whether the nonce was free until now. If it was not, another transaction may have it: do not return it.
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
        """Return a nonce whose transaction was never sent, or was refused by the node.

        Call it once for each ``take``. A nonce that the node has counted meanwhile stays used.
        """
        if nonce < self._used:
            return
        self._holes.add(nonce)
        while self._next is not None and self._next - 1 in self._holes:
            self._next -= 1
            self._holes.discard(self._next)

    def take_hole(self, below: int | None = None) -> int | None:
        """Take the lowest hole, if it is below that nonce, whose transaction waits for the hole to be filled."""
        nonce = min(self._holes, default=None)
        if nonce is None or (below is not None and nonce >= below):
            return None
        self._holes.discard(nonce)
        return nonce

    def take_gap(self, pending: int) -> bool:
        """Take the nonce that the node's pool lacks, if it is a gap. Lower gaps stay gaps until they are mined.

        Args:
            pending: the node's count, including the transactions that wait in its pool without a gap. No transaction in
                the pool has this nonce.
        """
        if pending not in self._gaps:
            return False
        self._gaps.discard(pending)
        return True
