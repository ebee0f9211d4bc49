"""Tasks in the background: ``background``, and ``Repeated``."""

from __future__ import annotations

import asyncio

import pytest

from layer2.aio.background import Repeated, background
from layer2.errors import NodeUnreachable


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


async def test_a_task_that_fails_is_logged_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> None:
        raise KeyError("an internal error")

    end = background(fail(), "look")
    await asyncio.sleep(0)
    await end()
    (line,) = caplog.records
    assert (line.levelname, line.getMessage()) == ("ERROR", "look: the background task failed")
    assert line.exc_info is not None


async def test_a_task_that_is_ended_is_cancelled_and_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    begun, was_cancelled = asyncio.Event(), False

    async def wait() -> None:
        nonlocal was_cancelled
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            was_cancelled = True
            raise

    end = background(wait(), "wait")
    await begun.wait()
    await end()
    assert was_cancelled
    assert not caplog.records
