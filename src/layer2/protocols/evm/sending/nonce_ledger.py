"""What one process knows about the nonces of one account. Pure.

A nonce is free, belongs to a transaction that is signed and not sent, or belongs to one that is sent and not final.
"""

from __future__ import annotations

from collections.abc import Sequence

from layer2.errors import Outcome, TransactionError
from layer2.formats.evm_transaction import SignedTransaction
from layer2.protocols.evm.sending.nonces import NonceAllocator
from layer2.protocols.evm.sending.signing import tx_id_of
from layer2.protocols.evm.sending.unmined import Unmined
from layer2.protocols.evm.sending.unsent import Unsent

__all__ = ["NonceLedger", "nonce_used"]


class NonceLedger:
    """Keeps the three views of an account's nonces consistent: which are free, which are signed, which are sent."""

    def __init__(self) -> None:
        self.nonces = NonceAllocator()
        self.unsent = Unsent()
        self.unmined = Unmined()

    @property
    def has_blocking_hole(self) -> bool:
        """Whether a sent transaction waits for a nonce that no transaction has."""
        return self.nonces.has_hole(self.unmined.end)

    def take(self, count: int) -> list[int]:
        """Take the lowest free nonces, in order."""
        return sorted([self.nonces.take() for _ in range(count)])

    def give_back(self, nonces: Sequence[int]) -> None:
        """Return nonces for which nothing was signed."""
        for nonce in reversed(nonces):
            self.nonces.give_back(nonce)

    def release(self, nonce: int) -> None:
        """Record that the transaction with this nonce was refused, or will never be sent."""
        self.unmined.release(nonce)
        self.nonces.give_back(nonce)

    def reserve(self, nonce: int) -> None:
        """Record that another worker has journaled a transaction with this nonce and not sent it."""
        self.nonces.occupy(nonce)
        if nonce >= self.nonces.used:
            self.nonces.lack(nonce)

    def vacate(self, nonce: int) -> None:
        """Record that the transaction of another worker with this nonce will not be sent."""
        self.unmined.release(nonce)
        self.nonces.vacate(nonce)

    def is_held(self, nonce: int) -> bool:
        """Whether a signed or sent transaction that this client knows has the nonce."""
        return self.unsent.holds(nonce) or self.unmined.holder(nonce) is not None

    def has_given_up(self, tx_hash: bytes, *, is_out: bool) -> bool:
        """Whether this client signed the transaction and has given its nonce back.

        Args:
            is_out: the journal shows that it may have been sent. Then an expired one may be on its way to the node.
        """
        return self.unsent.has_given_up(tx_hash, with_expired=not is_out)

    def discard(self, signed: Sequence[SignedTransaction]) -> None:
        """Record that these transactions will never be sent. Sent and foreign ones are not affected."""
        for transaction in reversed(signed):
            # An expired transaction has lost its nonce, and must not free it a second time.
            if self.unsent.discard(transaction):
                self.release(transaction.transaction.nonce)

    def expire_unsent(self, now: float, patience: float, blocking_patience: float) -> None:
        """Free the nonces of transactions that were signed long ago and not sent. See ``Unsent.expire``."""
        for nonce in self.unsent.expire(now, patience, end=self.unmined.end, blocking_patience=blocking_patience):
            self.release(nonce)

    def never_lands(self, signed: Sequence[SignedTransaction]) -> bool:
        """Whether the last of these was signed here and will never be sent, or needs an earlier one that will not be.

        Such a transaction has returned its nonce, or lost it to another because it was not sent for too long.
        """
        last = signed[-1]
        if not self.unsent.contains(last):
            return False
        for transaction in signed:
            if self.unsent.has_expired(transaction) and not self.nonces.is_free(transaction.transaction.nonce):
                self.unsent.discard(transaction)
        if any(self.unsent.is_dead(transaction) for transaction in signed):
            self.discard([last])
        return self.unsent.is_dead(last)

    def adopt(self, signed: SignedTransaction) -> None:
        """Record that the node has, or had, this transaction, which another run may have sent."""
        nonce = signed.transaction.nonce
        self.nonces.occupy(nonce)
        if self.unmined.holder(nonce) is None:
            self.unmined.take(signed)

    def lose(self, signed: SignedTransaction) -> None:
        """Record that another transaction, perhaps one that this one replaces, has its nonce."""
        if self.unmined.holder(signed.transaction.nonce) is signed:
            self.unmined.release(signed.transaction.nonce)

    def check_holder(self, versions: Sequence[SignedTransaction]) -> None:
        """Refuse to take the nonce of another transaction. A node would allow it at a higher price.

        Raises:
            TransactionError: the nonce of these versions belongs to another transaction (``nonce_used``).
        """
        nonce = versions[-1].transaction.nonce
        holder = self.unmined.holder(nonce)
        if self.unsent.holds(nonce) or (holder is not None and holder not in versions):
            raise nonce_used(
                versions[-1],
                f"nonce {nonce} belongs to another transaction{'' if holder is None else ', ' + tx_id_of(holder)}",
            )

    def check_alive(self, signed: SignedTransaction) -> None:
        """Refuse to send a transaction that has lost its nonce.

        Raises:
            TransactionError: it was not sent for too long, or its nonce was returned (``nonce_used``).
        """
        if self.never_lands([signed]):
            raise nonce_used(signed, "the transaction was not sent in time, and its nonce was freed")


def nonce_used(signed: SignedTransaction, problem: str = "") -> TransactionError:
    """The error that the transaction will never be sent, because another one has its nonce."""
    problem = problem or f"nonce {signed.transaction.nonce} belongs to another transaction"
    return TransactionError(problem, code="nonce_used", tx_id=tx_id_of(signed), outcome=Outcome.REJECTED)
