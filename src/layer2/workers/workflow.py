"""The workflow of one swap: it decides when the swap has its next turn, and nothing else.

Its history contains the public id of the swap, times and two booleans. This module is replayed by Temporal, so it uses
nothing of this package, no clock and no randomness. A change of what it does needs ``workflow.patched``.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy

__all__ = ["ADVANCE", "NEWS", "SwapWorkflow", "TurnResult", "urgent_queue"]

ADVANCE = "advance"
"""The activity: one turn of the swap."""
NEWS = "news"
"""The signal: something about the swap may have changed."""
_LONGEST_TURN = timedelta(minutes=5)
_HEARTBEAT = timedelta(seconds=5)
"""A worker that was silent for this long is gone, and the turn begins again on another one."""
_RETRIES = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(seconds=30))


@dataclass
class TurnResult:
    """What the activity returns of a turn."""

    is_final: bool
    wait_seconds: float
    has_begun: bool


def urgent_queue(task_queue: str) -> str:
    """The queue of turns of swaps whose money may be at stake. It has its own places on each worker."""
    return f"{task_queue}-begun"


@workflow.defn(name="swap")
class SwapWorkflow:
    """Its id consists of the task queue and the public id of the swap."""

    def __init__(self) -> None:
        self._news = 0

    @workflow.signal(name=NEWS)
    def news(self) -> None:
        """The swap needs a turn now."""
        self._news += 1

    @workflow.run
    async def run(self, swap_id: str, has_begun: bool = False) -> None:
        """Order turns until the swap is final."""
        while True:
            seen = self._news
            queue = workflow.info().task_queue
            turn = await workflow.execute_activity(
                ADVANCE,
                swap_id,
                result_type=TurnResult,
                task_queue=urgent_queue(queue) if has_begun else queue,
                start_to_close_timeout=_LONGEST_TURN,
                heartbeat_timeout=_HEARTBEAT,
                retry_policy=_RETRIES,
            )
            if turn.is_final:
                return
            has_begun = turn.has_begun
            if workflow.info().is_continue_as_new_suggested():
                # The new run begins with a turn, so no news is lost.
                workflow.continue_as_new(args=[swap_id, has_begun])
            if turn.wait_seconds > 0 and self._news == seen:
                with suppress(TimeoutError):
                    await workflow.wait_condition(
                        lambda before=seen: self._news != before,  # type: ignore[misc]  # bound to this turn's count
                        timeout=timedelta(seconds=turn.wait_seconds),
                    )
