"""A regtest chain in this process. Bitcoin Core's own consensus code judges every script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import pbk
from pbk.script import PrecomputedTransactionData

from layer2.formats.bitcoin_block import MEDIAN_OF, BitcoinBlock, BitcoinHeader, median_time
from layer2.formats.bitcoin_transaction import LOCKTIME_THRESHOLD, OutPoint, Transaction, TxIn, TxOut
from layer2.local.regtest_blocks import ANYONE, ANYONE_WITNESS, BITS, made_block, subsidy
from layer2.local.simnet.clock import SimClock

__all__ = ["ANYONE", "ANYONE_WITNESS", "Block", "Coin", "CoinView", "RegtestChain", "TransactionRefused"]

MATURITY: Final = 100
"""Blocks until a reward can be spent."""
_GENESIS_REWARD: Final = Transaction(
    version=1,
    inputs=(
        TxIn(
            OutPoint(bytes(32), 0xFFFF_FFFF),
            0xFFFF_FFFF,
            bytes.fromhex("04ffff001d010445")
            + b"The Times 03/Jan/2009 Chancellor on brink of second bailout for banks",
        ),
    ),
    outputs=(
        TxOut(
            50 * 10**8,
            bytes.fromhex(
                "4104678afdb0fe5548271967f1a67130b7105cd6a828e03909a67962e0ea1f61deb649f6bc3f4cef38c4f35504e51ec112de5c384df7"
                "ba0b8d578a4c702b6bf11d5fac"
            ),
        ),
    ),
    locktime=0,
)
_GENESIS: Final = BitcoinHeader(
    version=1,
    parent=bytes(32),
    merkle_root=_GENESIS_REWARD.hash,
    time=1_296_688_602,
    bits=BITS,
    nonce=2,
)
_OP_RETURN: Final = b"\x6a"


class TransactionRefused(Exception):
    """The node's rules do not allow a transaction.

    Args:
        reason: the code that Bitcoin Core gives.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Coin:
    """An unspent output."""

    output: TxOut
    height: int
    """Of its block."""
    is_reward: bool


@dataclass(frozen=True, slots=True)
class Block:
    """A block of the active chain."""

    height: int
    block: BitcoinBlock
    spent: Mapping[OutPoint, Coin]
    """The coins of earlier blocks that its transactions spend."""


class RegtestChain:
    """The active chain, its unspent outputs, and its miner.

    Args:
        clock: block times follow it.
    """

    def __init__(self, clock: SimClock) -> None:
        self._clock = clock
        self._branch = 0
        self.blocks: list[Block] = [Block(0, BitcoinBlock(_GENESIS, (_GENESIS_REWARD,)), {})]
        self.coins: dict[OutPoint, Coin] = {}

    @property
    def height(self) -> int:
        """Of the newest block."""
        return len(self.blocks) - 1

    @property
    def tip(self) -> Block:
        """The newest block."""
        return self.blocks[-1]

    @property
    def median_time(self) -> int:
        """The median time past of the newest block, in unix seconds (BIP 113)."""
        return median_time([each.block.header for each in self.blocks[-MEDIAN_OF:]])

    def mine(self, transactions: Sequence[Transaction] = (), *, age: int = 0) -> Block:
        """Make one block with these transactions in this order, and connect it.

        Args:
            age: seconds by which its time is before the clock's; negative if it is later.

        Raises:
            TransactionRefused: a transaction is not valid in the next block.
        """
        coins = CoinView(self.coins, self.height + 1)
        fees = sum(self.check(each, coins) for each in transactions)
        height = self.height + 1
        block = made_block(
            self.tip.block.header.hash,
            height,
            max(self._clock.now() - age, self.median_time + 1),
            transactions,
            reward=subsidy(height) + fees,
            branch=self._branch,
        )
        coins.add(block.transactions[0], is_reward=True)
        self.blocks.append(Block(height, block, coins.spent))
        self.coins = coins.unspent
        return self.tip

    def disconnect(self) -> Block:
        """Remove the newest block and return it."""
        block = self.blocks.pop()
        self.coins.update(block.spent)
        for transaction in block.block.transactions:
            for index in range(len(transaction.outputs)):
                self.coins.pop(OutPoint(transaction.hash, index), None)
        self._branch += 1
        return block

    def check(self, transaction: Transaction, coins: CoinView) -> int:
        """Check a transaction for the next block, spend its coins, and return its fee in satoshi.

        Raises:
            TransactionRefused: it is not valid there. ``reason`` is Bitcoin Core's.
        """
        if not _is_final(transaction, coins.height, self.median_time):
            raise TransactionRefused("non-final")
        spent = [coins.spend(each.prevout) for each in transaction.inputs]
        fee = sum(each.output.amount for each in spent) - sum(each.amount for each in transaction.outputs)
        if fee < 0:
            raise TransactionRefused("bad-txns-in-belowout")
        _check_scripts(transaction, [each.output for each in spent])
        coins.add(transaction)
        return fee


class CoinView:
    """The unspent outputs for the next block, while it is put together.

    Args:
        unspent: those of the chain.
        height: of the next block.
    """

    def __init__(self, unspent: Mapping[OutPoint, Coin], height: int) -> None:
        self.unspent = dict(unspent)
        self.height = height
        self.spent: dict[OutPoint, Coin] = {}
        """The coins of earlier blocks that it spends."""

    def spend(self, outpoint: OutPoint) -> Coin:
        """Take an output.

        Raises:
            TransactionRefused: it does not exist, is spent, or is a reward that is not mature.
        """
        coin = self.unspent.pop(outpoint, None)
        if coin is None:
            raise TransactionRefused("bad-txns-inputs-missingorspent")
        if coin.is_reward and self.height - coin.height < MATURITY:
            raise TransactionRefused("bad-txns-premature-spend-of-coinbase")
        if coin.height < self.height:
            self.spent[outpoint] = coin
        return coin

    def add(self, transaction: Transaction, *, is_reward: bool = False) -> None:
        """Add a transaction's outputs."""
        for index, output in enumerate(transaction.outputs):
            if output.script[:1] != _OP_RETURN:
                self.unspent[OutPoint(transaction.hash, index)] = Coin(output, self.height, is_reward)


def _is_final(transaction: Transaction, height: int, median_time: int) -> bool:
    """Whether the lock time allows the transaction in a block (BIP 65, BIP 113)."""
    limit = height if transaction.locktime < LOCKTIME_THRESHOLD else median_time
    return transaction.locktime < limit or all(each.sequence == 0xFFFF_FFFF for each in transaction.inputs)


def _check_scripts(transaction: Transaction, spent: Sequence[TxOut]) -> None:
    """Let Bitcoin Core's code judge the witnesses.

    Raises:
        TransactionRefused: one does not satisfy its script.
    """
    judged = pbk.Transaction(transaction.encode())
    outputs = [pbk.TransactionOutput(pbk.ScriptPubkey(each.script), each.amount) for each in spent]
    data = PrecomputedTransactionData(judged, outputs)
    flags = pbk.ScriptVerificationFlags.ALL
    for index, each in enumerate(spent):
        if not pbk.ScriptPubkey(each.script).verify(each.amount, judged, data, index, flags):
            raise TransactionRefused("mandatory-script-verify-flag-failed")
