"""Which of an account's transactions has which nonce, until that is final. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from layer2.formats.evm_transaction import SignedTransaction

__all__ = ["Unmined"]

_MOST = 10_000


class Unmined:
    """One transaction for each nonce: the newest that was sent, and whether the node is known to have taken it.

    They are kept until their nonce is final, because a reorganisation can free it again. Of more than ten thousand the
    first are forgotten.
    """

    def __init__(self) -> None:
        self._by_nonce: dict[int, SignedTransaction] = {}
        self._taken: set[int] = set()
        self._doubted: set[int] = set()

    def __len__(self) -> int:
        return len(self._by_nonce)

    @property
    def end(self) -> int:
        """One more than the highest nonce that a transaction has; zero where there is none."""
        return max(self._by_nonce, default=-1) + 1

    def holder(self, nonce: int) -> SignedTransaction | None:
        """The transaction that has the nonce."""
        return self._by_nonce.get(nonce)

    def hold(self, signed: SignedTransaction) -> None:
        """Say that it is being sent."""
        nonce = signed.transaction.nonce
        if self._by_nonce.get(nonce) != signed:
            self.release(nonce)
        self._by_nonce[nonce] = signed
        if len(self._by_nonce) > _MOST:
            self.release(next(iter(self._by_nonce)))

    def take(self, signed: SignedTransaction) -> None:
        """Say that the node took it."""
        self.hold(signed)
        self._taken.add(signed.transaction.nonce)
        self._doubted.discard(signed.transaction.nonce)

    def doubt(self, signed: SignedTransaction) -> None:
        """Say that nobody knows whether the node took it."""
        self.hold(signed)
        self._doubted.add(signed.transaction.nonce)

    def release(self, nonce: int) -> None:
        """Forget what has the nonce: it was refused, or will never be sent."""
        self._by_nonce.pop(nonce, None)
        self._taken.discard(nonce)
        self._doubted.discard(nonce)

    @property
    def has_doubted(self) -> bool:
        """Whether something has to be handed in again."""
        return bool(self._doubted)

    def doubted(self) -> list[SignedTransaction]:
        """What has to be handed in again, by nonce."""
        return self._of(self._doubted)

    def taken(self) -> list[SignedTransaction]:
        """What the node took at some time, by nonce."""
        return self._of(self._taken)

    def below(self, nonce: int) -> list[SignedTransaction]:
        """What has the nonces below that one, by nonce."""
        return self._of(one for one in self._by_nonce if one < nonce)

    def settle(self, count: int) -> None:
        """Learn that the nonces below ``count`` are final."""
        for nonce in [nonce for nonce in self._by_nonce if nonce < count]:
            self.release(nonce)

    def _of(self, nonces: Iterable[int]) -> list[SignedTransaction]:
        return [self._by_nonce[nonce] for nonce in sorted(nonces)]
