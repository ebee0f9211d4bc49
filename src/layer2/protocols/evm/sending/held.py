"""Which transactions are signed and not sent, how long each may keep its nonce, and which never will be sent. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from layer2.formats.evm_transaction import SignedTransaction

__all__ = ["Held"]


class Held:
    """Transactions between their signature and their first sending.

    One that is taken out again is sent, lapsed or dead. A lapsed one may still be sent while its nonce is free; a dead
    one is never sent by this process, and no other process had it.
    """

    def __init__(self) -> None:
        self._since: dict[bytes, tuple[int, float]] = {}
        self._lapsed: set[bytes] = set()
        self._dead: set[bytes] = set()

    def __bool__(self) -> bool:
        return bool(self._since)

    def add(self, signed: Sequence[SignedTransaction], now: float) -> None:
        """Note that these have just been signed. The same bytes signed again are a new transaction."""
        for transaction in signed:
            self._since[transaction.hash] = (transaction.transaction.nonce, now)
            self._lapsed.discard(transaction.hash)
            self._dead.discard(transaction.hash)

    def send(self, signed: SignedTransaction) -> bool:
        """Say that it is being sent; whether it still had its nonce from its signature."""
        self._lapsed.discard(signed.hash)
        return self._since.pop(signed.hash, None) is not None

    def return_unsent(self, signed: SignedTransaction) -> None:
        """Say that not a byte of it was sent and that its nonce is free again."""
        self._lapsed.add(signed.hash)

    def holds(self, nonce: int) -> bool:
        """Whether one of them has the nonce."""
        return any(nonce == held for held, _ in self._since.values())

    def lapse(self, now: float, patience: float, *, end: int, blocking_patience: float) -> list[int]:
        """Let go of those that were not sent for too long.

        Args:
            now: on the clock of ``add``.
            patience: seconds for which one keeps its nonce.
            end: transactions below this nonce, if they are not sent, hold up one that is.
            blocking_patience: seconds for which those keep their nonces.

        Returns:
            Their nonces, the highest first.
        """
        lapsed = {
            tx_hash: nonce
            for tx_hash, (nonce, since) in self._since.items()
            if now - since >= (min(patience, blocking_patience) if nonce < end else patience)
        }
        for tx_hash in lapsed:
            del self._since[tx_hash]
        self._lapsed.update(lapsed)
        return sorted(lapsed.values(), reverse=True)

    def has_lapsed(self, signed: SignedTransaction) -> bool:
        """Whether its nonce was taken from it because it was not sent for long."""
        return signed.hash in self._lapsed

    def discard(self, signed: SignedTransaction) -> bool:
        """Say that it will never be sent; whether it still had its nonce. Without effect on one that was sent."""
        had_nonce = self._since.pop(signed.hash, None) is not None
        if had_nonce or signed.hash in self._lapsed:
            self._lapsed.discard(signed.hash)
            self._dead.add(signed.hash)
        return had_nonce

    def displace(self, nonce: int, by: bytes) -> None:
        """Say that another transaction, of that hash, has this nonce: what is held with it will never be sent."""
        for tx_hash in [one for one, (held, _) in self._since.items() if held == nonce and one != by]:
            del self._since[tx_hash]
            self._dead.add(tx_hash)

    def is_unsent(self, signed: SignedTransaction) -> bool:
        """Whether it was signed here and never sent."""
        return signed.hash in self._since or signed.hash in self._lapsed or signed.hash in self._dead

    def is_dead(self, signed: SignedTransaction) -> bool:
        """Whether it was never sent and never will be."""
        return signed.hash in self._dead
