"""What a swap could lose on its way into the sleep and out of it."""

from __future__ import annotations

import asyncio

import pytest

from swap_engine.test_sleeping import POLL_SECONDS, FailingLoads, _breathe, asleep, counter_funded
from swap_engine.two_parties import wait_for
from swap_engine.virtual_time import run
from swap_rules.example_terms import SWAP_ID


def test_an_unexpected_error_of_the_journal_only_delays_waking(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        scene = await counter_funded("bob", "rootstock")
        await asleep(scene.provider)
        loads = FailingLoads(scene.provider, 2, ValueError("half of a page was read"))
        scene.taker.destination.fault = _breathe
        await scene.taker.start().resume()
        await wait_for(scene.taker.runner, SWAP_ID)
        await asyncio.sleep(POLL_SECONDS)
        assert loads.left <= 0
        async with asyncio.timeout(3_600):
            await scene.both_final()
        assert scene.states == ("completed", "completed")
        await scene.close()

    run(story())
    assert "half of a page was read" in caplog.text
