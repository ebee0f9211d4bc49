"""What Temporal's history of a swap shows: which worker had which turn, and every value that it contains."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from google.protobuf.message import Message
from temporalio.api.common.v1 import Payload

from layer2.model.transactions import SwapId
from layer2.workers.connection import Temporal

__all__ = ["PastTurn", "SwapHistory"]


@dataclass(frozen=True, slots=True)
class PastTurn:
    """A turn that has ended."""

    worker: str
    """The identity of the worker that had it."""
    began: float
    """Unix seconds, by the clock of the Temporal server."""
    ended: float


@dataclass(frozen=True, slots=True)
class SwapHistory:
    """The newest run of a swap's workflow."""

    turns: tuple[PastTurn, ...]
    """The turns that have ended, in this order. A turn that was lost with its worker is not one of them."""
    values: tuple[object, ...]
    """Every argument and result that the server has."""
    is_complete: bool
    """Whether the workflow has completed."""

    @classmethod
    async def read(cls, temporal: Temporal, swap_id: SwapId) -> SwapHistory:
        """Read it from the server.

        Raises:
            RPCError: the server does not answer, or does not know the workflow.
        """
        history = await temporal.workflow(swap_id).fetch_history()
        began: dict[int, float] = {}
        turns: list[PastTurn] = []
        is_complete = False
        for event in history.events:
            seconds = event.event_time.ToNanoseconds() / 1e9
            if event.HasField("activity_task_started_event_attributes"):
                began[event.event_id] = seconds
            elif event.HasField("activity_task_completed_event_attributes"):
                completed = event.activity_task_completed_event_attributes
                turns.append(PastTurn(completed.identity, began[completed.started_event_id], seconds))
            elif event.HasField("workflow_execution_completed_event_attributes"):
                is_complete = True
        values = tuple(json.loads(each.data) for event in history.events for each in _payloads(event) if each.data)
        return cls(tuple(turns), values, is_complete)


def _payloads(message: Message) -> Iterator[Payload]:
    """The payloads anywhere in a message."""
    if isinstance(message, Payload):
        yield message
        return
    for _, value in message.ListFields():
        parts: Iterable[object] = (value,)
        if isinstance(value, Mapping):
            parts = value.values()
        elif isinstance(value, Sequence):
            parts = value
        for each in parts:
            if isinstance(each, Message):
                yield from _payloads(each)
