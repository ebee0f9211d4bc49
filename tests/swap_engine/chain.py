"""An EVM layer with the HTLC contract, in memory: a pool, blocks, three heads, nonces, and reorganisations.

A head is a view of all transactions that were included by its time. Everything in a view is computed from them, so
removing blocks removes all their effects.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Protocol

from layer2.errors import Outcome, TransactionError
from layer2.legs.evm import EvmLeg
from layer2.legs.leg import Htlc
from layer2.legs.timelock_settings import finality_seconds
from layer2.model.layers import ChainMargins, Layer2ProtocolType
from layer2.model.transactions import Finality, Preimage


class Surface(Protocol):
    """A chain's interface to its world."""

    shown: set[bytes]

    def now(self) -> int: ...
    def later(self, seconds: float, what: Callable[[], None] = ...) -> None: ...
    def change(self) -> None: ...
    def party(self, account: bytes) -> str: ...


@dataclass(eq=False)
class Transaction:
    sender: str
    nonce: int
    verb: str
    """``fund``, ``collect`` or ``refund``."""
    htlc: Htlc
    preimage: Preimage | None = field(default=None, repr=False)
    price: int = 1
    replaces: Transaction | None = None
    is_discarded: bool = False
    is_due: bool = False


@dataclass(frozen=True)
class Included:
    transaction: Transaction
    at: int
    """Wall time."""
    chain_time: int


@dataclass
class Lock:
    htlc: Htlc
    locked_at: int
    state: str = "locked"
    ended_at: int = 0


@dataclass
class Ledger:
    """The view of one head."""

    locks: dict[tuple[bytes, bytes, EvmLeg], Lock] = field(default_factory=dict)
    spent: dict[bytes, Preimage] = field(default_factory=dict)
    balances: dict[str, int] = field(default_factory=dict)
    nonces: dict[str, int] = field(default_factory=dict)
    succeeded: dict[int, bool] = field(default_factory=dict)
    """By the identity of a transaction in a block."""


def key_of(htlc: Htlc) -> tuple[bytes, bytes, EvmLeg]:
    """The content of a lock id: everything except the finality."""
    assert isinstance(htlc.leg, EvmLeg)
    return htlc.payment_hash, htlc.terms_hash, replace(htlc.leg, finality=Finality.LATEST)


class Chain:
    def __init__(self, world: Surface, layer: Layer2ProtocolType, margins: ChainMargins) -> None:
        self.world, self.layer, self.margins = world, layer, margins
        self.early = 0
        """Seconds by which its clock is ahead of wall time."""
        self.inclusion_seconds: Callable[[], int] = lambda: 2
        self.price = 1
        """The minimum price of an included transaction."""
        self.blocks: list[Included] = []
        self.pool: list[Transaction] = []

    def time(self) -> int:
        return self.world.now() + self.early

    def head_time(self, finality: Finality) -> int:
        """The timestamp of that head's block."""
        return self.time() - finality_seconds(finality, self.margins)

    def ledger(self, finality: Finality = Finality.LATEST) -> Ledger:
        until = self.world.now() - finality_seconds(finality, self.margins)
        ledger = Ledger()
        for block in self.blocks:
            if block.at <= until:
                self._execute(ledger, block)
        return ledger

    def lock(self, htlc: Htlc, finality: Finality = Finality.LATEST) -> Lock | None:
        return self.ledger(finality).locks.get(key_of(htlc))

    def next_nonce(self, sender: str) -> int:
        waiting = [one.nonce + 1 for one in self.pool if one.sender == sender]
        return max([self.ledger().nonces.get(sender, 0), *waiting])

    def is_included(self, transaction: Transaction) -> bool:
        return any(block.transaction is transaction for block in self.blocks)

    # Acts of any party

    def broadcast(self, transaction: Transaction) -> None:
        """Submit a transaction to the pool, like a node.

        Raises:
            TransactionError: refused, outcome REJECTED.
        """
        if transaction.preimage is not None:
            self.world.shown.add(transaction.preimage.secret)
        if transaction in self.pool or self.is_included(transaction):
            return
        if transaction.nonce < self.ledger().nonces.get(transaction.sender, 0):
            raise TransactionError("the nonce is used", code="nonce_used", outcome=Outcome.REJECTED)
        for other in tuple(self.pool):
            if (other.sender, other.nonce) == (transaction.sender, transaction.nonce):
                if transaction.price <= other.price:
                    raise TransactionError("replacement transaction underpriced", outcome=Outcome.REJECTED)
                self.pool.remove(other)
        self.pool.append(transaction)
        transaction.is_due = False
        self.world.later(self.inclusion_seconds(), lambda: self._come_due(transaction))

    def reorganise(self, seconds: int, *, to_pool: bool = True, backwards: bool = False) -> int:
        """Remove the blocks of the last seconds; return the number of their transactions.

        Args:
            to_pool: whether they return to the pool; otherwise every node forgets them.
            backwards: include the last of them first.
        """
        since = self.world.now() - min(seconds, self.margins.final_time - 1)
        gone = [block.transaction for block in self.blocks if block.at > since]
        self.blocks = [block for block in self.blocks if block.at <= since]
        for place, transaction in enumerate(reversed(gone) if backwards else gone):
            transaction.is_due = False
            if to_pool:
                self.pool.append(transaction)
                self.world.later(1 + place, lambda one=transaction: self._come_due(one))  # type: ignore[misc]  # mypy cannot infer a lambda with a default
        self.world.change()
        return len(gone)

    def forget_pool(self) -> list[Transaction]:
        """Every node loses its pool; the transactions can be broadcast again."""
        lost, self.pool = self.pool, []
        self.world.change()
        return lost

    def restart_pool(self) -> None:
        """Check the transactions again that wait for a lower price or an earlier nonce."""
        self._include_all()
        self.world.change()

    # Rules

    def _come_due(self, transaction: Transaction) -> None:
        transaction.is_due = True
        self._include_all()

    def _include_all(self) -> None:
        found = True
        while found:
            nonces = self.ledger().nonces
            found = False
            for one in tuple(self.pool):
                used = nonces.get(one.sender, 0)
                if one.nonce < used:
                    self.pool.remove(one)
                elif one.nonce == used and one.is_due and one.price >= self.price:
                    self.pool.remove(one)
                    self.blocks.append(Included(one, self.world.now(), self.time()))
                    self.world.later(self.margins.safe_time)
                    self.world.later(self.margins.final_time)
                    found = True
                    break

    def _execute(self, ledger: Ledger, block: Included) -> None:
        one = block.transaction
        ledger.nonces[one.sender] = one.nonce + 1
        ledger.succeeded[id(one)] = self._apply(ledger, block)

    def _apply(self, ledger: Ledger, block: Included) -> bool:
        one, key = block.transaction, key_of(block.transaction.htlc)
        lock, leg, payment_hash = ledger.locks.get(key), key[2], one.htlc.payment_hash
        payer, payee = self.world.party(leg.payer), self.world.party(leg.payee)

        def pay(party: str, amount: int) -> None:
            ledger.balances[party] = ledger.balances.get(party, 0) + amount

        match one.verb:
            case "fund":
                late = block.chain_time >= leg.deadline
                if lock is not None or late or payment_hash in ledger.spent or one.sender != payer:
                    return False
                ledger.locks[key] = Lock(one.htlc, block.at)
                pay(payer, -leg.amount)
            case "collect":
                known = one.preimage is not None and one.preimage.payment_hash == payment_hash
                if lock is None or lock.state != "locked" or not known:
                    return False
                assert one.preimage is not None
                lock.state, lock.ended_at = "claimed", block.at
                ledger.spent[payment_hash] = one.preimage
                pay(payee, leg.amount)
            case _:
                early = block.chain_time < leg.deadline and one.sender != payee
                if lock is None or lock.state != "locked" or early:
                    return False
                lock.state, lock.ended_at = "refunded", block.at
                pay(payer, leg.amount)
        return True
