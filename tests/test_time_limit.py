"""A time limit ends its own block only, and leaves other time-outs and cancellations as they are."""

from __future__ import annotations

import asyncio

import pytest

from layer2.aio.time_limit import time_limit
from layer2.errors import AsyncTimeout, BadAnswer, NodeUnreachable


async def for_ever() -> None:
    await asyncio.get_running_loop().create_future()


async def test_the_end_of_the_time_raises_the_given_error_with_its_own_cause() -> None:
    cause = BadAnswer("the reason")

    def late() -> NodeUnreachable:
        error = NodeUnreachable("late")
        error.__cause__ = cause
        return error

    with pytest.raises(NodeUnreachable, match="late") as raised:
        async with time_limit(asyncio.timeout(0), late):
            await for_ever()
    assert raised.value.__cause__ is cause
    assert raised.value.__suppress_context__


async def test_without_an_error_the_block_ends_silently() -> None:
    async with time_limit(asyncio.timeout(0)) as limit:
        await for_ever()
    assert limit.expired()


@pytest.mark.parametrize("error", [TimeoutError("of a socket"), AsyncTimeout("of a call"), BadAnswer("wrong")])
async def test_other_errors_leave_the_block_unchanged(error: Exception) -> None:
    with pytest.raises(type(error)) as raised:
        async with time_limit(asyncio.timeout(60), lambda: NodeUnreachable("late")):
            raise error
    assert raised.value is error


async def test_a_cancellation_from_outside_is_not_a_time_out() -> None:
    entered = asyncio.Event()

    async def run() -> None:
        async with time_limit(asyncio.timeout(60)):
            entered.set()
            await for_ever()

    task = asyncio.create_task(run())
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
