"""One round of swaps: how fast they complete, and the processor time of every kind of process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from layer2 import BTC, Layer2ProtocolType
from layer2.errors import Layer2Error, QuoteExpired
from layer2.model.transactions import SwapId
from layer2.workers.connection import Temporal
from layer2.workers.history import SwapHistory
from on_workers.deployment import Deployment

__all__ = ["BOTH_WAYS", "TO_LIGHTNING", "Round", "begin", "histories", "run_round"]

_AMOUNT: Final = 10_000
_MAX_FEE: Final = 1_000
_BOB, _LIGHTNING = Layer2ProtocolType.BOB, Layer2ProtocolType.LIGHTNING
BOTH_WAYS: Final = ((_BOB, _LIGHTNING), (_LIGHTNING, _BOB))
TO_LIGHTNING: Final = ((_BOB, _LIGHTNING),)
_STARTING: Final = 20
_PAUSE_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True)
class Round:
    """The result of a round whose swaps have all completed."""

    swaps: int
    seconds: float
    """From the first quote until the last transfer has completed."""
    cpu_seconds: Mapping[str, float]
    """By kind of process, until the provider's swaps are final."""
    turns: int
    """Of all swaps, on workers."""

    @property
    def rate(self) -> float:
        """Swaps per second."""
        return self.swaps / self.seconds

    def milliseconds(self, kind: str) -> float:
        """Processor time of a kind of process for each swap."""
        return self.cpu_seconds[kind] / self.swaps * 1_000


async def begin(
    deployment: Deployment, count: int, directions: Sequence[tuple[Layer2ProtocolType, Layer2ProtocolType]]
) -> list[SwapId]:
    """Start that many swaps, as many in each direction, and return their ids."""
    places = asyncio.Semaphore(_STARTING)

    async def one(number: int) -> SwapId:
        async with places:
            while True:
                try:
                    quote = await deployment.layers.quote_transfer_async(
                        BTC, _AMOUNT, *directions[number % len(directions)], max_fee=_MAX_FEE
                    )
                    return SwapId((await deployment.layers.start_transfer_async(quote)).transfer_id)
                except Layer2Error as error:
                    if not (error.retryable or isinstance(error, QuoteExpired)):
                        raise
                await asyncio.sleep(_PAUSE_SECONDS)

    return await asyncio.gather(*map(one, range(count)))


async def run_round(deployment: Deployment, count: int) -> Round:
    """Start swaps, wait until all have completed, and until the provider's are final."""
    before, began = deployment.processor_time(), time.perf_counter()
    swap_ids = await begin(deployment, count, BOTH_WAYS)
    await asyncio.gather(*[deployment.layers.wait_for_transfer_async(each) for each in swap_ids])
    seconds = time.perf_counter() - began
    await deployment.all_ended()
    used = {kind: after - before[kind] for kind, after in deployment.processor_time().items()}
    turns = 0
    if deployment.temporal is not None:
        turns = sum(len(each.turns) for each in (await histories(deployment.temporal, swap_ids)).values())
    return Round(count, seconds, used, turns)


async def histories(temporal: Temporal, swap_ids: Sequence[SwapId]) -> Mapping[SwapId, SwapHistory]:
    """The history of every swap, as soon as its workflow has ended."""
    places = asyncio.Semaphore(_STARTING)

    async def read(swap_id: SwapId) -> SwapHistory:
        async with places:
            await temporal.workflow(swap_id).result()
            return await SwapHistory.read(temporal, swap_id)

    return dict(zip(swap_ids, await asyncio.gather(*map(read, swap_ids)), strict=True))
