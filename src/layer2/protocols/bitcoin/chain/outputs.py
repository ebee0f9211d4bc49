"""What the chain and the mempool show of the outputs that pay to one script. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from layer2.formats.bitcoin_transaction import OutPoint, Transaction
from layer2.protocols.bitcoin.source.port import BlockId, Located

__all__ = ["Output", "Spend", "outputs_of"]

_NOTHING: Final = bytes(32)
"""What the input of a block's first transaction names as its parent."""


@dataclass(frozen=True, slots=True)
class Spend:
    """The transaction that spends an output."""

    transaction: Transaction
    index: int
    """Of the input."""
    block: BlockId | None

    @property
    def witness(self) -> tuple[bytes, ...]:
        """The witness with which it spends."""
        return self.transaction.inputs[self.index].witness


@dataclass(frozen=True, slots=True)
class Output:
    """One output that pays to the script."""

    outpoint: OutPoint
    # The outpoint contains its hash: to compare it again would compare each output of a batch.
    funding: Transaction = field(compare=False, repr=False)
    """The transaction that made it."""
    amount: int
    """Satoshi."""
    block: BlockId | None
    """None while it is unconfirmed."""
    spend: Spend | None
    is_coinbase: bool = False
    """A miner made it with its block. Consensus lets no one spend it before it has 100 confirmations."""


def outputs_of(script: bytes, located: Iterable[Located]) -> tuple[Output, ...]:
    """The outputs to a script with their spends, in the order of the transactions.

    Args:
        located: every transaction that pays to the script or spends from it: the confirmed ones in the chain's order,
            then the unconfirmed. A spend in a block counts rather than one in the mempool.
    """
    known = list(located)
    spends: dict[OutPoint, Spend] = {}
    for each in known:
        for index, spent in enumerate(each.transaction.inputs):
            spends.setdefault(spent.prevout, Spend(each.transaction, index, each.block))
    found: list[Output] = []
    for each in known:
        # A batch of payments has thousands of outputs: its hash is calculated once.
        tx_hash, is_coinbase = each.transaction.hash, each.transaction.inputs[0].prevout.tx_hash == _NOTHING
        for index, paid in enumerate(each.transaction.outputs):
            if paid.script == script:
                outpoint = OutPoint(tx_hash, index)
                spend = spends.get(outpoint)
                found.append(Output(outpoint, each.transaction, paid.amount, each.block, spend, is_coinbase))
    return tuple(found)
