"""A node's state of a moment ago: how long it counts, and whose clock decides."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from layer2.errors import BadAnswer
from layer2.ports.clock import SystemClock
from layer2.protocols.lightning.lnd.rest import LndRest
from layer2.protocols.lightning.node.recent import RecentNodeState
from layer2.protocols.lightning.node.state import LndNode
from protocols.lightning import scripted_lnd as script
from protocols.lightning.scripted_lnd import ScriptedLnd, answer
from protocols.lightning.world import settings_of

GETINFO = "GET /v1/getinfo"


class SteppedClock:
    """This machine's, and moved by hand."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def now(self) -> float:
        return SystemClock().now() + self.ahead


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock()


@pytest.fixture
async def recent(lnd: ScriptedLnd, clock: SteppedClock) -> AsyncIterator[RecentNodeState]:
    settings = settings_of(lnd.node)
    rest = LndRest(settings)
    recent = RecentNodeState(LndNode(rest, settings, clock), clock)
    yield recent
    await recent.aclose()
    await rest.aclose()


async def test_a_state_counts_for_seconds_and_its_date_goes_on(
    lnd: ScriptedLnd, recent: RecentNodeState, clock: SteppedClock
) -> None:
    first = await recent.get()
    clock.ahead = 1.0
    later = await recent.get()
    assert lnd.calls() == [GETINFO]
    assert later.key == first.key
    assert 1.0 <= later.date - first.date <= 5.0


@pytest.mark.parametrize("ahead", [5.5, -1.0], ids=["over", "set back"])
async def test_after_that_or_when_the_clock_was_set_the_node_is_asked_again(
    lnd: ScriptedLnd, recent: RecentNodeState, clock: SteppedClock, ahead: float
) -> None:
    await recent.get()
    clock.ahead = ahead
    lnd.say(GETINFO, answer(script.information(block_height=801)))
    assert (await recent.get()).height == 801


async def test_a_clock_that_leapt_is_compared_with_the_nodes_at_once(
    recent: RecentNodeState, clock: SteppedClock
) -> None:
    await recent.get()
    clock.ahead = 3_600.0
    with pytest.raises(BadAnswer, match="clocks of lnd and of this machine differ"):
        await recent.get()


async def test_a_node_that_is_not_fit_is_asked_each_time(lnd: ScriptedLnd, recent: RecentNodeState) -> None:
    lnd.say(GETINFO, answer(script.information(synced_to_chain=False)))
    for _ in range(2):
        with pytest.raises(BadAnswer, match="not synced"):
            await recent.get()
    assert lnd.calls() == [GETINFO, GETINFO]


async def test_who_ask_together_share_one_request(lnd: ScriptedLnd, recent: RecentNodeState) -> None:
    states = await asyncio.gather(*(recent.get() for _ in range(20)))
    assert len({state.key for state in states}) == 1
    assert lnd.calls() == [GETINFO]
