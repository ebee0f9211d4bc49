"""Finding the HTLC contract's events. They are looked for by payment hash, and never taken by position."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from layer2.contracts.htlc import HTLC_ADDRESS, HtlcEvent, parse_event
from layer2.errors import BadAnswer, FormatError
from layer2.formats.evm_abi import event_topic
from layer2.protocols.evm.rpc.node import EvmNode, FoundLog, NodeBlock
from layer2.protocols.evm.settings import EvmSettings

__all__ = ["CLAIMED", "LOCKED", "REFUNDED", "FoundEvent", "LockEvents"]

LOCKED = event_topic("Locked(bytes32,bytes32,address,address,address,uint256,uint256,bytes32)")
CLAIMED = event_topic("Claimed(bytes32,bytes32,bytes32)")
REFUNDED = event_topic("Refunded(bytes32,bytes32)")

_STEPS_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class FoundEvent:
    """An event of the contract, and the log that it is."""

    event: HtlcEvent
    found: FoundLog


class LockEvents:
    """Searches a node for events, the newest blocks first.

    Args:
        node: the party's own node.
        settings: how far back, and how many blocks in one request.
    """

    def __init__(self, node: EvmNode, settings: EvmSettings) -> None:
        self._node = node
        self._settings = settings

    async def first(
        self,
        names: Sequence[bytes],
        payment_hash: bytes,
        head: NodeBlock,
        *,
        lock_id: bytes | None = None,
        whole_chain: bool = False,
    ) -> FoundEvent | None:
        """The newest event of these names under a payment hash, None where the blocks up to ``head`` have none.

        Args:
            names: topics, as ``CLAIMED``.
            lock_id: only of this lock; None is of any.
            whole_chain: look back to the chain's first block, not only as far as the settings say.

        Raises:
            BadAnswer: the node that was asked is not, or not any more, on the chain of ``head``.
        """
        oldest = 0 if whole_chain else self.oldest(head)
        async with aclosing(self._search([list(names), lock_id, payment_hash], head, oldest)) as events:
            async for event in events:
                return event
        return None

    def oldest(self, head: NodeBlock) -> int:
        """The first block in which events are looked for, unless the whole chain is."""
        return max(0, head.number - self._settings.log_search_blocks)

    async def locked_by(self, payer: bytes, payment_hash: bytes, head: NodeBlock) -> list[FoundEvent]:
        """All locks of a payer under a payment hash in the blocks up to ``head``. Raises: as ``first``."""
        topics = [LOCKED, None, payment_hash, payer.rjust(32, b"\x00")]
        async with aclosing(self._search(topics, head, self.oldest(head))) as events:
            return [event async for event in events]

    async def locked_since(self, first: int, head: NodeBlock) -> list[FoundEvent]:
        """All locks of anyone in the blocks from ``first`` up to ``head``. Raises: as ``first``."""
        async with aclosing(self._search([LOCKED], head, first)) as events:
            return [event async for event in events]

    async def _search(
        self, topics: Sequence[bytes | Sequence[bytes] | None], head: NodeBlock, oldest: int
    ) -> AsyncGenerator[FoundEvent, None]:
        step = self._settings.log_search_step
        lasts = range(head.number, oldest - 1, -step)
        for start in range(0, len(lasts), _STEPS_AT_ONCE):
            # The block is asked for in the same batch, before the events and after: a node that has not seen it, or has
            # another one there, finds nothing either, and that is not the same as no event.
            some = [(max(oldest, last - step + 1), last) for last in lasts[start : start + _STEPS_AT_ONCE]]
            # What is gathered inside is begun before what is only named, so each of them is, and their order stays.
            (before,), answers, (after,) = await asyncio.gather(
                asyncio.gather(self._node.block(head.number)),
                asyncio.gather(*[self._node.logs(HTLC_ADDRESS, topics, first, last) for first, last in some]),
                asyncio.gather(self._node.block(head.number)),
            )
            if before is None or after is None or not before.hash == after.hash == head.hash:
                raise BadAnswer(
                    f"the node that was asked for events does not have block {head.number}, up to which they were "
                    "wanted, or has another one in its place",
                    retryable=True,
                )
            for (first, last), logs in zip(some, answers, strict=True):
                for found in reversed(logs):
                    if not _fits(found.log.topics, topics) or not first <= found.block_number <= last:
                        raise BadAnswer("the node answered with an event that was not asked for")
                    yield FoundEvent(_event(found), found)


def _fits(topics: Sequence[bytes], wanted: Sequence[bytes | Sequence[bytes] | None]) -> bool:
    if len(topics) < len(wanted):
        return False
    pairs = zip(topics, wanted, strict=False)
    return all(one is None or topic == one or (not isinstance(one, bytes) and topic in one) for topic, one in pairs)


def _event(found: FoundLog) -> HtlcEvent:
    try:
        event = parse_event(found.log.address, found.log.topics, found.log.data)
    except FormatError as error:
        raise BadAnswer(f"an event that the contract cannot write: {error.message}") from error
    if event is None:
        raise BadAnswer("the node answered with an event that was not asked for")
    return event
