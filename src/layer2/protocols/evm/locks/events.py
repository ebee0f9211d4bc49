"""Searching the HTLC contract's events by payment hash."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from layer2.contracts.htlc import CLAIMED, LOCKED, REFUNDED, HtlcEvent, parse_event
from layer2.errors import BadAnswer, FormatError
from layer2.protocols.evm.rpc.node import EvmNode, FoundLog, NodeBlock
from layer2.protocols.evm.settings import EvmSettings

__all__ = ["FoundEvent", "LockEvents"]

_STEPS_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class FoundEvent:
    """An event of the contract and its log."""

    event: HtlcEvent
    found: FoundLog


class LockEvents:
    """Searches events on a node, the newest blocks first.

    Args:
        node: the party's own node.
        settings: the contract, the range of the search, and the blocks of one request.
    """

    def __init__(self, node: EvmNode, settings: EvmSettings) -> None:
        self._node = node
        self._settings = settings
        self._contract = settings.asset.contract

    async def first(
        self,
        names: Sequence[bytes],
        payment_hash: bytes,
        head: NodeBlock,
        *,
        lock_id: bytes | None = None,
        whole_chain: bool = False,
    ) -> FoundEvent | None:
        """The newest matching event in the blocks up to ``head``; None if there is none.

        Args:
            names: the topics of the events, such as ``CLAIMED``.
            payment_hash: the payment hash of the event.
            head: the last block of the search.
            lock_id: the lock of the event; None is any.
            whole_chain: search back to the chain's first block, beyond the limit in the settings.

        Raises:
            BadAnswer: the node is not, or is no longer, on the chain of ``head``.
        """
        oldest = 0 if whole_chain else self.oldest(head)
        async with aclosing(self._search([list(names), lock_id, payment_hash], head, oldest)) as events:
            async for event in events:
                return event
        return None

    def oldest(self, head: NodeBlock) -> int:
        """The first block of a search that does not cover the whole chain."""
        return max(0, head.number - self._settings.log_search_blocks)

    async def locked_by(self, payer: bytes, payment_hash: bytes, head: NodeBlock) -> list[FoundEvent]:
        """All locks by a payer under a payment hash in the blocks up to ``head``. Raises: as ``first``."""
        topics = [LOCKED, None, payment_hash, payer.rjust(32, b"\x00")]
        async with aclosing(self._search(topics, head, self.oldest(head))) as events:
            return [event async for event in events]

    async def locked_since(self, first: int, head: NodeBlock) -> list[FoundEvent]:
        """All locks, by any payer, in the blocks from ``first`` to ``head``. Raises: as ``first``."""
        async with aclosing(self._search([LOCKED], head, first)) as events:
            return [event async for event in events]

    async def between(self, first: int, head: NodeBlock) -> list[FoundEvent]:
        """All events of the contract in the blocks from ``first`` to ``head``. Raises: as ``first``."""
        async with aclosing(self._search([[LOCKED, CLAIMED, REFUNDED]], head, first)) as events:
            return [event async for event in events]

    async def _search(
        self, topics: Sequence[bytes | Sequence[bytes] | None], head: NodeBlock, oldest: int
    ) -> AsyncGenerator[FoundEvent, None]:
        step = self._settings.log_search_step_blocks
        lasts = range(head.number, oldest - 1, -step)
        for start in range(0, len(lasts), _STEPS_AT_ONCE):
            # The same batch reads the block before and after the events. A node without this block finds no events,
            # which must not count as "no event".
            some = [(max(oldest, last - step + 1), last) for last in lasts[start : start + _STEPS_AT_ONCE]]
            # Each part is gathered by itself, because gather starts nested gathers first. That keeps the order.
            (before,), answers, (after,) = await asyncio.gather(
                asyncio.gather(self._node.block(head.number)),
                asyncio.gather(*[self._node.logs(self._contract, topics, first, last) for first, last in some]),
                asyncio.gather(self._node.block(head.number)),
            )
            if before is None or after is None or not before.hash == after.hash == head.hash:
                raise BadAnswer(
                    f"the node does not have block {head.number}, the last one of the search, or has another block at "
                    "this height",
                    retryable=True,
                )
            for (first, last), logs in zip(some, answers, strict=True):
                for found in reversed(logs):
                    if not _fits(found.log.topics, topics) or not first <= found.block_number <= last:
                        raise BadAnswer("the node answered with an event that does not match the search")
                    yield FoundEvent(self._event(found), found)

    def _event(self, found: FoundLog) -> HtlcEvent:
        try:
            event = parse_event(found.log.address, found.log.topics, found.log.data, contract=self._contract)
        except FormatError as error:
            raise BadAnswer(
                f"the node answered with an event that the contract cannot emit: {error.message}"
            ) from error
        if event is None:
            raise BadAnswer("the node answered with an event that does not match the search")
        return event


def _fits(topics: Sequence[bytes], wanted: Sequence[bytes | Sequence[bytes] | None]) -> bool:
    if len(topics) < len(wanted):
        return False
    pairs = zip(topics, wanted, strict=False)
    return all(one is None or topic == one or (not isinstance(one, bytes) and topic in one) for topic, one in pairs)
