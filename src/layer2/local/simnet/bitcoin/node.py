"""simnet's Bitcoin node: a chain, its mempool, and an index of both by output script."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile

from layer2.formats.bitcoin_transaction import OutPoint, Transaction, TxOut, decode_transaction
from layer2.local.simnet.bitcoin.chain import Block, RegtestChain
from layer2.local.simnet.bitcoin.mempool import MIN_RELAY, Mempool
from layer2.local.simnet.clock import SimClock

__all__ = ["BitcoinNode", "Located"]


@dataclass(frozen=True, slots=True)
class Located:
    """A transaction and where it is."""

    transaction: Transaction
    block: Block | None
    """None while it is unconfirmed."""


class BitcoinNode:
    """One node, whose blocks are made on demand.

    Args:
        clock: block times follow it.
        on_blocks: called with the new height after every change of the chain.
    """

    def __init__(self, clock: SimClock, on_blocks: Callable[[int], None] = lambda height: None) -> None:
        self.chain = RegtestChain(clock)
        self.mempool = Mempool(self.chain)
        self._on_blocks = on_blocks
        self._least_rate = MIN_RELAY
        self._located: dict[bytes, Block] = {}
        self._by_script: defaultdict[bytes, list[bytes]] = defaultdict(list)

    def submit(self, raw: bytes) -> Transaction:
        """Accept a transaction into the mempool.

        Raises:
            TransactionRefused: the node's rules do not allow it.
            FormatError: the bytes are not a transaction.
        """
        transaction = decode_transaction(raw)
        if transaction.hash not in self._located:
            self.mempool.add(transaction)
        return transaction

    def mine(self, blocks: int, transactions: Sequence[Transaction] = ()) -> int:
        """Make blocks and return the height.

        Args:
            transactions: what the first block contains beside what it takes from the mempool.
        """
        for number in range(blocks):
            chosen = self.mempool.for_block(self._least_rate) if number or not transactions else transactions
            self._index(self.chain.mine(chosen))
            self.mempool.confirm(chosen)
        self._on_blocks(self.chain.height)
        return self.chain.height

    def mine_history(self, blocks: int, seconds: int) -> None:
        """Make the first blocks, as if one had been made every ``seconds`` until now."""
        for left in reversed(range(blocks)):
            self._index(self.chain.mine(age=left * seconds))

    def advance_time(self, seconds: int) -> int:
        """Make blocks that are later by ``seconds``, until the median time past is, and return it."""
        until = self.chain.median_time + seconds
        while self.chain.median_time < until:
            chosen = self.mempool.for_block(self._least_rate)
            self._index(self.chain.mine(chosen, age=-seconds))
            self.mempool.confirm(chosen)
        self._on_blocks(self.chain.height)
        return self.chain.median_time

    def reorganise(self, depth: int, keep_transactions: bool, transactions: Sequence[Transaction]) -> int:
        """Replace the last blocks by a branch that is one block longer, and return the height.

        Args:
            depth: the number of blocks to remove.
            keep_transactions: whether their transactions return to the mempool.
            transactions: what the branch's first block contains.
        """
        removed = [self._unindex(self.chain.disconnect()) for _ in range(depth)]
        returned = [each for block in reversed(removed) for each in block.block.transactions[1:]]
        self._index(self.chain.mine(transactions))
        self.mempool.readmit(returned if keep_transactions else ())
        self.mempool.confirm(transactions)
        for _ in range(depth):
            self._index(self.chain.mine())
        self._on_blocks(self.chain.height)
        return self.chain.height

    def set_fees(self, rate: int) -> None:
        """Set the fee rate below which the mempool refuses and miners leave out, in satoshi per 1,000 vbytes."""
        self._least_rate = rate
        self.mempool.set_floor(rate)

    @property
    def least_rate(self) -> int:
        """The fee rate that a transaction needs for the next block, in satoshi per 1,000 virtual bytes."""
        return max(self._least_rate, MIN_RELAY)

    @property
    def empty_blocks(self) -> int:
        """How many of the newest blocks contain only their reward."""
        newest = reversed(self.chain.blocks)
        return sum(1 for _ in takewhile(lambda each: len(each.block.transactions) == 1, newest))

    def find(self, tx_hash: bytes) -> Located | None:
        """A transaction of the chain or of the mempool."""
        block = self._located.get(tx_hash)
        if block is not None:
            return Located(next(each for each in block.block.transactions if each.hash == tx_hash), block)
        waiting = self.mempool.get(tx_hash)
        return None if waiting is None else Located(waiting, None)

    def output(self, outpoint: OutPoint) -> TxOut | None:
        """An output, spent or not."""
        found = self.find(outpoint.tx_hash)
        if found is None or outpoint.index >= len(found.transaction.outputs):
            return None
        return found.transaction.outputs[outpoint.index]

    def spender(self, outpoint: OutPoint) -> tuple[Located, int] | None:
        """The transaction that spends an output, with the index of its input; or None."""
        output = self.output(outpoint)
        if output is None:
            return None
        for located in self.history(script_hash(output.script)):
            for index, each in enumerate(located.transaction.inputs):
                if each.prevout == outpoint:
                    return located, index
        return None

    def history(self, hashed: bytes) -> Sequence[Located]:
        """The transactions that pay to a script or spend from it: the unconfirmed first, then the newest block's.

        Args:
            hashed: ``script_hash`` of the script.
        """
        confirmed = [self.find(each) for each in reversed(self._by_script.get(hashed, []))]
        waiting = [
            Located(entry.transaction, None)
            for entry in self.mempool.entries
            if hashed in self._scripts(entry.transaction)
        ]
        return [*waiting, *(each for each in confirmed if each is not None)]

    def _index(self, block: Block) -> None:
        for transaction in block.block.transactions:
            self._located[transaction.hash] = block
        for transaction in block.block.transactions:
            for hashed in self._scripts(transaction):
                self._by_script[hashed].append(transaction.hash)

    def _unindex(self, block: Block) -> Block:
        for transaction in block.block.transactions:
            for hashed in self._scripts(transaction):
                self._by_script[hashed].remove(transaction.hash)
        for transaction in block.block.transactions:
            del self._located[transaction.hash]
        return block

    def _scripts(self, transaction: Transaction) -> set[bytes]:
        """The hashes of all scripts that a transaction touches."""
        spent = [self.output(each.prevout) for each in transaction.inputs]
        return {script_hash(each.script) for each in (*transaction.outputs, *spent) if each is not None}


def script_hash(script: bytes) -> bytes:
    """The hash under which Esplora lists a script, 32 bytes."""
    return hashlib.sha256(script).digest()
