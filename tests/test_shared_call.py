"""All callers in the same tick share one request, which is never older than the call."""

from __future__ import annotations

import asyncio

import pytest

from layer2.aio.shared_call import SharedCall
from layer2.errors import NodeUnreachable


class Counted:
    """Counts its calls, and returns the count when it is released."""

    def __init__(self, *, fails: bool = False) -> None:
        self.times = 0
        self.fails = fails
        self.let = asyncio.Event()
        self.let.set()

    async def ask(self) -> int:
        self.times += 1
        number = self.times
        await self.let.wait()
        if self.fails:
            raise NodeUnreachable("down")
        return number


async def test_callers_in_the_same_tick_share_one_request() -> None:
    counted = Counted()
    shared = SharedCall(counted.ask)
    assert await asyncio.gather(*[shared.get() for _ in range(100)]) == [1] * 100


async def test_who_asks_later_gets_an_answer_of_his_own_though_the_first_is_under_way() -> None:
    counted = Counted()
    counted.let.clear()
    shared = SharedCall(counted.ask)
    first = asyncio.create_task(shared.get())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    second = asyncio.create_task(shared.get())
    await asyncio.sleep(0)
    counted.let.set()
    assert [await first, await second] == [1, 2]


async def test_an_answer_with_a_life_is_handed_out_again() -> None:
    counted = Counted()
    shared = SharedCall(counted.ask, life=60.0)
    assert [await shared.get() for _ in range(3)] == [1, 1, 1]


async def test_a_failure_reaches_all_callers_and_is_not_kept() -> None:
    counted = Counted(fails=True)
    shared = SharedCall(counted.ask, life=60.0)
    results = await asyncio.gather(*[shared.get() for _ in range(3)], return_exceptions=True)
    assert [type(result) for result in results] == [NodeUnreachable] * 3
    counted.fails = False
    assert await shared.get() == 2


async def test_a_caller_that_is_cancelled_leaves_the_request_to_the_others() -> None:
    counted = Counted()
    counted.let.clear()
    shared = SharedCall(counted.ask)
    callers = [asyncio.create_task(shared.get()) for _ in range(3)]
    await asyncio.sleep(0)
    callers[0].cancel()
    counted.let.set()
    results = await asyncio.gather(*callers, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert results[1:] == [1, 1]


@pytest.mark.parametrize("ticks", [1, 2, 5])
async def test_closing_ends_every_request_that_is_under_way_and_its_callers_are_not_taken_for_cancelled(
    ticks: int,
) -> None:
    counted = Counted()
    counted.let.clear()
    shared = SharedCall(counted.ask)
    callers: list[asyncio.Task[int]] = []
    for _ in range(2):
        callers.append(asyncio.create_task(shared.get()))
        for _ in range(ticks):
            await asyncio.sleep(0)
    await shared.aclose()
    for caller in callers:
        with pytest.raises(NodeUnreachable, match="the client was closed"):
            await caller
