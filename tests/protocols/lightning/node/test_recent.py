"""The cached state of a node: how long it is used, and by which clock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from layer2.errors import BadAnswer
from layer2.ports.clock import SystemClock
from layer2.protocols.lightning.lnd.rest import LndRest
from layer2.protocols.lightning.node.state import LndNode
from protocols.lightning import scripted_lnd as script
from protocols.lightning.scripted_lnd import ScriptedLnd, answer
from protocols.lightning.world import settings_of

GETINFO = "GET /v1/getinfo"


class SteppedClock:
    """This machine's clock, set by the test."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def now(self) -> float:
        return SystemClock().now() + self.ahead


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock()


@pytest.fixture
async def node(lnd: ScriptedLnd, clock: SteppedClock) -> AsyncIterator[LndNode]:
    settings = settings_of(lnd.node)
    rest = LndRest(settings)
    node = LndNode(rest, settings, clock)
    yield node
    await node.aclose()
    await rest.aclose()


async def test_a_state_is_reused_for_seconds_and_its_date_advances(
    lnd: ScriptedLnd, node: LndNode, clock: SteppedClock
) -> None:
    first = await node.recent_state()
    clock.ahead = 1.0
    later = await node.recent_state()
    assert lnd.calls() == [GETINFO]
    assert later.key == first.key
    assert 1.0 <= later.date - first.date <= 5.0


@pytest.mark.parametrize("ahead", [5.5, -1.0], ids=["over", "set back"])
async def test_after_that_or_when_the_clock_was_set_the_node_is_asked_again(
    lnd: ScriptedLnd, node: LndNode, clock: SteppedClock, ahead: float
) -> None:
    await node.recent_state()
    clock.ahead = ahead
    lnd.say(GETINFO, answer(script.information(block_height=801)))
    assert (await node.recent_state()).height == 801


async def test_a_clock_that_leapt_is_compared_with_the_nodes_at_once(node: LndNode, clock: SteppedClock) -> None:
    await node.recent_state()
    clock.ahead = 3_600.0
    with pytest.raises(BadAnswer, match="clocks of lnd and this machine differ"):
        await node.recent_state()


async def test_a_node_that_is_not_fit_is_asked_each_time(lnd: ScriptedLnd, node: LndNode) -> None:
    lnd.say(GETINFO, answer(script.information(synced_to_chain=False)))
    for _ in range(2):
        with pytest.raises(BadAnswer, match="not synced"):
            await node.recent_state()
    assert lnd.calls() == [GETINFO, GETINFO]


async def test_who_ask_together_share_one_request(lnd: ScriptedLnd, node: LndNode) -> None:
    states = await asyncio.gather(*(node.recent_state() for _ in range(20)))
    assert len({state.key for state in states}) == 1
    assert lnd.calls() == [GETINFO]
