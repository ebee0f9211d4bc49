"""The take-over after one of three workers is killed while swaps are open."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from layer2 import TransferState
from layer2.ports.journal import Role
from on_workers.deployment import Deployment
from on_workers.rounds import TO_LIGHTNING, begin, histories

__all__ = ["TakeOver", "measure_take_over"]


@dataclass(frozen=True, slots=True)
class TakeOver:
    """What happened after the kill."""

    open_swaps: int
    """When the worker was killed."""
    left: tuple[float, ...]
    """For each whose last turn before the kill was on that worker: seconds from the kill until it began a turn on
    another one, in ascending order."""
    others: tuple[float, ...]
    """The same for the other open swaps, whose workers live. Finality gives every swap something to do."""
    lost: int
    """Swaps that did not complete."""
    ended_after: float
    """Seconds from the kill until all swaps of the provider were final."""


async def measure_take_over(deployment: Deployment, count: int) -> TakeOver:
    """Have swaps wait for finality, kill the first worker, and let blocks become final at the same moment.

    The money of these swaps has arrived, and the provider has collected its own.
    """
    assert deployment.temporal is not None
    control, layers = deployment.control, deployment.layers
    height = int((await control.status())["chains"]["BOB"]["height"])
    await control.set_finality(safe=height, finalized=height)
    swap_ids = await begin(deployment, count, TO_LIGHTNING)
    arrived = [layers.wait_for_transfer_async(each, until=TransferState.ARRIVED) for each in swap_ids]
    await asyncio.gather(*arrived)
    open_swaps = await deployment.journal.open_versions(Role.PROVIDER)
    killed = deployment.workers[0]
    killed.kill()
    at, began = time.time(), time.perf_counter()
    await control.set_finality()
    ends = await asyncio.gather(*map(layers.wait_for_transfer_async, swap_ids), return_exceptions=True)
    await deployment.all_ended()
    ended_after = time.perf_counter() - began
    left: list[float] = []
    others: list[float] = []
    for swap_id, history in (await histories(deployment.temporal, swap_ids)).items():
        before = [each for each in history.turns if each.ended <= at]
        after = [each for each in history.turns if each.ended > at and each.worker != killed.identity]
        # One without a later turn was final just before the kill.
        if swap_id in open_swaps and before and after:
            # A turn of a worker that lives may have been under way.
            seconds = max(0.0, after[0].began - at)
            (left if before[-1].worker == killed.identity else others).append(seconds)
    lost = sum(isinstance(each, BaseException) for each in ends)
    return TakeOver(len(open_swaps), tuple(sorted(left)), tuple(sorted(others)), lost, ended_after)
