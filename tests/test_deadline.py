"""Deadlines raise their error in time, and do not swallow other cancellations."""

from __future__ import annotations

import asyncio
import gc
import math

import pytest

from layer2.aio import deadline as module
from layer2.aio.deadline import Deadline
from layer2.errors import AsyncTimeout, BadAnswer, Outcome
from layer2.model.transactions import EvmTxId


async def for_ever() -> None:
    await asyncio.get_running_loop().create_future()


@pytest.mark.parametrize("seconds", [-math.inf, math.nan])
async def test_a_limit_without_time_is_over_at_once(seconds: float) -> None:
    with pytest.raises(AsyncTimeout):
        async with Deadline("m", seconds, "BOB"):
            await for_ever()


@pytest.mark.parametrize("seconds", [-1.0, 0.0, 0.02])
async def test_a_block_that_takes_too_long_ends_with_a_time_out_and_no_trace_of_a_cancellation(seconds: float) -> None:
    began = asyncio.get_running_loop().time()
    with pytest.raises(AsyncTimeout, match="nothing was sent") as raised:
        async with Deadline("m", seconds, "BOB"):
            await for_ever()
    assert asyncio.get_running_loop().time() - began >= seconds
    assert (raised.value.outcome, raised.value.operation) == (Outcome.NOT_SENT, "m")
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_after_signing_a_time_out_leaves_the_outcome_unknown() -> None:
    deadline = Deadline("m", 0.0, "BOB")
    deadline.tx_id = EvmTxId("0x01")
    with pytest.raises(AsyncTimeout) as raised:
        async with deadline:
            await for_ever()
    assert (raised.value.outcome, raised.value.tx_id) == (Outcome.UNKNOWN, "0x01")


async def test_deadlines_of_one_tick_end_each_its_own_block() -> None:
    async def one(number: int) -> int:
        try:
            async with Deadline("m", 0.02, "BOB"):
                await for_ever()
        except AsyncTimeout:
            return number
        raise AssertionError

    assert await asyncio.gather(*[one(number) for number in range(50)]) == list(range(50))


@pytest.mark.parametrize("seconds", [None, math.inf, 60.0])
async def test_a_cancellation_from_outside_is_not_a_time_out(seconds: float | None) -> None:
    entered = asyncio.Event()

    async def run() -> None:
        async with Deadline("m", seconds, "BOB"):
            entered.set()
            await for_ever()

    task = asyncio.create_task(run())
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()


async def test_a_cancellation_from_outside_together_with_the_end_of_the_time_is_not_swallowed() -> None:
    deadline = Deadline("m", 60.0, "BOB")
    entered = asyncio.Event()

    async def run() -> None:
        async with deadline:
            entered.set()
            await for_ever()

    task = asyncio.create_task(run())
    await entered.wait()
    deadline.expire()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_of_two_nested_deadlines_the_outer_one_ends_both_under_its_own_name() -> None:
    with pytest.raises(AsyncTimeout, match="outer"):
        async with Deadline("outer", 0.0, "BOB"), Deadline("inner", 60.0, "BOB"):
            await for_ever()


async def test_waiting_for_a_place_counts_and_gives_none_back_that_was_not_taken() -> None:
    limit = asyncio.Semaphore(1)
    async with limit:
        with pytest.raises(AsyncTimeout):
            async with Deadline("m", 0.0, "BOB", limit):
                raise AssertionError
        assert limit.locked()
    assert not limit.locked()


async def test_an_error_that_leaves_the_block_gets_layer_and_operation() -> None:
    with pytest.raises(BadAnswer) as raised:
        async with Deadline("m", 60.0, "BOB"):
            raise BadAnswer("wrong")
    assert (raised.value.protocol, raised.value.operation) == ("BOB", "m")


def test_what_is_over_is_kept_neither_by_its_tick_nor_by_its_loop() -> None:
    async def use() -> None:
        for _ in range(100):
            async with Deadline("m", 3600.0, "BOB"):
                pass
        assert all(not tick for tick in module._running[asyncio.get_running_loop()].values())

    before = len(module._running)
    asyncio.run(use())
    gc.collect()
    assert len(module._running) <= before
