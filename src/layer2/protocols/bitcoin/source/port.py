"""``ChainSource``: what the client asks of a Bitcoin node or of an Esplora server."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from layer2.formats.bitcoin_transaction import OutPoint, Transaction

__all__ = ["BlockId", "ChainSource", "Located"]


@dataclass(frozen=True, slots=True)
class BlockId:
    """A block by its height and its hash."""

    height: int
    hash: bytes
    """32 bytes, in the order in which headers contain it."""


@dataclass(frozen=True, slots=True)
class Located:
    """A transaction and the block that contains it."""

    transaction: Transaction
    block: BlockId | None
    """None while it is unconfirmed."""


class ChainSource(Protocol):
    """Reads of one node. An answer is not checked against the chain's work; ``ChainFollower`` does that.

    Raises, all methods: NodeError and its subclasses.
    """

    async def tip(self) -> BlockId:
        """The newest block."""
        ...

    async def block_hash(self, height: int) -> bytes | None:
        """The hash of the block at that height in the node's best chain, 32 bytes; None above the tip."""
        ...

    async def block(self, block_hash: bytes) -> bytes:
        """The bytes of a block.

        Raises:
            NodeRefused: code ``pruned``: the node no longer has it.
        """
        ...

    async def header(self, block_hash: bytes) -> bytes:
        """The 80 bytes of a block's header."""
        ...

    async def find(self, tx_hash: bytes) -> Located | None:
        """A transaction of the chain or the mempool, or None."""
        ...

    async def unconfirmed(self, scripts: Collection[bytes], outpoints: Collection[OutPoint]) -> Sequence[Transaction]:
        """The transactions of the mempool that pay to one of these output scripts or spend one of these outputs.

        A node that does not index its mempool shows the transactions that arrived since the client started.
        """
        ...

    async def broadcast(self, transaction: Transaction) -> None:
        """Give a transaction to the node. A known or confirmed one is accepted.

        Raises:
            TransactionError: the node refused it; outcome REJECTED.
            NodeUnreachable: outcome NOT_SENT if certainly nothing was sent, otherwise UNKNOWN.
        """
        ...

    async def fee_rate(self, blocks: int) -> int:
        """The estimated fee rate for inclusion within that many blocks, in satoshi per 1,000 virtual bytes, and never
        below the lowest rate that the node's mempool accepts."""
        ...

    async def aclose(self) -> None:
        """Close the connections."""
        ...
