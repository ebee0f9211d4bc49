"""Workflows of swaps on a real Temporal server."""

from __future__ import annotations

import os

import pytest

from layer2.config.sections import TemporalSection
from layer2.errors import NodeUnreachable
from layer2.model.transactions import SwapId
from layer2.workers.connection import Temporal
from networks.waiting import until
from temporal_server import TemporalServer, temporal

__all__ = ["temporal"]


async def test_a_swap_has_a_workflow_for_each_journal_that_contains_it(temporal: TemporalServer) -> None:
    # A taker and its provider have the same swap, and can use the same server.
    await temporal.started()
    swap_id = SwapId(os.urandom(16).hex())
    queues = [f"{party}-{os.urandom(4).hex()}" for party in ("taker", "provider")]
    for queue in queues:
        party = await Temporal.connect(TemporalSection(address=temporal.address, task_queue=queue))
        await party.start(swap_id)
        assert (await party.workflow(swap_id).describe()).task_queue == queue
        await party.report(swap_id)
        signals = [
            event.workflow_execution_signaled_event_attributes.signal_name
            async for event in party.workflow(swap_id).fetch_history_events()
            if event.HasField("workflow_execution_signaled_event_attributes")
        ]
        assert signals == ["news"]
    for queue in queues:
        party = await Temporal.connect(TemporalSection(address=temporal.address, task_queue=queue))
        await party.workflow(swap_id).terminate()


async def test_warnings_of_temporal_s_client_are_logged_and_do_not_reach_stdout(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    server = TemporalServer()
    try:
        await server.started()
        party = await Temporal.connect(TemporalSection(address=server.address))
        await party.start(SwapId(os.urandom(16).hex()))
    finally:
        server.close()
    with pytest.raises(NodeUnreachable):
        await party.start(SwapId(os.urandom(16).hex()))

    async def is_logged() -> bool:
        return any(each.name.startswith("layer2.workers") and "retried" in each.message for each in caplog.records)

    await until(is_logged, "the client's warning is logged")
    written = capfd.readouterr()
    assert (written.out, "temporalio_client" in written.err) == ("", False)
