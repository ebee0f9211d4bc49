"""Calls to a node, and how they are divided into JSON-RPC batches. Pure.

Reads that start in the same tick of the event loop share a batch. Receipts are the exception: many of them are divided
into several requests, so that the node works on one while this process reads the answer to another.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from layer2.net.client_settings import ConnectionPoolConfig

__all__ = ["FEWEST_RECEIPTS", "RECEIPT_REQUESTS", "SEND", "BatchPlanner", "Call"]

SEND = "eth_sendRawTransaction"
"""The only method that changes anything; all others are reads."""
RECEIPT_REQUESTS = 4
"""The number of requests into which many receipts are divided."""
FEWEST_RECEIPTS = 25
"""The smallest part. A smaller request costs more than the receipts that it carries."""

_RECEIPT = "eth_getTransactionReceipt"
"""Only receipts are divided. Callers compare other results with each other, and behind a load balancer each request may
reach another node."""
_SENDS_IN_BATCH = 32


@dataclass(eq=False, slots=True)
class Call:
    """One call and the future that its caller awaits."""

    identifier: int
    method: str
    body: bytes
    future: asyncio.Future[object]
    request: asyncio.Task[None] | None = None
    """The task that asks the node, if the call is a read. It may end when all its callers have left."""
    date: float | None = None
    """Unix seconds of the ``Date`` header of the answer; None if the header is missing or unreadable."""

    @property
    def is_send(self) -> bool:
        """Whether the node must not receive this call twice."""
        return self.method == SEND


class BatchPlanner:
    """Divides calls into batches that the node accepts.

    Args:
        pool: the limits of a batch. ``lower_to`` lowers the limit of calls.
    """

    def __init__(self, pool: ConnectionPoolConfig) -> None:
        rate = pool.max_calls_per_second
        self._most_bytes = pool.max_batch_bytes
        self.most_calls = pool.max_batch_calls if rate is None else min(pool.max_batch_calls, max(1, int(rate)))

    def lower_to(self, calls: int) -> None:
        """Never put more calls into a batch than this, and at least one."""
        self.most_calls = max(1, min(self.most_calls, calls))

    def reads(self, waiting: Sequence[Call]) -> Iterator[Sequence[Call]]:
        """Divide the reads of a tick."""
        receipts = [call for call in waiting if call.method == _RECEIPT]
        if len(receipts) <= FEWEST_RECEIPTS:
            yield from self._batches(waiting, self.most_calls)
            return
        yield from self._batches([call for call in waiting if call.method != _RECEIPT], self.most_calls)
        yield from self._batches(receipts, max(FEWEST_RECEIPTS, -(-len(receipts) // RECEIPT_REQUESTS)))

    def sends(self, waiting: Sequence[Call]) -> Iterator[Sequence[Call]]:
        """Divide sends, in their order."""
        return self._batches(waiting, _SENDS_IN_BATCH)

    def _batches(self, waiting: Sequence[Call], most: int) -> Iterator[Sequence[Call]]:
        start = 0
        while start < len(waiting):
            end, size = start, 0
            last = min(len(waiting), start + most, start + self.most_calls)
            while end < last:
                size += len(waiting[end].body) + 1
                if size > self._most_bytes and end > start:
                    break
                end += 1
            yield waiting[start:end]
            start = end
