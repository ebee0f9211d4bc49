"""The connection to a Temporal server."""

from __future__ import annotations

import functools
import logging
import secrets
from datetime import timedelta
from typing import Final

from temporalio.client import Client, WorkflowHandle
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.runtime import LogForwardingConfig, LoggingConfig, Runtime, TelemetryConfig, TelemetryFilter
from temporalio.service import RPCError, RPCStatusCode

from layer2.config.sections import TemporalSection
from layer2.errors import NodeUnreachable, Outcome
from layer2.model.transactions import SwapId
from layer2.workers.workflow import NEWS, SwapWorkflow

__all__ = ["Temporal"]

LOG: Final = logging.getLogger("layer2.workers")
_CALL: Final = timedelta(seconds=5)


class Temporal:
    """A namespace and a task queue of a Temporal server.

    Raises, all methods: NodeUnreachable if the server does not answer.
    """

    def __init__(self, client: Client, task_queue: str) -> None:
        self.client = client
        self.task_queue = task_queue

    @classmethod
    async def connect(cls, settings: TemporalSection, *, lazy: bool = False) -> Temporal:
        """Connect to the server.

        Args:
            lazy: connect at the first call. A worker cannot use such a connection.
        """
        try:
            # Histories contain the identity. The default one names the machine.
            client = await Client.connect(
                settings.address,
                namespace=settings.namespace,
                identity=f"layer2-{secrets.token_hex(4)}",
                lazy=lazy,
                runtime=_runtime(),
            )
        except RuntimeError as error:
            raise NodeUnreachable(
                f"the Temporal server at {settings.address} cannot be reached",
                outcome=Outcome.NOT_SENT,
                remedy="start it, or correct temporal.address",
            ) from error
        return cls(client, settings.task_queue)

    @property
    def identity(self) -> str:
        """The name of this process in histories. It is random, and names no machine."""
        return self.client.identity

    def workflow(self, swap_id: SwapId) -> WorkflowHandle[SwapWorkflow, None]:
        """The workflow of a swap in the journal of this task queue, whether or not it was started."""
        return self.client.get_workflow_handle(self._workflow_id(swap_id))

    def _workflow_id(self, swap_id: SwapId) -> str:
        # A taker and its provider have the same swap, and a taker chooses its id. Each journal has a queue of its own.
        return f"{self.task_queue}-{swap_id}"

    async def start(self, swap_id: SwapId, *, has_news: bool = False) -> None:
        """Start the workflow of a swap, unless it runs.

        Args:
            has_news: if it runs, it orders a turn.
        """
        try:
            await self.client.start_workflow(
                SwapWorkflow.run,
                swap_id,
                id=self._workflow_id(swap_id),
                task_queue=self.task_queue,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                start_signal=NEWS if has_news else None,
                rpc_timeout=_CALL,
            )
        except (RPCError, RuntimeError) as error:
            raise _unreachable(error) from error

    async def report(self, swap_id: SwapId) -> None:
        """Signal the workflow of a swap that something may have changed. Has no effect if it has ended."""
        try:
            await self.workflow(swap_id).signal(NEWS, rpc_timeout=_CALL)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise _unreachable(error) from error


@functools.cache
def _runtime() -> Runtime:
    """The threads of Temporal's client, one for each process. By default they would write their log to stdout."""
    forwarding = LogForwardingConfig(LOG, append_target_to_name=False)
    filtered = TelemetryFilter(core_level="WARN", other_level="ERROR")
    return Runtime(telemetry=TelemetryConfig(logging=LoggingConfig(filter=filtered, forwarding=forwarding)))


def _unreachable(error: RPCError | RuntimeError) -> NodeUnreachable:
    # A lazy connection that cannot be made raises a RuntimeError.
    reason = error.status.name if isinstance(error, RPCError) else "no connection"
    return NodeUnreachable(
        f"the Temporal server did not answer: {reason}",
        outcome=Outcome.UNKNOWN,
        remedy="check that it runs, and temporal.address",
    )
