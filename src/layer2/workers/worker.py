"""A worker: it has turns of swaps when their workflows order them, and reports news to the workflows."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Final

from temporalio import activity
from temporalio.worker import Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from layer2.errors import Layer2Error
from layer2.model.transactions import SwapId
from layer2.swap_engine.turns import Turns
from layer2.workers.connection import Temporal
from layer2.workers.workflow import ADVANCE, SwapWorkflow, TurnResult, urgent_queue

__all__ = ["WORKFLOW_RUNNER", "Activities", "Reports", "working"]

LOG: Final = logging.getLogger("layer2.workers")
_HEARTBEAT_SECONDS: Final = 1.0
_RETRY_SECONDS: Final = 30.0
_STOP: Final = timedelta(seconds=10)
"""The time in which turns that are under way can end when a worker stops."""
WORKFLOW_RUNNER: Final = SandboxedWorkflowRunner(
    # Only the workflow's own module is imported again for each swap: the package would cost time and memory.
    restrictions=SandboxRestrictions.default.with_passthrough_modules("layer2")
)


class Reports:
    """Sends news of swaps to their workflows. News that cannot be sent are left to the workflow's timer."""

    def __init__(self, temporal: Temporal) -> None:
        self._temporal = temporal
        self._sending: dict[SwapId, asyncio.Task[None]] = {}

    def report(self, swap_id: SwapId) -> None:
        """Signal the workflow of the swap, unless a signal is on its way."""
        if swap_id not in self._sending:
            task = self._sending[swap_id] = asyncio.get_running_loop().create_task(self._report(swap_id))
            task.add_done_callback(lambda _: self._sending.pop(swap_id))

    async def aclose(self) -> None:
        """Stop sending."""
        tasks = tuple(self._sending.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _report(self, swap_id: SwapId) -> None:
        try:
            await self._temporal.report(swap_id)
        except Layer2Error as error:
            LOG.warning("news of swap %s wait for its timer: %s", swap_id, error)


class Activities:
    """What a worker does for workflows."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns

    @activity.defn(name=ADVANCE)
    async def advance(self, swap_id: str) -> TurnResult:
        """One turn of the swap. It raises nothing of its own: an error would be part of the history."""
        turn = asyncio.ensure_future(self._turns.advance(SwapId(swap_id)))
        # A cancelled activity does not end the turn.
        while not turn.done():
            activity.heartbeat()
            await asyncio.wait((turn,), timeout=_HEARTBEAT_SECONDS)
        error = None if turn.cancelled() else turn.exception()
        if isinstance(error, Exception):
            # A bug of this package. The swap needs attention, and later turns may work.
            LOG.error("a turn of swap %s failed", swap_id, exc_info=error)
            return TurnResult(is_final=False, wait_seconds=_RETRY_SECONDS, has_begun=True)
        result = turn.result()
        return TurnResult(result.is_final, result.wait_seconds, result.has_begun)


@asynccontextmanager
async def working(temporal: Temporal, turns: Turns, places: int) -> AsyncIterator[None]:
    """Have turns while the block runs. At its end, turns that are under way have some seconds to end.

    Args:
        places: the turns at the same time, for each of the two queues.
    """
    activities, queue = Activities(turns), temporal.task_queue
    heartbeat = timedelta(seconds=_HEARTBEAT_SECONDS)
    async with AsyncExitStack() as stack:
        for name, workflows in ((urgent_queue(queue), []), (queue, [SwapWorkflow])):
            worker = Worker(
                temporal.client,
                task_queue=name,
                workflows=workflows,
                activities=[activities.advance],
                workflow_runner=WORKFLOW_RUNNER,
                max_concurrent_activities=places,
                max_heartbeat_throttle_interval=heartbeat,
                default_heartbeat_throttle_interval=heartbeat,
                graceful_shutdown_timeout=_STOP,
                # A worker that is gone holds up the workflows that it had in memory for this long.
                sticky_queue_schedule_to_start_timeout=timedelta(seconds=3),
            )
            await stack.enter_async_context(worker)
        yield
