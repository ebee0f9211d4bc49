"""``Repeated``: what a manager does in the background."""

from __future__ import annotations

import asyncio

import pytest

from layer2.errors import NodeUnreachable
from layer2.manager.background import Repeated


@pytest.mark.parametrize("error", [NodeUnreachable("no answer"), KeyError("an internal error")])
async def test_an_error_does_not_end_the_repetition(error: Exception) -> None:
    rounds, second = 0, asyncio.Event()

    async def work() -> None:
        nonlocal rounds
        rounds += 1
        if rounds == 1:
            raise error
        second.set()

    repeated = Repeated("work", work, 0.001)
    repeated.start()
    repeated.start()
    await asyncio.wait_for(second.wait(), 5)
    await repeated.aclose()
    done = rounds
    await asyncio.sleep(0.02)
    assert rounds == done


async def test_what_never_began_can_be_closed() -> None:
    async def work() -> None:
        raise AssertionError("it was not started")

    await Repeated("work", work, 0.001).aclose()
