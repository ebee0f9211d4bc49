"""Callers proceed in their order, a limited number in each turn of the loop."""

from __future__ import annotations

import asyncio

from layer2.protocols.evm.sending.throttle import LoopThrottle


async def test_a_limited_number_proceeds_in_each_turn_and_in_order() -> None:
    throttle, went = LoopThrottle(3), list[int]()

    async def caller(number: int) -> None:
        await throttle.turn()
        went.append(number)

    callers = [asyncio.create_task(caller(number)) for number in range(10)]
    seen = []
    while len(went) < 10:
        await asyncio.sleep(0)
        seen.append(len(went))
    await asyncio.gather(*callers)
    assert went == list(range(10))
    assert max(after - before for before, after in zip([0, *seen], seen, strict=False)) == 3


async def test_a_cancelled_caller_gives_its_place_to_the_next() -> None:
    throttle = LoopThrottle(1)
    first, second, third = [asyncio.create_task(throttle.turn()) for _ in range(3)]
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.wait_for(asyncio.gather(first, third), 5)
    assert second.cancelled()


async def test_after_all_callers_have_proceeded_none_waits() -> None:
    throttle = LoopThrottle(2)
    await asyncio.gather(*[throttle.turn() for _ in range(5)])
    await asyncio.wait_for(throttle.turn(), 5)
    assert not throttle._waiting
