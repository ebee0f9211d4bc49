"""Transactions for tests of simnet's Bitcoin chain, which spend what anyone can spend."""

from __future__ import annotations

from collections.abc import Sequence

from layer2.formats.bitcoin_transaction import OutPoint, Transaction, TxIn, TxOut
from layer2.local.simnet.bitcoin.chain import ANYONE, ANYONE_WITNESS, MATURITY
from layer2.local.simnet.bitcoin.node import BitcoinNode
from layer2.local.simnet.clock import SimClock

NOW = 1_790_000_000
REWARD = 50 * 10**8


def started_node(blocks: int = 110) -> BitcoinNode:
    """A node on which the first rewards are mature."""
    node = BitcoinNode(SimClock.manual(NOW))
    node.mine(blocks)
    return node


def reward_of(node: BitcoinNode, height: int = 1) -> OutPoint:
    """The reward of a block."""
    assert node.chain.height - height >= MATURITY - 1
    return OutPoint(node.chain.blocks[height].block.transactions[0].hash, 0)


def spend(
    outpoint: OutPoint,
    amounts: Sequence[int],
    *,
    sequence: int = 0xFFFF_FFFD,
    locktime: int = 0,
    script: bytes = ANYONE,
) -> Transaction:
    """A transaction that spends an output that anyone can spend."""
    inputs = (TxIn(outpoint, sequence, b"", ANYONE_WITNESS),)
    return Transaction(2, inputs, tuple([TxOut(amount, script) for amount in amounts]), locktime)
