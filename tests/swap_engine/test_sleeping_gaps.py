"""What a swap could lose on its way into the sleep and out of it."""

from __future__ import annotations

import asyncio

import pytest

from layer2.model.transactions import SwapId
from swap_engine.test_sleeping import POLL_SECONDS, _breathe, asleep, counter_funded
from swap_engine.two_parties import wait_for
from swap_engine.virtual_time import run
from swap_rules.example_terms import SWAP_ID


def test_an_unexpected_error_of_the_journal_only_delays_waking(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        scene = await counter_funded("bob", "rootstock")
        await asleep(scene.provider)
        load, failures = scene.provider.journal.load, 2

        async def failing(swap_id: SwapId) -> object:
            nonlocal failures
            failures -= 1
            if failures >= 0:
                raise ValueError("half of a page was read")
            return await load(swap_id)

        scene.provider.journal.load = failing  # type: ignore[method-assign,assignment]
        scene.taker.destination.fault = _breathe
        await scene.taker.start().resume()
        await wait_for(scene.taker.runner, SWAP_ID)
        await asyncio.sleep(POLL_SECONDS)
        assert failures <= 0
        async with asyncio.timeout(3_600):
            await scene.both_final()
        assert scene.states == ("completed", "completed")
        await scene.close()

    run(story())
    assert "half of a page was read" in caplog.text
