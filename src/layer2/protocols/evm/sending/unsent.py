"""Signed transactions that are not sent yet, and how long each keeps its nonce. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from layer2.formats.evm_transaction import SignedTransaction

__all__ = ["Unsent"]


class Unsent:
    """Transactions between their signature and their first sending.

    A transaction leaves this state in one of three ways: it is sent; it expires and may still be sent while its nonce
    is free; or it is dead, and neither this process nor any other will send it.
    """

    def __init__(self) -> None:
        self._since: dict[bytes, tuple[int, float]] = {}
        self._expired: set[bytes] = set()
        self._dead: set[bytes] = set()

    def __bool__(self) -> bool:
        return bool(self._since)

    def add(self, signed: Sequence[SignedTransaction], now: float) -> None:
        """Record new transactions. The same bytes, if they are signed again, count as a new transaction."""
        for transaction in signed:
            self._since[transaction.hash] = (transaction.transaction.nonce, now)
            self._expired.discard(transaction.hash)
            self._dead.discard(transaction.hash)

    def send(self, signed: SignedTransaction) -> bool:
        """Record that the transaction is being sent. Return whether it still had the nonce of its signature."""
        self._expired.discard(signed.hash)
        return self._since.pop(signed.hash, None) is not None

    def return_unsent(self, signed: SignedTransaction) -> None:
        """Record that no byte of the transaction was sent and that its nonce is free again."""
        self._expired.add(signed.hash)

    def holds(self, nonce: int) -> bool:
        """Whether one of the transactions has the nonce."""
        return any(nonce == held for held, _ in self._since.values())

    def expire(self, now: float, patience: float, *, end: int, blocking_patience: float) -> list[int]:
        """Take the nonces of transactions that were not sent for too long.

        Args:
            now: on the clock of ``add``.
            patience: seconds for which a transaction keeps its nonce.
            end: an unsent transaction with a nonce below this one blocks a sent transaction.
            blocking_patience: seconds for which such a transaction keeps its nonce.

        Returns:
            The nonces, the highest first.
        """
        expired = {
            tx_hash: nonce
            for tx_hash, (nonce, since) in self._since.items()
            if now - since >= (min(patience, blocking_patience) if nonce < end else patience)
        }
        for tx_hash in expired:
            del self._since[tx_hash]
        self._expired.update(expired)
        return sorted(expired.values(), reverse=True)

    def has_expired(self, signed: SignedTransaction) -> bool:
        """Whether the transaction lost its nonce because it was not sent for too long."""
        return signed.hash in self._expired

    def discard(self, signed: SignedTransaction) -> bool:
        """Record that the transaction will never be sent. Return whether it still had its nonce.

        A sent transaction is not affected.
        """
        had_nonce = self._since.pop(signed.hash, None) is not None
        if had_nonce or signed.hash in self._expired:
            self._expired.discard(signed.hash)
            self._dead.add(signed.hash)
        return had_nonce

    def revive(self, tx_hash: bytes) -> None:
        """Record that the journal gives the transaction its nonce again, so that it may be sent after all."""
        self._expired.discard(tx_hash)
        self._dead.discard(tx_hash)

    def displace(self, nonce: int, by: bytes) -> None:
        """Record that the transaction with the hash ``by`` has the nonce. Others with this nonce are dead."""
        for tx_hash in [one for one, (held, _) in self._since.items() if held == nonce and one != by]:
            del self._since[tx_hash]
            self._dead.add(tx_hash)

    def contains(self, signed: SignedTransaction) -> bool:
        """Whether the transaction was signed here and never sent."""
        return signed.hash in self._since or signed.hash in self._expired or signed.hash in self._dead

    def has_given_up(self, tx_hash: bytes, *, with_expired: bool) -> bool:
        """Whether the transaction is dead, or, if those count, expired."""
        return tx_hash in self._dead or (with_expired and tx_hash in self._expired)

    def is_dead(self, signed: SignedTransaction) -> bool:
        """Whether the transaction was never sent and never will be."""
        return signed.hash in self._dead
