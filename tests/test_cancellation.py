"""``cancellable`` waits for a result or the event, whichever comes first."""

from __future__ import annotations

import asyncio

import pytest

from layer2.aio.cancellation import cancellable
from layer2.errors import TaskCancelled


async def test_a_result_that_comes_first_is_returned() -> None:
    async def answer() -> int:
        return 7

    assert await cancellable(answer(), asyncio.Event()) == 7


async def test_the_event_ends_the_wait_and_the_work() -> None:
    stop, ended = asyncio.Event(), asyncio.Event()

    async def endless() -> None:
        try:
            stop.set()
            await asyncio.Event().wait()
        finally:
            ended.set()

    with pytest.raises(TaskCancelled):
        await cancellable(endless(), stop)
    assert ended.is_set()


async def test_a_result_that_arrives_with_the_event_is_not_lost() -> None:
    stop = asyncio.Event()

    async def answer() -> int:
        stop.set()
        return 7

    assert await cancellable(answer(), stop) == 7


async def test_an_error_of_the_work_is_raised_as_it_is() -> None:
    async def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await cancellable(fail(), asyncio.Event())


async def test_cancelling_the_waiter_raises_cancelled_and_leaves_no_task() -> None:
    started, ended = asyncio.Event(), asyncio.Event()

    async def endless() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    before = asyncio.all_tasks()
    waiter = asyncio.create_task(cancellable(endless(), asyncio.Event()))
    await started.wait()
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    assert ended.is_set()
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before
