"""The sent transaction of each nonce of an account, until it is final. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from layer2.formats.evm_transaction import SignedTransaction

__all__ = ["Unmined"]

_MOST = 10_000


class Unmined:
    """For each nonce the newest transaction that was sent, and whether the node accepted it.

    A transaction is kept until its nonce is final, because a reorganisation can free the nonce again. Of more than ten
    thousand transactions the oldest are dropped.
    """

    def __init__(self) -> None:
        self._by_nonce: dict[int, SignedTransaction] = {}
        self._taken: set[int] = set()
        self._doubted: set[int] = set()

    def __len__(self) -> int:
        return len(self._by_nonce)

    @property
    def end(self) -> int:
        """One more than the highest nonce of a sent transaction; zero if there is none."""
        return max(self._by_nonce, default=-1) + 1

    def holder(self, nonce: int) -> SignedTransaction | None:
        """The transaction that has the nonce."""
        return self._by_nonce.get(nonce)

    def hold(self, signed: SignedTransaction) -> None:
        """Record that the transaction is being sent."""
        nonce = signed.transaction.nonce
        if self._by_nonce.get(nonce) != signed:
            self.release(nonce)
        self._by_nonce[nonce] = signed
        if len(self._by_nonce) > _MOST:
            self.release(next(iter(self._by_nonce)))

    def take(self, signed: SignedTransaction) -> None:
        """Record that the node accepted the transaction."""
        self.hold(signed)
        self._taken.add(signed.transaction.nonce)
        self._doubted.discard(signed.transaction.nonce)

    def doubt(self, signed: SignedTransaction) -> None:
        """Record that it is unknown whether the node accepted the transaction."""
        self.hold(signed)
        self._doubted.add(signed.transaction.nonce)

    def release(self, nonce: int) -> None:
        """Forget the transaction with the nonce: it was refused, or will never be sent."""
        self._by_nonce.pop(nonce, None)
        self._taken.discard(nonce)
        self._doubted.discard(nonce)

    @property
    def has_doubted(self) -> bool:
        """Whether a transaction has to be sent again."""
        return bool(self._doubted)

    def doubted(self) -> list[SignedTransaction]:
        """The transactions to send again, by nonce."""
        return self._of(self._doubted)

    def taken(self) -> list[SignedTransaction]:
        """The transactions that the node accepted at some time, by nonce."""
        return self._of(self._taken)

    def below(self, nonce: int) -> list[SignedTransaction]:
        """The transactions with lower nonces, by nonce."""
        return self._of(one for one in self._by_nonce if one < nonce)

    def settle(self, count: int) -> None:
        """Forget the transactions with nonces below ``count``, which are final."""
        for nonce in [nonce for nonce in self._by_nonce if nonce < count]:
            self.release(nonce)

    def _of(self, nonces: Iterable[int]) -> list[SignedTransaction]:
        return [self._by_nonce[nonce] for nonce in sorted(nonces)]
