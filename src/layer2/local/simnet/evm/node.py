"""One EVM node of the simnet: chain, pool, chain time and finality, without any transport."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence

from eth.abc import SignedTransactionAPI

from layer2.local.simnet.clock import SimClock
from layer2.local.simnet.evm.calls import EvmCalls
from layer2.local.simnet.evm.chain import BOB_CHAIN_ID, EvmChain, MinedBlock
from layer2.local.simnet.evm.pool import TransactionPool, TransactionRefused
from layer2.local.simnet.rskj.pool import RskPool
from layer2.local.simnet.rskj.rules import RskRules

__all__ = ["EvmNode"]

_SAFE_LAG = 2
_FINALIZED_LAG = 4
_GENESIS_AGE = 60


class EvmNode:
    """A node that is its own sequencer. It makes blocks only when a method requests them.

    Args:
        allocation: genesis balances in wei, by address.
        clock: the machines' clock. The time of a block is the clock's plus the offset of the chain, and at least one
            second after its parent's.
        chain_id: the chain id that transactions are signed for.
        rules: the chain's rules, if they are not BOB's.
    """

    def __init__(
        self,
        allocation: Mapping[bytes, int],
        clock: SimClock,
        chain_id: int = BOB_CHAIN_ID,
        rules: RskRules | None = None,
    ) -> None:
        self._clock = clock
        self._offset = 0
        self._branch = 0
        self._held_safe: int | None = None
        self._held_finalized: int | None = None
        self.watchers: set[Callable[[MinedBlock], None]] = set()
        """Called with each block that becomes the head."""
        self.chain = EvmChain(allocation, clock.now() - _GENESIS_AGE, chain_id, rules)
        self.calls = EvmCalls(self.chain)
        self.pool = TransactionPool(chain_id) if rules is None else RskPool(self.chain, clock)
        self.arrivals: list[bytes] = []
        """Hashes of the transactions that the pool accepted, in order."""

    @property
    def safe_height(self) -> int:
        """The height of the safe head: two below the head, or where it is held, and never below finalized."""
        follows = self.chain.head.number - _SAFE_LAG
        return max(self.finalized_height, follows if self._held_safe is None else self._held_safe)

    @property
    def finalized_height(self) -> int:
        """The height of the finalized head: four below the head, or where it is held."""
        follows = self.chain.head.number - _FINALIZED_LAG
        return max(0, follows if self._held_finalized is None else self._held_finalized)

    def send(self, raw: bytes) -> bytes:
        """Add a signed transaction to the pool and return its hash.

        Raises:
            TransactionRefused: with the message of the node software for the reason.
        """
        transaction = self.pool.decode(raw)
        self.pool.add(transaction, self.chain.state_at(self.chain.head))
        transaction_hash = bytes(transaction.hash)
        self.arrivals.append(transaction_hash)
        return transaction_hash

    def has_ready(self) -> bool:
        """Whether a block made now would hold a transaction."""
        state = self.chain.state_at(self.chain.head)
        return next(self.pool.ready(state, self.chain.least_price()), None) is not None

    def mine(self, blocks: int = 1) -> int:
        """Make blocks and return the new height. The first block takes the transactions of the pool that fit.

        Raises:
            ValueError: ``blocks`` is not positive.
        """
        if blocks < 1:
            raise ValueError("the number of blocks must be positive")
        for _ in range(blocks):
            self._append(self._timestamp())
        return self.chain.head.number

    def advance_time(self, seconds: int) -> int:
        """Move the chain's time forward, make a block there, and return its timestamp.

        Raises:
            ValueError: ``seconds`` is not positive.
        """
        if seconds < 1:
            raise ValueError("chain time moves forward only")
        self._offset += seconds
        return self._append(self._timestamp()).timestamp

    def set_finality(self, safe: int | None, finalized: int | None) -> None:
        """Hold the safe and finalized heads at these heights; None lets a head follow the newest block.

        Raises:
            ValueError: the chain does not have a height, or finalized would be above safe.
        """
        top = self.chain.head.number
        for name, height in (("safe", safe), ("finalized", finalized)):
            if height is not None and not 0 <= height <= top:
                raise ValueError(f"{name} cannot be held at {height}: the head is at {top}")
        lowest_safe = top - _FINALIZED_LAG if finalized is None else finalized
        if safe is not None and safe < lowest_safe:
            raise ValueError(f"finalized ({lowest_safe}) cannot be above safe ({safe})")
        self._held_safe, self._held_finalized = safe, finalized

    def reorganise(self, depth: int, *, keep_transactions: bool, transactions: Sequence[bytes] = ()) -> int:
        """Replace the last blocks by a branch that is one block longer, and return the new height.

        The new blocks have the times of those that they replace. A safe head that is held above the last remaining
        block moves down to it.

        Args:
            depth: how many blocks to replace.
            keep_transactions: return the transactions of the replaced blocks to the pool instead of dropping them.
            transactions: signed transactions for the first block of the branch; the others are empty.

        Raises:
            ValueError: ``depth`` is not positive, or a finalized block would be replaced.
        """
        if depth < 1:
            raise ValueError("the number of blocks must be positive")
        stays = self.chain.head.number - depth
        if stays < self.finalized_height:
            raise ValueError(
                f"{depth} blocks back from {self.chain.head.number} is below the finalized head at "
                f"{self.finalized_height}: hold finalized lower first"
            )
        chosen = [self.pool.decode(raw) for raw in transactions]
        removed = self.chain.roll_back(depth)
        if self._held_safe is not None:
            self._held_safe = min(self._held_safe, stays)
        self._branch += 1
        for place, block in enumerate(removed):
            self.chain.append(() if place else chosen, block.timestamp, branch=self._branch)
        head, _ = self.chain.append((), self._timestamp(), branch=self._branch)
        self._notify(head)
        self.pool.forget_used(self.chain.state_at(self.chain.head))
        if keep_transactions:
            state = self.chain.state_at(self.chain.head)
            for transaction in [transaction for block in removed for transaction in block.transactions]:
                # The pool may hold another transaction with the same nonce by now; that one stays.
                with contextlib.suppress(TransactionRefused):
                    self.pool.add(transaction, state)
        return self.chain.head.number

    def _timestamp(self) -> int:
        return max(self.chain.head.timestamp + 1, self._clock.now() + self._offset)

    def _append(self, timestamp: int) -> MinedBlock:
        chain = self.chain
        ready: list[SignedTransactionAPI] = list(self.pool.ready(chain.state_at(chain.head), chain.least_price()))
        block, _ = chain.append(ready, timestamp, branch=self._branch)
        # Several blocks within one second run ahead of the clock; the chain's time follows them.
        self._offset = max(self._offset, timestamp - self._clock.now())
        if ready:
            self.pool.forget_used(chain.state_at(chain.head))
        self._notify(block)
        return block

    def _notify(self, head: MinedBlock) -> None:
        for watcher in self.watchers:
            watcher(head)
