"""Callers go on in their order, so many in each turn of the loop."""

from __future__ import annotations

import asyncio

from layer2.protocols.evm.sending.pace import Pace


async def test_so_many_go_on_in_each_turn_and_in_their_order() -> None:
    pace, went = Pace(3), list[int]()

    async def caller(number: int) -> None:
        await pace.turn()
        went.append(number)

    callers = [asyncio.create_task(caller(number)) for number in range(10)]
    seen = []
    while len(went) < 10:
        await asyncio.sleep(0)
        seen.append(len(went))
    await asyncio.gather(*callers)
    assert went == list(range(10))
    assert max(after - before for before, after in zip([0, *seen], seen, strict=False)) == 3


async def test_who_is_cancelled_gives_the_place_to_the_next() -> None:
    pace = Pace(1)
    first, second, third = [asyncio.create_task(pace.turn()) for _ in range(3)]
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.wait_for(asyncio.gather(first, third), 5)
    assert second.cancelled()


async def test_after_everybody_has_gone_on_nobody_waits() -> None:
    pace = Pace(2)
    await asyncio.gather(*[pace.turn() for _ in range(5)])
    await asyncio.wait_for(pace.turn(), 5)
    assert not pace._waiting
