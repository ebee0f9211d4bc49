"""One round of swaps at a concurrency: how many completed, how fast, and what that cost."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from load.rounds import progress

from layer2 import BTC, Layer2ProtocolType, TransferState
from layer2.errors import Layer2Error, QuoteExpired
from layer2.terms.transfers import Transfer
from whole_swaps.counting import Requests
from whole_swaps.network import AMOUNT, Parties

__all__ = ["Direction", "Round", "accepted", "completed", "run_round"]

Direction = tuple[Layer2ProtocolType, Layer2ProtocolType]
_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 2.0
_BLOCK_SECONDS: Final = 1.0
_COMPLETION_SECONDS: Final = 20.0


@dataclass
class Round:
    """The result of a round."""

    asked: int
    arrived: int = 0
    completed: int = 0
    acceptances: list[float] = field(default_factory=list)
    """Seconds from the first request for a quote until the terms are signed, refusals and retries included. A swap that
    was not accepted in time counts with the time that it waited."""
    seconds: float = 0.0
    """From the start to the last arrival, or to the time limit if some did not arrive."""
    cpu_seconds: float = 0.0
    """Processor time of both parties, until the swaps are complete."""
    requests: Sequence[Requests] = ()
    """Of both parties to each node, until the swaps are complete."""
    failures: Counter[str] = field(default_factory=Counter)

    @property
    def rate(self) -> float:
        """Swaps per second whose money has arrived."""
        return self.arrived / self.seconds

    def each(self, cost: float) -> float:
        """A cost of the round for each swap that arrived."""
        return cost / max(1, self.arrived)

    def acceptance(self, share: float) -> float:
        """The smallest time within which that share of the swaps was accepted."""
        ordered = sorted(self.acceptances)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


async def accepted(parties: Parties, direction: Direction) -> Transfer:
    """Quote and start one swap, and repeat both while the errors are retryable."""
    pause = _FIRST_PAUSE
    while True:
        try:
            quote = await parties.layers.quote_transfer_async(BTC, AMOUNT, *direction, max_fee=AMOUNT)
            return await parties.layers.start_transfer_async(quote)
        except Layer2Error as error:
            if not (error.retryable or isinstance(error, QuoteExpired)):
                raise
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)


async def run_round(parties: Parties, direction: Direction, *, concurrency: int, count: int, seconds: float) -> Round:
    """Share the swaps among that many sequential callers, which wait for each until it has arrived. Then wait until all
    of these are complete.

    Args:
        seconds: the time limit. Swaps that are still under way then do not count.
    """
    found, waiting, arrived = Round(count), iter(range(count)), list[str]()
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds

    async def one() -> None:
        start = time.perf_counter()
        async with asyncio.timeout_at(end):
            try:
                transfer = await accepted(parties, direction)
            finally:
                found.acceptances.append(time.perf_counter() - start)
            await parties.layers.wait_for_transfer_async(transfer.transfer_id, until=TransferState.ARRIVED)
        arrived.append(transfer.transfer_id)

    async def caller() -> None:
        for _ in waiting:
            if loop.time() < end:
                with _failures(found):
                    await one()

    requests, cpu, start = parties.requests(), parties.cpu_seconds(), time.perf_counter()
    await asyncio.gather(*[caller() for _ in range(concurrency)])
    found.seconds, found.arrived = time.perf_counter() - start, len(arrived)
    found.completed = await completed(parties, arrived)
    found.cpu_seconds = parties.cpu_seconds() - cpu
    found.requests = [after - before for after, before in zip(parties.requests(), requests, strict=True)]
    for reason, times in found.failures.most_common(5):
        progress(f"    {times} x {reason}")
    return found


async def completed(parties: Parties, transfer_ids: Sequence[str]) -> int:
    """Make a block of BOB each second until these transfers have completed; return how many have in time."""

    async def make_blocks() -> None:
        while True:
            await parties.control.mine()
            await asyncio.sleep(_BLOCK_SECONDS)

    wait = parties.layers.wait_for_transfer_async
    blocks = asyncio.create_task(make_blocks())
    try:
        waits = [wait(transfer_id, timeout=_COMPLETION_SECONDS) for transfer_id in transfer_ids]
        ends = await asyncio.gather(*waits, return_exceptions=True)
    finally:
        blocks.cancel()
        await asyncio.gather(blocks, return_exceptions=True)
    return sum(not isinstance(end, BaseException) for end in ends)


@contextmanager
def _failures(found: Round) -> Iterator[None]:
    try:
        yield
    except TimeoutError:
        found.failures["not in time"] += 1
    except Layer2Error as error:
        found.failures[f"{type(error).__name__}: {error.message}"[:160]] += 1
