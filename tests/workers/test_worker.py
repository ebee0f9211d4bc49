"""The activity of a worker: a turn with a heartbeat, whose errors are not part of a history."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from temporalio.testing import ActivityEnvironment

from layer2.errors import NodeUnreachable
from layer2.model.transactions import SwapId
from layer2.swap_engine.turns import Turn, Turns
from layer2.workers import worker as worker_module
from layer2.workers.connection import Temporal
from layer2.workers.worker import Activities, Reports
from layer2.workers.workflow import TurnResult


class OneTurn:
    """Turns that take a while and end as given."""

    def __init__(self, end: Turn | Exception) -> None:
        self.end = end
        self.may_continue = asyncio.Event()
        self.ended = 0

    async def advance(self, swap_id: SwapId) -> Turn:
        await self.may_continue.wait()
        self.ended += 1
        if isinstance(self.end, Exception):
            raise self.end
        return self.end


def activities(turns: OneTurn) -> Activities:
    return Activities(cast(Turns, turns))


async def test_a_turn_is_returned_without_anything_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_module, "_HEARTBEAT_SECONDS", 0.01)
    turns, environment = OneTurn(Turn(False, 7.0, True)), ActivityEnvironment()
    heartbeats = 0

    def heartbeat(*details: Any) -> None:
        nonlocal heartbeats
        assert details == ()
        heartbeats += 1
        if heartbeats == 3:
            turns.may_continue.set()

    environment.on_heartbeat = heartbeat
    assert await environment.run(activities(turns).advance, "ab" * 16) == TurnResult(False, 7.0, True)
    assert heartbeats >= 3


async def test_an_error_is_logged_and_not_returned(caplog: pytest.LogCaptureFixture) -> None:
    turns = OneTurn(ZeroDivisionError("with a secret"))
    turns.may_continue.set()
    result = await ActivityEnvironment().run(activities(turns).advance, "ab" * 16)
    assert (result.is_final, result.wait_seconds > 0) == (False, True)
    assert "with a secret" in caplog.text


async def test_a_cancelled_activity_leaves_its_turn_to_end() -> None:
    turns, environment = OneTurn(Turn(True, 0.0, True)), ActivityEnvironment()
    running = asyncio.ensure_future(environment.run(activities(turns).advance, "ab" * 16))
    await asyncio.sleep(0.01)
    environment.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    turns.may_continue.set()
    await asyncio.sleep(0.01)
    assert turns.ended == 1


class Silent(Temporal):
    """A server that is down."""

    def __init__(self) -> None:
        self.asked = 0

    async def report(self, swap_id: SwapId) -> None:
        self.asked += 1
        await asyncio.sleep(0)
        raise NodeUnreachable("the Temporal server did not answer")


async def test_news_that_cannot_be_sent_are_left_to_the_timer(caplog: pytest.LogCaptureFixture) -> None:
    temporal = Silent()
    reports = Reports(temporal)
    for _ in range(3):
        reports.report(SwapId("ab" * 16))
    await asyncio.sleep(0.01)
    await reports.aclose()
    assert temporal.asked == 1
    assert "wait for its timer" in caplog.text
