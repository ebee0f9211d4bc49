"""Following the logs of contracts: new ones, and those that a reorganisation removes.

Logs come only from the receipts of a block, which must match the receiptsRoot of its header. So a node cannot hide a
log with an empty answer. Blocks are not read if their bloom filter, to which the header commits too, excludes all
wanted logs.

Sources: Ethereum Yellow Paper, sections 4.3.1 and 4.4.4 (receipts, bloom filter); EIP-234 (why by block hash).
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from layer2.aio.shared_call import SharedCall
from layer2.errors import BadAnswer, FormatError, InvalidRequest
from layer2.formats.evm_address import parse_address
from layer2.formats.evm_hex import parse_data
from layer2.formats.evm_receipt import EvmLog, bloom_bits
from layer2.model.transactions import EvmTxId
from layer2.protocols.bounded_dict import BoundedDict
from layer2.protocols.evm.chain.follower import ChainFollower
from layer2.protocols.evm.chain.heads import HeadWatcher
from layer2.protocols.evm.rpc.node import EvmNode, NodeBlock

__all__ = ["LogEvent", "LogFilter", "LogStreams"]

_MOST_TOPICS = 4
_REMEMBERED_BLOCKS = 64


@dataclass(frozen=True, slots=True)
class LogEvent:
    """A log that was added to the chain, or removed with its block.

    The log was checked against the header of ``block_hash``. ``tx_id`` was not: receipts do not commit to it.
    """

    log: EvmLog
    block_number: int
    block_hash: bytes
    """32 bytes."""
    tx_id: EvmTxId
    log_index: int
    """The position among all logs of the block, from 0."""
    removed: bool
    """True if a reorganisation removed a log that was reported before."""


@dataclass(frozen=True, slots=True)
class LogFilter:
    """Selects logs. An empty set matches everything.

    Args:
        addresses: the contracts, 20 bytes each.
        topics: for each position the allowed topics, 32 bytes each.
    """

    addresses: frozenset[bytes]
    topics: tuple[frozenset[bytes], ...]

    @classmethod
    def read(
        cls,
        address: str | Sequence[str] | None,
        topics: Sequence[bytes | Sequence[bytes] | None],
        chain_id: int | None = None,
    ) -> LogFilter:
        """Create a filter from arguments with the meaning of ``eth_getLogs``.

        Raises:
            FormatError: an address or a topic is invalid.
            InvalidRequest: more topics than a log has, or an empty list of alternatives.
        """
        if len(topics) > _MOST_TOPICS:
            raise InvalidRequest(f"a log has at most {_MOST_TOPICS} topics, not {len(topics)}")
        addresses = [] if address is None else [address] if isinstance(address, str) else list(address)
        choices = [[] if one is None else [one] if isinstance(one, bytes) else list(one) for one in topics]
        if (address is not None and not addresses) or any(
            one is not None and not choice for one, choice in zip(topics, choices, strict=True)
        ):
            raise InvalidRequest("an empty list of addresses or topics matches nothing; use None for any")
        for topic in [topic for choice in choices for topic in choice]:
            if len(topic) != 32:
                raise FormatError("EVM log: a topic must have 32 bytes")
        contracts = frozenset(parse_address(one, chain_id) for one in addresses)
        return cls(contracts, tuple([frozenset(choice) for choice in choices]))

    def may_be_in(self, block: NodeBlock) -> bool:
        """False if the header's bloom filter excludes all matching logs."""
        bloom = int.from_bytes(block.header.logs_bloom, "big")
        return all(
            not choice or any(bloom_bits(entry) & ~bloom == 0 for entry in choice)
            for choice in (self.addresses, *self.topics)
        )

    def matches(self, log: EvmLog) -> bool:
        """Whether the filter selects the log."""
        if (self.addresses and log.address not in self.addresses) or len(log.topics) < len(self.topics):
            return False
        return all(not choice or topic in choice for choice, topic in zip(self.topics, log.topics, strict=False))


class LogStreams:
    """Follows logs for any number of filters. A block costs one request for all, and none if no filter can match.

    Args:
        node: the party's own node.
        watcher: the node's heads.
    """

    def __init__(self, node: EvmNode, watcher: HeadWatcher) -> None:
        self._node = node
        self._watcher = watcher
        self._reads: BoundedDict[bytes, SharedCall[tuple[LogEvent, ...] | None]] = BoundedDict(_REMEMBERED_BLOCKS)

    async def logs(self, wanted: LogFilter, from_block: int | None) -> AsyncGenerator[LogEvent, None]:
        """Yield each new log, oldest first. A reorganisation yields the removed logs first, newest first.

        Args:
            wanted: selects the logs.
            from_block: the first block's height; None starts after the newest block.

        Raises:
            NodeError: the node could not be read several times in a row, or the client was closed.
        """
        after = None if from_block is None else await self._before(from_block)
        follower = ChainFollower(self._node, self._watcher, after)
        if after is None:
            # The first step is the newest block, and the logs start after it.
            await follower.next()
        # Kept for reorganisations, which never go below the finalized block.
        reported: deque[tuple[LogEvent, ...]] = deque()
        unread: list[NodeBlock] = []
        while True:
            step = await follower.next()
            for point in step.removed:
                if reported and reported[-1][0].block_hash == point.hash:
                    for event in reversed(reported.pop()):
                        yield replace(event, removed=True)
            gone = {point.hash for point in step.removed}
            blocks = [block for block in unread if block.hash not in gone]
            blocks += [block for block in step.added if wanted.may_be_in(block)]
            unread = []
            read = await asyncio.gather(*[self._watcher.retrying(partial(self._events, block)) for block in blocks])
            for block, events in zip(blocks, read, strict=True):
                if events is None or unread:
                    unread.append(block)
                elif matching := tuple([event for event in events if wanted.matches(event.log)]):
                    reported.append(matching)
                    for event in matching:
                        yield event
            while reported and reported[0][0].block_number <= step.heads.finalized.number:
                reported.popleft()

    async def _before(self, height: int) -> NodeBlock:
        """The block below a height. For height 0 it is block 0 itself, which has no logs."""
        block = await self._watcher.retrying(lambda: self._watcher.block(max(0, height - 1)))
        if block is None:
            raise BadAnswer(
                f"the logs should start at block {height}, and the node's chain ends below it",
                protocol=self._node.protocol,
                retryable=True,
            )
        return block

    async def _events(self, block: NodeBlock) -> tuple[LogEvent, ...] | None:
        """All logs of a block, read once for all filters.

        None if the block has left the chain: the next step removes it, or it is read again.
        """
        if block.hash not in self._reads:
            self._reads[block.hash] = SharedCall(partial(self._proven, block), life=math.inf)
        events = await self._reads[block.hash].get()
        if events is None:
            self._reads.pop(block.hash, None)
        return events

    async def _proven(self, block: NodeBlock) -> tuple[LogEvent, ...] | None:
        """All logs of a block, checked against its receiptsRoot; None if the block has left the chain."""
        written = await self._node.block_receipts(block.hash)
        if written is None:
            await self._check_gone(block)
            return None
        try:
            receipts = [self._node.format.read_receipt(receipt) for receipt in written]
            tx_ids = [parse_data(receipt.get("transactionHash"), "transactionHash", size=32) for receipt in written]
            root = self._node.format.receipts_root([encoded for _, encoded in receipts])
        except FormatError as error:
            raise self._bad(block, error.message) from error
        if root != block.header.receipts_root:
            raise self._bad(block, "they do not match its receiptsRoot")
        logs = [
            (log, EvmTxId("0x" + tx_id.hex()))
            for (receipt, _), tx_id in zip(receipts, tx_ids, strict=True)
            for log in receipt.logs
        ]
        return tuple(
            [LogEvent(log, block.number, block.hash, tx_id, index, False) for index, (log, tx_id) in enumerate(logs)]
        )

    async def _check_gone(self, block: NodeBlock) -> None:
        """Check that another block has this height now.

        Raises:
            BadAnswer: the block is, or may be, on the chain, and the node does not answer with its receipts.
        """
        on_chain = await self._node.block(block.number)
        if on_chain is None or on_chain.hash == block.hash:
            raise self._bad(block, "the node does not have them")

    def _bad(self, block: NodeBlock, problem: str) -> BadAnswer:
        return BadAnswer(
            f"the receipts of block {block.number}: {problem}",
            protocol=self._node.protocol,
            operation=self._node.format.receipts_method,
            retryable=True,
        )
